"""The static background of a recording: the median of each pixel over some of its frames, which are streamed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MOST_FRAMES = 201
"""Frames that a background is the median of."""
MOST_BYTES = 2**28
"""What they may take in memory; of large frames there are fewer, but for :data:`LEAST_FRAMES`."""
LEAST_FRAMES = 9
ROWS = 32
"""Rows of which the median is taken at a time."""


def evenly(
    frames: Iterable[NDArray[np.uint8]], most: int = MOST_FRAMES, most_bytes: int = MOST_BYTES
) -> NDArray[np.uint8]:
    """Return evenly spaced ones of frames whose number is not known before, ``(n, H, W, C)``.

    Every frame is kept until there are too many; then every second one of those that are kept goes, and of those that
    follow so many more are passed over. The first is always among them, and n is more than half of what is allowed,
    unless there are fewer.

    Args:
        frames: of one recording, at least one.
        most: how many are kept at most.
        most_bytes: what they take at most, if that is not fewer than :data:`LEAST_FRAMES`.

    Example:
        >>> evenly((np.full((1, 1, 1), n, np.uint8) for n in range(10)), most=4).ravel()
        array([0, 4, 8], dtype=uint8)
    """
    kept: list[NDArray[np.uint8]] = []
    every = 1
    for number, frame in enumerate(frames):
        if number % every:
            continue
        if not kept:
            most = min(most, max(LEAST_FRAMES, most_bytes // frame.nbytes))
        kept.append(frame)
        if len(kept) > most:
            kept, every = kept[::2], 2 * every
    return np.stack(kept)


def median(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the median of each value over frames ``(n, ...)``; of an even number the lower one, which is a byte too.

    Example:
        >>> median(np.array([[0, 9], [4, 8], [200, 7], [5, 6]], np.uint8))
        array([4, 7], dtype=uint8)
    """
    middle, parts = (len(frames) - 1) // 2, range(0, frames.shape[1], ROWS)
    return np.concatenate([np.partition(frames[:, row : row + ROWS], middle, axis=0)[middle] for row in parts])


def background(frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the median of each value over evenly spaced frames of one recording.

    Example:
        >>> walk = np.full((9, 2, 4), 7, np.uint8)
        >>> walk[np.arange(9), 0, np.arange(9) % 4] = 255
        >>> background(walk).tolist()
        [[7, 7, 7, 7], [7, 7, 7, 7]]
    """
    return median(evenly(frames))
