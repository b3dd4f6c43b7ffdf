"""Frames that are out of order: swapped in pairs, shuffled, or named so that their order is a guess."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.data.findings.finding import Check, Finding, several
from ffrl.data.findings.seen import Seen

LEAST = 12
"""Frames that can tell whether a recording is in order."""
SWAPPED = 0.75
"""Share of its length to which swapping pairs shortens the way through the frames of one whose pairs are swapped."""
UNRELATED, SORTED = 0.8, 0.6
"""Frames are shuffled if one after the other differ as much as any two, by this share of it, while an order could be
found in which they differ by no more than the second share of what they do."""
WINDOW = 128
"""Frames that are put in order, from the middle of the stretch."""
COMMON = 0.9
"""Share of the numbers in names whose distance is the usual one, where others are gaps."""


class Order(Check):
    """Recordings whose frames follow each other less smoothly than they could."""

    def __init__(self) -> None:
        self.swapped: dict[str, float] = {}
        self.shuffled: dict[str, float] = {}

    def see(self, seen: Seen) -> None:
        """Compare the way through the frames with that in other orders."""
        if not seen.pictures or len(seen.small) < LEAST:
            return
        frames = seen.small.reshape(len(seen.small), -1)
        way = _steps(frames).sum()
        if way <= 0:
            return
        shorter = min(_steps(_pairs_swapped(frames, first)).sum() for first in (0, 1))
        if shorter < SWAPPED * way:
            self.swapped[seen.recorded.name] = shorter / way
        elif way / (len(frames) - 1) > UNRELATED * seen.far:
            middle = max(0, (len(frames) - WINDOW) // 2)
            some = np.unique(frames[middle : middle + WINDOW], axis=0)
            here = _steps(frames[middle : middle + WINDOW]).mean()
            if len(some) >= LEAST and (share := _nearest_way(some) / here) < SORTED:
                self.shuffled[seen.recorded.name] = share

    def found(self) -> list[Finding]:
        """Recordings whose frames are swapped or shuffled."""
        do = "number the frames in the order they were taken in (frame0001.png, ...)"
        both = (self.swapped, "neighbouring frames swapped"), (self.shuffled, "frames that look shuffled")
        return [
            Finding("out of order", several(which), f"{what}: in another order they differ {_less(which)} less", do)
            for which, what in both
            if which
        ]


def _less(shares: dict[str, float]) -> str:
    return f"{1 - next(iter(shares.values())):.0%}"


def _steps(frames: NDArray[Any]) -> NDArray[Any]:
    made: NDArray[Any] = np.abs(np.diff(frames, axis=0)).mean(1)
    return made


def _pairs_swapped(frames: NDArray[Any], first: int) -> NDArray[Any]:
    order = np.arange(len(frames))
    pairs = order[first : first + (len(order) - first) // 2 * 2].reshape(-1, 2)
    order[first : first + pairs.size] = pairs[:, ::-1].ravel()
    return frames[order]


def _nearest_way(frames: NDArray[Any]) -> float:
    """Mean step of the way that goes on to the nearest frame that is left, the best of those from a few beginnings."""
    apart = np.abs(frames[:, None] - frames[None]).mean(-1)
    best = np.inf
    for begin in np.linspace(0, len(frames) - 1, 4).astype(int):
        left, here, way = np.ones(len(frames), bool), int(begin), 0.0
        left[here] = False
        while left.any():
            after = int(np.where(left, apart[here], np.inf).argmin())
            way += float(apart[here, after])
            left[after], here = False, after
        best = min(best, way / (len(frames) - 1))
    return float(best)


class Names(Check):
    """Folders of pictures whose names have no numbers, or whose numbers have gaps."""

    def __init__(self) -> None:
        self.without: dict[str, str] = {}
        self.gaps: dict[str, str] = {}

    def see(self, seen: Seen) -> None:
        """Look at the names of the frames."""
        if seen.recorded.files is None or len(names := seen.recorded.files()) < 3:
            return
        if not any(re.search(r"\d", name.rpartition(".")[0]) for name in names):
            self.without[seen.recorded.name] = names[0]
        elif (gap := gap_in(names)) is not None:
            self.gaps[seen.recorded.name] = gap

    def found(self) -> list[Finding]:
        """Names without numbers, and gaps."""
        findings = []
        if self.without:
            first = next(iter(self.without.values()))
            what = f"no numbers in the names of frames ({first}), which are read in alphabetical order"
            do = "number the frames in the order they were taken in (frame0001.png, ...)"
            findings.append(Finding("names without numbers", several(self.without), what, do))
        if self.gaps:
            what = f"a gap in the numbers of frames ({next(iter(self.gaps.values()))})"
            do = "put the frames before and after a gap into folders of their own"
            findings.append(Finding("gap in numbers", several(self.gaps), what, do))
        return findings


def gap_in(names: list[str]) -> str | None:
    """The first gap in the one number that changes in names of frames, in words; None if there is none, or several do.

    Example:
        >>> gap_in([f"a{number}.png" for number in (*range(20), *range(30, 50))]), gap_in(["a1.png", "a5.png"])
        ('19 is followed by 30', None)
    """
    numbers = [[int(part) for part in re.findall(r"\d+", name.rpartition(".")[0])] for name in names]
    if len({len(row) for row in numbers}) != 1:
        return None
    changing = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
    if len(changing) != 1:
        return None
    ordered = sorted(changing[0])
    apart = np.diff(ordered)
    usual, count = Counter(apart.tolist()).most_common(1)[0]
    wide = np.flatnonzero(apart > usual)
    if len(apart) < 2 or count < COMMON * len(apart) or not len(wide):
        return None
    return f"{ordered[wide[0]]} is followed by {ordered[wide[0] + 1]}"
