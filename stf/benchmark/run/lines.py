"""What the files of a benchmark hold: lines of finished and failed cells, and the files that they are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NotRequired, TypedDict

from ffrl.core.schema import check


class Estimate(TypedDict):
    """A mean, and its standard error."""

    mean: float | None
    standard_error: NotRequired[float | None]


class Point(TypedDict):
    """Errors at a checkpoint."""

    step: int
    seconds: float
    error: dict[str, float | None]


class Machine(TypedDict):
    """Where a cell ran."""

    processor: str
    cores: int
    threads: int
    at_a_time: int
    torch: str
    device: str
    precision: str


class Data(TypedDict):
    """What a cell was measured on."""

    name: str
    title: NotRequired[str | None]
    protocol: NotRequired[str | None]
    num_steps: int


class Done(TypedDict):
    """The line of a finished cell."""

    cell: str
    suite: str
    model: str
    data: str
    seed: int
    steps: int
    budget: float | None
    benchmark: str
    version: str
    date: str
    data_title: str
    data_of: Data
    label: str
    told: NotRequired[str | None]
    sequences: int
    training_seconds: float
    frames_per_second: float | None
    data_share: float | None
    parameters: int
    prediction: NotRequired[str | None]
    machine: Machine
    metrics: dict[str, float | bool | str | Estimate | None]
    curve: list[Point]
    frames: dict[str, list[float | None]]
    trained_steps: int


class Failed(TypedDict):
    """The line of a cell that failed."""

    cell: str
    suite: NotRequired[str]
    stage: str
    code: int
    reason: str


class Environment(TypedDict):
    """What is read of an ``environment.json``."""

    threads: int
    torch: str
    device: str
    device_type: str
    precision: str


class Training(TypedDict):
    """How a training went."""

    seconds: float
    frames_per_second: float | None
    data_share: float | None
    environment: Environment


class Curve(TypedDict):
    """A ``curve.json``."""

    training: Training
    points: list[Point]


class Model(TypedDict):
    """What is read of a model in an ``evaluation.json``."""

    parameters: int
    prediction: NotRequired[str | None]


class Evaluation(TypedDict):
    """What is read of an ``evaluation.json`` beside its measures, which know their own numbers."""

    data: Data
    model: Model
    sequences: int
    equivariance: NotRequired[dict[str, Any] | None]


KINDS = {"done": Done, "failed": Failed}
"""Kinds of lines, by their ``status``."""


def check_line(line: Mapping[str, Any], source: str) -> None:
    """Raise a UserError unless a line has what its ``status`` says; ``source`` is named in the message.

    Example:
        >>> check_line({"cell": "a", "status": "failed", "stage": "train", "code": 1, "reason": 3}, "results.jsonl")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: results.jsonl: reason: found 3, expected a text
    """
    if line.get("status") in KINDS:
        check(dict(line), KINDS[line["status"]], source)


def check_lines(lines: Iterable[Mapping[str, Any]], source: str) -> None:
    """:func:`check_line` for all, each named by its cell."""
    for line in lines:
        check_line(line, f"{source}: {line['cell']}")
