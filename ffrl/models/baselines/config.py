"""Configurations of the baselines, one mode each; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ffrl.config import ModelConfig, RunConfig
from ffrl.config.checks import at_least, non_negative, positive
from ffrl.core.errors import require


@dataclass(frozen=True)
class FrameModelConfig(ModelConfig):
    """Encoder and decoder of single frames, and how their latents are moved once they are trained."""

    displacement: Literal["affine", "constant"] = "affine"
    """Latent displacement per transformation, estimated from training pairs: A z + b, or b alone."""


@dataclass(frozen=True)
class VAEConfig(RunConfig):
    """VAE: every frame by itself (Kingma and Welling, 2014)."""

    needs_transformations = True
    mode: Literal["vae"] = "vae"
    model: FrameModelConfig = field(default_factory=FrameModelConfig)


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


@dataclass(frozen=True)
class FactorVAEConfig(RunConfig):
    """FactorVAE: a VAE with a penalty on the total correlation of its code (Kim and Mnih, 2018)."""

    needs_transformations = True
    mode: Literal["factor-vae"] = "factor-vae"
    model: FrameModelConfig = field(default_factory=FrameModelConfig)
    total_correlation: float = 6.4
    """Weight gamma of the total correlation."""
    discriminator_width: int = 256
    """Hidden units of the discriminator that estimates it."""
    discriminator_depth: int = 3
    """Its hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        non_negative("total-correlation", self.total_correlation)
        at_least("discriminator-width", self.discriminator_width, 1)
        at_least("discriminator-depth", self.discriminator_depth, 1)
        require(self.batch_size >= 2, "batch-size", self.batch_size, "at least 2: codes are shuffled over the batch")


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


@dataclass(frozen=True)
class CapsuleModelConfig(ModelConfig):
    """Encoder, decoder and capsules, which the transformations share out among themselves in turn."""

    latent_dim: int = 72
    """D, a multiple of the capsules' size."""
    capsule_size: int = 12
    """Units of a capsule; the roll is cyclic, so that sequences should have fewer steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.capsule-size", self.capsule_size, 2)
        size, least = self.capsule_size, self.num_fields * self.capsule_size
        expected = f"a multiple of {size} from {least} on: at least one capsule for each of {self.num_fields} fields"
        fits = self.latent_dim % size == 0 and self.latent_dim >= least
        require(fits, "model.latent-dim", self.latent_dim, expected)


@dataclass(frozen=True)
class TVAEConfig(RunConfig):
    """TVAE: the activity of capsules rolls from frame to frame (Keller and Welling, 2021)."""

    sequences = "labelled"
    needs_transformations = True
    mode: Literal["tvae"] = "tvae"
    model: CapsuleModelConfig = field(default_factory=CapsuleModelConfig)
    location: float = 0.0
    """Initial value of the learnable location mu in t = (z - mu) / sqrt(mean u^2)."""
    predicted: float = 0.5
    """Share of the training sequences that are decoded from the rolled codes of their first frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 <= self.predicted <= 1.0, "predicted", self.predicted, "a number in [0, 1]")


@dataclass(frozen=True)
class PoFlowConfig(RunConfig):
    """PoFlow: gradient flows of potentials that obey the wave equation (Song et al., 2023)."""

    sequences = "labelled"
    needs_transformations = True
    mode: Literal["poflow"] = "poflow"
    model: ModelConfig = field(default_factory=lambda: ModelConfig(time_dependent=True))
    wave_weight: float = 1e-2
    """Weight of the squared residual of the wave equation."""
    wave_initial_weight: float = 1e-2
    """Weight of the squared velocity of the potentials' values, du/dt, at t = 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        non_negative("wave-weight", self.wave_weight)
        non_negative("wave-initial-weight", self.wave_initial_weight)
        timed = self.model.time_dependent
        require(timed, "model.time-dependent", timed, "true: the wave equation is about potentials that change in time")


@dataclass(frozen=True)
class MatrixModelConfig(ModelConfig):
    """Encoder and decoder of latents that are matrices; there are no fields."""

    latent_dim: int = 512
    """D = rows x columns of a latent."""
    rows: int = 16
    """Rows a of a latent, moved by one a x a matrix per transition; at most as many as columns."""
    condition: int = 2
    """Frames of a sequence, the first ones, from which that matrix is estimated."""
    ridge: float = 1e-3
    """Ridge of the least squares, relative to the mean square of the latents."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.rows", self.rows, 1)
        at_least("model.condition", self.condition, 2)
        positive("model.ridge", self.ridge)
        expected = f"a multiple of {self.rows} rows, at least {self.rows**2}"
        fits = self.latent_dim % self.rows == 0 and self.latent_dim >= self.rows**2
        require(fits, "model.latent-dim", self.latent_dim, expected)


@dataclass(frozen=True)
class MSPConfig(RunConfig):
    """MSP: latents move by a matrix that is estimated from each sequence by least squares (Miyato et al., 2022)."""

    sequences = "single"
    mode: Literal["msp"] = "msp"
    model: MatrixModelConfig = field(default_factory=MatrixModelConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        frames = self.data.num_steps + 1
        expected = f"at most {frames}, the frames of a sequence"
        require(self.model.condition <= frames, "model.condition", self.model.condition, expected)


BASELINES: dict[str, type[RunConfig]] = {
    "vae": VAEConfig,
    "beta-vae": BetaVAEConfig,
    "factor-vae": FactorVAEConfig,
    "slow-vae": SlowVAEConfig,
    "tvae": TVAEConfig,
    "poflow": PoFlowConfig,
    "msp": MSPConfig,
}
"""Configuration class of every baseline, by mode."""
