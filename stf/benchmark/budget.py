"""From a budget in seconds to optimisation steps, by a short timed trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ffrl.engine.files import read_json_object
from ffrl.engine.log import METRICS, read_metrics
from ffrl.errors import UserError
from stf.benchmark.cell import LEAST_STEPS


def steps_within(budget: float, trial: Path) -> dict[str, Any]:
    r"""Return how many steps a training of ``budget`` seconds has, from the folder of a short one.

    .. math:: N = \lfloor budget / (f s_{still} + (1 - f) s_{moving}) \rfloor

    with the share f of still steps and the mean seconds of a step in each phase. The phases are shares of the steps,
    so that the trial, however short, has them in the proportions of the whole. The first entry of each phase, in which
    memory is allocated and kernels are chosen, does not count, nor do validation, checkpoints, what is estimated
    after the last step, and the start of the process.

    Args:
        budget: seconds of training.
        trial: run folder of the trial.

    Returns:
        ``steps``, at least :data:`~stf.benchmark.cell.LEAST_STEPS`, and ``seconds_per_step``.

    Raises:
        UserError: the folder does not hold a finished trial.
    """
    config = read_json_object(trial / "config.json")
    try:
        share, steps = float(config["still"]["fraction"]), int(config["steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{trial / 'config.json'}: found no usable entry {error}, expected a configuration") from None
    seconds = seconds_per_step(read_metrics(trial / METRICS), share, steps)
    if seconds is None:
        raise UserError(f"{trial / METRICS}: found too few entries, expected those of a finished trial")
    return {"steps": max(LEAST_STEPS, math.floor(budget / seconds)), "seconds_per_step": seconds}


def seconds_per_step(metrics: Sequence[Mapping[str, Any]], share: float, steps: int) -> float | None:
    """Return the mean seconds of a step over a whole training of which ``share`` is still, None if that is not known.

    Args:
        metrics: entries of ``metrics.jsonl``, with the cumulated ``seconds`` at a ``step``.
        share: of the steps that are still.
        steps: of the trial.

    Example:
        >>> still = [{"step": 5, "seconds": 9.0}, {"step": 10, "seconds": 9.5}]
        >>> moving = [{"step": 15, "seconds": 20.0}, {"step": 20, "seconds": 21.5}]
        >>> seconds_per_step([*still, *moving], share=0.5, steps=20)
        0.2
    """
    phases: dict[bool, list[float]] = {True: [], False: []}
    entries = [entry for entry in metrics if "seconds" in entry]
    last = {"step": 0, "seconds": 0.0}
    for entry in entries:
        is_still = last["step"] < share * steps
        phases[is_still].append((entry["seconds"] - last["seconds"]) / (entry["step"] - last["step"]))
        last = entry
    still, moving = (_mean(phases[kind][1:]) for kind in (True, False))
    if moving is None or (share > 0 and still is None):
        return None
    return share * (still or 0.0) + (1 - share) * moving


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
