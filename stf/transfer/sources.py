"""What a user names to transfer from and to: made sequences of the run's data, files, or an activity written before."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffrl.config import ClipsConfig, DataConfig
from ffrl.core.errors import UserError, require
from ffrl.core.reading import read_json_object
from ffrl.core.seed import generator
from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.data.catalogue import transformations
from ffrl.data.recordings.find import ARRAYS
from ffrl.data.recordings.moving.read import read_moving
from ffrl.data.recordings.read import GreyAs, read_images, read_sequence
from ffrl.data.synthesis.moves import FASTEST, MOST_STEPS, parse_moves
from ffrl.data.synthesis.states import moved
from ffrl.data.vectors.files import recordings_in
from ffrl.evaluation.protocol.sequences import choose
from ffrl.models.frame_kind import FeatureValues
from ffrl.models.interface import SequenceModel
from stf.plot.compute.observed import most_eventful

RECORDINGS = "sequences"
"""Name of data that are a user's own recordings."""
SPEEDS = "speeds"
"""Key of the activity in an ``activity.json``."""
CANDIDATES, IMAGES = 100, 4
"""Random sequences of which the most eventful one is taken, and images that are taken unless numbers are given."""


@dataclass(frozen=True)
class Source:
    """What an activity is taken from.

    Args:
        name: as the user wrote it.
        about: what it is, in words.
        frames: ``(T+1, C, H, W)``, if there are any.
        truth: true speeds of the data's transformations, ``(T, J)``, where they are known.
        speeds: the activity ``(T, C)`` where it is given; otherwise it is inferred from the frames.
        read: whether the frames are those of a file, and not of the run's data.
    """

    name: str
    about: str
    frames: Tensor | None = None
    truth: Tensor | None = None
    speeds: Tensor | None = None
    read: bool = False


@dataclass(frozen=True)
class Targets:
    """Images that an activity is applied to, ``(N, C, H, W)``.

    Args:
        name: as the user wrote it.
        about: what they are, in words.
        images: in [0, 1].
        indices: their numbers in the split, ``(N,)``, if they are images of the data.
        start: the state they are in, ``(J,)``, if it is not that of the original images.
    """

    name: str
    about: str
    images: Tensor
    indices: Tensor | None = None
    start: Tensor | None = None


