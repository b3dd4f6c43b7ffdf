"""What each field turned out to do: its transformation, its direction, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stf.plot.compute.numbers import percent

MOST_DRAWN = 8
"""Fields that have pictures of their own; the first ones, which are the most telling."""


@dataclass(frozen=True)
class FieldRole:
    """One field and the transformation it is matched to.

    Args:
        field: its number, counted from 0.
        row: number of the transformation, None if it is matched to none.
        transformation: name of the transformation.
        direction: 1.0, or -1.0 if the field runs backwards when the transformation runs forwards.
        silent: whether it hardly ever acts.
        used: share of the steps at which it acts, where transformations are not known.
    """

    field: int
    row: int | None = None
    transformation: str | None = None
    direction: float = 1.0
    silent: bool = False
    used: float | None = None

    @property
    def caption(self) -> str:
        """What is said of the field beside its number: its transformation, else how often it acts, or "no match".

        Example:
            >>> FieldRole(0, 1, "hue").caption, FieldRole(0, used=0.254).caption, FieldRole(0).caption
            ('hue', 'on 25 %', 'no match')
        """
        if self.transformation is not None:
            return self.transformation
        return "no match" if self.used is None else f"on {percent(self.used)}"


@dataclass(frozen=True)
class ActivityRow:
    """One line of an activity raster: a field, a transformation, or a field with its transformation."""

    role: FieldRole | None
    row: int | None
    transformation: str | None

    def speeds(self, inferred: ArrayLike) -> NDArray[np.float64] | None:
        """Inferred speeds ``(..., K)`` -> those of this row, turned into the direction of the transformation."""
        return None if self.role is None else self.role.direction * np.asarray(inferred)[..., self.role.field]

    def truth(self, truth: ArrayLike) -> NDArray[np.float64] | None:
        """True speeds ``(..., J)`` -> those of this row."""
        return None if self.row is None else np.asarray(truth)[..., self.row]


def given_roles(transformations: Sequence[str]) -> list[FieldRole]:
    """Roles of a supervised model: field j is transformation j.

    Example:
        >>> given_roles(["scaling", "hue"])[1].transformation
        'hue'
    """
    return [FieldRole(j, j, name) for j, name in enumerate(transformations)]


def aligned_roles(alignment: dict[str, Any], num_fields: int) -> list[FieldRole]:
    """Roles from :func:`~ffrl.evaluation.matching.align`: matched fields, then active, then silent ones.

    Example:
        >>> from ffrl.evaluation.matching import align
        >>> truth = np.array([[[1.0, 0.0], [0.0, 1.0]]])
        >>> [role.field for role in aligned_roles(align(truth[..., ::-1], truth, ["scaling", "hue"]), 2)]
        [1, 0]
    """
    described = alignment["transformations"]
    silent = {entry["field"] for entry in alignment["unmatched"] if entry["silent"]}
    directions = {name: entry["direction"] or 1.0 for name, entry in described.items()}
    return _roles({name: entry["field"] for name, entry in described.items()}, directions, silent, num_fields)


def confused_roles(confusion: dict[str, Any], num_fields: int) -> list[FieldRole]:
    """Roles from :func:`ffrl.evaluation.measures.confusion.confusion`; a field that is never inferred is silent.

    Example:
        >>> from ffrl.evaluation.measures.confusion import confusion
        >>> [role.silent for role in confused_roles(confusion([1, 1], [0, 0], 2, ["scaling"]), 2)]
        [False, True]
    """
    fields = {name: entry["field"] for name, entry in confusion["fields"].items()}
    silent = set(np.flatnonzero(np.sum(confusion["counts"], axis=0) == 0).tolist())
    return _roles(fields, dict.fromkeys(fields, 1.0), silent, num_fields)


def used_roles(usage: Sequence[dict[str, Any]]) -> list[FieldRole]:
    """Roles if transformations are not known, from :func:`~ffrl.evaluation.measures.usage.usage`, the most used first.

    Silent fields come last.

    Example:
        >>> from ffrl.evaluation.measures.usage import usage
        >>> [(role.field, role.used) for role in used_roles(usage([[[0.0, 1.0], [0.5, 1.0]]]))]
        [(1, 1.0), (0, 0.5)]
    """
    roles = [FieldRole(one["field"], silent=one["silent"], used=one["on"]) for one in usage]
    return sorted(roles, key=lambda role: (role.silent, -(role.used or 0.0)))


def _roles(
    fields: dict[str, int | None], directions: dict[str, float], silent: set[int], num_fields: int
) -> list[FieldRole]:
    matched = [
        FieldRole(field, row, name, directions[name])
        for row, (name, field) in enumerate(fields.items())
        if field is not None
    ]
    taken = {role.field for role in matched}
    others = [FieldRole(field, silent=field in silent) for field in range(num_fields) if field not in taken]
    return matched + sorted(others, key=lambda role: role.silent)


def activity_rows(roles: Sequence[FieldRole], transformations: Sequence[str]) -> list[ActivityRow]:
    """One row per transformation, with its field if it has one, then one per active field without a transformation.

    Example:
        >>> roles = [FieldRole(4), FieldRole(2, 0, "scaling")]
        >>> [row.transformation for row in activity_rows(roles, ["scaling", "hue"])]
        ['scaling', 'hue', None]
    """
    matched = {role.row: role for role in roles if role.row is not None}
    known = [ActivityRow(matched.get(row), row, name) for row, name in enumerate(transformations)]
    return known + [ActivityRow(role, None, None) for role in roles if role.row is None and not role.silent]


def silent_fields(roles: Sequence[FieldRole]) -> list[int]:
    """Numbers of the silent fields, in order.

    Example:
        >>> silent_fields([FieldRole(1, silent=True), FieldRole(0, silent=True), FieldRole(2)])
        [0, 1]
    """
    return sorted(role.field for role in roles if role.silent)


def listed(fields: Sequence[int]) -> str:
    """Return the numbers of at least one field as words.

    Example:
        >>> listed([2]), listed([0, 1, 4])
        ('field 2', 'fields 0, 1 and 4')
    """
    *head, last = map(str, fields)
    return f"fields {', '.join(head)} and {last}" if head else f"field {last}"


def drawn(roles: Sequence[FieldRole]) -> list[FieldRole]:
    """Roles of the fields that have pictures of their own: those that are not silent, but not too many of them.

    Example:
        >>> [role.field for role in drawn([FieldRole(0), FieldRole(1, silent=True), FieldRole(2)])]
        [0, 2]
        >>> len(drawn([FieldRole(field) for field in range(99)])) == MOST_DRAWN
        True
    """
    return [role for role in roles if not role.silent][:MOST_DRAWN]


def silence(roles: Sequence[FieldRole]) -> str:
    """Return a sentence that lists the silent fields, and one that lists those of :func:`drawn` that were too many.

    Example:
        >>> silence([FieldRole(0), FieldRole(1, silent=True), FieldRole(2, silent=True)])
        'Silent, not drawn: fields 1 and 2.'
        >>> silence([FieldRole(field) for field in range(MOST_DRAWN + 2)])
        'No field is silent. Left out here, beyond the first 8: fields 8 and 9.'
    """
    fields, shown = silent_fields(roles), {role.field for role in drawn(roles)}
    left = sorted(role.field for role in roles if not role.silent and role.field not in shown)
    more = f" Left out here, beyond the first {MOST_DRAWN}: {listed(left)}." if left else ""
    if not fields:
        return "No field is silent." + more
    if len(fields) == len(roles):
        return f"All fields are silent ({listed(fields)}): there is nothing to draw."
    return f"Silent, not drawn: {listed(fields)}.{more}"


def remainder(roles: Sequence[FieldRole]) -> str:
    """Return what is to be said of the fields without a transformation, active and silent, if there are any.

    Example:
        >>> remainder([FieldRole(0, 0, "hue"), FieldRole(1), FieldRole(2, silent=True)])
        'Active without a transformation: field 1. Silent: field 2.'
    """
    active = [role.field for role in roles if role.row is None and role.used is None and not role.silent]
    groups = (("Active without a transformation", active), ("Silent", silent_fields(roles)))
    return " ".join(f"{name}: {listed(fields)}." for name, fields in groups if fields)
