"""Clips of vectors, cut from recordings in memory."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ffrl.core.errors import UserError, require
from ffrl.data.base import SPLITS, SequenceBatch, Split
from ffrl.data.contents import Contents, digest
from ffrl.data.features import Features
from ffrl.data.given import GivenSequences, checked_activity, named
from ffrl.data.recorded import Recorded
from ffrl.data.recordings.split import border_in_time, clip_count, held_out

WITHIN = re.compile(r"\[\d+\]$", re.ASCII)
"""What the name of a recording ends with if it is one of several in a file, or in memory."""


class Recording(NamedTuple):
    """Vectors ``(S, F)``, float64 with NaN where one is missing, true speeds ``(S - 1, J)`` or None, and a name."""

    values: Tensor
    activity: Tensor | None
    name: str


class VectorSequences(GivenSequences):
    """Clips of T + 1 vectors from recordings of any length.

    Whole recordings are held out, never clips of one that is trained on; a single one is divided in time. Mean and
    standard deviation of every feature are those of the clips that are trained on.

    Args:
        recordings: all with the same features.
        num_steps: T.
        hop: vectors between the starts of two clips; 0 is half a clip.
        validation: share that is held out; or recordings that are.
        names: of the features; ``feature 1``, ... for none.
        periods: of periodic features, by name.
        transformations, unit_steps, title: as for :class:`~ffrl.data.given.GivenSequences`.
        name: as ``--data.name`` takes it.

    Raises:
        UserError: too few or too short recordings, or features that cannot be used.

    Example:
        >>> walk = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).cumsum(0).double()
        >>> data = VectorSequences([Recording(walk, None, "walk")], num_steps=4)
        >>> data.about, data.mixed("validation", torch.tensor([0])).frames.shape
        ('13 train, 3 validation clips of 5 vectors with 3 features, activity unknown', torch.Size([1, 5, 3]))
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        num_steps: int,
        hop: int = 0,
        validation: float | Sequence[Recording] = 0.2,
        names: Sequence[str] = (),
        periods: Mapping[str, float] | None = None,
        transformations: Sequence[str] = (),
        unit_steps: Sequence[str] = (),
        title: str = "vectors in memory",
        name: str = "arrays",
    ) -> None:
        every = [*recordings, *([] if isinstance(validation, int | float) else validation)]
        for key, number, least in (("num_steps", num_steps, 1), ("hop", hop, 0)):
            require(isinstance(number, Integral) and number >= least, key, number, f"an integer of at least {least}")
        if isinstance(validation, int | float):
            require(0.0 < validation < 1.0, "validation", validation, "a share strictly between 0 and 1, or sequences")
        length = num_steps + 1
        hop = hop or max(1, length // 2)
        _require_alike(every, length)
        begin = [0, *accumulate(len(one.values) for one in every)]
        spans = list(zip(begin[:-1], (len(one.values) for one in every), strict=True))
        if not isinstance(validation, int | float):
            divided = {"train": spans[: len(recordings)], "validation": spans[len(recordings) :]}
        elif len(every) == 1:
            border = border_in_time(len(every[0].values), length, hop, validation, every[0].name)
            divided = {"train": [(0, border)], "validation": [(border, len(every[0].values) - border)]}
        else:
            counts = [clip_count(count, length, hop) for _, count in spans]
            held = set(held_out([one.name for one in every], counts, validation))
            kept = [place for place in range(len(every)) if place not in held]
            divided = {
                "train": [spans[place] for place in kept],
                "validation": [spans[place] for place in sorted(held)],
            }
        cut = {split: _starts(rows, length, hop) for split, rows in divided.items()}
        starts = torch.cat(list(cut.values()))
        self._divided, self._begin, self._names = divided, begin, [one.name for one in every]
        places = torch.arange(len(starts)).split([len(rows) for rows in cut.values()])
        self._values = torch.cat([one.values for one in every])
        self._starts, self.name = starts, name
        self._recordings = [(one.name, span) for one, span in zip(every, spans, strict=True)]
        self._held_out = list(divided["validation"])
        count = 0 if every[0].activity is None else every[0].activity.shape[-1]
        blank = [
            torch.zeros(1, count) if one.activity is None else torch.cat([one.activity, one.activity[:1] * 0])
            for one in every
        ]
        self._activity = torch.cat(blank) if count else torch.zeros(len(self._values), 0)
        parts: dict[Split, Tensor] = dict(zip(("train", "validation"), places, strict=True))
        shape = (self._values.shape[1],)
        super().__init__(parts, shape, num_steps, named(transformations, count), unit_steps, title)
        trained = torch.cat([self._values[first : first + size] for first, size in divided["train"]])
        self.features = Features.of(trained, names, periods)
        self.about = self.about.replace("frames", f"vectors with {shape[0]} features")
        if self.features.missing:
            self.about += f", {trained.isnan().double().mean():.1%} of the values missing"

    def contents(self) -> Contents:
        """Hashes of values and activity by file, or of all that is in memory, and of what is held out."""
        files: dict[str, list[Tensor]] = {}
        for name, (first, count) in self._recordings:
            here = slice(first, first + count)
            files.setdefault(WITHIN.sub("", name), []).extend([self._values[here], self._activity[here]])
        assert self.features is not None
        parts = {name: digest(self.features.names, *values) for name, values in files.items()}
        return Contents(parts, digest(str(self._held_out)))

    def recordings(self) -> list[Recorded]:
        """Every recording, of a single one the parts that are trained on and held out."""
        splits = zip(SPLITS, self._divided.values(), strict=False)
        return [
            Recorded(self._names[bisect_right(self._begin, begin) - 1], split, size, partial(self._between, begin))
            for split, spans in splits
            for begin, size in spans
        ]

    def _between(self, begin: int, first: int, last: int) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self._values[begin + first : begin + last].numpy()
        return found

    def read(self, clips: Tensor, frames: list[int]) -> SequenceBatch:
        """See :meth:`~ffrl.data.given.GivenSequences.read`."""
        starts = self._starts[clips][:, None]
        return SequenceBatch(
            self._values[starts + torch.tensor(frames)], self._activity[starts + torch.arange(self.num_steps)].float()
        )


def vectors(
    values: ArrayLike | Tensor | Sequence[ArrayLike | Tensor],
    activity: ArrayLike | Tensor | Sequence[ArrayLike | Tensor] | None = None,
    *,
    num_steps: int | None = None,
    hop: int = 0,
    validation: Any = 0.2,
    features: Sequence[str] = (),
    periodic: Mapping[str, float] | None = None,
    transformations: Sequence[str] = (),
    unit_steps: Sequence[str] = (),
    title: str = "vectors in memory",
) -> VectorSequences:
    """Sequences of vectors: coordinates, angles, signals, anything that is a few numbers at each instant.

    Args:
        values: sequences ``(N, T+1, F)``, one long recording ``(S, F)``, or a list of recordings of any length, as
            numbers in their own units; NaN is a value that is missing.
        activity: true speeds, ``(N, T, J)``, ``(S-1, J)`` or a list, exactly 0 where off, if they are known.
        num_steps: T of the clips that are cut; that of ``(N, T+1, F)``, and 8 for recordings, for None.
        hop: vectors between the starts of two clips; 0 is half a clip.
        validation: share that is held out, or other sequences: values, or values and activity.
        features: names of the F features.
        periodic: names of those that are angles, with their periods: ``{"heading": 360}``.
        transformations: names of the J transformations.
        unit_steps: what a unit step of each means, in words.
        title: what results call the data.

    Raises:
        UserError: shapes, types or values that cannot be used.

    Example:
        >>> data = vectors(np.random.default_rng(0).normal(size=(20, 9, 4)), features=("x", "y", "vx", "vy"))
        >>> data.image_shape, data.num_steps, data.features.names
        ((4,), 8, ('x', 'y', 'vx', 'vy'))
    """
    recordings = _recordings(values, activity, "values")
    several = not isinstance(values, list | tuple) and _rank(values) == 3
    length = (len(recordings[0].values) - 1 if several else 8) if num_steps is None else num_steps
    require(length != 0, "values", "sequences of one vector", "at least 2, T + 1")
    held: Any = float(validation) if isinstance(validation, Real) else validation
    if not isinstance(validation, Real):
        both = isinstance(validation, tuple) and len(validation) == 2
        if both is (activity is None):
            raise UserError("validation: found activity for some sequences only, expected it for all or none of them")
        values, activity = validation if both else (validation, None)
        held = _recordings(values, activity, "validation")
    return VectorSequences(recordings, length, hop, held, features, periodic, transformations, unit_steps, title=title)


def as_vectors(values: Any, source: str, ranks: tuple[int, ...] = (2,)) -> Tensor:
    """Numbers as float64, NaN where one is missing.

    Raises:
        UserError: no numbers, complex ones, or of another rank.

    Example:
        >>> as_vectors([[1, 2], [3, float("nan")]], "values")
        tensor([[1., 2.],
                [3., nan]], dtype=torch.float64)
    """
    try:
        if isinstance(values, Tensor):
            values = values.detach().to("cpu", torch.complex128 if values.is_complex() else torch.float64)
        array: Any = np.ma.asarray(values)
        if array.dtype.kind not in "fiub":
            raise UserError(f"{source}: found values of type {array.dtype}, expected numbers")
        tensor = torch.from_numpy(array.astype(np.float64).filled(np.nan))
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{source}: found {type(values).__name__}, expected an array of numbers") from None
    if tensor.ndim not in ranks or 0 in tensor.shape:
        expected = " or ".join({2: "(S, F)", 3: "(N, T+1, F)"}[rank] for rank in ranks)
        raise UserError(f"{source}: found shape {tuple(tensor.shape)}, expected {expected}, none of them 0")
    return tensor


def recordings_of(tensor: Tensor, speeds: Tensor | None, name: str) -> list[Recording]:
    """One recording ``(S, F)``, or N of them ``(N, S, F)``, with speeds of the same leading axes.

    Example:
        >>> [one.name for one in recordings_of(torch.zeros(2, 9, 3), None, "walks.npy")]
        ['walks.npy[0]', 'walks.npy[1]']
    """
    if tensor.ndim == 2:
        return [Recording(tensor, speeds, name)]
    parts = [None] * len(tensor) if speeds is None else list(speeds)
    return [Recording(part, parts[place], f"{name}[{place}]") for place, part in enumerate(tensor)]


def _recordings(values: Any, activity: Any, source: str) -> list[Recording]:
    """Recordings from an array, or from a list of them."""
    if isinstance(values, list | tuple) and len(values) and _rank(values[0]) == 2:
        given = activity if isinstance(activity, list | tuple) or _rank(activity) > 0 else [activity] * len(values)
        require(len(given) == len(values), "activity", f"{len(given)} arrays", f"{len(values)}, one per recording")
        pairs = enumerate(zip(values, given, strict=True))
        return [one for place, pair in pairs for one in _whole(*pair, f"[{place}]", source, (2,))]
    return _whole(values, activity, "", source, (2, 3))


def _whole(values: Any, activity: Any, place: str, source: str, ranks: tuple[int, ...]) -> list[Recording]:
    """Recordings from an array."""
    tensor = as_vectors(values, source + place, ranks)
    shape = (*tensor.shape[:-2], tensor.shape[-2] - 1)
    speeds = None if activity is None else checked_activity(activity, f"activity{place}", shape).cpu()
    return recordings_of(tensor, speeds, source + place)


def _rank(values: Any) -> int:
    """Number of axes; -1 of what is no array."""
    try:
        return int(np.ndim(values))
    except ValueError:
        return -1


def _require_alike(recordings: Sequence[Recording], length: int) -> None:
    """Raise a UserError unless recordings are long enough, finite, and alike in features and transformations."""
    require(len(recordings) > 0, "values", "no recordings", "at least one")
    first = recordings[0]
    for one in recordings:
        size, count = one.values.shape
        require(size >= length, one.name, f"{size} vectors", f"at least {length}, a clip of T + 1")
        require(count == first.values.shape[1], one.name, f"{count} features", f"{first.values.shape[1]}, as before")
        infinite = one.values.isinf().any(1).nonzero().flatten()[:1].tolist()
        expected = "numbers, or NaN for what is missing"
        require(not infinite, one.name, f"infinite values in vector {sum(infinite) + 1}", expected)
        found, wanted = (0 if each.activity is None else each.activity.shape[1] for each in (one, first))
        require(found == wanted, one.name, f"activity of {found} transformations", f"that of {wanted}, as before")


def _starts(spans: Sequence[tuple[int, int]], length: int, hop: int) -> Tensor:
    """First vectors of the clips of spans (first vector, number of vectors)."""
    return torch.cat([first + hop * torch.arange(clip_count(size, length, hop)) for first, size in spans])