@dataclass(frozen=True)
class Sources:
    """Reader of what a user names.

    Args:
        model: the trained model.
        config: of the run's data.
        data: returns the run's data; called only when they are needed.
        split: which of their images.
        seed: of everything that is not named.
        grey_as: see :class:`ffrl.data.recordings.read.Reading`; grey for None where training has read files so.
        reading: how files are read, and how frames of another size are cropped and resized; None: as in training.
    """

    model: SequenceModel
    config: DataConfig
    data: Callable[[], SequenceData]
    split: Split = "validation"
    seed: int = 0
    grey_as: GreyAs | None = None
    reading: ClipsConfig | None = None

    def sequence(self, text: str, flag: str) -> Source:
        """Return the sequence that ``text`` names; ``flag`` is where it was written.

        ``mnist`` (or what the run's data are called) is a random sequence as in training, ``mnist:17`` one of image 17,
        ``mnist:17 rotation 4, hue 4`` that image under these moves; ``FILE.json`` holds an activity, any other name is
        a file or folder of frames. Of data whose transformations are not known, ``sequences:17`` is clip 17.

        Raises:
            UserError: it cannot be used; for a supervised model also frames, whose activity it cannot infer.
        """
        made = self._made(text)
        if made is not None:
            return self._sequence_of_data(text, flag, *made)
        path = self._existing(text, flag)
        if path.suffix.lower() == ".json":
            return Source(text, text, speeds=self._activity(path))
        frames, notes = self._read(path, read_sequence)
        if self.model.activity_kind.given:
            config = self.config
            move = f"{config.name} {transformations(config)[-1]} {config.num_steps}"
            expected = f"moves such as {move!r}, or an activity.json"
            raise UserError(f"{flag}: found {text!r}, but a supervised model infers no activity; expected {expected}")
        return Source(text, ", ".join([text, f"{len(frames)} frames", *notes]), frames, read=True)

    def images(self, text: str, flag: str) -> Targets:
        """Return the images that ``text`` names.

        ``mnist`` are some random images, ``mnist:3,14,15`` those of these numbers, ``mnist:3,14 rotation 4`` they after
        these moves; any other name is a file or folder of images.

        Raises:
            UserError: they cannot be used.
        """
        made = self._made(text)
        if made is None:
            images, notes = self._read(self._existing(text, flag), read_images)
            count = f"{len(images)} image{'s' if len(images) > 1 else ''}"
            return Targets(text, ", ".join([text, count, *notes]), images)
        numbers, moves = made
        data = self.data()
        indices = self._indices(numbers, flag) if numbers else self._random("images")[:IMAGES]
        listed = ", ".join(map(str, indices.tolist()[:8])) + (", ..." if len(indices) > 8 else "")
        about = f"{self._held_out} {self._kind}{'s' if len(indices) > 1 else ''} {listed}"
        if not moves:
            images = data.images(self.split, indices)
            return Targets(text, about, images, indices)
        activity = self._parsed(moves, flag)
        images = moved(data, self.split, indices, activity).frames[:, -1]
        return Targets(text, f"{about}, after {moves}", images, indices, activity.sum(0))

    def _read(self, path: Path, reader: Callable[..., Tensor]) -> tuple[Tensor, list[str]]:
        """Frames of a file, and in words what was done to them: what training does to recordings."""
        notes: list[str] = []
        if self.model.frame_kind.rank == 1:
            return self._vectors(path, reader is read_images).to(self._device), notes
        how = self.reading or self.config.sequences
        arrays = path.suffix.lower() in ARRAYS and not path.is_dir()
        if self.config.name == RECORDINGS and (how.static != "none" or how.follow):
            if how.static != "none":
                notes.append("changes from its own median")
            if how.follow:
                notes.append(f"a window of {how.follow} pixels that follows what moves")
            if how.stride > 1 and not arrays:
                notes.append(f"one frame of {how.stride} taken")
            return read_moving(path, how).to(self._device), notes
        stride = 1 if arrays or reader is read_images else how.stride
        grey_as: GreyAs | None = "grey" if self.config.name == RECORDINGS else None
        channels, height, width = self.model.image_shape
        frames = reader(
            path, (channels, height, width), self.grey_as or grey_as, how=how, stride=stride, tell=notes.append
        )
        if stride > 1:
            notes.append(f"one frame of {stride} taken")
        return frames.to(self._device), list(dict.fromkeys(notes))

    def _vectors(self, path: Path, starts: bool) -> Tensor:
        """Vectors of a file: one sequence, or the first of each sequence, or all of a single one, as starts."""
        if self.config.name == "poses":
            expected = "poses:NUMBER of its data: files of poses are aligned as in training, which is not done here"
            raise UserError(f"{path}: found a file, expected {expected}")
        (features,) = self.model.image_shape
        kind = self.model.frame_kind
        known = kind.features.names if isinstance(kind, FeatureValues) else ()
        recordings = recordings_in(path, self.config.vectors, known)
        found = recordings[0].values
        require(found.shape[1] == features, str(path), f"{found.shape[1]} features", str(features))
        if not starts:
            require(len(recordings) == 1, str(path), f"{len(recordings)} sequences", "one")
            return found
        return found if len(recordings) == 1 else torch.stack([one.values[0] for one in recordings])

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def _held_out(self) -> str:
        return f"{self.data().title} {self.split}"

    @property
    def _kind(self) -> str:
        """What the data are counted in."""
        return "image" if self.data().prescribed else "clip"

    def _existing(self, text: str, flag: str) -> Path:
        if not os.path.exists(text):
            name = self.config.name
            form = f"{name}:NUMBER MOVES" if transformations(self.config) else f"{name}:NUMBER"
            raise UserError(f"{flag}: found {text!r}, expected a file, a folder, {name!r} or {form!r}")
        return Path(text)

    def _made(self, text: str) -> tuple[str, str] | None:
        """Numbers and moves in what names images of the data, else None."""
        found = re.fullmatch(re.escape(self.config.name) + r"(?::(\S*))?(?:\s+(.*))?", text.strip())
        return None if found is None else (found[1] or "", found[2] or "")

    def _indices(self, numbers: str, flag: str) -> Tensor:
        data = self.data()
        size = data.size(self.split)
        values = numbers.split(",")
        if not all(value.isascii() and value.isdecimal() and len(value) < 20 and int(value) < size for value in values):
            raise UserError(f"{flag}: found {self._kind} {numbers!r}, expected numbers from 0 to {size - 1}")
        return torch.tensor([int(value) for value in values], device=data.device)

    def _random(self, stream: str) -> Tensor:
        """Indices of some images, in random order; those of sequences and of images are different ones."""
        data = self.data()
        order = choose(data, self.split, data.size(self.split), self.seed)
        half = max(1, len(order) // 2)
        return order[:half] if stream == "images" else order[-half:]

    def _sequence_of_data(self, text: str, flag: str, numbers: str, moves: str) -> Source:
        data, model = self.data(), self.model
        indices = self._indices(numbers, flag) if numbers else self._random("sequence")[:CANDIDATES]
        if numbers and len(indices) > 1:
            raise UserError(f"{flag}: found {self._kind}s {numbers!r}, expected one")
        if moves:
            truth = self._parsed(moves, flag)
            batch, how = moved(data, self.split, indices[:1], truth), f", {moves}"
        else:
            batch, how = self._as_trained(data, indices, flag)
        best = most_eventful(batch.frames, batch.activity.cpu().numpy())
        about = f"{self._held_out} {self._kind} {int(indices[best])}{how}"
        if not data.transformations:
            return Source(text, about, batch.frames[best])
        frames, truth = batch.frames[best], batch.activity[best]
        return Source(text, about, frames, truth, self._given(truth) if model.activity_kind.given else None)

    def _as_trained(self, data: SequenceData, indices: Tensor, flag: str) -> tuple[SequenceBatch, str]:
        """Random sequences of the kind that the run was trained on, without what acted before their first frame."""
        source = generator(data.device, self.seed, f"transfer{flag}")
        if not data.prescribed:
            return data.mixed(self.split, indices, source), ""
        if self.model.trained.sequences == "mixed":
            return data.mixed(self.split, indices, source), ", random moves"
        which = torch.randint(len(data.transformations), (1,), generator=source, device=data.device)
        name = data.transformations[int(which)]
        return data.single(self.split, indices, which.expand(len(indices))), f", {name}"

    def _parsed(self, moves: str, flag: str) -> Tensor:
        """The activity that moves describe, ``(T, J)``."""
        data = self.data()
        if not data.prescribed:
            expected = f"none: which transformations act in {data.title} is not known"
            raise UserError(f"{flag}: found moves {moves!r}, expected {expected}")
        return parse_moves(moves, data.transformations, self.config.num_steps, flag)

    def _given(self, truth: Tensor) -> Tensor:
        """Activity of a supervised model: the fields are the transformations."""
        fields = self.model.num_fields
        if truth.shape[1] != fields:
            raise UserError(f"found {truth.shape[1]} transformations, expected {fields}, the fields of this model")
        return truth

    def _activity(self, path: Path) -> Tensor:
        speeds, controls = read_json_object(path).get(SPEEDS), self.model.num_controls
        rows = speeds if isinstance(speeds, list) else []
        fits = 1 <= len(rows) <= MOST_STEPS and all(isinstance(row, list) and len(row) == controls for row in rows)
        if not fits or not all(_is_number(speed) for row in rows for speed in row):
            expected = f"1 to {MOST_STEPS} lists of {controls} numbers, one for each field of this model"
            raise UserError(f"{path}: {SPEEDS}: found no activity that fits, expected {expected}")
        return torch.tensor(rows, dtype=torch.float32, device=self._device)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= FASTEST
