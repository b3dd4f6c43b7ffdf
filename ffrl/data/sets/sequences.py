"""A user's own recordings."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.core.homes import resolve
from ffrl.data.catalogue import DataSet


def image_shape(config: DataConfig) -> tuple[int, int, int]:
    """(C, H, W) of their frames, in colour and of the size that the configuration says."""
    return (3, config.sequences.size, config.sequences.size)


def transformations(config: DataConfig) -> tuple[str, ...]:
    """Names of those whose activity the files hold; none if they hold none, or are not there yet."""
    if config.root is None:
        return ()
    return resolve("ffrl.data.recordings.activity:transformations_in")(config.root, config.sequences)


DATA_SET = DataSet("ffrl.data.recordings.clips:ClipSequences", image_shape, transformations, 8)
