"""Sequences that are in memory already: arrays, tensors, or a torch Dataset of clips."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import UserError, require
from ffrl.data.base import SequenceBatch, SequenceData, Split, check_frames
from ffrl.data.contents import Contents, digest
from ffrl.data.given import GivenSequences, checked_activity, clips_as_recordings, named, unit_interval
from ffrl.data.recorded import Recorded

Channels = Literal["first", "last"]
"""Where the axis of the channels is: ``(..., C, H, W)`` or ``(..., H, W, C)``."""
FEW = (1, 2, 3, 4)
"""Numbers of channels by which their axis is recognised."""


class Clips(Protocol):
    """What is asked of a Dataset: a length, and clips ``(T+1, ...)`` by index, alone or with activity ``(T, J)``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class ArraySequences(GivenSequences):
    """Clips in one array.

    Args:
        frames: ``(N, T+1, C, H, W)``, uint8 or float32 in [0, 1].
        activity: true speeds ``(N, T, J)``, exactly 0 where off; None if they are not known.
        parts, transformations, unit_steps, title: as for :class:`GivenSequences`.

    Example:
        >>> data = ArraySequences(torch.zeros(6, 4, 1, 12, 20), None, split_at_random(6, 0.34, 0))
        >>> data.size("validation"), data.mixed("train", torch.tensor([0, 1])).frames.shape
        (2, torch.Size([2, 4, 1, 12, 20]))
    """

    name = "arrays"

    def __init__(
        self,
        frames: Tensor,
        activity: Tensor | None,
        parts: dict[Split, Tensor],
        transformations: Sequence[str] = (),
        unit_steps: Sequence[str] = (),
        title: str = "arrays in memory",
    ) -> None:
        names = named(transformations, 0 if activity is None else activity.shape[-1])
        _, length, depth, height, width = frames.shape
        super().__init__(parts, (depth, height, width), length - 1, names, unit_steps, title)
        self.frames = frames
        self.activity = frames.new_zeros(len(frames), self.num_steps, 0).float() if activity is None else activity

    def contents(self) -> Contents:
        """Hashes of frames and activity, and of which clips are held out."""
        held = [rows for split, rows in self.parts.items() if split != "train"]
        return Contents({"frames": digest(self.frames), "activity": digest(self.activity)}, digest(*held))

    def read(self, clips: Tensor, frames: list[int]) -> SequenceBatch:
        """See :meth:`GivenSequences.read`."""
        pixels = self.frames[clips] if len(frames) == self.num_steps + 1 else self.frames[clips[:, None], frames]
        return SequenceBatch(unit_interval(pixels), self.activity[clips])

    def recordings(self) -> list[Recorded]:
        """Every clip."""
        return clips_as_recordings(self, lambda clip, first, last: self.frames[clip, first:last].numpy(force=True))


class DatasetSequences(GivenSequences):
    """Clips of a Dataset, read as they are needed, ahead of the model.

    Args:
        source: N items, each frames ``(T+1, ...)`` or a pair of these and activity ``(T, J)``.
        channels: where the axis of the channels is; None to tell by its length.
        parts, transformations, unit_steps, title: as for :class:`GivenSequences`.

    Raises:
        UserError: the first item is no clip.
    """

    name = "arrays"
    streamed = True

    def __init__(
        self,
        source: Clips,
        parts: dict[Split, Tensor],
        channels: Channels | None = None,
        transformations: Sequence[str] = (),
        unit_steps: Sequence[str] = (),
        title: str = "a Dataset of clips",
    ) -> None:
        self.source, self.channels = source, channels
        frames, activity = self._item(0)
        names = named(transformations, activity.shape[-1])
        length, depth, height, width = frames.shape
        super().__init__(parts, (depth, height, width), length - 1, names, unit_steps, title)

    def read(self, clips: Tensor, frames: list[int]) -> SequenceBatch:
        """See :meth:`GivenSequences.read`.

        Raises:
            UserError: a clip is not as the first one.
        """
        items = []
        for clip in clips.tolist():
            pixels, activity = self._item(clip)
            found = (*pixels.shape, *activity.shape)
            expected = (self.num_steps + 1, *self.image_shape, self.num_steps, len(self.transformations))
            if found != expected:
                raise UserError(f"clip {clip}: found shape {found}, expected {expected}, as the first one has")
            items.append((unit_interval(pixels[frames]), activity))
        return SequenceBatch(*(torch.stack(part) for part in zip(*items, strict=True)))

    def recordings(self) -> list[Recorded]:
        """Every clip."""
        return clips_as_recordings(self, lambda clip, first, last: self._item(clip)[0][first:last].numpy(), quick=False)

    def _item(self, index: int) -> tuple[Tensor, Tensor]:
        """Frames ``(T+1, C, H, W)`` as they are, and activity ``(T, J)``, J = 0 if it is not known."""
        item = self.source[index]
        both = isinstance(item, tuple | list) and len(item) == 2
        frames = channels_first(item[0] if both else item, f"clip {index}", 4, self.channels)
        if not both:
            return frames, torch.zeros(len(frames) - 1, 0)
        return frames, checked_activity(item[1], f"clip {index}: activity", (len(frames) - 1,))


