"""What figures show of frames: images as they are, poses as their skeletons, other vectors as rows of bars."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.data.base import SequenceBatch, SequenceData
from ffrl.data.static import restored
from ffrl.models.frame_kind import Changes, FeatureValues, FrameKind
from stf.plot.compute.pose_pictures import pose_pictures

MOST = 60
"""Features that have a bar; of more, the first ones."""
DEVIATIONS = 2.5
"""Standard deviations of a feature that the bars of a vector reach."""
LEAST, FLAT, WIDE = 12, 0.9, 3
"""Pixels that a bar is long at most, at least so many and a share of the features, and pixels that it is wide with the
gap after it."""
ABOVE, BELOW, ZERO = 0.15, 0.5, 0.75
"""Grey of bars above the mean, of those below it, and of the mean."""


def pictures(frames: Tensor, kind: FrameKind) -> Tensor:
    """Frames as images in [0, 1].

    Args:
        frames: images ``(..., C, H, W)``, or vectors ``(..., F)`` in their own units.
        kind: which of them.

    Returns:
        Images as they are, changes on their background if all have one; of poses those of
        :func:`~stf.plot.compute.pose_pictures.pose_pictures`; of other vectors ``(..., 3, H, 3 F)``: a bar per feature,
        dark and up above its mean in the training data, lighter and down below it, :data:`DEVIATIONS` standard
        deviations at most, and nothing where a value is missing; F is :data:`MOST` at most.

    Example:
        >>> from ffrl.data.features import Feature, Features
        >>> from ffrl.models.frame_kind import FeatureValues
        >>> kind = FeatureValues(Features((Feature("x"), Feature("y"))))
        >>> pictures(torch.tensor([[0.0, 2.5]]), kind).shape
        torch.Size([1, 3, 25, 6])
    """
    if isinstance(kind, Changes):
        return kind.pictured(frames)
    if not isinstance(kind, FeatureValues):
        return frames
    if kind.features.skeleton is not None:
        return pose_pictures(frames, kind.features)
    return _bars(kind.standard(frames)[..., :MOST])


def as_pictures(data: SequenceData, batch: SequenceBatch) -> SequenceBatch:
    """Sequences of data with their frames as images, see :func:`pictures`.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> data = load(DataConfig())
        >>> batch = data.single("train", torch.arange(1), torch.tensor([0]))
        >>> as_pictures(data, batch) is batch
        True
    """
    static = data.static
    if static is not None and static.background is not None:
        return batch._replace(frames=restored(batch.frames, static.background.to(batch.frames.device)))
    if data.features is None:
        return batch
    kind = FeatureValues(data.features).to(batch.frames.device)
    return batch._replace(frames=pictures(batch.frames, kind))


def _bars(values: Tensor) -> Tensor:
    """Standardised vectors ``(..., F)`` as ``(..., 3, H, 3 F)``."""
    half = max(LEAST, round(FLAT * values.shape[-1]))
    level = torch.arange(half, -half - 1, -1, device=values.device)[:, None]
    missing = values.isnan()
    long = (values.nan_to_num() / DEVIATIONS).clamp(-1, 1).mul(half).round().unsqueeze(-2)
    image = torch.ones(*values.shape[:-1], len(level), values.shape[-1], device=values.device)
    image = torch.where((level > 0) & (level <= long), ABOVE, image)
    image = torch.where((level < 0) & (level >= long), BELOW, image)
    image = torch.where((level == 0) & ~missing.unsqueeze(-2), ZERO, image)
    gap = torch.tensor([0.0] * (WIDE - 1) + [1.0], device=values.device).repeat(values.shape[-1])
    image = torch.maximum(image.repeat_interleave(WIDE, -1), 0.9 * gap)
    return image.unsqueeze(-3).expand(*values.shape[:-1], 3, -1, -1)
