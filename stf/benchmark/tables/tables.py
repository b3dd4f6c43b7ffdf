"""The tables of a benchmark, from the lines of its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from ffrl.evaluation.report.published import published
from stf.benchmark.suites import Data, Model, Suite
from stf.benchmark.tables.footer import footer
from stf.benchmark.tables.grid import MISSING, PARTIAL, Column, Grid, Number, Row, spread, with_best, without_empty
from stf.benchmark.tables.metrics import GAUSSIAN, mean_of
from stf.benchmark.tables.reference import about, beside, elsewhere, published_errors

Line = Mapping[str, Any]
DIMENSIONS = (
    "DCI compares codes with as many dimensions: of more, one follows a factor more easily, even in a random mixture."
)
SPREAD = (
    "Numbers: mean over seeds ± sample standard deviation (one seed: the number alone); bold: the best of a column."
)


def tables(suite: Suite, lines: Iterable[Line]) -> list[Grid]:
    """Return the tables of a suite for what is finished, each ending with budget, seeds, machine, date and command.

    Args:
        suite: the suite.
        lines: of ``results.jsonl``.
    """
    lines = [line for line in lines if line.get("suite") == suite.name]
    done = [line for line in lines if line.get("status") == "done"]
    found: list[Grid] = []
    if suite.kind == "efficiency":
        found = _efficiency(suite, done)
    else:
        make = _variants if suite.kind == "variants" else _models
        for data in suite.data:
            here = [line for line in done if line["data"] == data.label]
            if here:
                found += make(suite, here)
    end = footer(lines)
    return [_finished(grid, end) for grid in found]


def _finished(grid: Grid, end: Sequence[str]) -> Grid:
    grid = with_best(without_empty(grid))
    notes = list(grid.notes)
    if any(isinstance(cell, Number) and cell.mark == PARTIAL for row in grid.rows for cell in row.cells):
        notes.append(f"{PARTIAL}: over the seeds that have a value, as not all of them do; not compared.")
    return replace(grid, notes=tuple(notes), footer=tuple(end))


def by_model(suite: Suite, lines: Sequence[Line]) -> list[tuple[Model, list[Line]]]:
    """The models of a suite that have lines, in its order, and their lines."""
    groups = [(model, [line for line in lines if line["model"] == model.label]) for model in suite.models]
    return [(model, group) for model, group in groups if group]


def measured(lines: Sequence[Line], key: str, digits: int = 1) -> Number:
    """A number of ``metrics`` over the seeds of one model."""
    return spread((mean_of(line["metrics"].get(key)) for line in lines), digits)


def _models(suite: Suite, lines: Sequence[Line]) -> list[Grid]:
    groups = by_model(suite, lines)
    title = lines[0]["data_title"]
    grids = [_errors(groups, title), _fields(groups, title), _further(groups, title), _codes(groups, title)]
    return [
        grid
        for grid in [*grids, _cost(groups, title), *elsewhere(lines[0]["data_of"], _bound(lines))]
        if grid is not None
    ]


Groups = Sequence[tuple[Model, list[Line]]]


def _grid(title: str, groups: Groups, columns: Sequence[tuple[Column, Callable[[list[Line]], Number | str]]]) -> Grid:
    """A table with one row per model."""
    rows = [Row(model.title, tuple(make(group) for _, make in columns), not model.own_data) for model, group in groups]
    return Grid(title, "model", tuple(column for column, _ in columns), tuple(rows))


def _metric(title: str, better: Any, key: str, digits: int = 1) -> tuple[Column, Callable[[list[Line]], Number]]:
    return Column(title, better), lambda group: measured(group, key, digits)


def _transformations(lines: Sequence[Line]) -> list[str]:
    return [
        key.removeprefix("error/") for key in lines[0]["metrics"] if key.startswith("error/") and key != "error/mean"
    ]


def _errors(groups: Groups, title: str) -> Grid:
    """Equivariance errors and the likelihood bound, published figures beside them where they compare."""
    lines = [line for _, group in groups for line in group]
    names, steps = _transformations(lines), lines[0]["metrics"].get("error_steps")
    kinds = {line["metrics"]["likelihood_of"] for line in lines if "likelihood_of" in line["metrics"]}
    columns = [
        (Column("told in training"), lambda group: group[0].get("told", MISSING)),
        (Column("seeds"), lambda group: Number(len(group), digits=0)),
        *(_metric(name, "low", f"error/{name}") for name in names),
        _metric("mean", "low", "error/mean"),
        _metric("IWAE", "high" if len(kinds) == 1 else "", f"iwae/{GAUSSIAN}", 2),
        _metric("legacy score", "", "legacy_score", 2),
    ]
    grid = _grid(f"Equivariance error and likelihood, {title}", groups, columns)
    notes = [SPREAD, _about_errors(steps), *_about_likelihood(lines, kinds)]
    reference = published(lines[0]["data_of"])
    if reference is not None:
        grid = beside(grid, [model.published for model, _ in groups], reference, names, _bound(lines))
        notes += about(reference, _bound(lines))
    return replace(grid, notes=tuple(notes))


def _about_errors(steps: Any) -> str:
    return (
        f"Errors: sums over {steps} steps of the L1 error of predicted frames, summed over channels and pixels of "
        "images in [0, 1]; lower is better. Each model predicts in its own best way, see the table of costs."
    )


def _about_likelihood(lines: Sequence[Line], kinds: set[str]) -> list[str]:
    notes = []
    bound = _bound(lines)
    if any(f"iwae/{GAUSSIAN}" in line["metrics"] for line in lines):
        most = "" if bound is None else f"; no model can exceed {bound:,.2f}"
        notes.append(
            f"IWAE: a lower bound on the log-likelihood, nats per frame, unit-variance Gaussian{most}. The legacy "
            "score is the formula of the published figures, whose KL has the wrong sign: no likelihood, not compared."
        )
    if len(kinds) > 1:
        of = {
            kind: dict.fromkeys(line["label"] for line in lines if line["metrics"].get("likelihood_of") == kind)
            for kind in kinds
        }
        listed = "; ".join(f"{kind}: {', '.join(of[kind])}" for kind in sorted(kinds))
        notes.append(f"The bounds are of different things, so that none is the best: {listed}.")
    return notes


def _bound(lines: Sequence[Line]) -> float | None:
    """The log-likelihood that no model can exceed."""
    return next(
        (bound for line in lines if (bound := line["metrics"].get(f"upper_bound/{GAUSSIAN}")) is not None), None
    )


def _fields(groups: Groups, title: str) -> Grid | None:
    """How far fields are transformations, of models that infer which acts."""
    keys = ("share/worst", "confusion_accuracy")
    some = [(model, group) for model, group in groups if any(key in group[0]["metrics"] for key in keys)]
    if not some:
        return None
    columns = [*_alignment_columns(), _metric("accuracy", "high", "confusion_accuracy", 4)]
    grid = _grid(f"Which field is which transformation, {title}", some, columns)
    notes = (
        SPREAD,
        "Share: of the matched field in all activity while only its transformation acts; F1: of its spikes, r: "
        "correlation of its speed with the true one, both on mixed sequences; the worst transformation of each, 0 or "
        "without r where it has no field. Spikes right: pairs of step and transformation whose spike is right; without "
        "a field it is never on. Further field: largest mean activity of those that no transformation is matched to. "
        "Accuracy: sequences of one transformation whose field was inferred.",
    )
    return replace(grid, notes=notes)


def _alignment_columns() -> list[Any]:
    return [
        _metric("worst share", "high", "share/worst", 3),
        _metric("worst F1", "high", "f1/worst", 3),
        _metric("spikes right", "high", "spikes_right", 4),
        _metric("worst speed r", "high", "speed_r/worst", 3),
        _metric("further field", "", "further_field", 4),
    ]


def _further(groups: Groups, title: str) -> Grid | None:
    columns = [
        _metric("encoded, decoded", "low", "reconstruction/mean"),
        _metric("beyond T", "low", "extrapolation/mean"),
        _metric("beyond T, MSE", "low", "extrapolation_mse/mean", 5),
        _metric("at once", "low", "composition"),
        _metric("in turn", "low", "switching"),
        _metric("mixed", "low", "mixed_error_per_frame"),
    ]
    grid = without_empty(_grid(f"Other predictions, {title}", groups, columns))
    if len(grid.columns) < 2:
        return None
    notes = (
        SPREAD,
        "Encoded, decoded: each true frame by itself, as a sum like the errors above; it says what the encoder and the "
        "decoder leave. The rest are L1 errors per frame. Beyond T: the frames T + 1 to 2T, or as far as the "
        "data go (MSE per pixel). At once, in turn: pairs of transformations. These three are measured on up to 250 "
        "of the images, fewer of more than three transformations. Mixed: transformations take turns.",
    )
    return replace(grid, notes=notes)


def _codes(groups: Groups, title: str) -> Grid | None:
    columns = [
        _metric("DCI disentanglement", "", "codes/dci/disentanglement", 3),
        _metric("DCI completeness", "", "codes/dci/completeness", 3),
        _metric("MIG", "high", "codes/mig/score", 3),
        _metric("linear probe R²", "high", "codes/linear_probe/mean", 3),
    ]
    grid = without_empty(_grid(f"What codes tell of factors, {title}", groups, columns))
    notes = (SPREAD, "Held-out frames in random states; the factors are the states of the transformations.", DIMENSIONS)
    return replace(grid, notes=notes) if grid.columns else None


def _cost(groups: Groups, title: str) -> Grid:
    columns = [
        (Column("parameters"), lambda group: Number(group[0]["parameters"], digits=0)),
        (Column("steps"), lambda group: Number(group[0]["steps"], digits=0)),
        (Column("seconds"), lambda group: spread((line["training_seconds"] for line in group), 0)),
        (Column("frames/s"), lambda group: spread((line["frames_per_second"] for line in group), 0)),
        (Column("data, %"), lambda group: spread((_percent(line["data_share"]) for line in group), 1)),
    ]
    notes = [f"{SPREAD.partition(';')[0]}. Data: share of the time spent on it.", *_predictions(groups)]
    goal = published_errors(groups[0][1][0]["data_of"])
    if any(seconds_until(line, goal) is not None for _, group in groups for line in group):
        columns.append((Column("s to published"), lambda group: _seconds_until(group, goal)))
        notes.append(
            f"S to published: seconds of training until the mean error of {', '.join(goal)}, on the held-out images of "
            f"the plots, is at most {fmean(goal.values()):,.2f}, the published one of FFRL supervised; – unless all "
            "seeds reach it."
        )
    return replace(_grid(f"Cost of training, {title}", groups, columns), notes=tuple(notes))


def _seconds_until(lines: Sequence[Line], goal: Mapping[str, float]) -> Number:
    found = [seconds_until(line, goal) for line in lines]
    return Number(None) if None in found else spread(found, 0)


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


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _variants(suite: Suite, lines: Sequence[Line]) -> list[Grid]:
    groups = by_model(suite, lines)
    columns = [
        (Column("seeds"), lambda group: Number(len(group), digits=0)),
        _metric("mean error", "low", "error/mean"),
        *_alignment_columns(),
        (Column("seconds"), lambda group: spread((line["training_seconds"] for line in group), 0)),
    ]
    grid = _grid(f"{suite.about}, {lines[0]['data_title']}", groups, columns)
    steps = lines[0]["metrics"].get("error_steps")
    notes = [
        SPREAD,
        f"Error: mean over transformations of the {steps}-step sum of L1 errors. Share, F1 and r: the worst "
        "transformation; 0, and r undefined, where one has no field.",
    ]
    further = _further(groups, lines[0]["data_title"])
    found = [replace(grid, notes=tuple(notes)), *([] if further is None else [further])]
    own = [model.title for model, _ in groups if model.own_data]
    other = [f"Trained and measured on other mixed sequences, and so not compared: {', '.join(own)}."] if own else []
    return [replace(grid, first="variant", notes=(*grid.notes, *other)) for grid in found]


def _efficiency(suite: Suite, lines: Sequence[Line]) -> list[Grid]:
    """Rows are models, columns are sizes of the training set."""
    everyone = by_model(suite, lines)
    wanted = (
        ("Mean error", "low", "error/mean", 1),
        ("Worst spike F1", "high", "f1/worst", 3),
        ("IWAE", "", f"iwae/{GAUSSIAN}", 2),
    )
    grids = []
    for title, better, key, digits in wanted:
        columns = [_of_data(data, better, key, digits) for data in suite.data]
        groups = [(model, group) for model, group in everyone if measured(group, key).mean is not None]
        grid = without_empty(_grid(f"{title} by number of training images", groups, columns))
        steps = lines[0]["metrics"].get("error_steps") if lines else None
        notes = (SPREAD, f"Every cell has as many steps, whatever the number of images. Errors: {steps}-step sums.")
        if grid.columns:
            grids.append(replace(grid, notes=notes))
    return grids


def _of_data(data: Data, better: Any, key: str, digits: int) -> tuple[Column, Callable[[list[Line]], Number]]:
    def number(group: list[Line]) -> Number:
        return measured([line for line in group if line["data"] == data.label], key, digits)

    return Column(data.title, better), number
