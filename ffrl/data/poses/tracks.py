"""What a file of tracked animals says, whatever program wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.data.skeleton import Skeleton


class Track(NamedTuple):
    """One animal over consecutive frames.

    ``points`` are ``(S, nodes, 2)``, x to the right and y downwards in pixels, NaN where one was not found, ``scores``
    ``(S, nodes)``, NaN where they are not known, and ``first`` is the number of the first frame.
    """

    name: str
    first: int
    points: NDArray[np.float64]
    scores: NDArray[np.float64]


class Tracked(NamedTuple):
    """All animals in one video, and how many poses of it belong to none of them."""

    name: str
    skeleton: Skeleton
    tracks: list[Track]
    loose: int = 0


def track(name: str, poses: dict[int, tuple[Any, Any]], nodes: int) -> Track:
    """The track of poses by the number of their frame: points ``(nodes, 2)``, and scores ``(nodes,)`` or None.

    Example:
        >>> made = track("fly", {7: ([[1.0, 2.0]], [0.9]), 9: ([[3.0, 4.0]], None)}, 1)
        >>> made.first, made.points.tolist()
        (7, [[[1.0, 2.0]], [[nan, nan]], [[3.0, 4.0]]])
    """
    first = min(poses)
    points = np.full((max(poses) - first + 1, nodes, 2), np.nan)
    scores = np.full(points.shape[:2], np.nan)
    for frame, (places, known) in poses.items():
        points[frame - first] = places
        scores[frame - first] = np.nan if known is None else known
    return Track(name, first, points, scores)


def confident(one: Track, least: float) -> NDArray[np.float64]:
    """Points of a track, NaN where a coordinate is missing or the score is below the least one.

    Example:
        >>> confident(Track("fly", 0, np.ones((1, 2, 2)), np.array([[0.2, 0.9]])), 0.5).tolist()
        [[[nan, nan], [1.0, 1.0]]]
    """
    missing = np.isnan(one.points).any(-1) | (one.scores < least)
    return np.where(missing[..., None], np.nan, one.points)


def pieces(points: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """First frame, and the one after the last, of every stretch in which no pose is missing altogether.

    Example:
        >>> list(pieces(np.array([0.0, 1.0, np.nan, 3.0])[:, None, None]))
        [(0, 2), (3, 4)]
    """
    there = ~np.isnan(points).all((1, 2))
    edges = np.flatnonzero(np.diff(np.r_[False, there, False]))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
