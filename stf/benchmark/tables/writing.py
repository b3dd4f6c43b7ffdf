"""The files of a benchmark that are for reading: ``table.md``, ``table.tex`` and the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ffrl.core.files import write_atomically
from stf.benchmark.suites import Suite
from stf.benchmark.tables.footer import footer
from stf.benchmark.tables.grid import Grid
from stf.benchmark.tables.markup import LATEX_HEAD, print_grid, print_notes, to_latex, to_markdown
from stf.benchmark.tables.tables import tables

MARKDOWN, LATEX = "table.md", "table.tex"
Lines = Sequence[Mapping[str, Any]]


def write_tables(suite: Suite, lines: Lines, out: Path) -> list[Grid]:
    """Write the tables of what is finished into ``out``, and return them.

    Args:
        suite: the suite.
        lines: of ``results.jsonl``.
        out: folder.

    Raises:
        UserError: they cannot be written.
    """
    found = tables(suite, lines)
    write_atomically(out / MARKDOWN, "\n".join(map(to_markdown, found)).encode())
    write_atomically(out / LATEX, (LATEX_HEAD + "\n".join(map(to_latex, found))).encode())
    return found


def print_tables(suite: Suite, lines: Lines, console: Console) -> None:
    """Print the tables of what is finished."""
    found = tables(suite, lines)
    for grid in found:
        print_grid(grid, console)
    print_notes(found[-1].footer if found else footer(lines), console)


def write_plots(suite: Suite, lines: Lines, out: Path) -> list[Path]:
    """Draw the plots of what is finished; see :func:`stf.benchmark.tables.plots.write_plots`."""
    from stf.benchmark.tables import plots  # imports torch

    return plots.write_plots(suite, lines, out)
