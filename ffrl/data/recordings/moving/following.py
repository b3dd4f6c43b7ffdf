"""Windows of a recording that follow what moves in it, each with the part of the background that is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.recordings.find import BrokenRecording, open_recording
from ffrl.data.recordings.moving.background import background
from ffrl.data.recordings.moving.follow import centre, corners, smoothed
from ffrl.data.recordings.moving.node import FLAG, way_of


class Window(NamedTuple):
    """A window of a frame and of the background, ``(window, window, 3)`` uint8 each."""

    frame: NDArray[np.uint8]
    background: NDArray[np.uint8]


def following(path: Path, config: ClipsConfig) -> Iterator[Window]:
    """Yield the window of every frame of all recordings in a file, one after the other.

    The recording is read three times at once, frame by frame: for the background, for the way of what moves, and for
    the windows. What is in memory are the frames that the background is the median of.

    Args:
        path: as :func:`~ffrl.data.recordings.find.find_recordings` returns it.
        config: ``follow``, ``follow_node`` and ``follow_smooth``, and how frames are read.

    Raises:
        BrokenRecording: it cannot be used, nothing moves in it, it is smaller than the window, or there are no poses
            of the point that is followed.

    Example:
        >>> import tempfile
        >>> walk = np.zeros((9, 16, 24), np.uint8)
        >>> for t in range(9):
        ...     walk[t, 6:9, 2 * t : 2 * t + 3] = 255
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "walk.npy"), walk)
        ...     shown = list(following(Path(folder, "walk.npy"), ClipsConfig(follow=9, follow_smooth=0.0)))
        >>> [int(one.frame[4, 4, 0]) for one in shown[2:]]
        [255, 255, 255, 255, 255, 255, 255]
    """
    if config.follow_node and (parts := open_recording(path, config.stride, how=config).parts) > 1:
        raise BrokenRecording(f"{path}: found {parts} recordings, expected one beside its poses ({FLAG})")
    opened = [open_recording(path, config.stride, how=config) for _ in range(3)]
    parts = opened[0].parts
    each = (opened[0].expected or 0) // parts if parts > 1 else None
    for part in range(parts):
        source = f"{path}[{part}]" if parts > 1 else str(path)
        first, second, third = (islice(one.frames, each) for one in opened)
        behind = background(first)
        try:
            if config.follow_node:
                way = way_of(path, config.follow_node, config.stride * np.arange(sum(1 for _ in second)))
            else:
                way = np.array([centre(frame, behind) for frame in second])
            height, width = behind.shape[:2]
            where = corners(smoothed(way, config.follow_smooth, source), config.follow, height, width, source)
        except BrokenRecording:
            raise
        except UserError as error:
            raise BrokenRecording(str(error)) from error
        for frame, (top, left) in zip(third, where, strict=True):
            here = slice(top, top + config.follow), slice(left, left + config.follow)
            yield Window(frame[here], behind[here])
