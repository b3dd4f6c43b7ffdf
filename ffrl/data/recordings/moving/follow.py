"""A window that follows what moves: its centre is that of the difference from the background, smoothed over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError

NOISE = 24
"""Levels of 255 that a pixel differs by from the background without having moved, summed over three channels."""
REACH = 4.0
"""Deviations of a Gaussian after which it counts as zero."""
FLAG = "--data.sequences.follow"


def centre(frame: NDArray[np.uint8], background: NDArray[np.uint8]) -> tuple[float, float]:
    r"""Return y and x of the centre of what moves in a frame, in pixels; NaN where nothing does.

    .. math:: \sum_p w_p\,p \,\Big/ \sum_p w_p, \qquad w_p = \max(0, \sum_c |x_{pc} - b_{pc}| - \text{NOISE})

    Args:
        frame: ``(H, W, 3)``.
        background: of the same shape.

    Example:
        >>> frame = np.zeros((9, 9, 3), np.uint8)
        >>> frame[2:5, 4:7] = 255
        >>> [round(value, 2) for value in centre(frame, np.zeros_like(frame))]
        [3.0, 5.0]
    """
    apart = np.maximum(frame, background) - np.minimum(frame, background)
    weights = np.maximum(apart.sum(-1, dtype=np.float64) - NOISE, 0.0)
    total = float(weights.sum())
    if total == 0:
        return float("nan"), float("nan")
    rows, columns = weights.sum(1), weights.sum(0)
    return float(rows @ np.arange(len(rows)) / total), float(columns @ np.arange(len(columns)) / total)


def smoothed(way: NDArray[np.float64], deviation: float, source: str) -> NDArray[np.float64]:
    """Return a way ``(frames, 2)`` smoothed by a Gaussian; where it is missing (NaN) it is joined by straight lines.

    Beyond the ends of the recording the way is not continued: weights of what is there are scaled to 1.

    Args:
        way: a point of every frame.
        deviation: of the Gaussian, in frames; 0 leaves the way as it is.
        source: what messages start with.

    Raises:
        UserError: it is missing everywhere.

    Example:
        >>> smoothed(np.array([[0.0, 1.0], [np.nan, np.nan], [2.0, 1.0]]), 0.0, "walk.mp4").tolist()
        [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    """
    there = np.flatnonzero(~np.isnan(way).any(1))
    if not len(there):
        raise UserError(f"{source}: found nothing that moves, expected something to follow ({FLAG})")
    places = np.arange(len(way))
    whole = np.stack([np.interp(places, there, way[there, axis]) for axis in range(2)], 1)
    if deviation == 0:
        return whole
    reach = min(int(np.ceil(REACH * deviation)), len(way) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weight = np.convolve(np.ones(len(way)), kernel)[reach : reach + len(way)]
    return np.stack([np.convolve(whole[:, axis], kernel)[reach : reach + len(way)] / weight for axis in range(2)], 1)


def corners(way: NDArray[np.float64], window: int, height: int, width: int, source: str) -> NDArray[np.int64]:
    """Return the upper left corners ``(frames, 2)`` of windows around a way, all of them inside the picture.

    Raises:
        UserError: the window is larger than the picture.

    Example:
        >>> corners(np.array([[1.0, 5.0], [4.0, 9.0]]), 4, 8, 10, "walk.mp4").tolist()
        [[0, 4], [3, 6]]
    """
    if window > min(height, width):
        expected = f"at most {min(height, width)}, the smaller side of {width} x {height} pixels ({FLAG})"
        raise UserError(f"{source}: found a window of {window} pixels, expected {expected}")
    first = np.floor(way - (window - 1) / 2 + 0.5).astype(np.int64)
    return first.clip(0, (height - window, width - window))
