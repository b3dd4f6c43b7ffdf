"""Configuration of STA as published; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ffrl.config import ObjectiveConfig, RunConfig
from ffrl.config.checks import positive, probability
from stf.fields.config import SPARE, SparseModelConfig, require_potentials


@dataclass(frozen=True)
class StaModelConfig(SparseModelConfig):
    """Encoder, decoder and fields whose second part is penalised for its divergence, and what activity is read from."""

    divergence: Literal["exact", "penalised"] = "penalised"
    """exact: those parts have no divergence, by construction; penalised: they are unconstrained, with as many
    parameters, and the loss gains their squared divergence."""
    activity_from: Literal["latents", "pixels"] = "pixels"
    """What activity is inferred from: the encoder's latent means, or an encoder of its own of the same architecture."""


@dataclass(frozen=True)
class SpikeSlabConfig:
    """The prior over activity: fields switch on and off, at speeds around 1."""

    on_rate: float = 0.1
    """Probability per step that a silent field switches on."""
    off_rate: float = 0.1
    """Probability per step that an active field switches off."""
    learn_rates: bool = False
    """Learn both rates, one pair per field, from the values above."""
    slab: Literal["positive", "signed", "unit"] = "positive"
    """Speeds: Laplace around 1, the same with a random sign, or exactly 1."""
    slab_scale: float = 0.1
    """Scale b of the Laplace(1, b) prior over speeds."""

    def __post_init__(self) -> None:
        probability("sparsity.on-rate", self.on_rate)
        probability("sparsity.off-rate", self.off_rate)
        positive("sparsity.slab-scale", self.slab_scale)


@dataclass(frozen=True)
class RelaxationConfig:
    """Spikes are relaxed in training to numbers between 0 and 1, the closer to either the lower the temperature."""

    temperature: float = 1.0
    """Temperature of the relaxed spikes at the first step."""
    final_temperature: float = 0.5
    """Temperature of the relaxed spikes at the last step (annealed geometrically)."""

    def __post_init__(self) -> None:
        positive("relaxation.temperature", self.temperature)
        positive("relaxation.final-temperature", self.final_temperature)


@dataclass(frozen=True)
class StaConfig(RunConfig):
    """STA as published: activity is inferred by a network, from pairs of frames (Song et al., 2024)."""

    spare_fields = SPARE
    mode: Literal["sta"] = "sta"
    model: StaModelConfig = field(default_factory=StaModelConfig)
    objective: ObjectiveConfig = field(default_factory=lambda: ObjectiveConfig(bound="paper", density="trace"))
    sparsity: SpikeSlabConfig = field(default_factory=SpikeSlabConfig)
    relaxation: RelaxationConfig = field(default_factory=RelaxationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_potentials(self)
