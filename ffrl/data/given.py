"""Sequences that are as they are, whose activity may be known, and what is asked of such activity."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.core.errors import UserError, require
from ffrl.data.base import SequenceBatch, SequenceData, Split, evenly_spaced
from ffrl.data.recorded import Recorded


class GivenSequences(SequenceData):
    """Sequences that are as they are: nothing is moved, and a transformation cannot be asked for.

    Subclasses say which clips a split has (``parts``) and read them (:meth:`read`).

    Args:
        parts: indices of the clips of each split.
        image_shape: ``(C, H, W)``, or ``(F,)`` of vectors.
        num_steps: T.
        transformations: names of the columns of the activity; none if it is not known.
        unit_steps: what a unit step of each means, in words.
        title: what results call the data.
    """

    prescribed = False

    def __init__(
        self,
        parts: dict[Split, Tensor],
        image_shape: tuple[int, ...],
        num_steps: int,
        transformations: Sequence[str],
        unit_steps: Sequence[str],
        title: str,
    ) -> None:
        self.parts, self.image_shape, self.num_steps = parts, image_shape, num_steps
        self.transformations, self.title = tuple(transformations), title
        self.unit_steps = tuple(unit_steps) or ("1",) * len(self.transformations)
        require(len(self.unit_steps) == len(self.transformations), "unit_steps", list(unit_steps), "one per name")
        self.device = torch.device("cpu")
        shares = ", ".join(f"{len(rows):,} {split}" for split, rows in parts.items())
        known = "known" if self.transformations else "unknown"
        self.about = f"{shares} clips of {num_steps + 1} frames, activity {known}"

    @abstractmethod
    def read(self, clips: Tensor, frames: list[int]) -> SequenceBatch:
        """Frames ``frames`` of clips, ``(B, len(frames), ...)``, and all of their activity."""

    def size(self, split: Split) -> int:
        """How many clips there are."""
        return len(self._rows(split))

    def images(self, split: Split, indices: Tensor) -> Tensor:
        """First frames."""
        return self.read(self._chosen(split, indices), [0]).frames[:, 0]

    def mixed(self, split: Split, indices: Tensor, generator: torch.Generator | None = None) -> SequenceBatch:
        """The clips; nothing is drawn."""
        return self.read(self._chosen(split, indices), list(range(self.num_steps + 1)))

    def stills(self, split: Split, indices: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Some of their frames."""
        return self.read(self._chosen(split, indices), evenly_spaced(self.num_steps, count)).frames

    def _rows(self, split: Split) -> Tensor:
        if split not in self.parts:
            known = " or ".join(map(repr, self.parts))
            raise UserError(f"split: found {split!r}, expected {known}: there are no others of {self.title}")
        return self.parts[split]

    def _chosen(self, split: Split, indices: Tensor) -> Tensor:
        rows = self._rows(split)
        if len(indices) and (indices.min() < 0 or indices.max() >= len(rows)):
            raise IndexError(f"indices: found {indices.min()} to {indices.max()}, expected 0 to {len(rows) - 1}")
        return rows[indices]


def clips_as_recordings(
    data: GivenSequences, read: Callable[[int, int, int], NDArray[Any]], quick: bool = True
) -> list[Recorded]:
    """Every clip of a set as a recording of its own.

    Args:
        data: the clips.
        read: takes a clip, its first frame and the one after the last, and returns those between.
        quick: see :class:`~ffrl.data.recorded.Recorded`.
    """
    length = data.num_steps + 1
    return [
        Recorded(f"clip {clip}", split, length, partial(read, clip), quick=quick)
        for split, rows in data.parts.items()
        for clip in rows.tolist()
    ]


def checked_activity(activity: Any, source: str, shape: tuple[int, ...]) -> Tensor:
    """True speeds as float32 ``(*shape, J)``.

    Raises:
        UserError: of another shape, or not finite.

    Example:
        >>> checked_activity([[[1.0, 0.0]]], "activity", (1, 1)).shape
        torch.Size([1, 1, 2])
    """
    try:
        if not isinstance(activity, Tensor):
            array = np.asarray(activity)
            activity = torch.as_tensor(array.astype(np.float64) if array.dtype.kind in "fiub" else array)
        require(not activity.is_complex(), source, "complex values", "speeds")
        tensor = activity.detach().to(torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{source}: found {type(activity).__name__}, expected an array of speeds") from None
    found, expected = tuple(tensor.shape), ", ".join(map(str, shape))
    if len(found) != len(shape) + 1 or found[:-1] != shape or found[-1] < 1:
        raise UserError(f"{source}: found shape {found}, expected ({expected}, J), a speed per transition")
    if not bool(tensor.isfinite().all()):
        count = int((~tensor.isfinite()).sum())
        raise UserError(f"{source}: found {count} values that are not finite, expected speeds")
    return tensor


def named(transformations: Sequence[str], count: int, source: str = "transformations") -> tuple[str, ...]:
    """Names of ``count`` transformations: those that are given, or ``1``, ``2``, ... of them.

    Args:
        transformations: names, or none.
        count: how many there have to be.
        source: what they are called in messages.

    Raises:
        UserError: there are more or fewer names, or one of them twice.

    Example:
        >>> named((), 2), named(("turn",), 1)
        (('transformation 1', 'transformation 2'), ('turn',))
    """
    names = tuple(transformations) or tuple(f"transformation {j + 1}" for j in range(count))
    expected = f"{count} different names, one for each column of the activity"
    require(len(names) == len(set(names)) == count, source, list(names), expected)
    return names


def unit_interval(pixels: Tensor) -> Tensor:
    """Pixels as float32 in [0, 1]."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels
