"""Features that say nothing, that are out of all proportion, missing, or angles in another unit; points of poses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ffrl.data.features import Features
from ffrl.data.findings.finding import Check, Finding
from ffrl.data.findings.seen import Seen

CONSTANT = 0.99
"""Share of the vectors in which a feature has one and the same value."""
OUTLIER, USUAL = 20.0, 0.99
"""A value is out of proportion if it is so many times as far from the median as this share of all values are."""
LEAST = 50
"""Values of a feature that can tell what is usual."""
MISSING = 0.4
"""Share of the values of a feature, or of the points of a node, that are missing."""
DEGREES, RADIANS = 100.0, 2 * np.pi
"""A period that large is no period in radians; values within a turn in radians may be."""
LISTED = 3


class Vectors(Check):
    """Features by their values in the recordings that are shown.

    Args:
        features: their names and periods, and the skeleton of poses.
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        self.values: list[NDArray[np.float64]] = []
        self.jumps = np.zeros(len(features))

    def see(self, seen: Seen) -> None:
        """Keep the vectors, and the largest steps."""
        if seen.pictures:
            return
        self.values.append(seen.small)
        if len(seen.small) > 1:
            apart = np.abs(np.diff(seen.small, axis=0))
            self.jumps = np.maximum(self.jumps, np.where(np.isnan(apart), 0, apart).max(0))

    def found(self) -> list[Finding]:
        """Features that are constant, have outliers, are missing, or are angles in another unit; points missing."""
        if not self.values:
            return []
        values = np.concatenate(self.values)
        columns = dict(zip(self.features.names, values.T, strict=True))
        known = {name: column[~np.isnan(column)] for name, column in columns.items()}
        plain = {one.name for one in self.features.each if one.period is None}
        constant = {name: text for name in plain if (text := _constant(known[name])) is not None}
        others = plain - constant.keys()
        outliers = {name: text for name in others if (text := _outlier(known[name])) is not None}
        findings = []
        do = "leave this feature out, or repair it at its source"
        findings += _listed("constant feature", constant, "one value in most vectors", do)
        do = "check for values that stand for missing ones (write them as NaN, or leave them empty) and for other units"
        findings += _listed("outlier", outliers, "a value out of all proportion", do)
        return [*findings, *self._missing(columns), *self._angles(known)]

    def _missing(self, columns: dict[str, NDArray[np.float64]]) -> Iterator[Finding]:
        shares = {name: float(np.isnan(column).mean()) for name, column in columns.items()}
        skeleton = self.features.skeleton
        if skeleton is not None:
            by_node = {node: shares.get(f"x of {node}", 0.0) for node in skeleton.nodes}
            lost = {f"point {node}": f"{share:.0%}" for node, share in by_node.items() if share >= MISSING}
            do = "leave these points out (--data.poses.nodes), or accept lower scores (--data.poses.confidence)"
            yield from _listed("missing points", lost, "missing in a large share of the poses", do)
            return
        lost = {name: f"{share:.0%}" for name, share in shares.items() if share >= MISSING}
        do = "leave these features out, or the recordings without them"
        yield from _listed("missing values", lost, "missing in a large share of the vectors", do)

    def _angles(self, known: dict[str, NDArray[np.float64]]) -> Iterator[Finding]:
        """Angles that jump by more than a turn, or whose turn is 100 or more while they span one in radians."""
        jump, radians = {}, {}
        for one, largest in zip(self.features.each, self.jumps, strict=True):
            column = known[one.name]
            if one.period is None or not len(column):
                continue
            low, high = float(column.min()), float(column.max())
            if largest > 1.01 * one.period:
                jump[one.name] = f"{largest:.4g} at a period of {one.period:.4g}"
            elif one.period >= DEGREES and -np.pi <= low and high <= RADIANS and np.pi < high - low:
                radians[one.name] = f"{low:.3g} to {high:.3g} at a period of {one.period:.4g}"
        do = "give the period in the unit of the values (--data.vectors.periodic NAME=360, of radians NAME)"
        yield from _listed("angle outside a turn", jump, "a step of more than a turn", do)
        yield from _listed("angle outside a turn", radians, "a turn in radians", do)


def _listed(kind: str, of: dict[str, str], what: str, do: str) -> list[Finding]:
    """One finding about several features, in the order of their names."""
    if not of:
        return []
    names = sorted(of)
    more = f" and {len(names) - LISTED} others" if len(names) > LISTED else ""
    return [Finding(kind, ", ".join(names[:LISTED]) + more, f"{what} ({of[names[0]]})", do)]


def _constant(column: NDArray[np.float64]) -> str | None:
    if len(column) < LEAST:
        return None
    values, counts = np.unique(column, return_counts=True)
    most = int(counts.argmax())
    share = counts[most] / len(column)
    return f"{values[most]:.4g} in {share:.1%}" if share >= CONSTANT else None


def _outlier(column: NDArray[np.float64]) -> str | None:
    if len(column) < LEAST:
        return None
    middle = float(np.median(column))
    far = np.abs(column - middle)
    usual, place = float(np.quantile(far, USUAL)), int(far.argmax())
    if usual > 0 and far[place] > OUTLIER * usual:
        return f"{column[place]:.6g}, while {USUAL:.0%} are within {usual:.3g} of {middle:.3g}"
    return None
