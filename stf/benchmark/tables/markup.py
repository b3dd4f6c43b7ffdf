"""Tables as Markdown, as LaTeX with booktabs, and for a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stf.benchmark.tables.grid import PARTIAL, Column, Grid, Number, in_width

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "β": r"$\beta$",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "²": r"\textsuperscript{2}",
    "–": r"\textendash{}",
    "†": r"$^\dagger$",
    "`": r"\textasciigrave{}",
    "−": "$-$",
    "×": r"$\times$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "'": r"\textquotesingle{}",
    '"': r"\textquotedbl{}",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}
LATEX_HEAD = r"""% Needs \usepackage{booktabs,graphicx,textcomp} and, for straight quotes, \usepackage[T1]{fontenc}.
"""


def to_markdown(grid: Grid) -> str:
    """A table in Markdown, the best numbers in bold, its notes as a list.

    Example:
        >>> from stf.benchmark.tables.grid import Row
        >>> print(to_markdown(Grid("T", "model", (Column("hue", "low"),), (Row("a", (Number(1.5, best=True),)),))))
        ### T
        <BLANKLINE>
        | model | hue ↓ |
        | --- | ---: |
        | a | **1.5** |
        <BLANKLINE>
    """
    heads = [_clean(f"{column.block} {_title(column)}".strip()) for column in grid.columns]
    lines = [f"### {_clean(grid.title)}", "", _line([_clean(grid.first), *heads])]
    lines.append(_line(["---", *("---" if _is_text(grid, place) else "---:" for place in range(len(grid.columns)))]))
    for row in grid.rows:
        lines.append(_line([_clean(row.title), *map(_markdown_cell, row.cells)]))
    notes = [f"- {note}" for note in (*grid.notes, *grid.footer)]
    return "\n".join([*lines, "", *notes, *([""] if notes else [])])


def to_latex(grid: Grid) -> str:
    r"""A table environment with booktabs rules, the best numbers in bold, its notes under it.

    Example:
        >>> from stf.benchmark.tables.grid import Row
        >>> row = Row("a & b", (Number(1.5, 0.2, best=True),))
        >>> r"a \& b & $\mathbf{1.5} \pm 0.2$ \\" in to_latex(Grid("T_1", "model", (Column("hue", "low"),), (row,)))
        True
    """
    columns = "l" + "".join("l" if _is_text(grid, place) else "r" for place in range(len(grid.columns)))
    heads = [escape_latex(title) for title in [grid.first, *map(_title, grid.columns)]]
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(grid.title)}}}"]
    lines += [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", rf"\begin{{tabular}}{{{columns}}}"]
    lines += [r"\toprule", *_block_heads(grid), _latex_line(heads), r"\midrule"]
    lines += [_latex_line([escape_latex(row.title), *map(_latex_cell, row.cells)]) for row in grid.rows]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if grid.notes or grid.footer:
        notes = [escape_latex(note) for note in (*grid.notes, *grid.footer)]
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += [*(note + r"\par" for note in notes), r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}", ""])


def print_grid(grid: Grid, console: Console) -> None:
    """Print a table and its notes without the footer, in several parts if it is wider than the terminal."""
    for part in in_width(grid, console.width):
        console.print(_rich(part))
        print_notes(part.notes, console)
    console.print()


def print_notes(notes: Sequence[str], console: Console) -> None:
    """Print sentences under a table."""
    for note in notes:
        console.print(escape(note), style="dim", highlight=False)


def escape_latex(text: str) -> str:
    r"""Return ``text`` so that LaTeX prints it as it is.

    Example:
        >>> escape_latex("50 % of a_b, β-VAE")
        '50 \\% of a\\_b, $\\beta$-VAE'
        >>> escape_latex("stf train --steps 9")
        'stf train -{}-steps 9'
    """
    return re.sub("-(?=-)", "-{}", "".join(LATEX.get(sign, sign) for sign in text))


def _title(column: Column) -> str:
    return f"{column.title} {column.arrow}".strip()


def _is_text(grid: Grid, place: int) -> bool:
    return bool(grid.rows) and all(isinstance(row.cells[place], str) for row in grid.rows)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _clean(text: str) -> str:
    return text.replace("|", "\\|")


def _markdown_cell(cell: Number | str) -> str:
    if isinstance(cell, Number) and cell.best:
        mean, _, spread = str(cell).partition(" ± ")
        return f"**{mean}**" + (f" ± {spread}" if spread else "")
    return _clean(str(cell))


def _latex_line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: Number | str) -> str:
    if isinstance(cell, str) or cell.mean is None:
        return escape_latex(str(cell))
    mean, _, spread = str(cell).replace(",", "{,}").partition(" ± ")
    mean = rf"\mathbf{{{mean}}}" if cell.best else mean.replace(PARTIAL, r"^\dagger")
    return f"${mean}" + (rf" \pm {spread}$" if spread else "$")


def _block_heads(grid: Grid) -> list[str]:
    """A line above the titles that names the blocks of columns, with rules under them; nothing without blocks."""
    if not any(column.block for column in grid.columns):
        return []
    cells, rules, place = [""], [], 2
    for name, group in groupby(grid.columns, key=lambda column: column.block):
        count = len(list(group))
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape_latex(name)}}}")
        if name:
            rules.append(rf"\cmidrule(lr){{{place}-{place + count - 1}}}")
        place += count
    return [_latex_line(cells), "".join(rules)]


def _rich(grid: Grid) -> Table:
    table = Table(title=escape(grid.title), title_justify="left", title_style="bold")
    table.add_column(escape(grid.first), overflow="fold")
    for place, column in enumerate(grid.columns):
        head = f"{column.block}\n{_title(column)}" if column.block else _title(column)
        text = _is_text(grid, place)
        table.add_column(escape(head), justify="left" if text else "right", no_wrap=not text)
    for row in grid.rows:
        table.add_row(escape(row.title), *map(_rich_cell, row.cells))
    return table


def _rich_cell(cell: Number | str) -> str:
    text = escape(str(cell))
    return f"[bold]{text}[/bold]" if isinstance(cell, Number) and cell.best else text
