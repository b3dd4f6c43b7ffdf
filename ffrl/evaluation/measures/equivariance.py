"""Equivariance error: does moving the latent and decoding give the transformed image?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ffrl.data.base import SequenceData, Split
from ffrl.evaluation.protocol.kind import activity_of
from ffrl.evaluation.protocol.sequences import single_batches
from ffrl.evaluation.protocol.statistics import estimate
from ffrl.models.interface import SequenceModel

PUBLISHED_STEPS = 7
"""Steps that the published error sums over."""


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


class PredictedFrames(NamedTuple):
    """Images in place of the frames x_0 .. x_T: those whose errors are :class:`FrameErrors`.

    Args:
        flow: decode(z_t), ``(B, T+1, C, H, W)``.
        reconstruction: decode(encode(x_t)), ``(B, T+1, C, H, W)``.
        copy: decode(z_0), ``(B, 1, C, H, W)``.
    """

    flow: Tensor
    reconstruction: Tensor
    copy: Tensor


def predicted_frames(model: SequenceModel, frames: Tensor, g: Tensor) -> PredictedFrames:
    r"""Frames of the rollout, of plain reconstruction and of standing still.

    .. math:: decode(z_t), \quad z_0 = E_{q(z|x_0)}[z], \quad z_t = flow(z_{t-1}, g_t)

    Args:
        model: with ``encode``, ``flow`` and ``decode``.
        frames: ``(B, T+1, C, H, W)``.
        g: given or inferred activity, ``(B, T, C)``.
    """
    means = model.encode(frames)
    latents = model.flow(means[:, 0], g)
    return PredictedFrames(model.decode(latents), model.decode(means), model.decode(latents[:, :1]))


def l1_error(images: Tensor, frames: Tensor) -> Tensor:
    """L1 error summed over channels and pixels, ``(..., C, H, W)`` twice -> ``(...)`` in float64.

    Example:
        >>> l1_error(torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2))
        tensor([4., 4.], dtype=torch.float64)
    """
    return (images - frames).abs().sum((-3, -2, -1), dtype=torch.float64)


def frame_errors(model: SequenceModel, frames: Tensor, g: Tensor) -> FrameErrors:
    r"""L1 errors of the rollout, of plain reconstruction and of standing still.

    .. math:: \| decode(z_t) - x_t \|_1, \quad z_0 = E_{q(z|x_0)}[z], \quad z_t = flow(z_{t-1}, g_t)

    The terms of the equivariance error (FFRL, "Quantitative Evaluation"); all three agree at t = 0.

    Args:
        model: with ``encode``, ``flow`` and ``decode``.
        frames: ``(B, T+1, C, H, W)``.
        g: given or inferred activity, ``(B, T, C)``.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> frame_errors(model, torch.rand(2, 9, 3, 28, 28), torch.ones(2, 8, 3)).flow.shape
        torch.Size([2, 9])
    """
    return FrameErrors(*(l1_error(images, frames) for images in predicted_frames(model, frames, g)))


def equivariance_errors(
    model: SequenceModel,
    data: SequenceData,
    split: Split,
    indices: Tensor,
    seen: Callable[[int, Tensor], None] = lambda which, activity: None,
) -> dict[str, dict[str, Any]]:
    """Errors on single-transformation sequences, every image under each of the transformations.

    Args:
        model: on the device of ``data``.
        data: sequences with known transformations.
        split: which of its splits.
        indices: ``(N,)``, the images.
        seen: told of every batch which transformation acts, and the activity that moved the latents, ``(B, T, C)``.

    Returns:
        By transformation :func:`summarise` of each of :class:`FrameErrors`, by name.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28)).requires_grad_(False)
        >>> found = equivariance_errors(model, load(DataConfig()), "validation", torch.arange(2))
        >>> list(found), list(found["hue"])
        (['scaling', 'rotation', 'hue'], ['flow', 'reconstruction', 'copy'])
    """
    described = {}
    for which, name in enumerate(data.transformations):
        errors: list[FrameErrors] = []
        for batch in single_batches(data, split, indices, torch.full_like(indices, which)):
            g = activity_of(model, batch)
            errors.append(frame_errors(model, batch.frames, g))
            seen(which, g)
        pooled = (torch.cat(parts) for parts in zip(*errors, strict=True))
        described[name] = dict(zip(FrameErrors._fields, map(summarise, pooled), strict=True))
    return described


def summarise(errors: Tensor) -> dict[str, Any]:
    """Sums and means over time of the errors of N sequences, each with its standard error over the sequences.

    Args:
        errors: ``(N, T+1)``, of the frames x_0 .. x_T.

    Returns:
        ``seven_step_sum`` (t = 1 .. 7, as published; None if T < 7), ``full_sum`` (t = 1 .. T), ``mean_per_frame``
        (the full sum / T), and ``per_frame``, lists over t = 0 .. T.

    Example:
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
