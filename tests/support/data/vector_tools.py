"""Small vector sequences for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ffrl.data.vectors.sequences import VectorSequences, vectors

NAMES = ("x", "y", "heading")


def walks(count: int = 16, length: int = 5, missing: float = 0.0, seed: int = 0) -> NDArray[np.float64]:
    """Points that walk, and an angle in degrees that turns: ``(N, T+1, 3)``, some values of x and y missing."""
    source = np.random.default_rng(seed)
    points = 1000 + 5 * source.normal(size=(count, length, 2)).cumsum(1)
    points[source.random(points.shape) < missing] = np.nan
    turning = (source.uniform(0, 360, (count, 1, 1)) + 40 * source.random((count, length, 1)).cumsum(1)) % 360
    return np.concatenate([points, turning], -1)


def vector_data(known: bool = True, missing: float = 0.1, count: int = 16, length: int = 5) -> VectorSequences:
    """Sequences of walks, with an activity of three transformations of which one acts at a time."""
    source = np.random.default_rng(1)
    acting = np.eye(3)[source.integers(0, 3, (count, length - 1))] * source.uniform(0.5, 1.5, (count, length - 1, 1))
    options = dict(features=NAMES, periodic={"heading": 360.0}, validation=0.5)
    values = walks(count, length, missing)
    if not known:
        return vectors(values, **options)
    return vectors(values, acting, transformations=("scaling", "rotation", "hue"), **options)
