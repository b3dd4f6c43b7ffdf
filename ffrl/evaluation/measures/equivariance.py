"""Equivariance error: does moving the latent and decoding give the transformed image?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ffrl.core.device import widest
from ffrl.evaluation.protocol.measure import ERRORS, PREDICTIONS, Measure, Metric, Pass, Results, Seen
from ffrl.evaluation.protocol.needs import Need
from ffrl.evaluation.protocol.predicted import predicted_frames
from ffrl.evaluation.protocol.published import PUBLISHED_STEPS, published
from ffrl.evaluation.protocol.statistics import estimate, mean, mean_of
from ffrl.models.frame_kind import PIXELS, FrameKind
from ffrl.models.interface import SequenceModel
from ffrl.tables.table import Cell, Column, Row, Table, estimated

KINDS = {"error": "flow", "reconstruction": "reconstruction", "copy": "copy"}
"""What the kinds of prediction are called in a benchmark, and here."""


class FrameErrors(NamedTuple):
    """L1 errors summed over the pixels of each frame x_0 .. x_T, ``(B, T+1)`` each.

    Args:
        flow: of decode(z_t), with z_0 the posterior mean of x_0 moved by the activity.
        reconstruction: of decode(encode(x_t)), what encoder and decoder leave. It bounds the flow's error where the
            encoder has seen moved frames in training; a supervised one has seen x_0 alone.
        copy: of decode(z_0) at all t, what no flow at all would give.
    """

    flow: Tensor
    reconstruction: Tensor
    copy: Tensor


def l1_error(images: Tensor, frames: Tensor, frame_kind: FrameKind = PIXELS) -> Tensor:
    """L1 error summed over channels and pixels, ``(..., C, H, W)`` twice -> ``(...)`` in float64.

    Of vectors ``(..., F)`` it is summed over features, in standard deviations of theirs, without those that are
    missing; ``frame_kind`` of the model says what frames are.

    Example:
        >>> import torch
        >>> l1_error(torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2))
        tensor([4., 4.], dtype=torch.float64)
    """
    return frame_kind.total(frame_kind.difference(images, frames).abs(), dtype=widest(images.device))


def frame_errors(model: SequenceModel, frames: Tensor, g: Tensor) -> FrameErrors:
    r"""L1 errors of the rollout, of plain reconstruction and of standing still.

    .. math:: \| decode(z_t) - x_t \|_1, \quad z_0 = E_{q(z|x_0)}[z], \quad z_t = flow(z_{t-1}, g_t)

    The terms of the equivariance error (FFRL, "Quantitative Evaluation"); all three agree at t = 0.

    Args:
        model: with ``encode``, ``flow`` and ``decode``.
        frames: ``(B, T+1, C, H, W)``.
        g: given or inferred activity, ``(B, T, C)``.

    Example:
        >>> import torch
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> frame_errors(model, torch.rand(2, 9, 3, 28, 28), torch.ones(2, 8, 3)).flow.shape
        torch.Size([2, 9])
    """
    return FrameErrors(*(l1_error(images, frames, model.frame_kind) for images in predicted_frames(model, frames, g)))


def summarise(errors: Tensor) -> dict[str, Any]:
    """Sums and means over time of the errors of N sequences, each with its standard error over the sequences.

    Args:
        errors: ``(N, T+1)``, of the frames x_0 .. x_T.

    Returns:
        ``seven_step_sum`` (t = 1 .. 7, as published; None if T < 7), ``full_sum`` (t = 1 .. T), ``mean_per_frame``
        (the full sum / T), and ``per_frame``, lists over t = 0 .. T.

    Example:
        >>> import torch
        >>> summarise(torch.arange(9.0).repeat(2, 1))["seven_step_sum"]
        {'mean': 28.0, 'standard_error': 0.0}
    """
    steps = errors.shape[1] - 1
    moved = errors[:, 1:]
    curve = [estimate(errors[:, t]) for t in range(steps + 1)]
    return {
        "seven_step_sum": estimate(moved[:, :PUBLISHED_STEPS].sum(1)) if steps >= PUBLISHED_STEPS else None,
        "full_sum": estimate(moved.sum(1)),
        "mean_per_frame": estimate(moved.mean(1)),
        "per_frame": {key: [point[key] for point in curve] for key in ("mean", "standard_error")},
    }


def sums_shown(steps: int) -> dict[str, str]:
    """The sums of errors that are shown for sequences of ``steps`` transitions, and what they are called.

    Example:
        >>> sums_shown(8)
        {'seven_step_sum': '7-step sum', 'full_sum': '8-step sum'}
    """
    full = {"full_sum": f"{steps}-step sum"}
    return {"seven_step_sum": "7-step sum"} | full if steps > PUBLISHED_STEPS else full


class Equivariance(Measure):
    """Errors on single-transformation sequences, every image under each of the transformations.

    By transformation :func:`summarise` of each of :class:`FrameErrors`, by name.
    """

    keys, needs, sees, place = ("equivariance",), frozenset({Need.SINGLE}), Pass.SINGLE, 10
    units = {"equivariance": "L1 error on images in [0, 1], summed over channels and pixels of a frame"}

    def see(self, seen: Seen) -> None:
        kinds = zip(FrameErrors._fields, seen.predicted, strict=True)
        frame_kind = seen.model.frame_kind
        self.keep({(seen.which, kind): l1_error(images, seen.frames, frame_kind) for kind, images in kinds})

    def result(self, found: Results) -> dict[str, Any]:
        described = {
            name: {kind: summarise(self.kept((which, kind))) for kind in FrameErrors._fields}
            for which, name in enumerate(self.task.data.transformations)
        }
        return {"equivariance": described}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        reference, sums = published(results["data"]), sums_shown(results["data"]["num_steps"])
        columns = [Column(title, "low") for title in sums.values()]
        columns += [Column("flow", "low", block="per frame")]
        columns += [Column(title, block="per frame") for title in ("reconstruction", "no flow")]
        columns += [Column(mode, block="published") for mode in reference.sums] if reference else []
        rows = []
        for name, kinds in results["equivariance"].items():
            cells: list[Cell] = [estimated(kinds["flow"][key]) for key in sums]
            cells += [estimated(kinds[kind]["mean_per_frame"]) for kind in FrameErrors._fields]
            cells += [found.get(name) for found in reference.sums.values()] if reference else []
            rows.append(Row(name, cells))
        notes = [
            "L1 error of decoded against true frames t = 1 .. T, summed over channels and pixels of images in [0, 1], "
            "of a first image moved by the flow through a sequence with one transformation; ± is the standard error.",
            "Reconstruction: each true frame encoded and decoded by itself, what encoder and decoder leave; no flow: "
            "the decoded first image throughout.",
        ]
        if reference:
            source = f"Flow Factorized Representation Learning ({reference.where})"
            notes.append(f"Published: errors of {source}, supervised and weak, {reference.about}.")
        return [Table("equivariance", "Equivariance error", "transformation", columns, rows, notes)]

    @classmethod
    def summary(cls, results: Results) -> str:
        parts = [
            f"{name} {Column('').text(estimated(kinds['flow']['mean_per_frame']))} "
            f"({Column('').text(mean_of(kinds['copy']['mean_per_frame']))})"
            for name, kinds in results["equivariance"].items()
        ]
        return f"L1 per frame of the flow (of no flow): {', '.join(parts)}"

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        errors = results["equivariance"]
        seven = all(kinds["flow"].get("seven_step_sum") for kinds in errors.values())
        steps = PUBLISHED_STEPS if seven else (results.get("data") or {}).get("num_steps")
        found: dict[str, Any] = {"error_steps": steps}
        for shown, kind in KINDS.items():
            if all(kind in kinds for kinds in errors.values()):
                values = {
                    name: kinds[kind]["seven_step_sum" if seven else "full_sum"] for name, kinds in errors.items()
                }
                found |= {f"{shown}/{name}": value for name, value in values.items()}
                found[f"{shown}/mean"] = mean(map(mean_of, values.values()))
        return found

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> list[Metric]:
        names = [key.removeprefix("error/") for key in numbers if key.startswith("error/") and key != "error/mean"]
        about = (
            f"Errors: sums over {numbers.get('error_steps')} steps of the L1 error of predicted frames, summed over "
            "channels and pixels of images in [0, 1]; lower is better. Each model predicts in its own best way."
        )
        left = (
            "Encoded, decoded: each true frame by itself, as a sum like the equivariance errors; it says what the "
            "encoder and the decoder leave. The rest are L1 errors per frame."
        )
        return [
            *(Metric(ERRORS, f"error/{name}", Column(name, "low", digits=1), about) for name in (*names, "mean")),
            Metric(PREDICTIONS, "reconstruction/mean", Column("encoded, decoded", "low", digits=1), left),
        ]


MEASURE = Equivariance
