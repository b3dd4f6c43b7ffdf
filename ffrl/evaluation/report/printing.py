"""Numbers, tables and notes for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MISSING = "n/a"


def number(value: float | None, digits: int = 2) -> str:
    """A number with ``digits`` decimals, or n/a.

    Example:
        >>> number(1.005, 1), number(None)
        ('1.0', 'n/a')
    """
    return MISSING if value is None else f"{value:.{digits}f}"


def with_error(value: dict[str, float | None] | None, digits: int = 2) -> str:
    """Mean ± standard error, or n/a.

    Example:
        >>> with_error({"mean": 3.0, "standard_error": 0.5}), with_error(None)
        ('3.00 ± 0.50', 'n/a')
    """
    if value is None or value["mean"] is None:
        return MISSING
    mean, error = number(value["mean"], digits), value["standard_error"]
    return mean if error is None else f"{mean} ± {number(error, digits)}"


def share(value: float | None) -> str:
    """A share in per cent, or n/a.

    Example:
        >>> share(0.25), share(None)
        ('25.0 %', 'n/a')
    """
    return MISSING if value is None else f"{100 * value:.1f} %"


def table(title: str, first: str, *columns: str) -> Table:
    """A table with a title, a column of text and columns of numbers."""
    made = Table(title=title, title_justify="left", title_style="bold")
    made.add_column(first, overflow="fold")
    for column in columns:
        made.add_column(column, justify="right", no_wrap=True)
    return made


def note(console: Console, text: str) -> None:
    """Print a remark, dimly."""
    console.print(escape(text), style="dim", highlight=False)
