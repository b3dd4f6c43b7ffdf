"""A user's own vector sequences."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.core.homes import resolve
from ffrl.data.catalogue import DataSet


def frame_shape(config: DataConfig) -> tuple[int, ...]:
    """(F,): the columns that are taken."""
    return resolve("ffrl.data.vectors.files:frame_shape")(config)


def transformations(config: DataConfig) -> tuple[str, ...]:
    """Names of those whose activity the files hold; none if they hold none, or are not there yet."""
    return resolve("ffrl.data.vectors.files:transformations")(config)


DATA_SET = DataSet("ffrl.data.vectors.files:sequences", frame_shape, transformations, 8, "gaussian")
"""Clips of a user's own vectors, with their true activity where files hold it."""
