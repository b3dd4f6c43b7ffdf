"""The evaluation and the configuration of a run as tables for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffrl.evaluation.registry import tables_of
from ffrl.tables.html import to_html
from ffrl.tables.table import Column, Row, Table

__all__ = ["MAY_LACK", "Table", "configuration_table", "evaluation_tables", "to_html"]

MAY_LACK = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
"""What :func:`evaluation_tables` raises for an evaluation of another form."""


def evaluation_tables(evaluation: Mapping[str, Any]) -> list[Table]:
    """Tables of everything that :func:`ffrl.evaluation.evaluate.evaluate` found, which field does what at first."""
    return tables_of(evaluation, findings_first=True)


def configuration_table(flat: Mapping[str, Any]) -> Table:
    """The configuration, one row per key.

    Args:
        flat: from :func:`ffrl.training.config_io.flat`.

    Example:
        >>> [(row.title, *row.cells) for row in configuration_table({"data.root": None, "deterministic": False}).rows]
        [('data.root', 'not given'), ('deterministic', 'false')]
    """
    shown = {None: "not given", True: "true", False: "false"}
    rows = [
        Row(key, [shown[value] if value is None or isinstance(value, bool) else str(value)])
        for key, value in flat.items()
    ]
    return Table("configuration", "Configuration", "key", [Column("value")], rows)
