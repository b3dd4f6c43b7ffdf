"""The files of a benchmark that are for reading: ``table.md``, ``table.tex`` and the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ffrl.core.files import write_atomically
from ffrl.tables.latex import HEAD, to_latex
from ffrl.tables.markdown import to_markdown
from ffrl.tables.table import Table
from ffrl.tables.terminal import print_notes, print_table
from stf.benchmark.suites import Suite
from stf.benchmark.tables.footer import footer
from stf.benchmark.tables.tables import tables
from stf.plot.drawing.style import house_style

MARKDOWN, LATEX = "table.md", "table.tex"
Lines = Sequence[Mapping[str, Any]]


def write_tables(suite: Suite, lines: Lines, out: Path) -> list[Table]:
    """Write the tables of what is finished into ``out``, each with what all have in common, and return them.

    Args:
        suite: the suite.
        lines: of ``results.jsonl``.
        out: folder.

    Raises:
        UserError: they cannot be written.
    """
    end = _footer(suite, lines)
    found = [replace(table, notes=[*table.notes, *end]) for table in tables(suite, lines)]
    write_atomically(out / MARKDOWN, "\n".join(map(to_markdown, found)).encode("utf-8", "replace"))
    write_atomically(out / LATEX, (HEAD + "\n".join(map(to_latex, found))).encode("utf-8", "replace"))
    return found


def print_tables(suite: Suite, lines: Lines, console: Console) -> None:
    """Print the tables of what is finished, and once what they have in common."""
    for table in tables(suite, lines):
        print_table(table, console)
        console.print()
    print_notes(_footer(suite, lines), console)


def _footer(suite: Suite, lines: Lines) -> list[str]:
    return footer([line for line in lines if line.get("suite") == suite.name])


@house_style()
def write_plots(suite: Suite, lines: Lines, out: Path) -> list[Path]:
    """Draw the plots of what is finished; see :func:`stf.benchmark.tables.plots.write_plots`."""
    from stf.benchmark.tables import plots  # imports torch

    return plots.write_plots(suite, lines, out)
