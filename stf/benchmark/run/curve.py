"""Error against training time of one run, and how its training went, in a process of its own: ``python -m`` this."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from ffrl.config import RunConfig
from ffrl.core.device import resolve_device
from ffrl.core.errors import UserError
from ffrl.core.files import to_json, write_atomically
from ffrl.core.reading import read_json_object
from ffrl.core.schema import check
from ffrl.core.terminal import one_line, say
from ffrl.data import load as load_data
from ffrl.data.base import SequenceData
from ffrl.evaluation.evaluate import measured
from ffrl.evaluation.protocol.measure import Task
from ffrl.evaluation.protocol.needs import available
from ffrl.evaluation.protocol.sequences import choose
from ffrl.evaluation.protocol.statistics import mean_of
from ffrl.evaluation.registry import numbers_of
from ffrl.models.interface import Calibrated, SequenceModel
from ffrl.storage.names import ENVIRONMENT, METRICS
from ffrl.training.checkpoint import STATE, checkpoints
from ffrl.training.log import read_metrics
from ffrl.training.phases import frames_until
from stf.run import Run

SEQUENCES = 64
"""Sequences that the error at a checkpoint is measured on."""


def training_summary(run: Path, config: RunConfig) -> dict[str, Any]:
    """How a finished training went: seconds, frames/s, the share of the time spent on data, and where it ran.

    Args:
        run: run folder.
        config: its configuration.

    Raises:
        UserError: a file of the run cannot be used.
    """
    found = checkpoints(run)
    seconds = _seconds(found[max(found)])
    frames = frames_until(config, config.data.num_steps, max(found))
    waited, before = 0.0, 0
    for entry in read_metrics(run / METRICS):
        if entry.get("data_share") is None or not entry.get("frames_per_second"):
            continue
        done = frames_until(config, config.data.num_steps, entry["step"])
        waited += entry["data_share"] * (done - before) / entry["frames_per_second"]
        before = done
    return {
        "steps": max(found),
        "seconds": seconds,
        "frames_per_second": frames / seconds if seconds > 0 else None,
        "data_share": waited / seconds if seconds > 0 else None,
        "environment": read_json_object(run / ENVIRONMENT),
    }


def error_curve(run: Path, sequences: int = SEQUENCES, device: str = "auto") -> list[dict[str, Any]]:
    """The errors at the checkpoints of a run: ``step``, ``seconds`` of training, ``error`` by transformation.

    Checkpoints that an interruption left, at any other step than the planned ones, are passed over.
    A model that is :class:`~ffrl.models.interface.Calibrated` after the last step has its last point alone.

    Args:
        run: run folder.
        sequences: how many to measure on; fewer in a smaller split.
        device: where to compute.

    Raises:
        UserError: the run or its data cannot be used.
    """
    points, data = [], None
    found = checkpoints(run)
    for step in sorted(found):
        opened = Run.open(run, step, device)
        config, model = opened.config, opened.model
        planned = step % config.checkpoint_every == 0 and not isinstance(model, Calibrated)
        if step < max(found) and not planned:
            continue
        if data is None:
            data = load_data(dataclasses.replace(config.data, download=False), resolve_device(device))
            sequences = min(sequences, data.size("validation"))
        seconds = _seconds(found[step])
        points.append({"step": step, "seconds": seconds, "error": errors(model, data, sequences)})
    return points


class _State(TypedDict):
    seconds: float


def _seconds(checkpoint: Path) -> float:
    """Seconds of training until a checkpoint."""
    path = checkpoint / STATE
    found = read_json_object(path)
    check(found, _State, str(path))
    return float(found["seconds"])


def errors(model: SequenceModel, data: SequenceData, sequences: int) -> dict[str, float | None]:
    """Equivariance errors on some held-out sequences, by transformation, and their ``mean``; None if not finite."""
    indices = choose(data, "validation", sequences, seed=0)
    task = Task(model, data, "validation", 0, indices, available=available(model, data))
    found = numbers_of(measured(task, names=["equivariance"]))
    return {key.removeprefix("error/"): mean_of(value) for key, value in found.items() if key.startswith("error/")}


def main(arguments: Sequence[str]) -> int:
    """Write ``RUN/curve.json`` for ``[RUN, DEVICE]`` and return the exit code."""
    run, device = Path(arguments[0]), arguments[1]
    try:
        config = Run.open(run).config
        summary = {"training": training_summary(run, config), "points": error_curve(run, device=device)}
        write_atomically(run / "curve.json", to_json(summary))
    except UserError as error:
        say(f"stf: error: {one_line(str(error))}", error=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
