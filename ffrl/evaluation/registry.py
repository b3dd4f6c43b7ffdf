"""All measures, those of installed packages among them, and what all of them together say of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

from ffrl.core.errors import UserError, reason_of, require
from ffrl.core.registry import Registry, modules_in
from ffrl.evaluation.protocol.measure import Measure, Metric, Results
from ffrl.evaluation.protocol.statistics import storable
from ffrl.tables.table import Column, Row, Table

MEASURES = Registry("stf.measures", "measure", modules_in("ffrl.evaluation.measures", "MEASURE"))
"""Measures by name: classes derived from :class:`ffrl.evaluation.protocol.measure.Measure`."""
HEAD = {"split", "seed", "sequences", "samples", "units", "data", "model", "criteria", "failed", "run", "step"}
"""Entries of a result that no measure makes."""

P = ParamSpec("P")
R = TypeVar("R")


class Guard:
    """Calls what measures define; one of an installed package that raises is left out from then on.

    Args:
        failed: lines of those that failed before.

    Attributes:
        failed: one line for each that failed, by name.
    """

    def __init__(self, failed: Mapping[str, str] | None = None) -> None:
        self.failed = dict(failed or {})

    def __call__(self, name: str, function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R | None:
        """Call a function of a measure, and return None for one that is left out."""
        if name in self.failed:
            return None
        try:
            return function(*arguments, **options)
        except Exception as error:
            package = MEASURES.source(name)
            if not package:
                raise
            known = isinstance(error, UserError) and str(error).startswith(f"{package}: ")
            self.failed[name] = reason_of(error) if known else f"{package}: measure {name!r}: {_described(error)}"
            return None

    def kinds(self) -> dict[str, type[Measure]]:
        """Return all measures in the order of their places."""
        found = {name: self(name, _kind, name) for name in MEASURES}
        there = {name: kind for name, kind in found.items() if kind is not None}
        for name in filter(MEASURES.source, there):
            self(name, _require_free, name, there)
        free = {name: kind for name, kind in there.items() if name not in self.failed}
        return dict(sorted(free.items(), key=lambda item: item[1].place))

    def of(self, results: Results) -> Iterator[tuple[str, type[Measure]]]:
        """Yield the measures that have an entry in some results."""
        yield from ((name, kind) for name, kind in self.kinds().items() if set(kind.keys) & results.keys())


def _kind(name: str) -> type[Measure]:
    kind = MEASURES[name]
    if not (isinstance(kind, type) and issubclass(kind, Measure)):
        raise TypeError(f"found {kind!r}, expected a class derived from {Measure.__name__}")
    if not isinstance(kind.keys, tuple) or not kind.keys or not isinstance(kind.needs, frozenset):
        raise TypeError(f"found keys {kind.keys!r} and needs {kind.needs!r}, expected a tuple and a frozenset")
    if not isinstance(kind.units, Mapping):
        raise TypeError(f"found units {kind.units!r}, expected a mapping")
    return kind


def _require_free(name: str, kinds: Mapping[str, type[Measure]]) -> None:
    """Raise a UserError if a measure adds an entry that another one, or every result, has already."""
    taken = {key for other, kind in kinds.items() if other != name for key in kind.keys} | HEAD
    for key in kinds[name].keys:
        require(key not in taken, "keys", key, "an entry that no other measure adds")


def _described(error: Exception) -> str:
    reason = reason_of(error)
    return reason if reason == type(error).__name__ else f"{type(error).__name__}: {reason}"


def tables_of(results: Results, findings_first: bool = False) -> list[Table]:
    """Return the tables of everything that was measured, and what could not be measured or shown.

    Args:
        results: from :func:`ffrl.evaluation.evaluate.evaluate`.
        findings_first: whether to begin with which field does what, and not to end with it.

    Example:
        >>> tables_of({"failed": {"x": "package: measure 'x': no way"}})[0].notes
        ["package: measure 'x': no way"]
    """
    guard = Guard(results.get("failed"))
    findings: list[Table] = []
    others: list[Table] = []
    for name, kind in guard.of(results):
        (findings if kind.finds else others).extend(guard(name, _tables, kind, results) or ())
    reached = [_criteria_table(results["criteria"])] if results.get("criteria") else []
    failed = list(guard.failed.values())
    lines = [Table("failed", "Measures that failed", "", notes=failed)] if failed else []
    return [*reached, *findings, *others, *lines] if findings_first else [*others, *findings, *reached, *lines]


def _tables(kind: type[Measure], results: Results) -> list[Table]:
    """The tables of a measure, of which every cell can be written."""
    return [table for table in kind.tables(results) if [table.texts(row) for row in table.rows] or table.title]


def _criteria(kind: type[Measure], results: Results) -> list[dict[str, Any]]:
    """The criteria of a measure, each of which can be said and stored."""
    return [storable(line) for line in kind.criteria(results) if line["name"] and in_words(line)]


def _metrics(kind: type[Measure], numbers: Mapping[str, Any]) -> list[Metric]:
    """The columns of a measure, each of which has a heading."""
    return [metric for metric in kind.metrics(numbers) if metric.table and metric.key and metric.column.heading]


def _numbers(kind: type[Measure], results: Results) -> dict[str, Any]:
    """The numbers of a measure, each of which can be stored."""
    return {**storable(kind.numbers(results))}


def _criteria_table(criteria: list[Mapping[str, Any]]) -> Table:
    rows = [Row(line["name"], in_words(line)) for line in criteria]
    columns = [Column("target"), Column("worst"), Column("verdict")]
    note = "The worst value over all transformations or fields decides; the calibration error is that of all together."
    return Table("criteria", "Criteria", "criterion", columns, rows, [note])


def in_words(line: Mapping[str, Any]) -> tuple[str, str, str]:
    """What is required, the worst value and the verdict of a criterion, in words.

    Example:
        >>> in_words({"name": "spike F1", "worst": 0.5, "at_least": 0.97, "reached": False})
        ('at least 0.97', '0.5000', 'not reached')
        >>> in_words({"name": "fields alive", "worst": 3, "exactly": 3, "reached": True})
        ('exactly 3', '3', 'reached')
    """
    kind = next(kind for kind in ("at_least", "at_most", "exactly") if kind in line)
    worst, reached = line["worst"], line["reached"]
    if worst is None:
        found = "there are none" if reached else "undefined"
    else:
        found = f"{worst:g}" if kind == "exactly" else f"{worst:.4f}"
    return f"{kind.replace('_', ' ')} {line[kind]:g}", found, "reached" if reached else "not reached"


def summaries_of(results: Results) -> dict[str, str]:
    """Return what every measure says in one line, by name.

    Example:
        >>> summaries_of({"confusion": {"accuracy": 0.5, "sequences": 4}})
        {'confusion': 'the matched field is inferred for 50.0% of 4 sequences'}
    """
    guard = Guard(results.get("failed"))
    found = {name: guard(name, kind.summary, results) for name, kind in guard.of(results)}
    return {name: text for name, text in found.items() if text is not None}


def criteria_of(results: Results, guard: Guard | None = None) -> list[dict[str, Any]]:
    """Return what all measures ask of their results, see :meth:`Measure.criteria`.

    Example:
        >>> criteria_of({"calibration": {"pooled": {"ece": 0.5}}})
        [{'name': 'pooled calibration error', 'worst': 0.5, 'at_most': 0.03, 'reached': False}]
    """
    guard = guard or Guard()
    return [line for name, kind in guard.of(results) for line in guard(name, _criteria, kind, results) or ()]


def numbers_of(results: Results) -> dict[str, Any]:
    """Return the numbers that a benchmark keeps of an evaluation, each a number, an estimate or a text.

    Of a measure that failed there is the reason, under ``failed/NAME``.

    Example:
        >>> numbers_of({"confusion": {"accuracy": 0.5}})
        {'confusion_accuracy': 0.5}
    """
    guard = Guard(results.get("failed"))
    found: dict[str, Any] = {}
    for name, kind in guard.of(results):
        found |= guard(name, _numbers, kind, results) or {}
    return found | {f"failed/{name}": line for name, line in guard.failed.items()}


def metrics_of(numbers: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
    """Return the columns of a benchmark, and a line for every measure whose columns cannot be had.

    Args:
        numbers: of all its evaluations, from :func:`numbers_of`.

    Example:
        >>> [metric.key for metric in metrics_of({"f1/worst": 0.9})[0] if metric.key in {"f1/worst", "composition"}]
        ['composition', 'f1/worst']
    """
    guard = Guard()
    found = [metric for name, kind in guard.kinds().items() for metric in guard(name, _metrics, kind, numbers) or ()]
    return found, list(guard.failed.values())
