"""What is known of every data set without reading it; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ffrl.config import DataConfig
from ffrl.core.errors import require


@dataclass(frozen=True)
class DataSet:
    """A data set: where its class is, its images, its transformations and its published sequence length.

    Attributes:
        home: ``module:class`` of its :class:`~ffrl.data.base.SequenceData`.
        image_shape: ``(C, H, W)``; None if the configuration decides.
        transformations: their names; none if they are not known.
        num_steps: T of the published protocol.
        likelihood: of the pixels, by default. Where nearly all of them are black, so is the median that a Laplace
            likelihood asks for, and a decoder stays at the black image.
    """

    home: str
    image_shape: tuple[int, int, int] | None
    transformations: tuple[str, ...]
    num_steps: int
    likelihood: Literal["bernoulli", "laplace"] = "laplace"


SHAPES3D = ("floor-hue", "wall-hue", "object-hue", "scale", "orientation")
FALCOR3D = ("lighting-intensity", "lighting-x", "lighting-y", "lighting-z", "camera-x", "camera-y", "camera-z")
ISAAC3D = ("robot-x", "robot-y", "camera-height", "object-scale", "lighting-intensity", "lighting-y") + (
    "object-color",
    "wall-color",
)
SPRITES = tuple(
    f"{action}-{facing}" for action in ("walk", "spellcast", "slash") for facing in ("front", "left", "right")
)
DATA_SETS = {
    "mnist": DataSet("ffrl.data.digits.mnist:MnistSequences", (3, 28, 28), ("scaling", "rotation", "hue"), 8),
    "shapes3d": DataSet("ffrl.data.shapes3d.sequences:shapes3d_sequences", (3, 64, 64), SHAPES3D, 7),
    "falcor3d": DataSet("ffrl.data.grids.falcor3d:Falcor3DSequences", (3, 128, 128), FALCOR3D, 4),
    "isaac3d": DataSet("ffrl.data.grids.isaac3d:Isaac3DSequences", (3, 128, 128), ISAAC3D, 3),
    "sprites": DataSet("ffrl.data.sprites.sequences:SpriteSequences", (3, 64, 64), SPRITES, 7),
    "moving-mnist": DataSet(
        "ffrl.data.digits.moving_mnist:MovingMnistSequences",
        (1, 64, 64),
        ("right", "left", "down", "up"),
        8,
        "bernoulli",
    ),
    "sequences": DataSet("ffrl.data.recordings.clips:ClipSequences", None, (), 8),
}
"""Every data set by its ``--data.name``."""
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
        return DataSet("ffrl.data.arrays:in_memory", None, (), 8)
    require(name in DATA_SETS, "data.name", name, f"one of {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def transformations(config: DataConfig) -> tuple[str, ...]:
    """Return the names of the transformations of the data that ``config`` describes; none if they are not known.

    Raises:
        UserError: there is no such data set.

    Example:
        >>> transformations(DataConfig(name="moving-mnist", digits=2))[3:5]
        ('1-up', '2-right')
    """
    names = describe(config.name).transformations
    if config.name == "moving-mnist" and config.digits > 1:
        return tuple(f"{digit + 1}-{name}" for digit in range(config.digits) for name in names)
    return names


def image_shape(config: DataConfig) -> tuple[int, int, int]:
    """Return (C, H, W) of the images that ``config`` describes.

    Raises:
        UserError: there is no such data set.

    Example:
        >>> image_shape(DataConfig())
        (3, 28, 28)
    """
    require(config.name != IN_MEMORY, "data.name", config.name, "a data set, or sequences given from Python")
    known = describe(config.name).image_shape
    return known if known is not None else (3, config.sequences.size, config.sequences.size)
