"""Errors of each feature of predicted vectors, in its own unit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ffrl.core.device import wide
from ffrl.data.features import Features
from ffrl.evaluation.protocol.measure import Measure, Pass, Results, Seen
from ffrl.evaluation.protocol.needs import Need
from ffrl.models.frame_kind import FeatureValues
from ffrl.tables.table import Column, Row, Table

KINDS = {"flow": "flow", "reconstruction": "reconstruction", "raw_copy": "first vector"}
"""The first vector moved; each vector encoded and decoded by itself; the first vector as it is."""


def squares(found: Tensor, truth: Tensor, features: Features) -> Tensor:
    """Sums of squared errors over the vectors t = 1 .. T of each sequence, ``(B, T+1, F)`` twice -> ``(B, F)``.

    Values that are missing add nothing.

    Example:
        >>> from ffrl.data.features import Feature
        >>> squares(torch.zeros(1, 2, 1), torch.full((1, 2, 1), 3.0), Features((Feature("x"),)))
        tensor([[9.]], dtype=torch.float64)
    """
    return wide(features.difference(found, truth)[:, 1:]).square().nan_to_num(0.0).sum(1)


class FeatureErrors(Measure):
    r"""Root mean square error of every feature over the vectors t = 1 .. T,

    .. math:: \sqrt{\overline{(\hat x_f - x_f)^2}},

    in its own unit, of an angle the short way round; and the share of its variance that is explained.
    """

    keys, needs, sees, place = ("features",), frozenset({Need.FEATURES}), Pass.MIXED, 45
    units = {"features": "root mean square error, in the feature's own unit"}

    def see(self, seen: Seen) -> None:
        features, frames = self._features, seen.frames
        kinds = (seen.predicted.flow, seen.predicted.reconstruction, seen.model.frame_kind.filled(frames[:, :1]))
        for kind, found in zip(KINDS, kinds, strict=True):
            self.keep({kind: squares(found.expand_as(frames), frames, features)})
        self.keep({"count": (~frames[:, 1:].isnan()).sum(1)})

    def result(self, found: Results) -> dict[str, Any]:
        count = self.kept("count").sum(0).clamp(min=1)
        errors = {kind: (self.kept(kind).sum(0) / count).sqrt().tolist() for kind in KINDS}
        described = {
            feature.name: {kind: errors[kind][place] for kind in KINDS} | {"scale": feature.scale}
            for place, feature in enumerate(self._features.each)
        }
        return {"features": described}

    @property
    def _features(self) -> Features:
        """Those that the model was trained on, with their scales."""
        kind = self.task.model.frame_kind
        assert isinstance(kind, FeatureValues)
        return kind.features

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        found = results["features"]
        columns = [Column(title, "low" if kind == "flow" else "", digits=4) for kind, title in KINDS.items()]
        columns.append(Column("standard deviation", digits=4))
        rows = [Row(name, [*(one[kind] for kind in KINDS), one["scale"]]) for name, one in found.items()]
        notes = [
            "Root mean square errors of the vectors t = 1 .. T in each feature's own unit: of the first moved by the "
            "activity, of each vector encoded and decoded by itself, and of the first vector as it is. The last "
            "column is what one unit of the model is: a standard deviation of the training data, of an angle a radian."
        ]
        return [Table("features", "Error of each feature", "feature", columns, rows, notes)]

    @classmethod
    def summary(cls, results: Results) -> str:
        shares = {name: one["flow"] / one["scale"] for name, one in results["features"].items()}
        worst = max(shares, key=lambda name: shares[name])
        middle = torch.tensor(list(shares.values())).median().item()
        return f"features are predicted to within {middle:.2f} of their standard deviations (median), {worst} worst"


MEASURE = FeatureErrors
