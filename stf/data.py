"""Data for :func:`stf.fit`: arrays, vectors, poses and Datasets in memory, and the benchmark data sets.

Example:
    >>> import numpy as np
    >>> arrays(np.zeros((10, 6, 12, 20), np.uint8)).image_shape
    (1, 12, 20)
"""

from __future__ import annotations

from ffrl.config import ClipsConfig, DataConfig, PosesConfig, VectorsConfig
from ffrl.data import load
from ffrl.data.arrays import arrays, dataset
from ffrl.data.findings.inspect import inspect
from ffrl.data.poses.sequences import poses
from ffrl.data.vectors.sequences import vectors

__all__ = [
    "ClipsConfig",
    "DataConfig",
    "PosesConfig",
    "VectorsConfig",
    "arrays",
    "dataset",
    "inspect",
    "load",
    "poses",
    "vectors",
]
