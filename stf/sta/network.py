"""Amortised posterior over activity, read from pairs of encoder means."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffrl.nn.networks import at_least_float32


class TransitionPosterior(nn.Module):
    """Parameters of q(activity_t | x_{t-1}, x_t) from the latent means (mu_{t-1}, mu_t - mu_{t-1}).

    Latent pairs separate the transformations at once where pixel pairs do not.

    Args:
        dim: latent dimension D.
        outputs: number of parameters per transition.
        width: hidden units.

    Example:
        >>> TransitionPosterior(dim=4, outputs=3)(torch.zeros(2, 9, 4)).shape
        torch.Size([2, 8, 3])
    """

    def __init__(self, dim: int, outputs: int, width: int = 256) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2 * dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, outputs),
        )

    def forward(self, means: Tensor) -> Tensor:
        """Latent means ``(B, T+1, D)`` -> parameters ``(B, T, outputs)``."""
        return at_least_float32(self.net(torch.cat([means[:, :-1], means.diff(dim=1)], dim=-1)))
