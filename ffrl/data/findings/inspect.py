"""Looking through data for what looks wrong: a sample of bounded size, evenly spaced over the recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ffrl.data.base import SequenceData
from ffrl.data.findings.copies import copies
from ffrl.data.findings.cuts import Cuts
from ffrl.data.findings.dark import Blank, Dark
from ffrl.data.findings.few import too_few
from ffrl.data.findings.finding import Check, Finding
from ffrl.data.findings.order import Names, Order
from ffrl.data.findings.seen import look
from ffrl.data.findings.still import Still
from ffrl.data.findings.vectors import Vectors
from ffrl.data.on_device import where_made
from ffrl.data.recorded import Recorded

BUDGET = 2**27
"""Bytes of frames that are looked at, and as many again that are compared as a whole."""
MOST, MOST_COMPARED = 1000, 20_000
"""Recordings that are looked at, and compared."""
MOST_ASKED = 100
"""Clips of a Dataset that are looked at and compared: how long each takes is not known."""
LEAST_FRAMES = 64
"""Frames that are looked at of each recording, where it has them; fewer recordings are, if they are too many bytes."""


@dataclass(frozen=True)
class Inspection:
    """What looks wrong in data, and how much of them was looked at.

    Args:
        findings: what looks wrong.
        looked: what was looked at, in words; empty where there are no recordings.
    """

    findings: tuple[Finding, ...]
    looked: str

    def plain(self) -> dict[str, Any]:
        """JSON values: ``findings`` and ``looked_at``."""
        return {"findings": [one.plain() for one in self.findings], "looked_at": self.looked}


def inspect(data: SequenceData, fields: int | None = None) -> Inspection:
    """Look through data for what looks wrong; equal data give equal findings.

    Recordings that are there already are looked at: nearly black ones, blank frames, what stands still, frames out of
    order, gaps in their numbers, cuts, copies, features that are constant, missing, out of proportion or in another
    unit, and whether there are very few. Sequences that are made anew from single images are not.

    Args:
        data: any sequences.
        fields: K of a model that is to be trained on them; None for none.

    Example:
        >>> from ffrl.data.vectors.sequences import vectors
        >>> walk = np.random.default_rng(0).normal(size=(500, 2)).cumsum(0)
        >>> walk[100, 1] = 1e9
        >>> [one.kind for one in inspect(vectors(walk, features=("x", "y"))).findings]
        ['outlier']
    """
    made = where_made(data)
    recordings = made.recordings()
    findings = too_few(made, fields)
    if not recordings:
        return Inspection(tuple(findings), "")
    checks: list[Check] = [Dark(), Blank(), Still(made.num_steps), Order(), Names(), Cuts()]
    checks += [] if made.features is None else [Vectors(made.features)]
    with torch.random.fork_rng(devices=[]):  # a Dataset may draw from it
        chosen, frames = _sample(recordings)
        seen = 0
        for one in chosen:
            shown = look(one, frames)
            seen += len(shown.small)
            for check in checks:
                check.see(shown)
        for check in checks:
            findings += check.found()
        compared = _spaced(recordings, MOST_COMPARED if recordings[0].quick else len(chosen))
        findings += copies(compared, BUDGET)
    total, some, every = sum(one.length for one in recordings), _count(chosen), _count(recordings)
    many = f"{every:,} recording{'s' if every > 1 else ''}"
    looked = f"all {total:,} frames" if seen == total else f"{seen:,} of {total:,} frames"
    looked += f" of {many}" if some == every else f", in {some:,} of {many}"
    return Inspection(tuple(findings), looked)


def _sample(recordings: Sequence[Recorded]) -> tuple[Sequence[Recorded], int]:
    """The recordings to look at, and of how many frames of each."""
    size = max(1, recordings[0].read(0, 1).nbytes)
    budget = max(LEAST_FRAMES, BUDGET // size)
    least = min(LEAST_FRAMES, max(one.length for one in recordings))
    most = MOST if recordings[0].quick else MOST_ASKED
    chosen = _spaced(recordings, min(most, max(1, budget // least)))
    return chosen, max(least, budget // len(chosen))


def _count(recordings: Sequence[Recorded]) -> int:
    """How many there are; the parts of a divided one count once."""
    return len({one.name for one in recordings})


def _spaced(recordings: Sequence[Recorded], most: int) -> Sequence[Recorded]:
    """Up to so many of them, evenly spaced."""
    if len(recordings) <= most:
        return recordings
    return [recordings[place] for place in np.linspace(0, len(recordings) - 1, most).astype(int).tolist()]
