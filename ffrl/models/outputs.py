"""What goes into a pass of a model and comes out of it: its noise, and everything that an objective needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from ffrl.models.frame_kind import PIXELS, FrameKind


@dataclass(frozen=True)
class SequenceNoise:
    """All randomness of one pass: normal noise of z_0 ``(B, D)`` and, while frames stand alone, of the others
    ``(B, T, D)``; uniform noise of the activity ``(B, T, C, channels)``.
    """

    latent: Tensor
    others: Tensor
    activity: Tensor

    @classmethod
    def draw(
        cls,
        shape: tuple[int, int],
        latents: int,
        uniform: tuple[int, int],
        generator: torch.Generator | None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Noise of B sequences of T transitions.

        Args:
            shape: B and T.
            latents: Gaussian latents of a frame.
            uniform: controls and channels of the activity.
            generator: source of all of it, on ``device``.
            device: where it is needed.

        Example:
            >>> SequenceNoise.draw((2, 8), 32, (3, 0), torch.Generator().manual_seed(0)).others.shape
            torch.Size([2, 8, 32])
        """
        latent = torch.randn(shape[0], latents, generator=generator, device=device)
        others = torch.randn(*shape, latents, generator=generator, device=device)
        numbers = torch.rand(*shape, *uniform, generator=generator, device=device)
        tiny = torch.finfo(numbers.dtype).eps
        return cls(latent, others, numbers.clamp(tiny, 1 - tiny))

    def of_frames(self) -> Tensor:
        """Normal noise of all frames, ``(B, T+1, D)``."""
        return torch.cat([self.latent.unsqueeze(1), self.others], dim=1)


@dataclass(frozen=True)
class SequenceOutputs:
    """Everything an objective needs of one forward pass over B sequences of T + 1 frames.

    Args:
        logits: decoder outputs, ``(B, T+1, C, H, W)``, of which images are the sigmoid, or what is said of vectors.
        latents: z_0 .. z_T, ``(B, T+1, D)``.
        mean, log_variance: of q(z_0 | x_0), ``(B, D)``; of all frames, ``(B, T+1, D)``, while they stand alone.
        activity: g_1 .. g_T, ``(B, T, C)``.
        activity_kl: named terms of the activity, ``(B,)`` each, already weighted.
        log_density_change: log q_t - log q_{t-1}, ``(B, T)``, when the bound needs it.
        log_prior: log p_t(z_t) of the diffused prior, ``(B, T)``, when the bound needs it.
        penalties: further named terms that the loss gains, ``(B,)`` each, already weighted.
        latent_weight: weight of the KL of q(z_0 | x_0) in training.
        cross_entropy_weight: weight of the pixels' cross-entropy beside their likelihood; None where there is none.
        frame_kind: what a frame is.
    """

    logits: Tensor
    latents: Tensor
    mean: Tensor
    log_variance: Tensor
    activity: Tensor
    activity_kl: dict[str, Tensor]
    log_density_change: Tensor | None = None
    log_prior: Tensor | None = None
    penalties: dict[str, Tensor] = field(default_factory=dict)
    latent_weight: float | Tensor = 1.0
    cross_entropy_weight: float | Tensor | None = None
    frame_kind: FrameKind = PIXELS
