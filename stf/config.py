"""Configuration of the unsupervised mode; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ffrl.baselines.config import BASELINES, CapsuleModelConfig
from ffrl.config import (
    DataConfig,
    ModelConfig,
    RunConfig,
    SupervisedConfig,
    WarmupConfig,
    WeakConfig,
    _at_least,
    _non_negative,
    _positive,
    _probability,
)
from ffrl.data.catalogue import describe, image_shape, transformations
from ffrl.errors import require


@dataclass(frozen=True)
class SparseModelConfig(ModelConfig):
    """Encoder, decoder and Helmholtz fields."""

    num_fields: int = 6
    """K, the number of fields; those that the data does not need fall silent."""
    potential_width: int = 64
    """Hidden units of each field's potential; 0 leaves the curl-free part out."""
    rotational_width: int = 64
    """Hidden units of each field's divergence-free part; 0 leaves that part out."""
    rotational_terms: int = 2
    """M, the number of skew-symmetric matrices S_m of each divergence-free part."""
    rotational_rank: int = 8
    """Rank of P and Q in S = P Q' - Q P'."""
    divergence: Literal["exact", "penalised"] = "exact"
    """exact: those parts have no divergence, by construction; penalised: they are unconstrained, with as many
    parameters, and the loss gains their squared divergence."""
    divergence_weight: float = 1.0
    """Weight of the squared divergence of penalised parts, summed over fields and averaged over steps."""
    control: Literal["single", "separate"] = "single"
    """single: one speed for both parts of a field; separate: the parts have spikes and speeds of their own."""
    activity_from: Literal["latents", "pixels"] = "latents"
    """What activity is inferred from: the encoder's latent means, or an encoder of its own of the same architecture."""
    narrowest_potential = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("model.rotational-width", self.rotational_width, 0)
        _at_least("model.rotational-terms", self.rotational_terms, 1)
        _at_least("model.rotational-rank", self.rotational_rank, 1)
        _non_negative("model.divergence-weight", self.divergence_weight)
        width, terms = self.rotational_width, self.rotational_terms
        curl_free, exact = self.potential_width > 0, self.divergence == "exact"
        require(curl_free or width > 0, "model.rotational-width", 0, "above 0 as model.potential-width is 0")
        require(exact or width > 0, "model.divergence", self.divergence, "exact as model.rotational-width is 0")
        fits = not exact or width % terms == 0
        require(fits, "model.rotational-width", width, f"a multiple of model.rotational-terms, {terms}")
        both = self.control == "single" or (curl_free and width > 0)
        require(both, "model.control", self.control, "single unless fields have both parts")


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
        if self.model.potential_width == 0:
            for key in ("hj_weight", "hj_initial_weight"):
                value = getattr(self.objective, key)
                require(value == 0.0, "objective." + key.replace("_", "-"), value, "0 as model.potential-width is 0")


CONFIGS: dict[str, type[RunConfig]] = {
    "unsupervised": UnsupervisedConfig,
    "supervised": SupervisedConfig,
    "weak": WeakConfig,
    **BASELINES,
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

    An unsupervised model gets :data:`SPARE` fields more. Images of :data:`LARGE` pixels a side or more get an encoder
    and a decoder for them, batches of 32 and more steps, and without supervision a chain that grows heavier while the
    warm-up lasts: first fields find faint transformations, then those that share one are drawn together.

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
    require(known, "data.name", data.name, "data whose transformations are known, or mode unsupervised, weak or msp")
    fields = len(names) + SPARE if mode == "unsupervised" else len(names)
    sizes = {"num_fields": fields} if names else {}
    if names and isinstance(config.model, CapsuleModelConfig):
        sizes["latent_dim"] = CAPSULES * fields * config.model.capsule_size
    model = replace(config.model, **sizes)
    return replace(config, model=model, data=replace(data, num_steps=describe(data.name).num_steps))
