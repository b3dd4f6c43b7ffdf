"""beta-VAE: a VAE whose KL weighs more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ffrl.config import RunConfig
from ffrl.config.checks import positive
from ffrl.models.autoencoder import Networks
from ffrl.models.frame_vae import FrameModelConfig, FrameVAE
from ffrl.models.mode import Mode


@dataclass(frozen=True)
class BetaVAEConfig(RunConfig):
    """beta-VAE: a VAE whose KL weighs more (Higgins et al., 2017)."""

    needs_transformations = True
    mode: Literal["beta-vae"] = "beta-vae"
    model: FrameModelConfig = field(default_factory=FrameModelConfig)
    beta: float = 4.0
    """Weight of the latents' KL."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("beta", self.beta)


def beta_vae(config: BetaVAEConfig, networks: Networks) -> FrameVAE:
    """A VAE whose KL is weighted by beta.

    Example:
        >>> MODE.build(BetaVAEConfig(beta=2.0), (3, 28, 28)).phase(0.9).latent_weight
        2.0
    """
    return FrameVAE(config, networks, config.beta)


MODE = Mode(BetaVAEConfig, beta_vae)
"""The VAE whose KL is weighted by beta (Higgins et al. 2017)."""
