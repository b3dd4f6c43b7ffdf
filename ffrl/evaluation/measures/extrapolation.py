"""Extrapolation: is the prediction still right when a transformation goes on for twice the trained length?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ffrl.core.device import widest
from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.evaluation.measures.composition import affordable
from ffrl.evaluation.measures.equivariance import l1_error, summarise
from ffrl.evaluation.protocol.measure import PREDICTIONS, Measure, Metric, Results
from ffrl.evaluation.protocol.needs import Need
from ffrl.evaluation.protocol.predicted import PredictedFrames, predicted_frames
from ffrl.evaluation.protocol.prescribed import moving, not_shown, prescribed, shown, why_not
from ffrl.evaluation.protocol.sequences import batch_size
from ffrl.evaluation.protocol.statistics import estimate, inside, mean, mean_of
from ffrl.models.interface import SequenceModel
from ffrl.tables.table import Column, Row, Table, estimated

GIVEN = "given, at unit speed"
INFERRED = "inferred from the first T + 1 frames, then its mean over them"
TIMED = "the fields depend on time, and beyond T they see t / T > 1, on which they were not trained"


def extrapolation(
    model: SequenceModel, data: SequenceData, split: Split, indices: Tensor, tick: Callable[[], None]
) -> dict[str, Any]:
    """Errors of single-transformation sequences of 2T unit steps, or of as many more than T as the data can show.

    Given activity goes on at unit speed. Inferred activity is inferred from the frames 0 .. T; from T on its mean over
    these T steps goes on.

    Args:
        model: on the device of ``data``.
        data: data whose frames are made from states; its T is taken to be the trained length.
        split: which of its splits.
        indices: ``(N,)``, the images.
        tick: called once per transformation.

    Returns:
        ``sequences``, ``activity`` (in words), ``note`` (on time-dependent fields, only for these), ``not_shown`` (why,
        by transformation) and ``transformations``: by name ``steps`` and :func:`curves`, or None if T + 1 steps cannot
        be shown.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28)).requires_grad_(False)
        >>> found = extrapolation(model, load(DataConfig()), "validation", torch.arange(2), lambda: None)
        >>> found["transformations"]["hue"]["steps"]
        16
    """
    found: dict[str, Any] = {}
    for which, name in enumerate(data.transformations):
        steps = longest(data, split, indices, which)
        found[name] = (
            None if steps is None else {"steps": steps, **_measured(model, data, split, indices, which, steps)}
        )
        tick()
    return {
        "sequences": len(indices),
        "activity": GIVEN if model.activity_kind.given else INFERRED,
        **({"note": TIMED} if model.timed else {}),
        "transformations": found,
        "not_shown": {name: why_not(data) for name, entry in found.items() if entry is None},
    }


def longest(data: SequenceData, split: Split, indices: Tensor, which: int) -> int | None:
    """The most steps, up to 2T, that transformation ``which`` can go on for; None if these are no more than T.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> longest(load(DataConfig(name="moving-mnist")), "validation", torch.arange(2), 0)
        12
    """
    lengths = range(2 * data.num_steps, data.num_steps, -1)
    return next((n for n in lengths if shown(data, split, indices, moving(data, which, steps=n))), None)


def continued(model: SequenceModel, batch: SequenceBatch, trained: int) -> Tensor:
    """Activity ``(B, N, C)`` for N steps: the given one, or that of the first ``trained`` ones and then its mean."""
    if model.activity_kind.given:
        return batch.activity
    g = model.infer(batch.frames[:, : trained + 1])
    further = batch.activity.shape[1] - trained
    return torch.cat([g, g.mean(1, keepdim=True).expand(-1, further, -1)], dim=1)


def squared_error(images: Tensor, frames: Tensor) -> Tensor:
    """Mean squared error over channels and pixels, ``(..., C, H, W)`` twice -> ``(...)`` in float64.

    Example:
        >>> squared_error(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.5))
        tensor(0.2500, dtype=torch.float64)
    """
    return (images - frames).square().mean((-3, -2, -1), dtype=widest(images.device))


def curves(errors: Tensor, trained: int) -> dict[str, Any]:
    """An error over time, and beyond the trained length.

    Args:
        errors: ``(B, N+1)``, of the frames x_0 .. x_N.
        trained: T.

    Returns:
        ``per_frame``, lists over t = 0 .. N, and over the frames T+1 .. N ``further_sum`` and ``further_mean``, each
        with its standard error over the sequences.

    Example:
        >>> curves(torch.arange(5.0).repeat(2, 1), trained=2)["further_sum"]
        {'mean': 7.0, 'standard_error': 0.0}
    """
    further = errors[:, trained + 1 :]
    return {
        "per_frame": summarise(errors)["per_frame"],
        "further_sum": estimate(further.sum(1)),
        "further_mean": estimate(further.mean(1)),
    }


def _measured(
    model: SequenceModel, data: SequenceData, split: Split, indices: Tensor, which: int, steps: int
) -> dict[str, dict[str, Any]]:
    """By kind of prediction, the curves of its L1 and mean squared errors."""
    errors: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    for part in indices.split(batch_size(data)):
        batch = prescribed(data, split, part, moving(data, which, steps=steps))
        images = predicted_frames(model, batch.frames, continued(model, batch, data.num_steps))
        for kind, predicted in zip(PredictedFrames._fields, images, strict=True):
            errors[kind, "l1"].append(l1_error(predicted, batch.frames))
            errors[kind, "mse"].append(squared_error(predicted, batch.frames))
    return {
        kind: {name: curves(torch.cat(errors[kind, name]), data.num_steps) for name in ("l1", "mse")}
        for kind in PredictedFrames._fields
    }


class Extrapolation(Measure):
    """Errors beyond the trained length, see :func:`extrapolation`."""

    keys, needs, place = ("extrapolation",), frozenset({Need.STATES}), 20
    units = {"extrapolation": "l1: as equivariance; mse: mean squared error of the channels and pixels of a frame"}

    def work(self) -> int:
        return len(self.task.data.transformations)

    def run(self, tick: Callable[[], None]) -> None:
        task = self.task
        few = task.indices[: affordable(task.data)]
        self.found = extrapolation(task.model, task.data, task.split, few, tick)

    def result(self, found: Results) -> dict[str, Any]:
        return {"extrapolation": self.found}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        found, trained = results["extrapolation"], results["data"]["num_steps"]
        columns = [Column("frames"), Column("flow", "low"), Column("reconstruction"), Column("no flow")]
        columns.append(Column("flow, MSE", "low", digits=4))
        rows = []
        for name, entry in found["transformations"].items():
            if entry is None:
                rows.append(Row(name, [None] * len(columns)))
                continue
            l1, mse = (
                {kind: entry[kind][of]["further_mean"] for kind in PredictedFrames._fields} for of in ("l1", "mse")
            )
            errors = [estimated(l1[kind]) for kind in PredictedFrames._fields]
            rows.append(Row(name, [f"{trained + 1} .. {entry['steps']}", *errors, mean_of(mse["flow"])]))
        notes = [f"{found['sequences']} images; activity {found['activity']}."]
        notes += [f"{found['note'][:1].upper()}{found['note'][1:]}."] if "note" in found else []
        title = f"Extrapolation beyond T = {trained}, L1 per frame"
        return [
            Table("extrapolation", title, "transformation", columns, rows, [*notes, *not_shown(found["not_shown"])])
        ]

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, entry in (inside(results, "extrapolation", "transformations") or {}).items():
            if entry is not None:
                found[f"extrapolation/{name}"] = inside(entry, "flow", "l1", "further_mean")
                found[f"extrapolation_mse/{name}"] = inside(entry, "flow", "mse", "further_mean")
        for part in ("extrapolation", "extrapolation_mse"):
            values = [mean_of(value) for key, value in found.items() if key.startswith(f"{part}/")]
            found |= {f"{part}/mean": mean(values)} if values else {}
        return found

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> list[Metric]:
        about = (
            "Beyond T: the frames T + 1 to 2T, or as far as the data go (MSE per pixel), on up to 250 of the images."
        )
        return [
            Metric(PREDICTIONS, "extrapolation/mean", Column("beyond T", "low", digits=1), about),
            Metric(PREDICTIONS, "extrapolation_mse/mean", Column("beyond T, MSE", "low", digits=5), about),
        ]


MEASURE = Extrapolation
