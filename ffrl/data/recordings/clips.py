"""Clips of a user's own recordings, with their true activity where files hold it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.core.progress import say
from ffrl.data.base import SequenceBatch, Split
from ffrl.data.contents import Contents, digest
from ffrl.data.given import GivenSequences, unit_interval
from ffrl.data.inventory import Inventory
from ffrl.data.recorded import Recorded
from ffrl.data.recordings.cache import cache_folder, frames_hash
from ffrl.data.recordings.find import find_recordings, modification
from ffrl.data.recordings.pictures import pictures_in
from ffrl.data.recordings.prepare import prepare_recordings
from ffrl.data.recordings.split import border_in_time, clip_count, held_out
from ffrl.data.static import Static, changes
from ffrl.storage.machine import open_files

MAPPED_FILES, SHARE = 256, 4
"""Files that are mapped at a time, and which part of those that may be open they are at most."""
SPREAD_CLIPS, SPREAD_BATCH = 512, 32
"""Clips of which it is measured how much each pixel changes, and how many of them are read at a time."""
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
        found = find_recordings(root, None if cache.resolve() == root.resolve() else cache, clips.exclude)
        for line in found.unread if clips.broken == "refuse" else ():
            raise UserError(f"{line}; --data.sequences.broken skip goes on without it")
        for line in (*found.unread, *found.doubts):
            say(f"warning: {line}")
        self._step = clips.stride if clips.dense else 1
        span = (length - 1) * self._step + 1
        kept = replace(clips, stride=1, dense=False) if clips.dense else clips
        usable = prepare_recordings(found.paths, kept, span)
        if not usable.maps:
            broken = len(usable.skipped)
            raise UserError(f"data.root: found nothing usable in {root} ({broken} broken), expected recordings")
        self._root, self._clips, self._paths = root, kept, list(usable.maps)
        if clips.dense and usable.transformations:
            raise UserError(
                "data.sequences.dense: found recordings with activity, expected none: it goes by the stride"
            )
        self._span = span
        self._maps = list(usable.maps.values())
        self._behind = list(usable.behind.values())
        self._speeds = [usable.speeds[path] for path in usable.maps if path in usable.speeds]
        allowed = open_files()
        mapped = MAPPED_FILES if allowed is None else min(MAPPED_FILES, max(1, allowed // SHARE))
        self._open = lru_cache(mapped)(lambda file: self._maps[file].open())
        self._open_behind = lru_cache(mapped)(lambda file: self._behind[file].open())
        self._rows_by_name: dict[str, Row] = {}
        sizes: dict[str, tuple[int, int]] = {}
        for file, (path, frame_map) in enumerate(usable.maps.items()):
            name, count = str(path.relative_to(root)), modification(path, clips.exclude)[0]
            for part in range(frame_map.parts):
                one = f"{name}[{part}]" if frame_map.parts > 1 else name
                self._rows_by_name[one] = (file, part, 0, frame_map.length)
                sizes[one] = (frame_map.length, count)
        self._hop = clips.hop or max(1, span // 2)
        held, divided = _divided(self._rows_by_name, span, self._hop, clips.validation, str(root))
        title = f"sequences of {os.fsencode(root.resolve().name).decode(errors='replace')}"
        shape = (3, clips.size, clips.size)
        super().__init__(self._places(divided), shape, config.num_steps, usable.transformations, (), title)
        self.inventory = Inventory(sizes, tuple(held))
        self._left_out = (usable.skipped, found.ignored, found.results)
        self.about = self._describe(divided)

    def contents(self) -> Contents:
        """Hashes of the frames as they are trained on, and of their activity, by file; and of what is held out."""
        assert self.inventory is not None
        speeds = self._speeds or [np.zeros(0, np.float32)] * len(self._maps)
        parts = {
            str(path.relative_to(self._root)): digest(frames_hash(path, self._clips, frames), known)
            for path, frames, known in zip(self._paths, self._maps, speeds, strict=True)
        }
        clips = self._table[self.parts["validation"].numpy()]
        return Contents(parts, digest(self.inventory.held_out, clips))

    def hold_out(self, names: Sequence[str]) -> None:
        """Make these recordings the validation split and train on none: the others may have been trained on or not.

        Args:
            names: as :attr:`inventory` has them.

        Raises:
            UserError: none of them is there, or is long enough for a clip.
        """
        assert self.inventory is not None
        rows = [row for name, row in self._rows_by_name.items() if name in set(names)]
        others = [row for name, row in self._rows_by_name.items() if name not in set(names)]
        if not rows:
            raise UserError(f"data.root: found none of the recordings that were held out, expected {', '.join(names)}")
        divided: dict[Split, list[Row]] = {"train": others, "validation": rows}
        self.parts = self._places(divided)
        self.inventory = Inventory(self.inventory.sizes, tuple(sorted(set(names) & self._rows_by_name.keys())))
        self.about = self._describe(divided)

    def _places(self, divided: dict[Split, list[Row]]) -> dict[Split, Tensor]:
        """Cut the recordings of each split into clips; where the clips of each are in their table."""
        self._divided = divided
        cut = {split: _cut(rows, self._span, self._hop) for split, rows in divided.items()}
        self._table = np.concatenate(list(cut.values()))
        places = torch.arange(len(self._table)).split([len(rows) for rows in cut.values()])
        return dict(zip(cut, places, strict=True))

    def read(self, clips: Tensor, frames: list[int]) -> SequenceBatch:
        """See :meth:`~ffrl.data.given.GivenSequences.read`; no other frames are read."""
        files, parts, firsts = self._table[clips.numpy()].T
        pixels = np.empty((len(clips), len(frames), *self.image_shape), dtype=np.uint8)
        behind = np.empty_like(pixels) if self._behind else None
        speeds = np.zeros((len(clips), self.num_steps, len(self.transformations)), dtype=np.float32)
        for file in np.unique(files):
            here = files == file
            part, first = parts[here, None], firsts[here, None]
            places = first + self._step * np.array(frames)
            pixels[here] = self._maps[file].read(self._open(int(file)), self._maps[file].numbers(part, places))
            if behind is not None:
                static = self._behind[file]
                numbers = static.numbers(part, np.minimum(places, static.length - 1))
                behind[here] = static.read(self._open_behind(int(file)), numbers)
            if self.transformations:
                speeds[here] = self._speeds[file][part, first + np.arange(self.num_steps)]
        shown = unit_interval(torch.from_numpy(pixels))
        if behind is not None:
            shown = changes(shown, unit_interval(torch.from_numpy(behind)))
        return SequenceBatch(shown, torch.from_numpy(speeds))

    @cached_property
    def static(self) -> Static | None:
        """What is static; the spread is that of evenly spaced clips that are trained on."""
        if not self._behind:
            return None
        squared, rows = torch.zeros(self.image_shape), self.parts["train"]
        chosen = rows[torch.linspace(0, len(rows) - 1, min(len(rows), SPREAD_CLIPS)).round().long()]
        for some in chosen.split(SPREAD_BATCH):
            squared += (2 * self.read(some, list(range(self.num_steps + 1))).frames - 1).square().mean(1).sum(0)
        only = len(self._rows_by_name) == 1 and self._behind[0].length == 1
        pixels = torch.from_numpy(self._open_behind(0)[0].copy()) if only else None
        return Static((squared / len(chosen)).sqrt(), None if pixels is None else unit_interval(pixels))

    def recordings(self) -> list[Recorded]:
        """Every recording, of a single one the parts that are trained on and held out."""
        names = {row[:2]: name for name, row in self._rows_by_name.items()}
        if self._paths == [self._root]:  # of which the name is "."
            names = {row: self._root.name + name.removeprefix(".") for row, name in names.items()}
        return [self._recorded(names[row[:2]], split, row) for split, rows in self._divided.items() for row in rows]

    def _recorded(self, name: str, split: Split, row: Row) -> Recorded:
        file, part, begin, count = row
        path = self._paths[file]

        def read(first: int, last: int) -> NDArray[np.uint8]:
            wanted = self._maps[file].numbers(np.array([part]), begin + np.arange(first, last))
            return self._maps[file].read(self._open(file), wanted[None])[0]

        def files() -> list[str]:
            return [one.name for one in pictures_in(path, self._clips.exclude)[:: self._clips.stride]]

        return Recorded(name, split, count, read, files if path.is_dir() else None, begin)

    def _describe(self, divided: dict[Split, list[Row]]) -> str:
        skipped, ignored, results = self._left_out
        table = list(self._rows_by_name.values())
        one = len(table) == 1
        places: dict[Split, str] = {"train": "first part", "validation": "last part"}
        shares = [
            f"{self.size(split)} {split} clips of " + ("its " + name if one else str(len(divided[split])))
            for split, name in places.items()
        ]
        frames = sum(count for *_, count in table)
        text = f"{len(table)} recording{'' if one else 's'} with {frames:,} frames: {', '.join(shares)}"
        text += f"; {self.num_steps + 1} frames a clip" + (", activity known" if self.transformations else "")
        text += ", changes from static backgrounds" if self._behind else ""
        if skipped:
            text += f"; skipped {len(skipped)}: {'; '.join(skipped)}"
        text += f"; {ignored} files of other kinds" if ignored else ""
        return text + (f"; {results} folder{'s' if results > 1 else ''} of results left out" if results else "")


def _divided(
    rows: dict[str, Row], length: int, hop: int, share: float, source: str
) -> tuple[list[str], dict[Split, list[Row]]]:
    """Names that are held out, and the recordings of each split: whole ones, or no names and parts of a single one."""
    names, table = list(rows), list(rows.values())
    if len(table) == 1:
        ((file, part, first, count),) = table
        border = border_in_time(count, length, hop, share, source)
        return [], {"train": [(file, part, first, border)], "validation": [(file, part, border, count - border)]}
    counts = [clip_count(count, length, hop) for *_, count in table]
    validation = held_out(names, counts, share)
    train = sorted(set(range(len(table))) - set(validation))
    held = [names[place] for place in validation]
    return held, {"train": [table[place] for place in train], "validation": [rows[name] for name in held]}


def _cut(rows: list[Row], length: int, hop: int) -> NDArray[np.int64]:
    """The clips of recordings, ``(clips, 3)``: file, part of it, and first frame."""
    cut = [np.zeros((0, 3), dtype=np.int64)]
    for file, part, first, frames in rows:
        starts = first + np.arange(clip_count(frames, length, hop)) * hop
        cut.append(np.stack([np.full_like(starts, file), np.full_like(starts, part), starts], axis=1))
    return np.concatenate(cut)
