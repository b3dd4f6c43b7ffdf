"""Which held-out sequences are evaluated: a function of the split, their number and a seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ffrl.core.errors import require
from ffrl.core.seed import generator
from ffrl.data.base import SequenceBatch, SequenceData, Split

DEFAULT = 1000
"""Initial images that are evaluated unless a number is given, if the split has as many."""
MAX_BATCH = 128
PIXELS = 2**23
"""Pixel values in one batch of frames; bounds memory for large images (32 MiB in float32)."""


def choose(data: SequenceData, split: Split, count: int | None, seed: int) -> Tensor:
    """Indices ``(count,)`` of different initial images of ``split``, the same on every device.

    For None the count is :data:`DEFAULT`, or the size of a split that is smaller.

    Raises:
        UserError: if the split is not there, or does not have ``count`` images.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> len(choose(load(DataConfig()), "validation", 100, seed=0).unique())
        100
    """
    size = data.size(split)
    count = min(DEFAULT, size) if count is None else count
    require(1 <= count <= size, "sequences", count, f"1 to {size}, the size of the {split} split")
    order = torch.randperm(size, generator=generator("cpu", seed, "evaluation-choice"))
    return order[:count].to(data.device)


def batch_size(data: SequenceData) -> int:
    """Sequences per batch: at most :data:`MAX_BATCH`, and fewer of many or large frames."""
    return max(1, min(MAX_BATCH, PIXELS // ((data.num_steps + 1) * math.prod(data.image_shape))))


def single_batches(data: SequenceData, split: Split, indices: Tensor, which: Tensor) -> Iterator[SequenceBatch]:
    """Sequences of the images ``indices (N,)`` under one transformation each, ``which (N,)``, in batches."""
    size = batch_size(data)
    for part, active in zip(indices.split(size), which.split(size), strict=True):
        yield data.single(split, part, active)


def mixed_batches(data: SequenceData, split: Split, indices: Tensor, seed: int) -> Iterator[SequenceBatch]:
    """Sequences of the images ``indices (N,)`` under sparse activity that depends only on ``seed``, in batches."""
    for number, part in enumerate(indices.split(batch_size(data))):
        yield data.mixed(split, part, generator(data.device, seed, "evaluation-mixed", number))
