"""Clips of a user's own recordings, with their true activity where files hold it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data.base import SequenceBatch, Split
from ffrl.data.given import GivenSequences, unit_interval
from ffrl.data.recordings.cache import cache_folder
from ffrl.data.recordings.find import find_recordings
from ffrl.data.recordings.prepare import prepare_recordings
from ffrl.data.recordings.split import border_in_time, clip_count, held_out

MAPPED_FILES = 256
"""Files that are mapped at a time; each takes a file descriptor."""
Row = tuple[int, int, int, int]
"""Frames of a recording: file, part of it, first frame and number of frames, both after the stride."""


class ClipSequences(GivenSequences):
    """Clips of T + 1 frames, cut from recordings of every kind, in colour and of one size.

    Whole recordings are held out, never clips of a recording that is trained on; a single recording is divided in time.
    Frames are read from memory-mapped files: arrays of bytes of the right size where they are, everything else from
    the cache it is decoded into once. Activity is read from the files of the recordings, and kept in memory.

    Args:
        config: ``root`` and ``num_steps``, and ``sequences``: size, crop, stride, hop, validation, broken, cache.
        device: ignored; batches are made on the CPU.

    Attributes:
        about: what was found, in one line: recordings, clips of each split, frames, and what was left out.

    Raises:
        UserError: no recordings, broken ones unless they are to be skipped, or none left; activity of some only; a
            missing package; or a cache that cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "clips.npy"), np.zeros((5, 21, 64, 64, 3), np.uint8))
        ...     data = ClipSequences(DataConfig(name="sequences", root=Path(folder)))
        ...     print(data.about)
        ...     data.images("validation", torch.arange(3)).shape
        5 recordings with 105 frames: 16 train clips of 4, 4 validation clips of 1; 9 frames a clip
        torch.Size([3, 3, 64, 64])
    """

    name = "sequences"
    streamed = True

    def __init__(self, config: DataConfig, device: torch.device | str = "cpu") -> None:
        root, clips, length = config.root, config.sequences, config.num_steps + 1
        if root is None:
            raise UserError("data.root: found none, expected a recording or a folder of recordings")
        cache = cache_folder(clips)
        found = find_recordings(root, None if cache.resolve() == root.resolve() else cache)
        usable = prepare_recordings(found.paths, clips, length)
        if not usable.maps:
            broken = len(usable.skipped)
            raise UserError(f"data.root: found nothing usable in {root} ({broken} broken), expected recordings")
        self._maps = list(usable.maps.values())
        self._speeds = [usable.speeds[path] for path in usable.maps if path in usable.speeds]
        self._open = lru_cache(MAPPED_FILES)(lambda file: self._maps[file].open())
        names: list[str] = []
        table: list[Row] = []
        for file, (path, frame_map) in enumerate(usable.maps.items()):
            name = str(path.relative_to(root)) if path != root else path.name
            names += [f"{name}[{part}]" if frame_map.parts > 1 else name for part in range(frame_map.parts)]
            table += [(file, part, 0, frame_map.length) for part in range(frame_map.parts)]
        hop = clips.hop or max(1, length // 2)
        divided = _divided(names, table, length, hop, clips.validation, str(root))
        cut = {split: _cut(rows, length, hop) for split, rows in divided.items()}
        self._table = np.concatenate(list(cut.values()))
        places = torch.arange(len(self._table)).split([len(rows) for rows in cut.values()])
        parts, shape = dict(zip(cut, places, strict=True)), (3, clips.size, clips.size)
        title = f"sequences of {root.resolve().name}"
        super().__init__(parts, shape, config.num_steps, usable.transformations, (), title)
        self.about = self._describe(table, divided, usable.skipped, found.ignored)

    def read(self, clips: Tensor, frames: list[int]) -> SequenceBatch:
        """See :meth:`~ffrl.data.given.GivenSequences.read`; no other frames are read."""
        files, parts, firsts = self._table[clips.numpy()].T
        pixels = np.empty((len(clips), len(frames), *self.image_shape), dtype=np.uint8)
        speeds = np.zeros((len(clips), self.num_steps, len(self.transformations)), dtype=np.float32)
        for file in np.unique(files):
            here = files == file
            part, first = parts[here, None], firsts[here, None]
            wanted = self._maps[file].numbers(part, first + np.array(frames))
            pixels[here] = self._maps[file].read(self._open(int(file)), wanted)
            if self.transformations:
                speeds[here] = self._speeds[file][part, first + np.arange(self.num_steps)]
        return SequenceBatch(unit_interval(torch.from_numpy(pixels)), torch.from_numpy(speeds))

    def _describe(self, table: list[Row], divided: dict[Split, list[Row]], skipped: list[str], ignored: int) -> str:
        one = len(table) == 1
        places: dict[Split, str] = {"train": "first part", "validation": "last part"}
        shares = [
            f"{self.size(split)} {split} clips of " + ("its " + name if one else str(len(divided[split])))
            for split, name in places.items()
        ]
        frames = sum(count for *_, count in table)
        text = f"{len(table)} recording{'' if one else 's'} with {frames:,} frames: {', '.join(shares)}"
        text += f"; {self.num_steps + 1} frames a clip" + (", activity known" if self.transformations else "")
        if skipped:
            text += f"; skipped {len(skipped)}: {'; '.join(skipped)}"
        return text + (f"; {ignored} files of other kinds" if ignored else "")


def _divided(
    names: list[str], table: list[Row], length: int, hop: int, share: float, source: str
) -> dict[Split, list[Row]]:
    """The recordings of each split, whole ones, or the parts of a single one."""
    if len(table) == 1:
        ((file, part, first, count),) = table
        border = border_in_time(count, length, hop, share, source)
        return {"train": [(file, part, first, border)], "validation": [(file, part, border, count - border)]}
    counts = [clip_count(count, length, hop) for *_, count in table]
    validation = held_out(names, counts, share)
    train = sorted(set(range(len(table))) - set(validation))
    return {"train": [table[place] for place in train], "validation": [table[place] for place in validation]}


def _cut(rows: list[Row], length: int, hop: int) -> NDArray[np.int64]:
    """The clips of recordings, ``(clips, 3)``: file, part of it, and first frame."""
    cut = []
    for file, part, first, frames in rows:
        starts = first + np.arange(clip_count(frames, length, hop)) * hop
        cut.append(np.stack([np.full_like(starts, file), np.full_like(starts, part), starts], axis=1))
    return np.concatenate(cut)
