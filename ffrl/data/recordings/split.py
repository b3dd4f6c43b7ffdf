"""Which clips a recording has, and which recordings are held out, so that no frame is in two splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ffrl.core.errors import UserError
from ffrl.core.seed import hashed_seed

SPLIT_SEED = 0
"""The split is the same in every run, whatever the seed of training."""


def clip_count(frames: int, length: int, hop: int) -> int:
    """Return how many clips of ``length`` frames start every ``hop`` frames and end within ``frames``.

    Example:
        >>> clip_count(20, 9, 4), clip_count(8, 9, 4)
        (3, 0)
    """
    return max(0, (frames - length) // hop + 1)


def held_out(names: Sequence[str], clips: Sequence[int], share: float) -> list[int]:
    """Return which of two or more recordings are the validation split, at least one and not all.

    Of all sets of recordings, one whose clips are as near as possible to ``share`` of all clips; which of them depends
    on the names alone, by a hash with a fixed seed.

    Args:
        names: distinct names of the recordings.
        clips: clips of each, at least 1.
        share: wanted share of all clips.

    Returns:
        Positions in ``names``, ascending.

    Example:
        >>> held_out(["a", "b", "c", "d"], [40, 5, 50, 5], 0.1)
        [1, 3]
    """
    target, total = round(share * sum(clips)), sum(clips)
    most = min(max(2 * target, min(clips)), total - 1)
    target = min(max(target, 1), most)
    order = sorted(range(len(names)), key=lambda i: (hashed_seed(SPLIT_SEED, f"recording {names[i]}"), names[i]))
    last = np.full(most + 1, -1, dtype=np.int64)  # the recording that first reached a sum; -1: not reached
    reached = np.zeros(most + 1, dtype=bool)
    reached[0] = True
    for place, recording in enumerate(order):
        count = clips[recording]
        if count > most or reached[target]:
            continue
        new = reached[: most + 1 - count] & ~reached[count:]
        last[count:][new] = place
        reached[count:] |= new
    sums = np.flatnonzero(reached)[1:]
    left = int(sums[np.argmin(np.abs(sums - target))])
    chosen = []
    while left:
        chosen.append(order[last[left]])
        left -= clips[chosen[-1]]
    return sorted(chosen)


def border_in_time(frames: int, length: int, hop: int, share: float, source: str) -> int:
    """Return b so that clips of the frames before b are for training and clips of those from b on for validation.

    b is where the share of the validation clips is as near as possible to ``share``, at least one clip on each side.

    Raises:
        UserError: there are too few frames for a clip on each side; the message starts with ``source``.

    Example:
        >>> border_in_time(frames=100, length=9, hop=4, share=0.2, source="walk.mp4")
        76
    """
    if frames < 2 * length:
        found = f"one recording with {frames} frames"
        expected = f"at least {2 * length}, two clips of T + 1, to train on the first part and validate on the last"
        raise UserError(f"{source}: found {found}, expected {expected}")
    borders = np.arange(length, frames - length + 1)
    train, validation = (borders - length) // hop + 1, (frames - borders - length) // hop + 1
    wrong = np.abs(validation / (train + validation) - share)
    return int(borders[np.lexsort((-(train + validation), wrong))[0]])
