"""Sizes of encoder, decoder and fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ffrl.config.checks import at_least, positive, size
from ffrl.config.field_types import FIELDS
from ffrl.core.errors import require
from ffrl.core.registry import Registry

DEEPEST = 1000
"""Most layers of a network."""


@dataclass(frozen=True)
class ModelConfig:
    """Encoder, decoder and the potentials that move the latents."""

    latent_dim: int = 48
    """D, the dimension of the latent space."""
    num_fields: int = 3
    """K, the number of fields."""
    architecture: Literal["mlp", "mixer", "conv", "conv-coarse"] = "mlp"
    """Encoder and decoder: MLP, patch mixer, convolutions for GPUs, or on coarse patches (64 pixels and up on CPUs)."""
    width: int = 256
    """Hidden width of the MLP, token width of the mixer, or channels of the first stage of convolutions."""
    depth: int = 2
    """Hidden layers of the MLP, mixer blocks, or blocks per stage of convolutions, each way."""
    fields: str = "potential"
    """Type of the fields: gradients of potentials, or one that an installed package adds."""
    potential_width: int = 64
    """Hidden units of each field's potential."""
    activation: Literal["logcosh", "softplus", "sine"] = "logcosh"
    """phi of the potentials u = a . phi(W z + b + tau(t))."""
    time_dependent: bool = False
    """Let the fields depend on t / T."""
    integrator: Literal["euler", "midpoint", "rk4"] = "euler"
    """Integrator of one transition."""
    substeps: int = 1
    """Integrator steps per transition."""
    diffusion: float = 0.1
    """Initial value of the learnable diffusion coefficients kappa_k of the prior flow."""
    narrowest_potential: ClassVar[int] = 1
    """Least ``potential_width``."""
    field_types: ClassVar[Registry] = FIELDS
    """What ``fields`` may be."""

    def __post_init__(self) -> None:
        for key in ("latent_dim", "num_fields", "width", "substeps"):
            size("model." + key.replace("_", "-"), getattr(self, key))
        at_least("model.depth", self.depth, 1)
        require(self.depth <= DEEPEST, "model.depth", self.depth, f"an integer of at most {DEEPEST}")
        self.field_types.require("model.fields", self.fields)
        at_least("model.potential-width", self.potential_width, self.narrowest_potential)
        size("model.potential-width", max(1, self.potential_width))
        positive("model.diffusion", self.diffusion)
