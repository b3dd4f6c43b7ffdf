"""Prediction error: how far are later frames of real sequences from the first one moved by the activity?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ffrl.core.device import widest
from ffrl.evaluation.measures.equivariance import l1_error, summarise
from ffrl.evaluation.protocol.measure import PREDICTIONS, Measure, Metric, Pass, Results, Seen
from ffrl.evaluation.protocol.statistics import estimate
from ffrl.tables.table import Column, Row, Table, estimated

KINDS = {
    "flow": "flow",
    "reconstruction": "reconstruction",
    "copy": "copy of decoded x_0",
    "raw_copy": "copy of x_0 itself",
}
"""The first frame moved; each frame encoded and decoded by itself; the first frame decoded, and as it is."""
EMPTY = {"background": "background alone"}
"""The frame in which nothing moves, where models know their static background."""


QUALITIES = {
    "psnr": "PSNR: of the mean squared error.",
    "explained": "L1: in standard deviations, summed over features. Explained: 1 less the mean squared error of "
    "standardised features, 0 for a prediction that always says their mean.",
}
"""What is said of how good predictions are, of images and of vectors."""


def psnr(squared: Tensor) -> dict[str, float | None]:
    r"""Peak signal-to-noise ratio in dB of values in [0, 1], :math:`-10 \log_{10} \overline{e}`.

    The mean is that of the squared errors and not of the decibels, which a single perfect frame would make infinite;
    the standard error is that of the mean, carried through the logarithm to first order.

    Args:
        squared: e, mean squared error of each sequence, ``(N,)``.

    Returns:
        ``mean`` and ``standard_error``; both infinite or undefined where every frame is exact.

    Example:
        >>> import torch
        >>> round(psnr(torch.tensor([0.005, 0.015]))["mean"], 3)
        20.0
    """
    found = estimate(squared)
    mean, error = found["mean"], found["standard_error"]
    value = math.inf if mean == 0 else -10 * math.log10(mean)
    return {"mean": value, "standard_error": None if error is None or mean == 0 else 10 / math.log(10) * error / mean}


class Prediction(Measure):
    """Errors of predicted frames of mixed or real sequences.

    Standing still is measured twice: ``copy`` repeats the decoded first frame, what the model predicts without any
    activity, and ``raw_copy`` the first frame itself, which needs no model and is hard to beat where little moves.
    Where frames are changes from a static background, that is measured too: what a model gets that says nothing moves.
    """

    keys, sees, place = ("prediction",), Pass.MIXED, 40
    units = {
        "prediction": "as equivariance, of vectors in standard deviations; psnr in dB, of the mean squared error of "
        "all frames t = 1 .. T; explained: 1 less the mean squared error of standardised features"
    }

    def see(self, seen: Seen) -> None:
        frame_kind = seen.model.frame_kind
        empty = frame_kind.empty(seen.frames)
        found = dict(zip(KINDS, (*seen.predicted, frame_kind.filled(seen.frames[:, :1])), strict=True))
        for kind, images in (found if empty is None else found | dict.fromkeys(EMPTY, empty)).items():
            apart = frame_kind.difference(images, seen.frames)[:, 1:]
            squared = apart.square().flatten(1).mean(1, dtype=widest(images.device))
            self.keep({(kind, "l1"): l1_error(images, seen.frames, frame_kind), (kind, "squared"): squared})
        there = ~seen.frames[:, 1:].isnan()
        self.keep({"there": there.flatten(1).to(widest(there.device)).mean(1)})

    def result(self, found: Results) -> dict[str, Any]:
        activity = {"activity": "given" if self.task.model.activity_kind.given else "inferred"}
        vectors = self.task.model.frame_kind.rank == 1
        known = self.task.model.frame_kind.empty(torch.zeros(0)) is not None
        errors = {}
        for kind in KINDS | EMPTY if known else KINDS:
            squared = self.kept((kind, "squared")) / self.kept("there").mean().clamp(min=1e-9)
            quality = {"explained": estimate(1 - squared)} if vectors else {"psnr": psnr(squared)}
            errors[kind] = summarise(self.kept((kind, "l1"))) | quality
        return {"prediction": activity | errors}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        found, known = results["prediction"], results["data"]["transformations"]
        quality = "explained" if "explained" in found["flow"] else "psnr"
        rows = [
            Row(
                f"{name}, {found['activity']} activity" if kind == "flow" else name,
                [estimated(found[kind][key]) for key in ("mean_per_frame", "full_sum", quality)],
            )
            for kind, name in (KINDS | EMPTY).items()
            if kind in found
        ]
        total = Column(f"{results['data']['num_steps']}-step sum", "low")
        last = Column("PSNR", "high", unit="dB") if quality == "psnr" else Column("explained", "high")
        columns = [Column("L1 per frame", "low"), total, last]
        notes = [
            "Frames t = 1 .. T from the first one alone: moved by the activity, and standing still. Reconstruction: "
            f"each frame encoded and decoded by itself, what encoder and decoder leave. {QUALITIES[quality]}"
        ]
        mode = results["model"]["mode"]
        trained = results["model"].get("trained_on", "mixed" if mode == "unsupervised" else "single")
        if known and trained != "mixed":
            notes.append("Mixed sequences: several transformations take turns, which this mode is not trained on.")
        title = f"Prediction of {'mixed' if known else 'real'} sequences from x_0"
        return [Table("prediction", title, "frames", columns, rows, notes)]

    @classmethod
    def summary(cls, results: Results) -> str:
        found = results["prediction"]
        moved, copied, raw = (
            Column("").text(estimated(found[kind]["mean_per_frame"])) for kind in ("flow", "copy", "raw_copy")
        )
        return f"L1 per frame {moved}; standing still, decoded {copied}, the real first frame {raw}"

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        return {"mixed_error_per_frame": results["prediction"]["flow"]["mean_per_frame"]}

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> list[Metric]:
        about = "Mixed: transformations take turns."
        return [Metric(PREDICTIONS, "mixed_error_per_frame", Column("mixed", "low", digits=1), about)]


MEASURE = Prediction
