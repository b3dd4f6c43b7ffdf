"""What each field does in sequences whose true transformations are not known: how often it acts, and what it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ffrl.evaluation.measures.alignment import SILENT
from ffrl.evaluation.measures.equivariance import l1_error
from ffrl.evaluation.protocol.data_summary import activity_statistics
from ffrl.evaluation.protocol.statistics import estimate
from ffrl.models.interface import SequenceModel


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
        return l1_error(moved, frames[rows, 1:]).mean(1)

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
