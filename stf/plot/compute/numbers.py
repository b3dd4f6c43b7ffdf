"""Numbers for figures and captions: shares as percent, and what a run recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def percent(share: float) -> str:
    """Return a share in [0, 1] in per cent, with a decimal where it is close to nothing or to everything.

    Example:
        >>> percent(0.25), percent(0.997), percent(0.9999), percent(0.0)
        ('25 %', '99.7 %', '> 99.9 %', '0 %')
    """
    value = 100 * share
    if not 0.05 <= value <= 99.95 and 1e-9 < share < 1 - 1e-9:
        return "< 0.1 %" if share < 0.5 else "> 99.9 %"
    return f"{value:.0f} %" if 2 <= value <= 98 or not 0.05 <= value <= 99.95 else f"{value:.1f} %"


def series(metrics: Sequence[Mapping[str, Any]], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of one key; values that were not finite are nan.

    Example:
        >>> series([{"step": 1, "train/l1": 2.0}, {"step": 2}, {"step": 3, "train/l1": None}], "train/l1")
        (array([1., 3.]), array([ 2., nan]))
    """
    found = [(entry["step"], math.nan if entry[key] is None else entry[key]) for entry in metrics if key in entry]
    steps, values = np.array(found, dtype=np.float64).reshape(-1, 2).T
    return steps, values
