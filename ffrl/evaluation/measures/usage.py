"""What each field does in sequences whose true transformations are not known: how often it acts, and what it is for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ffrl.evaluation.matching import SILENT, strongest_part
from ffrl.evaluation.measures.equivariance import l1_error
from ffrl.evaluation.protocol.data_summary import activity_statistics
from ffrl.evaluation.protocol.measure import Measure, Pass, Results, Seen
from ffrl.evaluation.protocol.needs import Need
from ffrl.evaluation.protocol.statistics import estimate
from ffrl.models.interface import SequenceModel
from ffrl.tables.table import Column, Row, Table, estimated


def usage(speeds: ArrayLike) -> list[dict[str, Any]]:
    r"""How often and how fast each field acts.

    Args:
        speeds: inferred, one per field, ``(N, T, K)``, exactly 0 where off.

    Returns:
        Per field: ``field``, ``mean`` \|g\| over all steps, ``on`` (share of the steps), ``speed`` (mean \|g\| while
        on, None if it never is), ``persistence`` (probability that it stays on, None if unknown) and ``silent``.

    Example:
        >>> usage([[[0.5, 0.0], [0.5, 0.0]]])[0]
        {'field': 0, 'mean': 0.5, 'on': 1.0, 'speed': 0.5, 'persistence': 1.0, 'silent': False}
    """
    sizes = torch.from_numpy(np.abs(np.asarray(speeds, dtype=np.float64)))
    names = tuple(map(str, range(sizes.shape[-1])))
    described = activity_statistics(sizes, names)["transformations"]
    means = sizes.mean((0, 1)).tolist()
    return [
        {
            "field": field,
            "mean": mean,
            "on": described[name]["on"],
            "speed": described[name]["mean"],
            "persistence": described[name]["persistence"],
            "silent": mean <= SILENT,
        }
        for field, (name, mean) in enumerate(zip(names, means, strict=True))
    ]


def growth_without(model: SequenceModel, frames: Tensor, g: Tensor) -> Tensor:
    r"""How much the prediction error grows when one field alone is switched off, for every field.

    .. math:: \frac{1}{T} \sum_{t=1}^T \| decode(z_t^{\setminus k}) - x_t \|_1 - \| decode(z_t) - x_t \|_1

    Negative where the field does harm, and exactly 0 where it does not act.

    Args:
        model: with ``encode``, ``flow``, ``decode`` and ``num_fields``.
        frames: ``(B, T+1, C, H, W)``.
        g: inferred activity, ``(B, T, C)``; under separate control both parts of a field are switched off.

    Returns:
        ``(B, K)``, float64.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> growth_without(model, torch.rand(2, 9, 3, 28, 28), torch.zeros(2, 8, 3)).abs().max().item()
        0.0
    """
    start, fields = model.encode(frames[:, 0]), model.num_fields

    def error(rows: Tensor, activity: Tensor) -> Tensor:
        moved = model.decode(model.flow(start[rows], activity)[:, 1:])
        return l1_error(moved, frames[rows, 1:], model.frame_kind).mean(1)

    whole = error(torch.arange(len(frames), device=frames.device), g)
    growth = whole.new_zeros(len(frames), fields)
    on = (g != 0).any(1).unflatten(-1, (-1, fields)).any(-2)
    for field in on.any(0).nonzero().flatten().tolist():
        rows = on[:, field].nonzero().flatten()
        others = torch.arange(g.shape[-1], device=g.device) % fields != field
        growth[rows, field] = error(rows, g[rows] * others) - whole[rows]
    return growth


def describe_fields(speeds: ArrayLike, growth: Tensor) -> list[dict[str, Any]]:
    """What each field does: :func:`usage` of speeds ``(N, T, K)``, and the mean ``growth`` of errors ``(N, K)``.

    Example:
        >>> describe_fields([[[0.5]]], torch.tensor([[3.0]]))[0]["growth"]
        {'mean': 3.0, 'standard_error': None}
    """
    return [one | {"growth": estimate(growth[:, one["field"]])} for one in usage(speeds)]


def by_growth(fields: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The ``fields`` of an evaluation, those first without which the error grows most.

    Example:
        >>> fields = [{"field": k, "growth": {"mean": mean}} for k, mean in enumerate((0.0, 2.0, None))]
        >>> [one["field"] for one in by_growth(fields)]
        [1, 0, 2]
    """
    return sorted(fields, key=lambda one: math.inf if one["growth"]["mean"] is None else -one["growth"]["mean"])


class Usage(Measure):
    """What each field does where it is not known what it should do, see :func:`describe_fields`."""

    keys, needs, sees, place, finds = ("fields",), frozenset({Need.UNKNOWN}), Pass.MIXED, 50, True

    def see(self, seen: Seen) -> None:
        growth = growth_without(seen.model, seen.frames, seen.activity)
        self.keep({"speeds": seen.activity, "growth": growth})

    def result(self, found: Results) -> dict[str, Any]:
        speeds = strongest_part(self.kept("speeds").cpu().numpy(), self.task.model.num_fields)
        return {"fields": describe_fields(speeds, self.kept("growth"))}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        columns = [Column(title, digits=1, percent=True) for title in ("on", "stays on")]
        columns += [Column("mean |g|", digits=4), Column("speed while on"), Column("error grows without it")]
        keys = ("on", "persistence", "mean", "speed")
        rows = [
            Row(
                f"{one['field']}" + (" (silent)" if one["silent"] else ""),
                [*(one[key] for key in keys), estimated(one["growth"])],
            )
            for one in by_growth(results["fields"])
        ]
        whole = Column("").text(results["prediction"]["flow"]["mean_per_frame"]["mean"])
        notes = [
            "On, stays on: share of the steps at which the field acts, and of these at which it goes on acting.",
            f"Error: L1 per frame of a first frame moved by the inferred activity, {whole} with all fields, and by how "
            "much it grows when this field alone is switched off. What really acts in these sequences is not known.",
        ]
        return [Table("fields", "What each field does, the most useful first", "field", columns, rows, notes)]

    @classmethod
    def summary(cls, results: Results) -> str:
        silent = [str(one["field"]) for one in results["fields"] if one["silent"]]
        which = f" ({', '.join(silent)})" if silent else ""
        return f"silent fields: {len(silent)} of {len(results['fields'])}{which}"


MEASURE = Usage
