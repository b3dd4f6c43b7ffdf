"""Every mode by name, and its defaults for a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ffrl.config import DataConfig, RunConfig, SupervisedConfig
from ffrl.core.errors import require
from ffrl.data.catalogue import describe, image_shape, transformations
from ffrl.data.spec import DataSpec
from ffrl.models.baselines.config import BASELINES, CapsuleModelConfig
from stf.config.modes import UnsupervisedConfig, WeakConfig
from stf.fields.config import SparseModelConfig
from stf.sta.config import StaConfig

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


FIRST = ("still", "discovery")
"""Phases that a run which starts from another one leaves out."""


def default_config(mode: str, data: DataConfig | None = None, spec: DataSpec | None = None) -> RunConfig:
    """Return the defaults of a mode for a data set: T as published, its likelihood, one field per transformation.

    Models that find their fields, the weak mode and STA as published among them, get :data:`SPARE` fields more. Images
    of :data:`LARGE` pixels a side or more get an encoder and a decoder for them, batches of 32 and more steps.

    Args:
        mode: key of :data:`CONFIGS`.
        data: its ``name``, and what decides on its transformations and images; MNIST for None. A T other than the
            default stays.
        spec: of sequences in memory, of which the catalogue knows nothing.

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
    if is_large(image_shape(data) if spec is None else spec.image_shape):
        model = replace(config.model, architecture="conv-coarse", width=32, depth=1)
        config = replace(config, model=model, batch_size=32, steps=4000)
        if isinstance(config, UnsupervisedConfig | WeakConfig):
            discovery, refine = replace(config.discovery, fraction=0.35), replace(config.refine, rollout=0.3)
            still = replace(config.still, fraction=0.3)
            config = replace(config, steps=8000, still=still, discovery=discovery, refine=refine)
    names = transformations(data) if spec is None else spec.transformations
    known = bool(names) or not config.needs_transformations
    expected = "data whose transformations are known, or mode unsupervised, weak, sta or msp"
    require(known, "data.name", data.name, expected)
    searched = isinstance(config.model, SparseModelConfig) or isinstance(config, WeakConfig)
    fields = len(names) + SPARE if searched else len(names)
    sizes: dict[str, Any] = {"num_fields": fields} if names else {}
    if names and isinstance(config.model, CapsuleModelConfig):
        sizes["latent_dim"] = CAPSULES * fields * config.model.capsule_size
    model = replace(config.model, **sizes)
    published = describe(data.name).num_steps if data.num_steps == DataConfig.num_steps else data.num_steps
    steps = published if spec is None else spec.num_steps
    return replace(config, model=model, data=replace(data, num_steps=steps))


def fine_tuning(config: RunConfig) -> RunConfig:
    """The configuration of a run that starts from another: frames never stand alone, and no fields are searched for.

    Example:
        >>> [phase.name for phase in fine_tuning(UnsupervisedConfig()).schedule if phase.fraction]
        ['joint', 'refine']
    """
    phases = {name: replace(getattr(config, name), fraction=0.0) for name in FIRST if hasattr(config, name)}
    return replace(config, **phases)


def is_large(image_shape: tuple[int, int, int]) -> bool:
    """Whether images get the defaults of large ones: they are, and divide into patches of four pixels a side.

    Example:
        >>> is_large((3, 64, 64)), is_large((1, 12, 20)), is_large((3, 50, 70))
        (True, False, False)
    """
    _, height, width = image_shape
    return max(height, width) >= LARGE and height % 4 == 0 and width % 4 == 0
