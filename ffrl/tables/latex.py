r"""Tables in LaTeX with booktabs rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from ffrl.core.terminal import printable
from ffrl.tables.table import Cell, Column, Table, as_number

SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
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
HEAD = r"""% Needs \usepackage{booktabs,graphicx,textcomp} and, for straight quotes, \usepackage[T1]{fontenc}.
"""
"""Begins a file of tables."""


def to_latex(table: Table) -> str:
    r"""A table environment, the best numbers in bold, its notes under it.

    Example:
        >>> from ffrl.tables.table import Number, Row
        >>> columns, rows = [Column("hue", "low", digits=1)], [Row("a & b", [Number(1.5, 0.2, best=True)])]
        >>> r"a \& b & $\mathbf{1.5} \pm 0.2$ \\" in to_latex(Table("t", "T_1", "model", columns, rows))
        True
    """
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(table.title)}}}"]
    if table.columns:
        lines += _tabular(table)
    if table.notes:
        notes = [escape_latex(note) + r"\par" for note in table.notes]
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += [*notes, r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}", ""])


def escape_latex(text: str) -> str:
    r"""Return ``text`` so that LaTeX prints it as it is.

    Example:
        >>> escape_latex("50 % of a_b, β-VAE")
        '50 \\% of a\\_b, $\\beta$-VAE'
        >>> escape_latex("stf train --steps 9")
        'stf train -{}-steps 9'
    """
    return re.sub("-(?=-)", "-{}", "".join(SIGNS.get(sign, sign) for sign in printable(text)))


def _tabular(table: Table) -> list[str]:
    columns = "l" + "".join("l" if table.is_text(place) else "r" for place in range(len(table.columns)))
    lines = [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", rf"\begin{{tabular}}{{{columns}}}"]
    heads = [table.first, *(column.heading for column in table.columns)]
    lines += [r"\toprule", *_block_heads(table.columns), _line([escape_latex(head) for head in heads]), r"\midrule"]
    for row in table.rows:
        cells = [_cell(*one, table.missing) for one in zip(table.columns, row.cells, strict=True)]
        lines.append(_line([escape_latex(row.title), *cells]))
    return [*lines, r"\bottomrule", r"\end{tabular}}"]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(column: Column, cell: Cell, missing: str) -> str:
    number = as_number(cell)
    if number is None:
        return escape_latex(column.text(cell, missing))
    mean, spread = (_maths(text) for text in column.parts(number))
    mean = rf"\mathbf{{{mean}}}" if number.best else mean
    return f"${mean}" + (rf" \pm {spread}$" if spread else "$")


def _maths(text: str) -> str:
    return text.replace(",", "{,}").replace("%", r"\%").replace(" ", r"\,").replace("†", r"^\dagger")


def _block_heads(columns: Sequence[Column]) -> list[str]:
    """A line above the titles that names the blocks of columns, with rules under them; nothing without blocks."""
    if not any(column.block for column in columns):
        return []
    cells, rules, place = [""], [], 2
    for name, group in groupby(columns, key=lambda column: column.block):
        count = len(list(group))
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape_latex(name)}}}")
        if name:
            rules.append(rf"\cmidrule(lr){{{place}-{place + count - 1}}}")
        place += count
    return [_line(cells), "".join(rules)]
