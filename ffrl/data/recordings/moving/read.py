"""One recording in memory as the clips of training have it: windows that follow what moves, changes of a background."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.given import unit_interval
from ffrl.data.recordings.cache import fitted
from ffrl.data.recordings.find import ARRAYS, open_recording
from ffrl.data.recordings.moving.background import background
from ffrl.data.recordings.moving.following import following
from ffrl.data.static import changes

MOST_BYTES = 2**27
"""Largest recording that is read: pixel values of its frames once they are resized."""


def read_moving(path: Path, config: ClipsConfig) -> Tensor:
    """Return the frames of one recording, ``(T', 3, size, size)`` float32 in [0, 1], as those of clips are.

    The background is the median of this recording alone. Every ``stride``-th frame is taken, or those of the rate; of
    arrays all of them.

    Args:
        path: a video, an animation, a folder of pictures or an array.
        config: size, crop, and what is followed and static.

    Raises:
        UserError: it cannot be used, is too long, several recordings, or a single picture, which has no background.

    Example:
        >>> import tempfile
        >>> walk = np.full((9, 8, 8), 100, np.uint8)
        >>> walk[np.arange(9), 0, np.arange(9) % 8] = 255
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "walk.npy"), walk)
        ...     frames = read_moving(Path(folder, "walk.npy"), ClipsConfig(size=8, static="median"))
        >>> frames.shape, frames[1, 0, 0, :3].round(decimals=2)
        (torch.Size([9, 3, 8, 8]), tensor([0.5000, 0.8000, 0.5000]))
    """
    if not path.exists():
        raise UserError(f"{path}: found no such file or folder, expected a recording")
    if not path.is_dir() and path.suffix.lower() in ARRAYS:
        config = replace(config, stride=1, fps=0.0, dense=False)
    opened = open_recording(path, config.stride, how=config)
    if opened.parts > 1:
        raise UserError(f"{path}: found {opened.parts} recordings, expected one")
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]
    pairs = following(path, config) if config.follow else ((frame, None) for frame in opened.frames)
    taken: list[NDArray[np.uint8]] = []
    behind: list[NDArray[np.uint8]] = []
    for frame, back in pairs:
        for kept, pixels in ((taken, frame), (behind, back)):
            if pixels is not None:
                kept.append(fitted(pixels, config.size, config.size, config.crop))
        if sum(one.nbytes for one in taken[:1]) * len(taken) > MOST_BYTES:
            raise UserError(f"{path}: found more than {MOST_BYTES:,} pixel values, expected a shorter recording")
    if len(taken) < 2:
        expected = "a recording: what is static in it, or moves, shows only over time (data.sequences.static, .follow)"
        raise UserError(f"{path}: found a single picture, expected {expected}")
    frames = unit_interval(torch.from_numpy(np.stack(taken)))
    if config.static == "none":
        return frames
    static = np.stack(behind) if behind else background(taken)
    return changes(frames, unit_interval(torch.from_numpy(static)))
