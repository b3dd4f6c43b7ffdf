"""How sure a model is of its activity, where it has a posterior of it: opacity of what is drawn, and error bars."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

PALEST = 0.2
"""Opacity of a field that is as likely on as off."""
BAR = "#303030"
PALER = "paler: less sure to be on; bars: ± 1 s.d. of the speed"
"""What the look of inferred activity means, in the words of a legend."""


def opacity(probability: ArrayLike) -> NDArray[np.float64]:
    """Return how opaque fields are drawn that are on with these probabilities.

    Example:
        >>> opacity([0.5, 0.75, 1.0]).round(2).tolist()
        [0.2, 0.6, 1.0]
    """
    return PALEST + (1 - PALEST) * np.clip(2 * np.asarray(probability, dtype=np.float64) - 1, 0, 1)


def error_bars(axes: Axes, x: ArrayLike, y: ArrayLike, deviation: ArrayLike, gid: str, cap: float = 1.6) -> None:
    """Draw bars of one deviation upwards and downwards, visible on any colour; its lines have the gid ``gid``.

    Args:
        axes: where.
        x: places, ``(N,)``.
        y: middles, ``(N,)``.
        deviation: half lengths, ``(N,)``.
        gid: of the bars.
        cap: half the width of their ends in points.
    """
    _, _, (bars,) = axes.errorbar(
        x, y, yerr=deviation, fmt="none", ecolor=BAR, elinewidth=0.9, capsize=cap, capthick=0.9, zorder=3.5
    )
    bars.set(gid=gid, path_effects=[withStroke(linewidth=2.2, foreground="white", alpha=0.8)])
