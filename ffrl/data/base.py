"""The interface between sequences and everything that consumes them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ffrl.core.errors import UserError
from ffrl.data.contents import Contents
from ffrl.data.features import Features
from ffrl.data.inventory import Inventory
from ffrl.data.recorded import Recorded
from ffrl.data.static import Static

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
ROUNDING = 1e-3
"""How far outside [0, 1] values may be, about a quarter of a level of 255."""


class SequenceBatch(NamedTuple):
    """Frames x_0..x_T and the speeds g_1..g_T of the transformations that moved them.

    ``frames`` is float32 ``(B, T+1, C, H, W)`` in [0, 1], or vectors ``(B, T+1, F)``, float64 in their own units and
    NaN where a value is missing; ``activity`` is float32 ``(B, T, J)``, the true speeds in unit steps per transition,
    exactly 0 where a transformation is off.
    """

    frames: Tensor
    activity: Tensor


class SequenceData(ABC):
    """Sequences of images, or of vectors, under J known transformations, or under unknown ones (J = 0).

    Attributes:
        name: name of the data set, as ``--data.name`` takes it.
        title: what results call the data.
        image_shape: ``(C, H, W)``, or ``(F,)`` of vectors.
        features: of vectors; None for images.
        transformations: names of the J transformations, in the order of the last dimension of ``activity``; none if
            they are not known.
        prescribed: whether a transformation can be asked for; otherwise the sequences are as they are, and
            :meth:`single` does not work.
        unit_steps: what one unit step of each transformation means, in words.
        num_steps: T, the transitions of a sequence of T + 1 frames.
        about: what else there is to know of the data, lines of text; empty if nothing.
        protocol: which definition of the unit steps is used, None where there is only one.
        graded: whether speeds of mixed sequences vary; otherwise every active speed is 1.
        streamed: whether frames are read from files, so that reading ahead of the model pays.
        static: what is static behind frames that are changes from it; None where frames are as they are.
        inventory: which recordings there are and which are held out, where runs have to notice when they change.
        device: where indices and generators are expected and batches are made.
    """

    name: str
    title: str
    image_shape: tuple[int, ...]
    features: Features | None = None
    transformations: tuple[str, ...]
    unit_steps: tuple[str, ...]
    num_steps: int
    about: str = ""
    protocol: str | None = None
    graded: bool = True
    streamed: bool = False
    inventory: Inventory | None = None
    device: torch.device

    @property
    def static(self) -> Static | None:
        """See the class."""
        return None

    @property
    def prescribed(self) -> bool:
        """Whether a transformation can be asked for: where they are known, unless subclasses say otherwise."""
        return bool(self.transformations)

    def hold_out(self, names: Sequence[str]) -> None:
        """Make recordings of these names, as in :attr:`inventory`, the validation split, and train on no others."""
        raise UserError(f"data: found {self.title}, which are no recordings, expected some to hold out")

    def contents(self) -> Contents | None:
        """Hashes of what there is to train on, where runs have to notice when it changes; None if they need not."""
        return None

    def recordings(self) -> Sequence[Recorded]:
        """Return what there is as it is stored, split by split; nothing where sequences are made from single images."""
        return ()

    @abstractmethod
    def size(self, split: Split) -> int:
        """Return the number of initial images of ``split``; raises UserError if the split is not there."""

    @abstractmethod
    def images(self, split: Split, indices: Tensor) -> Tensor:
        """Return the initial images ``indices (B,)`` as they are, ``(B, C, H, W)``.

        Raises:
            UserError: if the split is not there.
        """

    def single(
        self, split: Split, indices: Tensor, which: Tensor, generator: torch.Generator | None = None
    ) -> SequenceBatch:
        """Return sequences in which one transformation runs at unit speed throughout: g_t = onehot(which).

        Args:
            split: "train", "validation" or "test".
            indices: ``(B,)``, the initial images, in [0, size(split)).
            which: ``(B,)``, the transformation of each sequence, in [0, J).
            generator: if given, the other transformations may have acted before the first frame, at random; without
                it every sequence starts as the published protocols say.

        Raises:
            UserError: if the split is not there, or no transformation can be asked for.
            IndexError: if an index is out of range (on CUDA: a device-side assertion).
        """
        found = f"{self.title}, whose transformations are not known"
        if self.transformations:
            found = f"{self.title}, whose sequences are as they are"
        raise UserError(f"data.name: found {found}, expected data of which a single transformation can be asked for")

    @abstractmethod
    def mixed(self, split: Split, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        """Return sequences in which transformations switch on and off at random and run at varying speeds.

        Args:
            split: "train", "validation" or "test".
            indices: ``(B,)``, the initial images, in [0, size(split)).
            generator: source of all randomness, on the device of the data; equal seeds give equal batches.

        Raises:
            UserError: if the split is not there.
            IndexError: if an index is out of range (on CUDA: a device-side assertion).
        """

    def stills(self, split: Split, indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return ``count`` evenly spaced frames, or all if there are fewer, of the sequences of :meth:`mixed`.

        Returns:
            ``(B, count, C, H, W)``.

        Raises:
            UserError: if the split is not there.
            IndexError: if an index is out of range (on CUDA: a device-side assertion).
        """
        frames = self.mixed(split, indices, generator).frames
        return frames[:, evenly_spaced(self.num_steps, count)]


