"""A user's own poses of animals."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.core.homes import resolve
from ffrl.data.catalogue import DataSet


def frame_shape(config: DataConfig) -> tuple[int, ...]:
    """(F,): the coordinates of the nodes that are taken."""
    return resolve("ffrl.data.poses.files:frame_shape")(config)


DATA_SET = DataSet("ffrl.data.poses.files:sequences", frame_shape, (), 8, "gaussian")
"""Clips of poses that SLEAP or DeepLabCut has tracked."""
