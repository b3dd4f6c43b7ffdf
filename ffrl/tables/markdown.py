"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ffrl.core.terminal import printable
from ffrl.tables.table import Cell, Column, Number, Table

SPECIAL = re.compile(r"([\\`*<|]|\](?=[(\[:]))")
"""Signs that Markdown would take for something else than themselves: emphasis, code, HTML, cells and links."""


def to_markdown(table: Table) -> str:
    """A table in Markdown, the best numbers in bold, its notes as a list.

    Example:
        >>> from ffrl.tables.table import Row
        >>> columns, rows = [Column("hue", "low")], [Row("a", [Number(1.5, best=True)])]
        >>> print(to_markdown(Table("t", "T", "model", columns, rows)))
        ### T
        <BLANKLINE>
        | model | hue ↓ |
        | --- | ---: |
        | a | **1.50** |
        <BLANKLINE>
    """
    lines = [f"### {escape_markdown(table.title)}", ""]
    if table.columns:
        heads = [escape_markdown(f"{column.block} {column.heading}".strip()) for column in table.columns]
        rules = ["---" if table.is_text(place) else "---:" for place in range(len(heads))]
        lines += [_line([escape_markdown(table.first), *heads]), _line(["---", *rules])]
        for row in table.rows:
            cells = [_cell(*one, table.missing) for one in zip(table.columns, row.cells, strict=True)]
            lines.append(_line([escape_markdown(row.title), *cells]))
        lines.append("")
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join([*lines, *notes, *([""] if notes else [])])


def escape_markdown(text: str) -> str:
    r"""Return ``text`` so that Markdown shows it as it is.

    Example:
        >>> print(escape_markdown("|g| of <b> in [0, 1], [x](y)"))
        \|g\| of \<b> in [0, 1], [x\](y)
    """
    return SPECIAL.sub(r"\\\1", printable(text))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(column: Column, cell: Cell, missing: str) -> str:
    if not isinstance(cell, Number) or not cell.best:
        return escape_markdown(column.text(cell, missing))
    mean, spread = map(escape_markdown, column.parts(cell))
    return f"**{mean}**" + (f" ± {spread}" if spread else "")
