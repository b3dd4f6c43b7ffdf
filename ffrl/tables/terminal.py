"""Tables on a terminal, in several parts where they are wider than it is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ffrl.core.terminal import printable
from ffrl.tables.table import Cell, Number, Table, as_number, picked

UNBROKEN = "\u00a0"
"""Holds an arrow to the word before it while headings are broken into lines."""


def print_table(table: Table, console: Console) -> None:
    """Print a table and its notes; without the rows that may be left out, but saying how many these are.

    Example:
        >>> from ffrl.tables.table import Column, Row
        >>> table = Table("t", "Errors", "model", [Column("hue", "low")], [Row("a", [1.5])], ["In pixels."])
        >>> print_table(table, Console(width=40))
        Errors
        ┏━━━━━━━┳━━━━━━━┓
        ┃ model ┃ hue ↓ ┃
        ┡━━━━━━━╇━━━━━━━┩
        │ a     │  1.50 │
        └───────┴───────┘
        In pixels.
    """
    rows = [row for row in table.rows if not row.detail]
    fewer = len(table.rows) - len(rows)
    notes = [*table.notes, *([f"{fewer} more rows are left out here."] if fewer else [])]
    parts = in_width(replace(table, rows=rows, notes=notes), console.width)
    for part in parts:
        console.print(Text(printable(part.title), style="bold"))
        if part.columns:
            console.print(_rich(part))
    print_notes(notes, console)


def print_notes(notes: Sequence[str], console: Console) -> None:
    """Print sentences under a table, dimly."""
    for note in notes:
        console.print(Text(printable(note), style="dim"))


def in_width(table: Table, width: int) -> list[Table]:
    """Split a table into several of at most ``width`` characters, each with the first column.

    Blocks of columns stay apart from each other if the whole does not fit, and a long first column is broken into lines
    by whoever prints it.

    Example:
        >>> from ffrl.tables.table import Column
        >>> columns = [Column("error"), Column("share"), Column("error", block="published")]
        >>> [[column.title for column in part.columns] for part in in_width(Table("t", "T", "model", columns), 20)]
        [['error'], ['share'], ['error']]
    """
    places = range(len(table.columns))
    widths = [3 + max(map(len, [*_heading(table, place), *_padded(table, place)])) for place in places]
    first = 4 + min(max(map(len, (table.first, *(row.title for row in table.rows)))), max(12, width // 3))
    if first + sum(widths) <= width:
        return [table]
    parts: list[Sequence[int]] = []
    for _, block in groupby(places, key=lambda place: table.columns[place].block):
        parts += _evenly(list(block), widths, width - first)
    titles = [table.title, *[f"{table.title}, continued"] * len(parts)]
    return [replace(picked(table, part), title=title) for part, title in zip(parts, titles, strict=False)]


def _evenly(places: Sequence[int], widths: Sequence[int], room: int) -> list[Sequence[int]]:
    """Columns in as few parts as fit into the room, and as many in each."""
    for count in range(1, len(places) + 1):
        size = -(-len(places) // count)
        parts = [places[start : start + size] for start in range(0, len(places), size)]
        if size == 1 or all(sum(widths[place] for place in part) <= room for part in parts):
            break
    return parts


def _heading(table: Table, place: int) -> list[str]:
    """The heading of a column, as narrow as its cells and its longest word allow."""
    column = table.columns[place]
    words = f"{printable(column.name)}{UNBROKEN}{column.arrow}".strip(UNBROKEN)
    width = max(map(len, [*words.split(" "), *_padded(table, place)]), default=1)
    lines = textwrap.wrap(words, max(width, 1), break_on_hyphens=False)
    return [line.replace(UNBROKEN, " ") for line in ([printable(column.block), *lines] if column.block else lines)] or [
        ""
    ]


def _padded(table: Table, place: int) -> list[str]:
    """The cells of a column, with room for the marks of others behind those that end with a number."""
    column, cells = table.columns[place], [row.cells[place] for row in table.rows]
    numbers = [number for cell in cells if (number := as_number(cell)) is not None]
    longest = max((len(number.mark) for number in numbers if number.spread is None), default=0)
    return [column.text(cell, table.missing) + " " * _lacking(cell, longest) for cell in cells]


def _lacking(cell: Cell, longest: int) -> int:
    number = as_number(cell)
    return longest if number is None or number.spread is not None else longest - len(number.mark)


def _rich(table: Table) -> RichTable:
    places = range(len(table.columns))
    made = RichTable()
    made.add_column(Text(printable(table.first)), overflow="fold")
    for place in places:
        text = table.is_text(place)
        heading = Text("\n".join(_heading(table, place)))
        made.add_column(heading, justify="left" if text else "right", no_wrap=not text)
    padded = [_padded(table, place) for place in places]
    for number, row in enumerate(table.rows):
        cells = [_styled(cell, column[number]) for cell, column in zip(row.cells, padded, strict=True)]
        made.add_row(Text(printable(row.title)), *cells)
    return made


def _styled(cell: Cell, text: str) -> Text:
    return Text(text, style="bold" if isinstance(cell, Number) and cell.best else "")
