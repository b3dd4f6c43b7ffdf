"""Configuration of the unsupervised mode, and of every mode by name; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ffrl.baselines.config import BASELINES, CapsuleModelConfig
from ffrl.config import (
    DataConfig,
    RunConfig,
    SupervisedConfig,
    WarmupConfig,
    WeakConfig,
    _non_negative,
    _positive,
    _probability,
)
from ffrl.data.catalogue import describe, image_shape, transformations
from ffrl.errors import require
from stf.fields_config import SparseModelConfig, require_potentials
from stf.sta.config import StaConfig


@dataclass(frozen=True)
class SparseWarmupConfig(WarmupConfig):
    """First phase of training: exactly one field per step, close to unit speed."""

    slab_weight: float = 5.0
    """Weight of the slabs' KL during this phase, so that one unit of speed means the same everywhere on a field."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _non_negative("warmup.slab-weight", self.slab_weight)


@dataclass(frozen=True)
class SparsityConfig:
    """The prior over activity."""

    prior: Literal["spike-slab", "laplace", "dense"] = "spike-slab"
    """spike-slab: fields switch on and off, at speeds around 1; without spikes, every field always on, laplace: speeds
    ~ Laplace(0, slab-scale), dense: speeds ~ N(0, 1). The warm-up is the same for all."""
    on_rate: float = 0.05
    """Probability per step that a silent field switches on."""
    off_rate: float = 0.3
    """Probability per step that an active field switches off."""
    learn_rates: bool = False
    """Learn both rates, one pair per field, from the values above."""
    slab: Literal["positive", "signed", "unit"] = "positive"
    """Speeds: Laplace around 1, the same with a random sign, or exactly 1."""
    slab_scale: float = 0.1
    """Scale b of the Laplace(1, b) prior over speeds, or of Laplace(0, b)."""
    weight: float = 10.0
    """Weight of the KLs of spikes and slabs, or of speeds, when the warm-up ends."""
    final_weight: float = 1.0
    """Their weight at the last step (annealed geometrically)."""
    slab_weight: float = 2.0
    """Further weight of the slabs' KL all along, so that one unit of speed means the same everywhere on a field."""

    def __post_init__(self) -> None:
        spikes = self.prior == "spike-slab"
        require(spikes or self.slab == "positive", "sparsity.slab", self.slab, "positive unless the prior has spikes")
        require(spikes or not self.learn_rates, "sparsity.learn-rates", True, "false unless the prior has spikes")
        _probability("sparsity.on-rate", self.on_rate)
        _probability("sparsity.off-rate", self.off_rate)
        _positive("sparsity.slab-scale", self.slab_scale)
        _positive("sparsity.weight", self.weight)
        _positive("sparsity.final-weight", self.final_weight)
        _non_negative("sparsity.slab-weight", self.slab_weight)


@dataclass(frozen=True)
class UnsupervisedConfig(RunConfig):
    """Unsupervised: which fields act, when, and how fast is inferred from the frames alone."""

    mode: Literal["unsupervised"] = "unsupervised"
    model: SparseModelConfig = field(default_factory=SparseModelConfig)
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    warmup: SparseWarmupConfig = field(default_factory=SparseWarmupConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_potentials(self)


CONFIGS: dict[str, type[RunConfig]] = {
    "unsupervised": UnsupervisedConfig,
    "supervised": SupervisedConfig,
    "weak": WeakConfig,
    **BASELINES,
    "sta": StaConfig,
}
"""Configuration class of every mode, the baselines among them."""
SPARE = 3
"""Fields that an unsupervised model has by default beyond the transformations of its data."""
CAPSULES = 2
"""Capsules that a topographic VAE has by default for each transformation."""
LARGE = 48
"""Side from which on images get the defaults of large ones: convolutions on coarse patches, and smaller batches."""


def default_config(mode: str, data: DataConfig | None = None) -> RunConfig:
    """Return the defaults of a mode for a data set: T as published, its likelihood, one field per transformation.

    An unsupervised model, STA as published among them, gets :data:`SPARE` fields more. Images of :data:`LARGE` pixels a
    side or more get an encoder and a decoder for them, batches of 32 and more steps, and in mode unsupervised a chain
    that grows heavier while the warm-up lasts: first fields find faint transformations, then those that share one are
    drawn together.

    Args:
        mode: key of :data:`CONFIGS`.
        data: its ``name``, and what decides on its transformations; MNIST for None.

    Raises:
        UserError: the mode is supervised and the transformations of the data are not known.

    Example:
        >>> config = default_config("unsupervised", DataConfig(name="shapes3d"))
        >>> config.model.num_fields, config.data.num_steps
        (8, 7)
    """
    config = CONFIGS[mode]()
    data = config.data if data is None else data
    config = replace(config, objective=replace(config.objective, likelihood=describe(data.name).likelihood))
    if image_shape(data)[-1] >= LARGE:
        model = replace(config.model, architecture="conv-coarse", width=32, depth=1)
        config = replace(config, model=model, batch_size=32, steps=4000)
        if isinstance(config, UnsupervisedConfig):
            config = replace(config, warmup=replace(config.warmup, fraction=0.6, final_weight=120.0))
    names = transformations(data)
    known = bool(names) or not config.needs_transformations
    expected = "data whose transformations are known, or mode unsupervised, weak, sta or msp"
    require(known, "data.name", data.name, expected)
    fields = len(names) + SPARE if isinstance(config.model, SparseModelConfig) else len(names)
    sizes = {"num_fields": fields} if names else {}
    if names and isinstance(config.model, CapsuleModelConfig):
        sizes["latent_dim"] = CAPSULES * fields * config.model.capsule_size
    model = replace(config.model, **sizes)
    return replace(config, model=model, data=replace(data, num_steps=describe(data.name).num_steps))
