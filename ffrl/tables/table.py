"""A table: titled columns that know their unit, format and which numbers are better, rows, and notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ffrl.core.terminal import printable

MISSING = "n/a"


@dataclass(frozen=True)
class Number:
    """A number that has more to it than its value.

    Args:
        mean: the value.
        spread: its standard error, or the deviation of what it is the mean of; None where it is not known.
        best: whether it is set off from the others.
        mark: a sign behind it, which a note explains.
        compares: whether it may be the best of its column.
    """

    mean: float
    spread: float | None = None
    best: bool = False
    mark: str = ""
    compares: bool = True


Cell = Number | float | str | None
"""A number, a text, or None for what is missing or undefined."""


@dataclass(frozen=True)
class Column:
    """A column: its title, which numbers are better, and how they are written.

    Args:
        title: above it.
        better: ``low`` or ``high``; nothing where neither is better.
        unit: of its numbers.
        block: of neighbouring columns that belong together.
        digits: decimals.
        percent: whether its numbers are shares that are written in per cent.

    Example:
        >>> Column("PSNR", "high", unit="dB").heading, Column("share", percent=True, digits=1).text(0.25)
        ('PSNR [dB] ↑', '25.0 %')
    """

    title: str
    better: Literal["low", "high", ""] = ""
    unit: str = ""
    block: str = ""
    digits: int = 2
    percent: bool = False

    @property
    def arrow(self) -> str:
        """Points to where better numbers are."""
        return {"low": "↓", "high": "↑", "": ""}[self.better]

    @property
    def name(self) -> str:
        """Title and unit."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title

    @property
    def heading(self) -> str:
        """Title, unit and arrow."""
        return f"{self.name} {self.arrow}".strip()

    def parts(self, number: Number) -> tuple[str, str]:
        """The mean with its mark, and the spread, or nothing in its place.

        Example:
            >>> Column("error", digits=1).parts(Number(1185.42, 2.351, mark="!"))
            ('1,185.4!', '2.4')
            >>> Column("share", digits=1, percent=True).parts(Number(0.25, 0.01))
            ('25.0', '1.0 %')
        """
        values = [number.mean] if number.spread is None else [number.mean, number.spread]
        texts = [f"{100 * value if self.percent else value:,.{self.digits}f}" for value in values]
        texts[0] += number.mark
        texts[-1] += " %" if self.percent else ""
        return texts[0], "" if number.spread is None else texts[1]

    def text(self, cell: Cell, missing: str = MISSING) -> str:
        """What is written for a cell.

        Example:
            >>> Column("error").text(Number(3.0, 0.5)), Column("error").text(None), Column("error").text("≥ 1")
            ('3.00 ± 0.50', 'n/a', '≥ 1')
        """
        if isinstance(cell, str):
            return printable(cell)
        number = as_number(cell)
        if number is None:
            return missing
        mean, spread = self.parts(number)
        return f"{mean} ± {spread}" if spread else mean


@dataclass(frozen=True)
class Row:
    """A row: its title, a cell per column, whether it is compared with the others, and whether it may be left out."""

    title: str
    cells: Sequence[Cell]
    compares: bool = True
    detail: bool = False


@dataclass(frozen=True)
class Table:
    """A table, and the sentences under it.

    Args:
        name: of letters, digits and hyphens.
        title: above it.
        first: what the rows are.
        columns: the others; without any there are the title and the notes alone.
        rows: one cell per column each.
        notes: what has to be known to read it.
        missing: written for None.
    """

    name: str
    title: str
    first: str
    columns: Sequence[Column] = ()
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()
    missing: str = MISSING

    def texts(self, row: Row) -> list[str]:
        """What is written in the cells of a row.

        Example:
            >>> table = Table("t", "T", "", [Column("a"), Column("b")], [Row("x", [1.0, None])])
            >>> table.texts(table.rows[0])
            ['1.00', 'n/a']
        """
        return [column.text(cell, self.missing) for column, cell in zip(self.columns, row.cells, strict=True)]

    def is_text(self, place: int) -> bool:
        """Whether a column holds nothing but texts."""
        return bool(self.rows) and all(isinstance(row.cells[place], str) for row in self.rows)


def as_number(cell: Cell) -> Number | None:
    """Return a cell as a number, None for a text and for what is not finite."""
    if isinstance(cell, str) or cell is None:
        return None
    number = cell if isinstance(cell, Number) else Number(float(cell))
    return number if math.isfinite(number.mean) else None


def estimated(value: Mapping[str, Any] | None) -> Number | None:
    """Return a mean with its standard error, from :func:`ffrl.evaluation.protocol.statistics.estimate`.

    Example:
        >>> estimated({"mean": 3.0, "standard_error": 0.5}), estimated(None)
        (Number(mean=3.0, spread=0.5, best=False, mark='', compares=True), None)
    """
    if value is None or value["mean"] is None:
        return None
    return Number(value["mean"], value.get("standard_error"))


def with_best(table: Table) -> Table:
    """Mark the best numbers of every column in which better is defined, as written: those that look equal are equal.

    Rows and numbers that do not compare are neither marked nor compared with, and one number alone is not the best of
    anything.

    Example:
        >>> rows = [Row(name, [value]) for name, value in (("a", 2.0), ("b", 1.04), ("c", 0.96))]
        >>> table = with_best(Table("t", "T", "", [Column("error", "low", digits=1)], rows))
        >>> [row.cells[0].best for row in table.rows]
        [False, True, True]
    """
    winners = [
        _best(column, [row.cells[place] for row in table.rows if row.compares])
        for place, column in enumerate(table.columns)
    ]
    rows = []
    for row in table.rows:
        compared = zip(table.columns, row.cells, winners, strict=True)
        cells = [
            _marked(column, cell, winner) if row.compares and winner is not None else cell
            for column, cell, winner in compared
        ]
        rows.append(replace(row, cells=cells))
    return replace(table, rows=rows)


def without_empty(table: Table) -> Table:
    """Leave out the columns in which no row has anything.

    Example:
        >>> table = Table("t", "T", "", [Column("a"), Column("b")], [Row("x", [None, 1.0])])
        >>> [column.title for column in without_empty(table).columns]
        ['b']
    """
    some = [place for place in range(len(table.columns)) if any(row.cells[place] is not None for row in table.rows)]
    return picked(table, some)


def picked(table: Table, places: Sequence[int]) -> Table:
    """Return a table with some of its columns.

    Example:
        >>> [column.title for column in picked(Table("t", "T", "", [Column("a"), Column("b")]), [1]).columns]
        ['b']
    """
    rows = [replace(row, cells=[row.cells[place] for place in places]) for row in table.rows]
    return replace(table, columns=[table.columns[place] for place in places], rows=rows)


def _compared(column: Column, cell: Cell) -> float | None:
    """The number as written, None if it is not compared."""
    number = as_number(cell)
    return round(number.mean, column.digits) if number is not None and number.compares else None


def _best(column: Column, cells: Sequence[Cell]) -> float | None:
    values = [value for cell in cells if (value := _compared(column, cell)) is not None]
    if not column.better or len(values) < 2:
        return None
    return min(values) if column.better == "low" else max(values)


def _marked(column: Column, cell: Cell, winner: float) -> Cell:
    number = as_number(cell)
    return cell if number is None else replace(number, best=_compared(column, cell) == winner)
