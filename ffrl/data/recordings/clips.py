"""Clips of a user's own recordings, under transformations that nobody knows."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import LongTensor, Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data.base import SequenceBatch, SequenceData, Split, evenly_spaced
from ffrl.data.recordings.cache import cache_folder
from ffrl.data.recordings.find import find_recordings
from ffrl.data.recordings.prepare import prepare_recordings
from ffrl.data.recordings.split import border_in_time, clip_count, held_out

MAPPED_FILES = 256
"""Files that are mapped at a time; each takes a file descriptor."""


class ClipSequences(SequenceData):
    """Clips of T + 1 frames, cut from recordings of every kind, in colour and of one size.

    Whole recordings are held out, never clips of a recording that is trained on; a single recording is divided in time.
    Frames are read from memory-mapped files: arrays of bytes of the right size where they are, everything else from
    the cache it is decoded into once.

    Args:
        config: ``root`` and ``num_steps``, and ``sequences``: size, crop, stride, hop, validation, broken, cache.
        device: ignored; batches are made on the CPU.

    Attributes:
        about: what was found, in one line: recordings, clips of each split, frames, and what was left out.

    Raises:
        UserError: no recordings, broken ones unless they are to be skipped, or none left; a missing package; or a cache
            that cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "clips.npy"), np.zeros((5, 21, 64, 64, 3), np.uint8))
        ...     data = ClipSequences(DataConfig(name="sequences", root=Path(folder)))
        ...     print(data.about)
        ...     data.images("validation", torch.arange(3)).shape
        5 recordings with 105 frames: 16 train clips of 4, 4 validation clips of 1; 9 frames a clip
        torch.Size([3, 3, 64, 64])
    """

    name = "sequences"
    transformations = ()
    unit_steps = ()
    streamed = True
    about: str

    def __init__(self, config: DataConfig, device: torch.device | str = "cpu") -> None:
        self.device = torch.device("cpu")
        self.num_steps = config.num_steps
        self.image_shape = (3, config.sequences.size, config.sequences.size)
        root = config.root
        if root is None:
            raise UserError("data.root: found none, expected a recording or a folder of recordings")
        self.title = f"sequences of {root.resolve().name}"
        self._open = lru_cache(MAPPED_FILES)(lambda file: self._maps[file].open())
        self._prepare(root, config)

    def size(self, split: Split) -> int:
        return len(self._clips(split))

    def images(self, split: Split, indices: LongTensor) -> Tensor:
        return self._frames(split, indices, [0])[:, 0]

    def mixed(self, split: Split, indices: LongTensor, generator: torch.Generator | None = None) -> SequenceBatch:
        frames = self._frames(split, indices, list(range(self.num_steps + 1)))
        return SequenceBatch(frames, torch.zeros(len(indices), self.num_steps, 0))

    def stills(self, split: Split, indices: LongTensor, count: int, generator: torch.Generator | None = None) -> Tensor:
        return self._frames(split, indices, evenly_spaced(self.num_steps, count))

    def _prepare(self, root: Path, config: DataConfig) -> None:
        """Find, prepare and split the recordings; fills the table of clips: file, and first frame in it."""
        clips, length = config.sequences, config.num_steps + 1
        cache = cache_folder(clips)
        found = find_recordings(root, None if cache.resolve() == root.resolve() else cache)
        maps, skipped = prepare_recordings(found.paths, clips, length)
        if not maps:
            raise UserError(f"data.root: found nothing usable in {root} ({len(skipped)} broken), expected recordings")
        self._maps = list(maps.values())
        names, table = [], []  # one line per recording: file, first frame in it, frames after the stride
        for file, (path, frame_map) in enumerate(maps.items()):
            name = str(path.relative_to(root)) if path != root else path.name
            names += [f"{name}[{part}]" if frame_map.parts > 1 else name for part in range(frame_map.parts)]
            table += [(file, frame_map.first(part), frame_map.length) for part in range(frame_map.parts)]
        hop = clips.hop or max(1, length // 2)
        if len(table) == 1:
            file, first, count = table[0]
            border = border_in_time(count, length, hop, clips.validation, str(root))
            stride = self._maps[file].stride
            parts = {"train": [(file, first, border)], "validation": [(file, first + border * stride, count - border)]}
        else:
            counts = [clip_count(row[2], length, hop) for row in table]
            validation = set(held_out(names, counts, clips.validation))
            parts = {
                "train": [row for place, row in enumerate(table) if place not in validation],
                "validation": [table[place] for place in sorted(validation)],
            }
        self._table = {split: self._cut(rows, length, hop) for split, rows in parts.items()}
        frames = sum(count for _, _, count in table)
        self.about = self._describe(len(table), frames, parts, skipped, found.ignored)

    def _cut(self, rows: list[tuple[int, int, int]], length: int, hop: int) -> NDArray[np.int64]:
        """The clips of recordings, ``(clips, 2)``: file, and first frame in it."""
        cut = []
        for file, first, frames in rows:
            starts = first + np.arange(clip_count(frames, length, hop)) * hop * self._maps[file].stride
            cut.append(np.stack([np.full_like(starts, file), starts], axis=1))
        return np.concatenate(cut)

    def _describe(self, recordings: int, frames: int, parts: dict, skipped: list[str], ignored: int) -> str:
        one = recordings == 1
        shares = [
            f"{self.size(split)} {split} clips of " + ("its " + name if one else str(len(parts[split])))
            for split, name in (("train", "first part"), ("validation", "last part"))
        ]
        text = f"{recordings} recording{'' if one else 's'} with {frames:,} frames: {', '.join(shares)}"
        text += f"; {self.num_steps + 1} frames a clip"
        if skipped:
            text += f"; skipped {len(skipped)}: {'; '.join(skipped)}"
        return text + (f"; {ignored} files of other kinds" if ignored else "")

    def _clips(self, split: Split) -> NDArray[np.int64]:
        if split not in self._table:
            found = "your own recordings have no test split"
            raise UserError(f"split: found {split!r}, expected 'train' or 'validation': {found}")
        return self._table[split]

    def _frames(self, split: Split, indices: LongTensor, offsets: list[int]) -> Tensor:
        """Frames ``(B, len(offsets), 3, S, S)`` in [0, 1] of clips; no other frames are read."""
        table, rows = self._clips(split), indices.numpy()
        if len(rows) and (rows.min() < 0 or rows.max() >= len(table)):
            raise IndexError(f"indices: found {rows.min()} to {rows.max()}, expected 0 to {len(table) - 1}")
        files, firsts = table[rows].T
        pixels = np.empty((len(rows), len(offsets), *self.image_shape), dtype=np.uint8)
        for file in np.unique(files):
            here = files == file
            frame_map = self._maps[file]
            wanted = firsts[here, None] + frame_map.stride * np.array(offsets)
            pixels[here] = frame_map.read(self._open(int(file)), wanted)
        return torch.from_numpy(np.divide(pixels, np.float32(255), dtype=np.float32))
