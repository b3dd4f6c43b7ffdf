"""Recordings that are copies of others, by the hash of their frames; across the split they make every measure false."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ffrl.data.findings.finding import Finding
from ffrl.data.findings.seen import PIECE
from ffrl.data.recorded import Recorded

LISTED = 3


def copies(recordings: Sequence[Recorded], budget: int) -> list[Finding]:
    """Say which recordings are copies.

    Those of equal length and equal middle frame are compared as a whole, as far as the budget goes; what is a single
    picture throughout is nobody's copy.

    Args:
        recordings: to be compared.
        budget: bytes of frames that are read at most to compare them as a whole.

    Example:
        >>> def read(first, last):
        ...     return np.arange(first, last, dtype=np.float64)[:, None]
        >>> held = [Recorded("a", "train", 9, read), Recorded("b", "validation", 9, read)]
        >>> [str(one) for one in copies(held, 2**20)]
        ['b: found a copy of a, which is trained on; take it out, or measures are of what was learnt']
    """
    alike: dict[tuple[int, bytes], list[Recorded]] = {}
    for one in recordings:
        middle = one.read(one.length // 2, one.length // 2 + 1)
        alike.setdefault((one.length, _digest([middle])), []).append(one)
    across, within = [], []
    for group in alike.values():
        if len(group) < 2:
            continue
        same: dict[bytes, list[Recorded]] = {}
        for one in group:
            budget -= one.length * one.read(0, 1).nbytes
            if budget < 0:
                break
            if _moves(one):
                same.setdefault(_digest(_pieces(one)), []).append(one)
        for each in same.values():
            trained = [one for one in each if one.split == "train"]
            others = [one for one in each if one.split != "train"]
            across += [(one.name, trained[0].name) for one in others if trained]
            first, *further = trained or others
            within += [(one.name, first.name) for one in further]
    findings = []
    if across:
        do = "take it out, or measures are of what was learnt"
        findings.append(_finding("copy across the split", across, ", which is trained on", do))
    if within:
        findings.append(_finding("copy", within, "", "leave copies out: they count more than once"))
    return findings


def _finding(kind: str, pairs: list[tuple[str, str]], of: str, do: str) -> Finding:
    names = ", ".join(one for one, _ in pairs[:LISTED])
    more = f" and {len(pairs) - LISTED} others" if len(pairs) > LISTED else ""
    what = f"a copy of {pairs[0][1]}{of}" if len(pairs) == 1 else f"copies of others{of}, such as {pairs[0][1]}"
    return Finding(kind, names + more, what, do)


def _digest(pieces: Iterable[np.ndarray]) -> bytes:
    made = hashlib.sha256()
    for piece in pieces:
        made.update(np.ascontiguousarray(piece).data)
    return made.digest()


def _pieces(one: Recorded) -> Iterator[np.ndarray]:
    size = max(1, PIECE // max(1, one.read(0, 1).nbytes))
    return (one.read(first, min(first + size, one.length)) for first in range(0, one.length, size))


def _moves(one: Recorded) -> bool:
    """Whether some of the frames differ."""
    places = np.unique(np.linspace(0, one.length - 1, 8).astype(int))
    first = one.read(0, 1)
    return any(not np.array_equal(first, one.read(place, place + 1), equal_nan=True) for place in places.tolist())