def split_at_random(count: int, validation: float, seed: int) -> dict[Split, Tensor]:
    """Which clips are trained on and which are held out, at random.

    Args:
        count: N.
        validation: share that is held out, at least one clip of each kind.
        seed: of the choice.

    Raises:
        UserError: there is no clip for each of them.

    Example:
        >>> {split: len(rows) for split, rows in split_at_random(10, 0.2, 0).items()}
        {'train': 8, 'validation': 2}
    """
    require(0.0 < validation < 1.0, "validation", validation, "a share strictly between 0 and 1, or clips")
    require(count >= 2, "frames", f"{count} sequences", "at least 2, of which one is held out")
    held = min(max(1, round(count * validation)), count - 1)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return {"train": order[held:].sort().values, "validation": order[:held].sort().values}


def channels_first(frames: Any, source: str, dimensions: int, channels: Channels | None) -> Tensor:
    """Frames as a tensor ``(..., C, H, W)``, uint8 or float32 in [0, 1].

    Args:
        frames: array or tensor with ``dimensions`` axes, or one fewer where there are no channels: ``(..., H, W)``.
        source: what it is called in messages.
        dimensions: 5 for sequences ``(N, T+1, C, H, W)``, 4 for a single clip.
        channels: where their axis is; None to tell by its length, 1 to 4.

    Raises:
        UserError: on a wrong rank, size or type, on NaN and on values outside [0, 1], and where the axis is not clear.

    Example:
        >>> import numpy as np
        >>> channels_first(np.zeros((8, 6, 12, 20, 3), np.uint8), "frames", 5, None).shape
        torch.Size([8, 6, 3, 12, 20])
    """
    tensor = _as_tensor(frames, source)
    shape = tuple(tensor.shape)
    if len(shape) not in (dimensions - 1, dimensions) or 0 in shape:
        named = ("N, ", "")[5 - dimensions]
        expected = f"pictures, ({named}T+1, C, H, W), ({named}T+1, H, W, C) or ({named}T+1, H, W), none of them 0"
        vectors = ", which may be vectors: stf.data.vectors" if len(shape) == dimensions - 2 else ""
        raise UserError(f"{source}: found shape {shape}{vectors}, expected {expected}")
    if shape[dimensions - 4] < 2:
        raise UserError(f"{source}: found clips of {shape[dimensions - 4]} frame, expected at least 2")
    if len(shape) < dimensions:
        tensor = tensor.unsqueeze(-3)
    elif channels is None:
        first, last = shape[-3] in FEW, shape[-1] in FEW
        if first == last:
            raise UserError(f"{source}: found shape {shape}, expected channels='first' or 'last' to say which axis")
        channels = "first" if first else "last"
    require(channels in (None, "first", "last"), "channels", channels, "'first' or 'last'")
    if channels == "last" and len(shape) == dimensions:
        tensor = tensor.movedim(-1, -3)
    if tensor.dtype == torch.uint8:
        return tensor.contiguous()
    if not tensor.is_floating_point():
        raise UserError(f"{source}: found values of type {tensor.dtype}, expected uint8, or numbers in [0, 1]")
    tensor = tensor.float().contiguous()
    checked = check_frames(tensor if dimensions == 5 else tensor.unsqueeze(0), source)
    return checked if dimensions == 5 else checked[0]


def _as_tensor(frames: ArrayLike | Tensor, source: str) -> Tensor:
    """Frames as a tensor without a graph: their own memory where torch can use it, a copy elsewhere.

    Raises:
        UserError: no numbers, or some of them masked.
    """
    expected = "expected an array or a tensor of frames"
    if isinstance(frames, list | tuple) and frames and all(isinstance(one, Tensor) for one in frames):
        if len({one.shape for one in frames}) > 1:
            raise UserError(f"{source}: found clips of different shapes, expected clips of one shape")
        frames = torch.stack([one.detach() for one in frames])
    if isinstance(frames, Tensor):
        plain = frames.layout == torch.strided and frames.device.type != "meta"
        if not plain:
            found = f"a tensor of layout {frames.layout} on {frames.device}"
            raise UserError(f"{source}: found {found}, expected a dense one with values")
        return frames.detach()
    if np.ma.is_masked(frames):
        raise UserError(f"{source}: found {np.ma.count_masked(frames):,} masked values, expected none in pictures")
    try:
        values = np.asarray(frames)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{source}: found {type(frames).__name__}, {expected}") from None
    if values.dtype.kind not in "buif":
        found = type(frames).__name__ if values.ndim == 0 else f"values of type {values.dtype}"
        raise UserError(f"{source}: found {found}, {expected}")
    kind = np.dtype(np.float64) if values.dtype.kind == "f" and values.itemsize > 8 else values.dtype.newbyteorder("=")
    usable = values.flags.writeable and min(values.strides, default=0) >= 0
    return torch.as_tensor(values.astype(kind, copy=not usable))


