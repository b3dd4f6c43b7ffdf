"""What is seen of a recording: a stretch of it, read piece by piece and kept as small pictures and a few numbers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.data.recorded import Recorded

PIECE = 2**22
"""Bytes of frames that are in memory at a time."""
GRID = 8
"""Sides of the small pictures, at most."""


@dataclass(frozen=True)
class Seen:
    """A stretch of a recording of pictures or of vectors.

    Attributes:
        recorded: the recording.
        small: pictures averaged over a grid, ``(n, C, h, w)`` float32 in levels of 255; or vectors ``(n, F)`` float64.
        steps: mean absolute difference of each frame to the one before, ``(n - 1,)``, in levels of 255; of vectors,
            the largest of any feature.
        contrast: largest minus smallest value of each frame in any channel, ``(n,)``, in levels of 255; 0 of vectors.
        brightest: largest value, in levels of 255; 0 of vectors.

    Example:
        >>> def read(first, last):
        ...     return np.full((last - first, 3, 16, 16), 7, np.uint8)
        >>> seen = look(Recorded("a", "train", 20, read), 5)
        >>> seen.small.shape, seen.steps.tolist(), seen.brightest
        ((5, 3, 8, 8), [0.0, 0.0, 0.0, 0.0], 7.0)
    """

    recorded: Recorded
    small: NDArray[Any]
    steps: NDArray[np.float64]
    contrast: NDArray[np.float64]
    brightest: float

    @property
    def pictures(self) -> bool:
        """Whether frames are pictures, and not vectors."""
        return self.small.ndim == 4

    @functools.cached_property
    def far(self) -> float:
        """Mean absolute difference of two small pictures a third of the stretch or more apart."""
        flat, count = self.small.reshape(len(self.small), -1), len(self.small)
        first = np.arange(count)
        second = (first + np.maximum(count // 3, 1) + first * 7 % max(count // 3, 1)) % count
        return float(np.abs(flat[first] - flat[second]).mean())


def look(recorded: Recorded, most: int) -> Seen:
    """Look at up to ``most`` frames of a recording, those in its middle."""
    count = min(recorded.length, most)
    first = (recorded.length - count) // 2
    probe = recorded.read(first, first + 1)
    piece = max(1, PIECE // max(probe.nbytes, 1))
    small, steps, contrast, brightest = list[NDArray[Any]](), list[NDArray[Any]](), list[NDArray[Any]](), 0.0
    before: NDArray[Any] | None = None
    for start in range(first, first + count, piece):
        frames = np.ascontiguousarray(recorded.read(start, min(start + piece, first + count)))
        joined = frames if before is None else np.concatenate([before, frames])
        before = frames[-1:]
        if frames.ndim == 2:
            small.append(np.asarray(frames, np.float64))
            with np.errstate(invalid="ignore"):
                moved = np.abs(np.diff(joined.astype(np.float64), axis=0))
            steps.append(np.where(np.isnan(moved), 0, moved).max(1))
            continue
        scale = 1.0 if frames.dtype == np.uint8 else 255.0
        flat = frames.reshape(*frames.shape[:2], -1)
        small.append(scale * _averaged(frames))
        spread = flat.max(-1).astype(np.float64) - flat.min(-1)
        contrast.append(np.asarray(scale * spread.max(1), np.float64))
        brightest = max(brightest, scale * float(flat.max()))
        steps.append(scale * _differences(joined))
    kept = np.concatenate(contrast) if contrast else np.zeros(count)
    return Seen(recorded, np.concatenate(small), np.concatenate(steps), kept, brightest)


def _differences(frames: NDArray[Any]) -> NDArray[np.float64]:
    """Mean absolute difference of each frame to the one before, without leaving bytes: max - min of both."""
    after, before = frames[1:], frames[:-1]
    apart = np.maximum(after, before) - np.minimum(after, before)
    return apart.reshape(len(apart), -1).mean(1, dtype=np.float64) if len(apart) else np.zeros(0)


def _averaged(frames: NDArray[Any]) -> NDArray[np.float32]:
    """Frames ``(n, C, H, W)`` averaged over the cells of a grid; what is left over at the edges is left out."""
    *_, height, width = frames.shape
    high, wide = min(GRID, height), min(GRID, width)
    cut = frames[..., : height // high * high, : width // wide * wide]
    cells = cut.reshape(*frames.shape[:2], high, height // high, wide, width // wide)
    made: NDArray[np.float32] = cells.mean((3, 5), dtype=np.float32)
    return made
