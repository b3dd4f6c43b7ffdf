"""Batches that are made on the CPU, from files, and used on another device."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.core.device import indexed
from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.data.static import Static


class MovedSequences(SequenceData):
    """The sequences ``inner``, made on the CPU, with indices, generators and batches on ``device``.

    A generator of the other device stands for the CPU generator of the same seed, so that every device sees the same
    sequences.

    Args:
        inner: sequences on the CPU.
        device: where batches are wanted.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data.digits.mnist import MnistSequences
        >>> MovedSequences(MnistSequences(DataConfig()), torch.device("cpu")).size("train")
        8000
    """

    def __init__(self, inner: SequenceData, device: torch.device) -> None:
        self.inner, self.device = inner, device
        for name in (
            "name",
            "title",
            "about",
            "image_shape",
            "features",
            "transformations",
            "unit_steps",
            "num_steps",
            "protocol",
        ):
            setattr(self, name, getattr(inner, name))
        self.graded, self.streamed = inner.graded, inner.streamed

    @property
    def static(self) -> Static | None:
        return self.inner.static

    @property
    def prescribed(self) -> bool:
        return self.inner.prescribed

    def size(self, split: Split) -> int:
        return self.inner.size(split)

    def images(self, split: Split, indices: Tensor) -> Tensor:
        return self.inner.images(split, indices.cpu()).to(self.device)

    def single(
        self, split: Split, indices: Tensor, which: Tensor, generator: torch.Generator | None = None
    ) -> SequenceBatch:
        source = None if generator is None else _on_cpu(generator)
        return self._moved(self.inner.single(split, indices.cpu(), which.cpu(), source))

    def mixed(self, split: Split, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        return self._moved(self.inner.mixed(split, indices.cpu(), _on_cpu(generator)))

    def stills(self, split: Split, indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
        return self.inner.stills(split, indices.cpu(), count, _on_cpu(generator)).to(self.device)

    def _moved(self, batch: SequenceBatch) -> SequenceBatch:
        return SequenceBatch(batch.frames.to(self.device), batch.activity.to(self.device))


def _on_cpu(generator: torch.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(generator.initial_seed())


def on_device(data: SequenceData, device: torch.device | str) -> SequenceData:
    """Return ``data`` with its batches on ``device``: itself, if that is where it makes them.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data.digits.mnist import MnistSequences
        >>> data = MnistSequences(DataConfig())
        >>> on_device(data, "cpu") is data
        True
    """
    device = indexed(device)
    return data if indexed(data.device) == device else MovedSequences(data, device)


def where_made(data: SequenceData) -> SequenceData:
    """Return the sequences that make the batches of ``data``: itself, or those on the CPU that it moves.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data.digits.mnist import MnistSequences
        >>> data = MnistSequences(DataConfig())
        >>> where_made(MovedSequences(data, torch.device("cpu"))) is data
        True
    """
    return data.inner if isinstance(data, MovedSequences) else data
