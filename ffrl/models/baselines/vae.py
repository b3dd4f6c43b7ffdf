"""VAE: every frame by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ffrl.config import RunConfig
from ffrl.models.frame_vae import FrameModelConfig, FrameVAE
from ffrl.models.mode import Mode


@dataclass(frozen=True)
class VAEConfig(RunConfig):
    """VAE: every frame by itself (Kingma and Welling, 2014)."""

    needs_transformations = True
    mode: Literal["vae"] = "vae"
    model: FrameModelConfig = field(default_factory=FrameModelConfig)


MODE = Mode(VAEConfig, FrameVAE)
"""The VAE, whose model is that of all VAEs of single frames."""
