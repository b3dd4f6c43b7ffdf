"""Every mode by name, and its defaults for a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ffrl.config import DataConfig, RunConfig
from ffrl.core.errors import require
from ffrl.core.registry import Registry, modules_in
from ffrl.data.catalogue import describe, published_steps, transformations
from ffrl.data.catalogue import image_shape as frame_shape
from ffrl.data.spec import DataSpec

MODES = Registry(
    "stf.models",
    "mode",
    {
        "unsupervised": "stf.config.modes:UNSUPERVISED",
        "supervised": "ffrl.models.supervised:MODE",
        "weak": "stf.config.modes:WEAK",
        **modules_in("ffrl.models.baselines", "MODE"),
        **modules_in("stf.modes", "MODE"),
    },
)
"""The :class:`~ffrl.models.mode.Mode` of every name: every file in ``ffrl/models/baselines`` and ``stf/modes`` is one,
and what installed packages add. Names alone import nothing heavy."""


class _Configs(Mapping[str, type[RunConfig]]):
    """The configuration class of every mode."""

    def __getitem__(self, mode: str) -> type[RunConfig]:
        return MODES[mode].config

    def __contains__(self, mode: object) -> bool:
        return mode in MODES

    def __iter__(self) -> Iterator[str]:
        return iter(MODES)

    def __len__(self) -> int:
        return len(MODES)


CONFIGS = _Configs()
"""Configuration class of every mode, the baselines among them."""


LARGE = 48
"""Side from which on images get the defaults of large ones: convolutions on coarse patches, and smaller batches."""


FIRST = ("still", "discovery", "rediscovery")
"""Phases that a run which starts from another one leaves out."""


def default_config(mode: str, data: DataConfig | None = None, spec: DataSpec | None = None) -> RunConfig:
    """Return the defaults of a mode for a data set: T as published, its likelihood, one field per transformation.

    Models that find their fields, the weak mode and STA as published among them, get some to spare. Images of
    :data:`LARGE` pixels a side or more get an encoder and a decoder for them, batches of 32 and more steps, vectors a
    Gaussian likelihood.

    Args:
        mode: key of :data:`CONFIGS`.
        data: its ``name``, and what decides on its transformations and images; MNIST for None. A T other than the
            default stays.
        spec: of sequences that are there already, in place of what the catalogue knows of them.

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
    shape = frame_shape(data) if spec is None else spec.image_shape
    if len(shape) == 1:
        config = config.for_vectors(*shape)
    elif is_large(shape):
        config = config.for_large_images()
    names = transformations(data) if spec is None else spec.transformations
    known = bool(names) or not config.needs_transformations
    expected = "data whose transformations are known, or mode unsupervised, weak, sta or msp"
    require(known, "data.name", data.name, expected)
    config = config.for_transformations(len(names)) if names else config
    published = published_steps(data) if data.num_steps == DataConfig.num_steps else data.num_steps
    steps = published if spec is None else spec.num_steps
    return replace(config, data=replace(data, num_steps=steps))


def fine_tuning(config: RunConfig) -> RunConfig:
    """The configuration of a run that starts from another: frames never stand alone, and no fields are searched for.

    Example:
        >>> [phase.name for phase in fine_tuning(CONFIGS["unsupervised"]()).schedule if phase.fraction]
        ['joint', 'refine']
    """
    phases = {name: replace(getattr(config, name), fraction=0.0) for name in FIRST if hasattr(config, name)}
    return replace(config, **phases)


def is_large(image_shape: tuple[int, ...]) -> bool:
    """Whether images get the defaults of large ones: they are, and divide into patches of four pixels a side.

    Example:
        >>> is_large((3, 64, 64)), is_large((1, 12, 20)), is_large((3, 50, 70))
        (True, False, False)
    """
    _, height, width = image_shape
    return max(height, width) >= LARGE and height % 4 == 0 and width % 4 == 0
