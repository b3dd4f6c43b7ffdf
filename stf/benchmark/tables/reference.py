"""Published figures beside one's own where they compare, and in a table of their own where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ffrl.evaluation.protocol.published import SUPERVISED, TABLES, Published, published
from ffrl.tables.table import Column, Number, Row, Table

BLOCK = "published"
IMPOSSIBLE = "!"
MISSING = "–"
"""What tables of a benchmark write where there is nothing."""


def beside(
    table: Table, methods: Sequence[str], reference: Published, names: Sequence[str], bound: float | None
) -> Table:
    """Add the published figures of the method of each row.

    Args:
        table: with one row per method.
        methods: their published names; nothing for what is not published.
        reference: the published table.
        names: of the transformations.
        bound: the log-likelihood that no model can exceed, if it is known.
    """
    rows = [
        replace(row, cells=[*row.cells, *_figures(reference, method, names, bound)])
        for row, method in zip(table.rows, methods, strict=True)
    ]
    columns = [Column(title, block=BLOCK) for title in (*names, "log p")]
    return replace(table, columns=[*table.columns, *columns], rows=rows)


def published_errors(data: Mapping[str, Any]) -> dict[str, float]:
    """Return the published errors of FFRL supervised by transformation; nothing where they do not compare.

    Args:
        data: name, title, protocol and number of steps, as an evaluation has them.

    Example:
        >>> published_errors({"name": "mnist", "title": "MNIST", "protocol": "ffrl", "num_steps": 8})
        {'scaling': 185.42, 'rotation': 153.54, 'hue': 158.57}
    """
    reference = published(dict(data))
    row = None if reference is None else reference.row(SUPERVISED)
    return {} if row is None else {name: figure.mean for name, figure in row.errors.items()}


def about(reference: Published, bound: float | None) -> list[str]:
    """Say where published figures are from and what they may be compared with."""
    notes = [
        f"Published: Flow Factorized Representation Learning, {reference.where}, {reference.about}; what its ± is, is "
        "not said. Other networks, the whole training set and longer training: the figures say where the field stood, "
        "not what an equal budget gives."
    ]
    return [*notes, *_impossible(bound)]


def elsewhere(data: Mapping[str, Any], bound: float | None) -> list[Table]:
    """Published figures that do not compare with what was measured on ``data``, as a table of their own.

    Args:
        data: name, title, protocol and number of steps, as an evaluation has them.
        bound: the log-likelihood that no model can exceed on images of this size, if it is known.

    Example:
        >>> rendered = {"name": "shapes3d", "title": "rendered Shapes3D", "protocol": "ffrl", "num_steps": 7}
        >>> [table.title for table in elsewhere(rendered, None)]
        ['Published figures, which do not compare with rendered Shapes3D']
        >>> elsewhere(rendered | {"title": "Shapes3D"}, None)
        []
    """
    reference = TABLES.get(data["name"])
    if reference is None or published(dict(data)) is not None:
        return []
    names = list(reference.rows[0].errors)
    rows = [Row(row.method, [row.told, *_figures(reference, row.method, names, bound)]) for row in reference.rows]
    columns = [Column("told"), *(Column(name) for name in names), Column("log p")]
    note = (
        f"Flow Factorized Representation Learning, {reference.where}, {reference.about}. These are measured on other "
        f"sequences than {data['title']} ({data['protocol']}, {data['num_steps']} steps): no figure of this table "
        "compares with any above."
    )
    title = f"Published figures, which do not compare with {data['title']}"
    return [Table("published", title, "method", columns, rows, [note, *_impossible(bound)], MISSING)]


def _impossible(bound: float | None) -> list[str]:
    if bound is None:
        return []
    return [f"{IMPOSSIBLE} exceeds {bound:,.2f}, the log-likelihood per frame that no model can exceed."]


def _figures(reference: Published, method: str, names: Sequence[str], bound: float | None) -> list[Number | None]:
    row = reference.row(method)
    if row is None:
        return [None] * (len(names) + 1)
    found = [row.errors.get(name) for name in names]
    numbers = [figure and Number(*figure) for figure in found]
    score = row.log_likelihood
    if score is None:
        return [*numbers, None]
    mark = IMPOSSIBLE if bound is not None and score.mean > bound else ""
    return [*numbers, Number(*score, mark=mark)]
