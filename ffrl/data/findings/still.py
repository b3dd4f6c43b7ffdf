"""Recordings that stand still, and clips in which nothing moves."""

from __future__ import annotations

import numpy as np

from ffrl.data.findings.finding import Check, Finding, several
from ffrl.data.findings.seen import Seen

SHARE = 0.3
"""Share of the clips without motion from which on it is told."""
LONG = 24
"""Transitions without motion that say something of a recording as a whole, and not of a clip at rest."""


class Still(Check):
    """Frames that repeat the one before exactly: throughout a recording, or throughout many clips.

    Args:
        num_steps: T, transitions of a clip.
    """

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.frozen: list[str] = []
        self.clips = self.without = 0

    def see(self, seen: Seen) -> None:
        """Count stretches of T transitions in which no frame differs from the one before."""
        moves = seen.steps > 0
        if not len(moves):
            return
        if len(moves) >= LONG and not moves.any():
            self.frozen.append(seen.recorded.name)
            return
        length = min(self.num_steps, len(moves))
        moved = np.convolve(moves, np.ones(length, int), "valid")
        self.clips += len(moved)
        self.without += int((moved == 0).sum())

    def found(self) -> list[Finding]:
        """Recordings that stand still, and the share of clips that do among the others."""
        findings = []
        if self.frozen:
            what = "every frame looked at equal to the one before"
            findings.append(Finding("stands still", several(self.frozen), what, "leave out what does not move"))
        if self.clips and self.without >= SHARE * self.clips:
            what = f"no motion in {self.without / self.clips:.0%} of the clips of {self.num_steps + 1} frames looked at"
            do = "cut out what stands still, or take a larger stride"
            findings.append(Finding("clips without motion", "clips", what, do))
        return findings