def arrays(
    frames: ArrayLike | Tensor,
    activity: ArrayLike | Tensor | None = None,
    *,
    validation: Any = 0.2,
    transformations: Sequence[str] = (),
    unit_steps: Sequence[str] = (),
    channels: Channels | None = None,
    seed: int = 0,
    title: str = "arrays in memory",
) -> ArraySequences:
    """Sequences from an array or a tensor.

    Args:
        frames: ``(N, T+1, C, H, W)``, ``(N, T+1, H, W, C)`` or ``(N, T+1, H, W)``, uint8 or numbers in [0, 1].
        activity: true speeds ``(N, T, J)``, exactly 0 where off, if they are known: then fields are matched with them.
        validation: share of the sequences that is held out, or other sequences: frames, or frames and activity.
        transformations: names of the J transformations.
        unit_steps: what a unit step of each means, in words.
        channels: ``first`` or ``last``, where shapes leave it open.
        seed: of the choice of what is held out.
        title: what results call the data.

    Raises:
        UserError: shapes, types or values that cannot be used.

    Example:
        >>> import numpy as np
        >>> arrays(np.zeros((10, 6, 12, 20), np.uint8)).about
        '8 train, 2 validation clips of 6 frames, activity unknown'
    """
    pixels = channels_first(frames, "frames", 5, channels)
    speeds = None if activity is None else checked_activity(activity, "activity", (len(pixels), pixels.shape[1] - 1))
    if isinstance(validation, Real):
        parts = split_at_random(len(pixels), float(validation), seed)
        return ArraySequences(pixels, speeds, parts, transformations, unit_steps, title)
    both = isinstance(validation, tuple) and len(validation) == 2
    others = channels_first(validation[0] if both else validation, "validation", 5, channels)
    if others.shape[1:] != pixels.shape[1:] or others.dtype != pixels.dtype:
        found, expected = (f"{tuple(one.shape[1:])} {one.dtype}" for one in (others, pixels))
        raise UserError(f"validation: found clips of {found}, expected {expected}, as frames has")
    if both is (activity is None):
        raise UserError("validation: found activity for some sequences only, expected it for all or none of them")
    if speeds is not None:
        held = checked_activity(validation[1], "validation: activity", (len(others), others.shape[1] - 1))
        require(held.shape[-1] == speeds.shape[-1], "validation: activity", tuple(held.shape), "as many as in activity")
        speeds = torch.cat([speeds, held])
    count, total = len(pixels), len(pixels) + len(others)
    parts = {"train": torch.arange(count), "validation": torch.arange(count, total)}
    return ArraySequences(torch.cat([pixels, others]), speeds, parts, transformations, unit_steps, title)


def dataset(
    clips: Clips,
    *,
    validation: float | Clips = 0.2,
    transformations: Sequence[str] = (),
    unit_steps: Sequence[str] = (),
    channels: Channels | None = None,
    seed: int = 0,
    title: str = "a Dataset of clips",
) -> DatasetSequences:
    """Sequences from a torch Dataset, or anything with a length and items: read as they are needed.

    Args:
        clips: items are frames ``(T+1, C, H, W)``, ``(T+1, H, W, C)`` or ``(T+1, H, W)``, or pairs of these and
            activity ``(T, J)``.
        validation: share of the clips that is held out, or another Dataset.
        transformations, unit_steps, channels, seed, title: as for :func:`arrays`.

    Raises:
        UserError: it has no length or no clips.

    Example:
        >>> import numpy as np
        >>> dataset([np.zeros((6, 12, 20), np.uint8)] * 10).image_shape
        (1, 12, 20)
    """
    joined = clips if isinstance(validation, (int, float, Real)) else _Joined(clips, validation)
    try:
        count, total = len(clips), len(joined)
    except TypeError:
        raise UserError("dataset: found no length, expected a Dataset with len() and items by index") from None
    require(count >= 1, "dataset", "no clips", "at least one")
    if isinstance(validation, Real):
        parts = split_at_random(count, float(validation), seed)
    else:
        parts = {"train": torch.arange(count), "validation": torch.arange(count, total)}
    return DatasetSequences(joined, parts, channels, transformations, unit_steps, title)


def in_memory(config: DataConfig, device: torch.device | str = "cpu") -> SequenceData:
    """Raise a UserError: data that were in memory are given from Python, no configuration can name them."""
    raise UserError(
        "data.name: found 'arrays', whose sequences were in memory, expected them to be given from Python: "
        "Run.open(path, data=stf.data.arrays(frames))"
    )


class _Joined:
    """Two Datasets, one after the other."""

    def __init__(self, first: Clips, second: Clips) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: int) -> Any:
        count = len(self.first)
        return self.first[index] if index < count else self.second[index - count]
