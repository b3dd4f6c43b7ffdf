"""A table of numbers with their spread over seeds, and how the best of a column is found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

MISSING = "–"
PARTIAL = "†"
"""Marks the mean over some of the seeds, the others having no value."""


@dataclass(frozen=True)
class Number:
    """A mean over seeds, its sample standard deviation (None for one seed), and how it is printed.

    Example:
        >>> str(Number(185.42, 2.351, digits=1)), str(Number(None)), str(Number(0.98765, digits=3))
        ('185.4 ± 2.4', '–', '0.988')
    """

    mean: float | None
    spread: float | None = None
    digits: int = 1
    best: bool = False
    mark: str = ""

    def __str__(self) -> str:
        if self.mean is None:
            return MISSING
        spread = "" if self.spread is None else f" ± {self.spread:,.{self.digits}f}"
        return f"{self.mean:,.{self.digits}f}{self.mark}{spread}"


@dataclass(frozen=True)
class Column:
    """A column: its title, which numbers are better, and the block of columns that it belongs to.

    Example:
        >>> Column("hue", "low").arrow
        '↓'
    """

    title: str
    better: Literal["low", "high", ""] = ""
    block: str = ""

    @property
    def arrow(self) -> str:
        """Points to where better numbers are."""
        return {"low": "↓", "high": "↑", "": ""}[self.better]


@dataclass(frozen=True)
class Row:
    """A row: its title, a text or number per column, and whether it is compared with the others."""

    title: str
    cells: tuple[Number | str, ...]
    compares: bool = True


@dataclass(frozen=True)
class Grid:
    """A table, and the sentences under it.

    Args:
        title: above it.
        first: what the rows are.
        columns: the others.
        rows: one cell per column each.
        notes: what has to be known to read it.
        footer: what it has in common with the other tables of a benchmark.
    """

    title: str
    first: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()


def spread(values: Iterable[float | None], digits: int = 1) -> Number:
    r"""Mean and sample standard deviation, :math:`\sqrt{\sum_i (x_i - \bar x)^2 / (n - 1)}`, of what is there.

    If a value is missing, the number is marked :data:`PARTIAL`.

    Example:
        >>> str(spread([1.0, 3.0])), str(spread([1.0, 3.0, None])), str(spread([None]))
        ('2.0 ± 1.4', '2.0† ± 1.4', '–')
    """
    values = list(values)
    found = [value for value in values if value is not None]
    if not found:
        return Number(None, digits=digits)
    mark = PARTIAL if len(found) < len(values) else ""
    mean = sum(found) / len(found)
    if len(found) == 1:
        return Number(mean, digits=digits, mark=mark)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in found) / (len(found) - 1))
    return Number(mean, deviation, digits, mark=mark)


def with_best(grid: Grid) -> Grid:
    """Mark the best numbers of every column in which better is defined, as printed: those that look equal are equal.

    Rows that do not compare and means over some of the seeds are neither marked nor compared with, and one number alone
    is not the best of anything.

    Example:
        >>> rows = [Row(name, (Number(value),)) for name, value in (("a", 2.0), ("b", 1.04), ("c", 0.96))]
        >>> grid = with_best(Grid("", "", (Column("error", "low"),), tuple(rows)))
        >>> [row.cells[0].best for row in grid.rows]
        [False, True, True]
    """
    winners = [
        _best(column, [row.cells[place] for row in grid.rows if row.compares]) for place, column in _places(grid)
    ]
    rows = []
    for row in grid.rows:
        cells = [
            replace(cell, best=True) if row.compares and winner is not None and _compared(cell) == winner else cell
            for cell, winner in zip(row.cells, winners, strict=True)
        ]
        rows.append(replace(row, cells=tuple(cells)))
    return replace(grid, rows=tuple(rows))


def without_empty(grid: Grid) -> Grid:
    """Leave out the columns in which no row has anything.

    Example:
        >>> columns = (Column("a"), Column("b"))
        >>> grid = without_empty(Grid("", "", columns, (Row("x", (Number(None), Number(1.0))),)))
        >>> [column.title for column in grid.columns]
        ['b']
    """
    kept = [place for place, _ in _places(grid) if any(str(row.cells[place]) != MISSING for row in grid.rows)]
    return _picked(grid, kept)


def in_width(grid: Grid, width: int) -> list[Grid]:
    """Split a table into several of at most ``width`` characters, each with the first column; notes go to the last.

    Blocks of columns stay apart from each other if the whole does not fit.

    Example:
        >>> columns = (Column("error"), Column("share"), Column("error", block="published"))
        >>> [[column.title for column in part.columns] for part in in_width(Grid("T", "model", columns, ()), 20)]
        [['error'], ['share'], ['error']]
    """
    widths = [_width(grid, place) for place, _ in _places(grid)]
    first = 4 + max(map(len, (grid.first, *(row.title for row in grid.rows))))
    if first + sum(widths) <= width:
        return [grid]
    parts: list[list[int]] = []
    for place, column in _places(grid):
        last = parts[-1] if parts else []
        fits = first + sum(widths[other] for other in last) + widths[place] <= width
        if last and fits and grid.columns[last[-1]].block == column.block:
            last.append(place)
        else:
            parts.append([place])
    return [
        replace(
            _picked(grid, part),
            title=grid.title if number == 0 else f"{grid.title}, continued",
            notes=grid.notes if number == len(parts) - 1 else (),
        )
        for number, part in enumerate(parts)
    ]


def _picked(grid: Grid, places: Sequence[int]) -> Grid:
    """Only some columns."""
    rows = tuple(replace(row, cells=tuple(row.cells[place] for place in places)) for row in grid.rows)
    return replace(grid, columns=tuple(grid.columns[place] for place in places), rows=rows)


def _width(grid: Grid, place: int) -> int:
    """Characters that a column takes, its border included."""
    column = grid.columns[place]
    cells = (str(row.cells[place]) for row in grid.rows)
    return 3 + max(map(len, (column.block, f"{column.title} {column.arrow}".strip(), *cells)))


def _places(grid: Grid) -> list[tuple[int, Column]]:
    return list(enumerate(grid.columns))


def _compared(cell: Number | str) -> float | None:
    """The number as printed, None if it is not compared."""
    if isinstance(cell, str) or cell.mean is None or cell.mark == PARTIAL:
        return None
    return round(cell.mean, cell.digits)


def _best(column: Column, cells: Sequence[Number | str]) -> float | None:
    values = [value for cell in cells if (value := _compared(cell)) is not None]
    if not column.better or len(values) < 2:
        return None
    return min(values) if column.better == "low" else max(values)
