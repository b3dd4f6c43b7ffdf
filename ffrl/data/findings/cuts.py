"""Cuts: a step inside a recording between scenes that have nothing to do with each other."""

from __future__ import annotations

import numpy as np

from ffrl.data.findings.finding import Check, Finding, several
from ffrl.data.findings.seen import Seen

LEAST = 24
"""Frames that can tell a cut from motion."""
TIMES, USUAL = 5.0, 0.9
"""How many times larger than this quantile of all steps a cut is, frames that repeat left out."""
SHARPER, AROUND = 4.0, 5
"""How many times larger than those of as many steps on both sides it is."""
LEVELS = 10.0
"""Least mean difference over a cut, in levels of 255 of the small pictures."""


class Cuts(Check):
    """Recordings with a step that is far larger than all around it."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.number = 0

    def see(self, seen: Seen) -> None:
        """Look for single steps that stand out."""
        if not seen.pictures or len(seen.small) < LEAST:
            return
        frames = seen.small.reshape(len(seen.small), -1)
        steps = np.abs(np.diff(frames, axis=0)).mean(1)
        moving = steps[steps > 0]
        if len(moving) < LEAST // 2:
            return
        large = np.flatnonzero(steps > max(TIMES * float(np.quantile(moving, USUAL)), LEVELS))
        cuts = [place for place in large.tolist() if steps[place] > SHARPER * _largest_around(steps, place)]
        if cuts:
            self.number += len(cuts)
            begin = seen.recorded.begin + (seen.recorded.length - len(frames)) // 2
            self.places.setdefault(seen.recorded.name, begin + cuts[0] + 2)

    def found(self) -> list[Finding]:
        """Where the first cut is, and how many there are."""
        if not self.places:
            return []
        many = f"a cut at frame {next(iter(self.places.values()))}" + (f", {self.number} in all" * (self.number > 1))
        do = "divide recordings at their cuts: no clip should go across one"
        return [Finding("cut", several(self.places), many, do)]


def _largest_around(steps: np.ndarray, place: int) -> float:
    around = [*steps[max(0, place - AROUND) : place], *steps[place + 1 : place + 1 + AROUND]]
    return float(max(around, default=np.inf))
