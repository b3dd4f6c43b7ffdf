"""What is known of every data set without reading it; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from ffrl.config import DataConfig
from ffrl.config.data import DATA_SETS
from ffrl.core.errors import UserError

FrameShape = tuple[int, ...]


@dataclass(frozen=True)
class DataSet:
    """A data set: where its class is, its images, its transformations and its published sequence length.

    Args:
        home: ``module:class`` of its :class:`~ffrl.data.base.SequenceData`, which is made of a
            :class:`~ffrl.config.DataConfig` and a device.
        image_shape: ``(C, H, W)``, or ``(F,)`` of vectors, or a function of the configuration that returns it.
        transformations: their names, or a function of the configuration; none if they are not known.
        num_steps: T of the published protocol, or a function of the configuration.
        likelihood: of the pixels, by default. Where nearly all of them are black, so is the median that a Laplace
            likelihood asks for, and a decoder stays at the black image.
        downloads: whether its class fetches its files, where the configuration asks for that.

    Example:
        >>> DataSet("my_package.bars:Bars", (1, 16, 16), ("right", "down")).num_steps
        8
    """

    home: str
    image_shape: FrameShape | Callable[[DataConfig], FrameShape]
    transformations: tuple[str, ...] | Callable[[DataConfig], tuple[str, ...]] = ()
    num_steps: int | Callable[[DataConfig], int] = 8
    likelihood: Literal["bernoulli", "laplace", "gaussian"] = "laplace"
    downloads: bool = False


IN_MEMORY: Final = "arrays"
"""Name of sequences that are in memory, of which their :class:`~ffrl.data.spec.DataSpec` says what there is to know."""


def describe(name: str) -> DataSet:
    """Return what is known of the data set ``name``.

    Raises:
        UserError: there is no such data set.

    Example:
        >>> describe("shapes3d").transformations
        ('floor-hue', 'wall-hue', 'object-hue', 'scale', 'orientation')
    """
    if name == IN_MEMORY:
        return DataSet("ffrl.data.arrays:in_memory", _no_images)
    described = DATA_SETS[DATA_SETS.require("data.name", name)]
    if not isinstance(described, DataSet):
        source, found = DATA_SETS.source(name), type(described).__name__
        raise UserError(f"{source}: data set {name!r}: found a {found}, expected a ffrl.data.catalogue.DataSet")
    return described


def transformations(config: DataConfig) -> tuple[str, ...]:
    """Return the names of the transformations of the data that ``config`` describes; none if they are not known.

    Those of a user's own recordings, whose files may hold activity, are read from there.

    Raises:
        UserError: there is no such data set, or there are no recordings.

    Example:
        >>> transformations(DataConfig())
        ('scaling', 'rotation', 'hue')
    """
    names = describe(config.name).transformations
    return names(config) if callable(names) else names


def image_shape(config: DataConfig) -> FrameShape:
    """Return (C, H, W) of the images that ``config`` describes.

    Raises:
        UserError: there is no such data set.

    Example:
        >>> image_shape(DataConfig())
        (3, 28, 28)
    """
    shape = describe(config.name).image_shape
    return shape(config) if callable(shape) else shape


def published_steps(config: DataConfig) -> int:
    """Return T of the published protocol of the data that ``config`` describes.

    Raises:
        UserError: there is no such data set.

    Example:
        >>> published_steps(DataConfig(name="shapes3d"))
        7
    """
    steps = describe(config.name).num_steps
    return steps(config) if callable(steps) else steps


def _no_images(config: DataConfig) -> FrameShape:
    raise UserError(f"data.name: found {config.name!r}, expected a data set, or sequences given from Python")
