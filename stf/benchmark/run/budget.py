"""From a budget in seconds to optimisation steps, by a short timed trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ffrl.config import RunConfig
from ffrl.core.errors import UserError
from ffrl.storage.names import CONFIG, METRICS
from ffrl.training.config_io import read_config
from ffrl.training.log import read_metrics
from ffrl.training.phases import spans
from stf.benchmark.run.cell import LEAST_STEPS
from stf.registry import CONFIGS


def steps_within(budget: float, trial: Path) -> dict[str, Any]:
    r"""Return how many steps a training of ``budget`` seconds has, from the folder of a short one.

    .. math:: N = \lfloor (budget - o) / \sum_p f_p s_p \rfloor

    with the share f_p of the steps of each phase of the schedule and its mean seconds of a step. The phases are shares
    of the steps, so that the trial, however short, has them in the proportions of the whole. The first entry of each
    phase, in which memory is allocated and kernels are chosen, does not count. A search encodes its sequences first and
    decides on moves at times, as often in a short search as in a long one: what its steps take beyond their median is
    o. Nor do validation, checkpoints, what is estimated after the last step, and the start of the process.

    Args:
        budget: seconds of training.
        trial: run folder of the trial.

    Returns:
        ``steps``, at least :data:`~stf.benchmark.run.cell.LEAST_STEPS`, and ``seconds_per_step``.

    Raises:
        UserError: the folder does not hold a finished trial.
    """
    found = timing(read_metrics(trial / METRICS), read_config(trial / CONFIG, CONFIGS))
    if found is None:
        raise UserError(f"{trial / METRICS}: found too few entries, expected those of a finished trial")
    seconds, once = found
    return {"steps": max(LEAST_STEPS, math.floor((budget - once) / seconds)), "seconds_per_step": seconds}


def timing(metrics: Sequence[Mapping[str, Any]], config: RunConfig) -> tuple[float, float] | None:
    """Return the mean seconds of a step over a whole training, and those that preparing phases takes once.

    None if an entry is missing without which one of them is not known.

    Args:
        metrics: entries of ``metrics.jsonl``, with the cumulated ``seconds`` at a ``step``.
        config: of the trial.

    Example:
        >>> from ffrl.config import StillConfig
        >>> still = [{"step": 5, "seconds": 9.0}, {"step": 10, "seconds": 9.5}]
        >>> moving = [{"step": 15, "seconds": 20.0}, {"step": 20, "seconds": 21.5}]
        >>> timing([*still, *moving], RunConfig(steps=20, still=StillConfig(fraction=0.5)))
        (0.2, 0.0)
    """
    entries = [{"step": 0, "seconds": 0.0}, *(entry for entry in metrics if "seconds" in entry)]
    whole, once, encoded = 0.0, 0.0, None
    for span in spans(config):
        inside = [
            (after["step"] - before["step"], after["seconds"] - before["seconds"])
            for before, after in itertools.pairwise(entries)
            if span.first <= before["step"] and after["step"] <= span.last
        ]
        if len(inside) < 2:  # a short phase on encoded sequences: its steps are those of the one before
            if span.phase.by_gradient or encoded is None:
                return None
            whole += span.steps / config.steps * encoded
            continue
        others = inside[1:]
        if span.phase.by_gradient:
            seconds = sum(spent for _, spent in others) / sum(count for count, _ in others)
        else:  # encoding, and deciding on moves, take as long however many steps there are
            seconds = encoded = median(spent / count for count, spent in others)
            once += max(0.0, sum(spent - count * seconds for count, spent in inside))
        whole += span.steps / config.steps * seconds
    return whole, once