def evenly_spaced(num_steps: int, count: int) -> list[int]:
    """Return ``count`` of the frames 0 .. T, or all if there are fewer, evenly spaced and including both ends.

    Example:
        >>> evenly_spaced(8, 3), evenly_spaced(8, 1), evenly_spaced(1, 3)
        ([0, 4, 8], [0], [0, 1])
    """
    count = min(count, num_steps + 1)
    return [round(index * num_steps / max(count - 1, 1)) for index in range(count)]


def check_frames(frames: Tensor, source: str, image_shape: tuple[int, int, int] | None = None) -> Tensor:
    """Return ``frames``, a floating-point ``(B, T+1, C, H, W)`` tensor of numbers in [0, 1], or raise UserError.

    Values that are outside by no more than rounding, as resizing and blurring make them, become 0 and 1.

    It reads the values back to the host, so it belongs where frames enter, not into a training step.

    Args:
        frames: the frames to check.
        source: the file, key or argument they came from; the message starts with it.
        image_shape: ``(C, H, W)`` the frames must have, if it is known.

    Raises:
        UserError: on a wrong rank, size or type, on NaN, and on values outside [0, 1].

    Example:
        >>> check_frames(torch.full((2, 9, 3, 28, 28), 1.5), "frames.npy")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: frames.npy: found values in [1.5, 1.5], expected values in [0, 1]
    """
    shape = tuple(frames.shape)
    if len(shape) != 5:
        raise UserError(f"{source}: found frames of shape {shape}, expected 5 dimensions (B, T+1, C, H, W)")
    if 0 in shape:
        raise UserError(f"{source}: found frames of shape {shape}, expected at least one sequence, frame and pixel")
    if image_shape is not None and shape[2:] != tuple(image_shape):
        raise UserError(f"{source}: found images of shape {shape[2:]}, expected {tuple(image_shape)} (C, H, W)")
    if not frames.is_floating_point():
        raise UserError(f"{source}: found values of type {frames.dtype}, expected floating-point values in [0, 1]")
    low, high = (value.item() for value in frames.aminmax())
    if math.isnan(low) or math.isnan(high):
        count = int(frames.isnan().sum())
        raise UserError(f"{source}: found {count} NaN among {frames.numel()} values, expected values in [0, 1]")
    if low < -ROUNDING or high > 1.0 + ROUNDING:
        raise UserError(f"{source}: found values in [{low:.6g}, {high:.6g}], expected values in [0, 1]")
    return frames.clamp(0.0, 1.0) if low < 0.0 or high > 1.0 else frames
