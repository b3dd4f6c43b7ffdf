"""Falcor3D: a living room under lights and from cameras that move, from the published files or rendered."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.core.homes import resolve
from ffrl.data.catalogue import DataSet

NAMES = ("lighting-intensity", "lighting-x", "lighting-y", "lighting-z", "camera-x", "camera-y", "camera-z")


def image_shape(config: DataConfig) -> tuple[int, int, int]:
    """(C, H, W) of the images in the folder, or of those that are rendered."""
    pixels = resolve("ffrl.data.grids.made:side")(config)
    return (3, pixels, pixels)


def num_steps(config: DataConfig) -> int:
    """T: what is rendered as it is needed has any number of values, a grid has few."""
    return resolve("ffrl.data.grids.made:steps")(config, published=4, kept=0)


DATA_SET = DataSet("ffrl.data.rendered.falcor3d:falcor3d_sequences", image_shape, NAMES, num_steps)
