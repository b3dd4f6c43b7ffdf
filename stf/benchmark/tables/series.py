"""The lines that the plots of a benchmark draw: mean over seeds and the range of the seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from ffrl.core.errors import UserError
from ffrl.evaluation.protocol.statistics import inside
from ffrl.evaluation.registry import numbers_of
from stf.benchmark.suites import Data, Model, Suite

BASE = ""
"""The group of the model that variants are compared with."""


class Series(NamedTuple):
    """A line: the place of its model in the suite, its label, and x, mean, lowest and highest y of every point."""

    place: int
    label: str
    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


class Panel(NamedTuple):
    """What is drawn into one pair of axes: its title, its lines, and an x to mark or None."""

    title: str
    series: list[Series]
    mark: float | None = None


Line = Mapping[str, Any]


def frame_curves(evaluation: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Mean error of every frame x_0, x_1, ... moved by the flow, by transformation: as far as was measured.

    Example:
        >>> short = {"flow": {"per_frame": {"mean": [0.0, 1.0]}}}
        >>> long = {"flow": {"l1": {"per_frame": {"mean": [0.0, 1.0, 3.0]}}}}
        >>> frame_curves({"equivariance": {"hue": short}, "extrapolation": {"transformations": {"hue": long}}})
        {'hue': [0.0, 1.0, 3.0]}
    """
    further = inside(evaluation, "extrapolation", "transformations") or {}
    curves = {}
    for name, kinds in (evaluation.get("equivariance") or {}).items():
        longer = inside(further.get(name), "flow", "l1", "per_frame", "mean")
        curves[name] = longer or inside(kinds, "flow", "per_frame", "mean") or []
    return curves


def measures_of(evaluation: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What a line has of an evaluation: its ``metrics``, and the errors of ``frames``.

    Raises:
        UserError: it is of another form; ``source`` is named in the message.

    Example:
        >>> measures_of({"confusion": {"accuracy": 0.5}}, "evaluation.json")
        {'metrics': {'confusion_accuracy': 0.5}, 'frames': {}}
    """
    try:
        return {"metrics": numbers_of(evaluation), "frames": frame_curves(evaluation)}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{source}: found no usable entry {error!r}, expected an evaluation") from None


def error_against_time(suite: Suite, lines: Sequence[Line]) -> list[Panel]:
    """One panel per data set and group of models: mean error over transformations against seconds of training.

    Of every model the checkpoints at which all of its seeds have an error.
    """
    panels = []
    for title, members in _panels(suite, lines):
        series = []
        for place, model, found in members:
            points: dict[int, list[tuple[float, float]]] = defaultdict(list)
            for line in found:
                for point in line["curve"]:
                    error = point["error"].get("mean")
                    if error is not None:
                        points[point["step"]].append((point["seconds"], error))
            steps = [step for step in sorted(points) if len(points[step]) == len(found)]
            x = [fmean(seconds for seconds, _ in points[step]) for step in steps]
            series += _series(place, model, x, [[error for _, error in points[step]] for step in steps])
        panels.append(Panel(title, series))
    return [panel for panel in panels if panel.series]


def error_against_length(suite: Suite, lines: Sequence[Line]) -> list[Panel]:
    """The error of frame t against t, with the trained length marked.

    One panel per data set and transformation; of variants one per group, and of sizes of the training set one per size,
    averaged over the transformations as far as all of them go.
    """
    panels = []
    for title, members in _panels(suite, lines):
        found = [line for _, _, group in members for line in group]
        mark = float(found[0]["trained_steps"])
        names = list(found[0]["frames"])
        if suite.kind != "models":
            panels.append(Panel(title, _over_frames(members, names), mark))
        else:
            panels += [Panel(f"{title}: {name}", _over_frames(members, [name]), mark) for name in names]
    return [panel for panel in panels if panel.series]


def error_against_images(suite: Suite, lines: Sequence[Line]) -> list[Panel]:
    """One panel: mean error over transformations against the number of training images, if data sets differ in it."""
    sizes = {data.label: data.images for data in suite.data if data.images is not None}
    series = []
    for place, model in enumerate(suite.models):
        errors: dict[int, list[float]] = defaultdict(list)
        for line in lines:
            error = line["metrics"].get("error/mean")
            if line["model"] == model.label and line["data"] in sizes and error is not None:
                errors[sizes[line["data"]]].append(error)
        images = sorted(errors)
        series += _series(place, model, [float(count) for count in images], [errors[count] for count in images])
    return [Panel(str(lines[0]["data_title"]), series)] if series else []


def _over_frames(members: Sequence[tuple[int, Model, list[Line]]], names: Sequence[str]) -> list[Series]:
    series = []
    for place, model, found in members:
        curves = [_averaged([line["frames"].get(name, []) for name in names]) for line in found]
        length = min(map(len, curves))
        frames = range(1, length)
        series += _series(place, model, [float(t) for t in frames], [[curve[t] for curve in curves] for t in frames])
    return series


def _averaged(curves: Sequence[Sequence[float | None]]) -> list[float]:
    """Mean of curves, as far as the shortest of them has numbers."""
    result = []
    for values in zip(*curves, strict=False):
        if None in values:
            break
        result.append(fmean(values))
    return result


def _panels(suite: Suite, lines: Sequence[Line]) -> list[tuple[str, list[tuple[int, Model, list[Line]]]]]:
    """Title and members (place, model, its lines) by data set and group; the base is in every group."""
    panels = []
    for data in suite.data:
        here = [line for line in lines if line["data"] == data.label]
        members = [
            (place, model, found)
            for place, model in enumerate(suite.models)
            if (found := [line for line in here if line["model"] == model.label])
        ]
        groups = list(dict.fromkeys(model.group for _, model, _ in members if model.group)) or [BASE]
        for group in groups if members else []:
            some = [member for member in members if member[1].group in (BASE, group)]
            panels.append((_title(data, members[0][2][0], group, len(suite.data) > 1), some))
    return panels


def _title(data: Data, line: Line, group: str, several: bool) -> str:
    if group:
        return group
    return data.title if several else str(line["data_title"])


def _series(place: int, model: Model, x: list[float], values: Sequence[Sequence[float]]) -> list[Series]:
    """The line through values by point and seed, none without points."""
    if not x:
        return []
    return [
        Series(place, model.title, x, [fmean(v) for v in values], [min(v) for v in values], [max(v) for v in values])
    ]
