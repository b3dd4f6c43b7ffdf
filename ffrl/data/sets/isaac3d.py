"""Isaac3D: a robot arm and an object in a kitchen, from the published files or rendered."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.core.homes import resolve
from ffrl.data.catalogue import DataSet

NAMES = (
    "robot-x",
    "robot-y",
    "camera-height",
    "object-scale",
    "lighting-intensity",
    "lighting-y",
    "object-color",
    "wall-color",
)


def image_shape(config: DataConfig) -> tuple[int, int, int]:
    """(C, H, W) of the images in the folder, or of those that are rendered."""
    pixels = resolve("ffrl.data.grids.made:side")(config)
    return (3, pixels, pixels)


def num_steps(config: DataConfig) -> int:
    """T: what is rendered as it is needed has any number of values, a grid has few."""
    return resolve("ffrl.data.grids.made:steps")(config, published=3, kept=1)


DATA_SET = DataSet("ffrl.data.rendered.isaac3d:isaac3d_sequences", image_shape, NAMES, num_steps)
