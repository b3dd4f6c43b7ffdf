"""Pictures that are nearly black, and blank frames: values that were meant otherwise, or a camera that was covered."""

from __future__ import annotations

from ffrl.data.findings.finding import Check, Finding, several
from ffrl.data.findings.seen import Seen

DARK = 16
"""Levels of 255 that a recording stays below as a whole if its range may be a mistake: 12 bits in 16 do."""
BLANK, SHARE = 2.0, 0.1
"""Levels of contrast of a blank frame, and their share in a recording that is told of."""


class Dark(Check):
    """Recordings whose largest value is so small that their range is probably another: 0 and 1 for black and white."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}

    def see(self, seen: Seen) -> None:
        """Look at the largest value."""
        if seen.pictures and seen.brightest <= DARK:
            self.largest[seen.recorded.name] = seen.brightest

    def found(self) -> list[Finding]:
        """Recordings of black and something that is nearly black; those that are all black are :class:`Blank`."""
        shown = {name: level for name, level in self.largest.items() if level > 0}
        if not shown:
            return []
        what = f"no value above {next(iter(shown.values())):.3g} of 255 in the frames looked at, nearly black"
        do = "--data.sequences.range own stretches files to what there is; arrays: white is 255 of bytes, 1 of floats"
        return [Finding("nearly black", several(shown), what, do)]


class Blank(Check):
    """Recordings with frames of a single colour."""

    def __init__(self) -> None:
        self.shares: dict[str, float] = {}

    def see(self, seen: Seen) -> None:
        """Count the frames without contrast; a dark recording has little of it everywhere."""
        if not seen.pictures:
            return
        share = float((seen.contrast <= (BLANK if seen.brightest > DARK else 0)).mean())
        if share >= SHARE:
            self.shares[seen.recorded.name] = share

    def found(self) -> list[Finding]:
        """Recordings of which a part is blank."""
        if not self.shares:
            return []
        what = f"{next(iter(self.shares.values())):.0%} of the frames looked at of a single colour"
        return [Finding("blank frames", several(self.shares), what, "leave these frames or recordings out")]
