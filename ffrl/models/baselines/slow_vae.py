"""SlowVAE: a Laplace prior over the steps of the latents."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from ffrl.config import RunConfig
from ffrl.config.checks import positive
from ffrl.models.activity import Phase
from ffrl.models.autoencoder import Networks
from ffrl.models.frame_vae import FrameModelConfig, FrameVAE
from ffrl.models.mode import Mode
from ffrl.models.outputs import SequenceNoise, SequenceOutputs


@dataclass(frozen=True)
class SlowVAEConfig(RunConfig):
    """SlowVAE: a VAE whose latents change rarely, a Laplace prior over their steps (Klindt et al., 2021)."""

    needs_transformations = True
    mode: Literal["slow-vae"] = "slow-vae"
    model: FrameModelConfig = field(default_factory=FrameModelConfig)
    rate: float = 6.0
    """Rate lambda of the Laplace prior over the step from one latent to the next."""
    transition_weight: float = 10.0
    """Weight gamma of that prior's KL."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("rate", self.rate)
        positive("transition-weight", self.transition_weight)


def slow_kl(mean: Tensor, log_variance: Tensor, rate: float) -> Tensor:
    r"""Expected KL of q(z_t | x_t) to a Laplace step from z_{t-1} ~ q(z_{t-1} | x_{t-1}), in closed form.

    .. math::
        \sum_{t=1}^T E_{q(z_{t-1})} KL[q(z_t) \| p(\cdot|z_{t-1})], \quad
        p(z_t|z_{t-1}) = \tfrac{\lambda}{2} e^{-\lambda |z_t - z_{t-1}|}

    per dimension (Klindt et al. 2021, transition prior). z_t - z_{t-1} is Gaussian, so that its mean absolute value is
    that of a folded normal, :math:`s \sqrt{2/\pi}\, e^{-m^2 / 2 s^2} + m\, \mathrm{erf}(m / \sqrt{2} s)`.

    Args:
        mean, log_variance: of q, ``(..., T+1, D)``.
        rate: lambda.

    Returns:
        ``(...)`` nats.

    Example:
        >>> slow_kl(torch.zeros(1, 2, 1), torch.zeros(1, 2, 1), rate=1.0).round(decimals=4)
        tensor([0.4026])
    """
    variance = log_variance.exp()
    scale = (variance[..., 1:, :] + variance[..., :-1, :]).sqrt()
    step = mean[..., 1:, :] - mean[..., :-1, :]
    ratio = step / scale
    size = scale * math.sqrt(2 / math.pi) * torch.exp(-0.5 * ratio.square()) + step * torch.erf(ratio / math.sqrt(2))
    entropy = 0.5 * (log_variance[..., 1:, :] + math.log(2 * math.pi) + 1)
    return (rate * size - math.log(rate / 2) - entropy).sum((-2, -1))


class SlowVAE(FrameVAE):
    """A VAE of sequences whose latents make sparse steps (Klindt et al. 2021).

    Frames are encoded one by one; q(z_0) is held to N(0, I) and every later latent to the one before, the latter with
    the weight ``config.transition_weight`` in training.

    Example:
        >>> MODE.build(SlowVAEConfig(), (3, 28, 28)).log_latent_prior(torch.zeros(2, 9, 32)).shape
        torch.Size([2])
    """

    def __init__(self, config: SlowVAEConfig, networks: Networks) -> None:
        super().__init__(config, networks)
        self.rate, self.transition_weight = config.rate, config.transition_weight

    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over sequences ``(B, T+1, C, H, W)``; while frames stand alone a VAE's."""
        outputs = super().forward(frames, noise, phase)
        if phase.still:
            return outputs
        mean, log_variance = outputs.mean, outputs.log_variance
        transition = self.transition_weight * slow_kl(mean, log_variance, self.rate)
        kl = {"transition": transition}
        return replace(outputs, mean=mean[:, 0], log_variance=log_variance[:, 0], activity_kl=kl)

    def log_latent_prior(self, latents: Tensor) -> Tensor:
        """log p(z_1, .., z_T | z_0), ``(..., T+1, D)`` -> ``(...)`` nats: Laplace steps."""
        steps = latents.diff(dim=-2).abs()
        return (math.log(self.rate / 2) - self.rate * steps).sum((-2, -1))


MODE = Mode(SlowVAEConfig, SlowVAE)
"""The VAE with a Laplace prior over the steps of its latents."""
