"""The tables of a benchmark, from the lines of its cells."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

from ffrl.evaluation.measures.likelihood import GAUSSIAN
from ffrl.evaluation.protocol.measure import ERRORS, FIELDS, TABLES, Metric
from ffrl.evaluation.protocol.published import published
from ffrl.evaluation.protocol.statistics import mean_of
from ffrl.evaluation.registry import metrics_of
from ffrl.tables.table import Cell, Column, Number, Row, Table, with_best, without_empty
from stf.benchmark.suites import Data, Model, Suite
from stf.benchmark.tables.reference import MISSING, about, beside, elsewhere, published_errors

Line = Mapping[str, Any]
Groups = Sequence[tuple[Model, list[Line]]]
Columns = Sequence[tuple[Column, Callable[[list[Line]], Cell]]]
PARTIAL = "†"
"""Marks the mean over some of the seeds, the others having no value."""
SPREAD = "Numbers: mean over seeds ± sample standard deviation (one seed: the number alone)"


def tables(suite: Suite, lines: Iterable[Line]) -> list[Table]:
    """Return the tables of a suite for what is finished.

    Args:
        suite: the suite.
        lines: of ``results.jsonl``.
    """
    done = [line for line in lines if line.get("suite") == suite.name and line.get("status") == "done"]
    found: list[Table] = []
    if suite.kind == "efficiency":
        found = _efficiency(suite, done)
    else:
        make = _variants if suite.kind == "variants" else _models
        for data in suite.data:
            here = [line for line in done if line["data"] == data.label]
            if here:
                found += make(suite, here)
    return [_finished(table) for table in found if table.columns] + _failed(done)


def _finished(table: Table) -> Table:
    table = with_best(table)
    notes = list(table.notes)
    if any(isinstance(cell, Number) and cell.mark == PARTIAL for row in table.rows for cell in row.cells):
        notes.append(f"{PARTIAL}: over the seeds that have a value, as not all of them do; not compared.")
    return replace(table, notes=notes)


def _failed(lines: Sequence[Line]) -> list[Table]:
    """Which measures of installed packages failed."""
    numbers = _numbers(lines)
    kept = [line for key, line in numbers.items() if key.startswith("failed/")]
    failed = dict.fromkeys([*kept, *metrics_of(numbers)[1]])
    return [Table("failed", "Measures that failed", "", notes=list(failed))] if failed else []


def spread(values: Iterable[float | None]) -> Number | None:
    r"""Mean and sample standard deviation, :math:`\sqrt{\sum_i (x_i - \bar x)^2 / (n - 1)}`, of what is there.

    If a value is missing, the number is marked :data:`PARTIAL` and not compared.

    Example:
        >>> one = Column("error", digits=1)
        >>> [one.text(spread(values)) for values in ([1.0, 3.0], [1.0, 3.0, None], [None])]
        ['2.0 ± 1.4', '2.0† ± 1.4', 'n/a']
    """
    values = list(values)
    found = [value for value in values if value is not None]
    if not found:
        return None
    mean, partial = sum(found) / len(found), len(found) < len(values)
    deviation = None
    if len(found) > 1:
        deviation = math.sqrt(sum((value - mean) ** 2 for value in found) / (len(found) - 1))
    return Number(mean, deviation, mark=PARTIAL if partial else "", compares=not partial)


def by_model(suite: Suite, lines: Sequence[Line]) -> list[tuple[Model, list[Line]]]:
    """The models of a suite that have lines, in its order, and their lines."""
    groups = [(model, [line for line in lines if line["model"] == model.label]) for model in suite.models]
    return [(model, group) for model, group in groups if group]


def measured(lines: Sequence[Line], key: str) -> Number | None:
    """A number of ``metrics`` over the seeds of one model."""
    return spread(mean_of(line["metrics"].get(key)) for line in lines)


def _numbers(lines: Sequence[Line]) -> dict[str, Any]:
    """The numbers of all lines, of each name one."""
    return {key: value for line in reversed(lines) for key, value in line["metrics"].items() if value is not None}


def _metrics(lines: Sequence[Line]) -> dict[str, list[Metric]]:
    """The metrics for which there are numbers, by the table that they stand in."""
    numbers = {key: None for line in lines for key in line["metrics"]} | _numbers(lines)
    found, _ = metrics_of(numbers)
    there = [metric for metric in found if numbers.get(metric.key) is not None]
    titles = dict.fromkeys([*TABLES, *(metric.table for metric in there)])
    return {title: [metric for metric in there if metric.table == title] for title in titles}


def _columns(metrics: Iterable[Metric], lines: Sequence[Line]) -> Columns:
    return [(_compared(metric, lines), partial(measured, key=metric.key)) for metric in metrics]


def _compared(metric: Metric, lines: Sequence[Line]) -> Column:
    """The column of a metric, in which nothing is better if numbers are of different things."""
    return replace(metric.column, better="" if len(_kinds(metric, lines)) > 1 else metric.column.better)


def _kinds(metric: Metric, lines: Sequence[Line]) -> dict[str, list[str]]:
    """What the numbers of a metric are of, where that may differ, and of which models."""
    kinds: dict[str, list[str]] = {}
    for line in lines if metric.alike else []:
        if metric.alike in line["metrics"]:
            kinds.setdefault(line["metrics"][metric.alike], []).append(line["label"])
    return {kind: list(dict.fromkeys(labels)) for kind, labels in kinds.items()}


def _about(metrics: Sequence[Metric], lines: Sequence[Line]) -> list[str]:
    """The sentences under columns."""
    notes = list(dict.fromkeys(metric.about for metric in metrics if metric.about))
    for metric in metrics:
        kinds = _kinds(metric, lines)
        if len(kinds) > 1:
            listed = "; ".join(f"{kind}: {', '.join(kinds[kind])}" for kind in sorted(kinds))
            notes.append(f"{metric.column.title} is of different things, so that none is the best: {listed}.")
    return notes


def _table(title: str, groups: Groups, columns: Columns, notes: Sequence[str], first: str = "model") -> Table:
    """A table with one row per model, without the columns in which there is nothing."""
    rows = [Row(model.title, [make(group) for _, make in columns], not model.own_data) for model, group in groups]
    name = "-".join(re.findall("[a-z0-9]+", title.lower()))
    spread_over = f"{SPREAD}; bold: the best of a column." if any(one.better for one, _ in columns) else f"{SPREAD}."
    made = Table(name, title, first, [column for column, _ in columns], rows, [spread_over, *notes], MISSING)
    return without_empty(made)


def _of_metrics(title: str, groups: Groups, metrics: Sequence[Metric], first: str = "model") -> Table:
    """A table of metrics, without the models that have none of them."""
    some = [(model, group) for model, group in groups if any(measured(group, metric.key) for metric in metrics)]
    lines = [line for _, group in groups for line in group]
    return _table(title, some, _columns(metrics, lines), _about(metrics, lines), first)


def _models(suite: Suite, lines: Sequence[Line]) -> list[Table]:
    groups, title = by_model(suite, lines), lines[0]["data_title"]
    metrics = _metrics(lines)
    further = [_of_metrics(f"{name}, {title}", groups, some) for name, some in metrics.items() if name != ERRORS]
    found = [_errors(groups, title, metrics[ERRORS], lines), *further, _cost(groups, title)]
    return [*found, *elsewhere(lines[0]["data_of"], _bound(lines))]


def _errors(groups: Groups, title: str, metrics: Sequence[Metric], lines: Sequence[Line]) -> Table:
    """Equivariance errors and the likelihood bound, published figures beside them where they compare."""
    columns = [
        (Column("told in training"), lambda group: group[0].get("told", MISSING)),
        (Column("seeds", digits=0), len),
        *_columns(metrics, lines),
    ]
    table = _table(f"{ERRORS}, {title}", groups, columns, _about(metrics, lines))
    reference = published(lines[0]["data_of"])
    if reference is None:
        return table
    names = list(reference.rows[0].errors)
    table = beside(table, [model.published for model, _ in groups], reference, names, _bound(lines))
    return replace(table, notes=[*table.notes, *about(reference, _bound(lines))])


def _bound(lines: Sequence[Line]) -> float | None:
    """The log-likelihood that no model can exceed."""
    return _numbers(lines).get(f"upper_bound/{GAUSSIAN}")


def _cost(groups: Groups, title: str) -> Table:
    columns = [
        (Column("parameters", digits=0), lambda group: group[0]["parameters"]),
        (Column("steps", digits=0), lambda group: group[0]["steps"]),
        (Column("seconds", digits=0), lambda group: spread(line["training_seconds"] for line in group)),
        (Column("frames/s", digits=0), lambda group: spread(line["frames_per_second"] for line in group)),
        (Column("data", digits=1, percent=True), lambda group: spread(line["data_share"] for line in group)),
    ]
    notes = ["Data: share of the time spent on it.", *_predictions(groups)]
    goal = published_errors(groups[0][1][0]["data_of"])
    if any(seconds_until(line, goal) is not None for _, group in groups for line in group):
        columns.append((Column("s to published", digits=0), lambda group: _seconds_until(group, goal)))
        notes.append(
            f"S to published: seconds of training until the mean error of {', '.join(goal)}, on the held-out images of "
            f"the plots, is at most {fmean(goal.values()):,.2f}, the published one of FFRL supervised; – unless all "
            "seeds reach it."
        )
    return _table(f"Cost of training, {title}", groups, columns, notes)


def _seconds_until(lines: Sequence[Line], goal: Mapping[str, float]) -> Number | None:
    found = [seconds_until(line, goal) for line in lines]
    return None if None in found else spread(found)


def seconds_until(line: Line, goal: Mapping[str, float]) -> float | None:
    """Seconds of training until the mean error was at most that of ``goal`` at a checkpoint, None if it never was.

    Means are over the transformations of ``goal``; without any there is nothing to reach.

    Example:
        >>> points = [{"seconds": 9.0 * n, "error": {"hue": 100.0 / n, "scale": 200.0}} for n in (1, 2, 3)]
        >>> seconds_until({"curve": points}, {"hue": 50.0}), seconds_until({"curve": points}, {"hue": 5.0})
        (18.0, None)
    """
    if not goal:
        return None
    for point in line["curve"]:
        found = [point["error"].get(name) for name in goal]
        if None not in found and fmean(found) <= fmean(goal.values()):
            return point["seconds"]
    return None


def _predictions(groups: Groups) -> list[str]:
    """How each model predicts later frames, those that do it alike together."""
    ways: dict[str, list[str]] = {}
    for model, group in groups:
        ways.setdefault(group[0].get("prediction") or "", []).append(model.title)
    return [f"Later frames are predicted by {way}: {', '.join(models)}." for way, models in ways.items() if way]


def _variants(suite: Suite, lines: Sequence[Line]) -> list[Table]:
    groups, metrics = by_model(suite, lines), _metrics(lines)
    means = [metric for metric in metrics[ERRORS] if metric.key == "error/mean"]
    means = [replace(metric, column=replace(metric.column, title="mean error")) for metric in means]
    main = [*means, *metrics[FIELDS]]
    columns = [
        (Column("seeds", digits=0), len),
        *_columns(main, lines),
        (Column("seconds", digits=0), lambda group: spread(line["training_seconds"] for line in group)),
    ]
    title = lines[0]["data_title"]
    found = [_table(f"{suite.about}, {title}", groups, columns, _about(main, lines), "variant")]
    for name, some in metrics.items():
        if name not in (ERRORS, FIELDS):
            found.append(_of_metrics(f"{name}, {title}", groups, some, "variant"))
    own = [model.title for model, _ in groups if model.own_data]
    other = [f"Trained and measured on other mixed sequences, and so not compared: {', '.join(own)}."] if own else []
    return [replace(table, notes=[*table.notes, *other]) for table in found]


def _efficiency(suite: Suite, lines: Sequence[Line]) -> list[Table]:
    """Rows are models, columns are sizes of the training set."""
    wanted = {"error/mean": "Mean error", "f1/worst": "Worst spike F1", f"iwae/{GAUSSIAN}": "IWAE"}
    found = []
    metrics = {metric.key: metric for some in _metrics(lines).values() for metric in some}
    for metric in [metrics[key] for key in wanted if key in metrics]:
        groups = [(model, group) for model, group in by_model(suite, lines) if measured(group, metric.key)]
        columns = [_of_data(data, metric, lines) for data in suite.data]
        notes = ["Every cell has as many steps, whatever the number of images.", *_about([metric], lines)]
        found.append(_table(f"{wanted[metric.key]} by number of training images", groups, columns, notes))
    return found


def _of_data(data: Data, metric: Metric, lines: Sequence[Line]) -> tuple[Column, Callable[[list[Line]], Cell]]:
    def number(group: list[Line]) -> Cell:
        return measured([line for line in group if line["data"] == data.label], metric.key)

    return replace(_compared(metric, lines), title=data.title), number
