"""A user's own recordings."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.data.catalogue import DataSet


def image_shape(config: DataConfig) -> tuple[int, int, int]:
    """(C, H, W) of their frames, in colour and of the size that the configuration says."""
    return (3, config.sequences.size, config.sequences.size)


DATA_SET = DataSet("ffrl.data.recordings.clips:ClipSequences", image_shape, (), 8)
