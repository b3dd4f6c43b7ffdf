"""Tables in HTML, everything in them escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ffrl.core.terminal import printable
from ffrl.tables.table import Number, Table


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["zip"] = zip
    environment.tests["number"] = lambda cell: isinstance(cell, Number)
    return environment.get_template("table.html.j2")


def _shown(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


def to_html(table: Table) -> str:
    """Return a table, its title and its notes as a part of an HTML document, ``#table-NAME``.

    Example:
        >>> from ffrl.tables.table import Column, Row
        >>> text = to_html(Table("errors", "<T>", "", [Column("hue")], [Row("a & b", [Number(1.5, best=True)])]))
        >>> "&lt;T&gt;" in text, '<th scope="row">a &amp; b</th><td><strong>1.50</strong></td>' in text
        (True, True)
    """
    return _template().render(table=table)
