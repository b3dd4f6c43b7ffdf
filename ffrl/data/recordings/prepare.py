"""Preparing many recordings: what can be read is mapped, the rest is decoded once, and what is broken is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.core.progress import progress, say
from ffrl.data.recordings.activity import Known, agreed, known_activity, strided
from ffrl.data.recordings.cache import FrameMap, as_it_is, backgrounds, cache_folder, prepare, prepared
from ffrl.data.recordings.find import BrokenRecording, modification, open_recording
from ffrl.data.recordings.pictures import pictures_in
from ffrl.storage.cache import remove_abandoned


class Prepared(NamedTuple):
    """What the recordings under a path are.

    Attributes:
        maps: frames of every file that can be used.
        behind: their static backgrounds, if they are wanted; one of each recording, or of each frame.
        speeds: true activity of the same files, ``(parts, steps, J)`` after the stride; none if it is not known.
        transformations: names of the J transformations.
        skipped: one line about every other recording.
    """

    maps: dict[Path, FrameMap]
    behind: dict[Path, FrameMap]
    speeds: dict[Path, NDArray[np.float32]]
    transformations: tuple[str, ...]
    skipped: list[str]


def prepare_recordings(paths: Sequence[Path], config: ClipsConfig, least: int) -> Prepared:
    """Map the frames of all recordings; those that are not there in the right form are decoded into the cache first.

    What was prepared before is used, so an interrupted preparation goes on with the recording it was at. Progress and
    warnings go to the standard error stream.

    Args:
        paths: recordings, as :func:`~ffrl.data.recordings.find.find_recordings` returns them.
        config: size, crop, stride, cache, and what happens to broken recordings.
        least: frames a recording needs after the stride.

    Raises:
        UserError: a recording is broken and ``config.broken`` is "refuse"; the package for videos is missing; the cache
            cannot be written; or activity is known of some recordings only, or does not add up over the stride.
    """
    maps: dict[Path, FrameMap] = {}
    activity: dict[Path, Known | None] = {}
    skipped: list[str] = []
    pending: dict[Path, int] = {}

    def refuse(error: BrokenRecording) -> None:
        if config.broken == "refuse":
            hint = "; --data.sequences.broken skip goes on without it" if len(paths) > 1 else ""
            raise UserError(f"{error}{hint}") from error
        skipped.append(str(error))
        say(f"warning: skipped {error}")

    def keep(path: Path, found: FrameMap) -> None:
        if found.length < least:
            stride = f" after a stride of {config.stride}" if config.stride > 1 else ""
            stride += f" at {config.fps:g} a second" if config.fps else ""
            expected = f"at least {least}, one clip of T + 1"
            frames = f"{found.length} frame{'s' if found.length > 1 else ''}"
            if path.is_dir():
                first = pictures_in(path, config.exclude)[0].name
                frames = f"{found.length} picture{'s' if found.length > 1 else ''} ({first}) as a recording"
                expected += f" (or --data.sequences.exclude {first})"
            raise BrokenRecording(f"{path}: found {frames}{stride}, expected {expected}")
        maps[path] = found

    for path in paths:
        try:
            known = known_activity(path, config)
            activity[path] = known and strided(known, config.stride, path)
            found = prepared(path, config) or as_it_is(path, config)
            if found is None:
                pending[path] = modification(path, config.exclude)[0]
            else:
                keep(path, found)
        except BrokenRecording as error:
            refuse(error)
    names = agreed({path: activity[path] for path in paths if path in maps or path in pending})
    if pending:
        remove_abandoned(cache_folder(config))
        label = f"preparing {len(pending)} recording{'s' if len(pending) != 1 else ''}"
        with progress(label, sum(pending.values())) as advance:
            for path, size in pending.items():
                try:
                    keep(path, _prepare(path, config, size, advance))
                except BrokenRecording as error:
                    refuse(error)
        say(f"prepared frames are kept in {cache_folder(config)}")
    speeds = {path: known.speeds for path in maps if (known := activity[path]) is not None}
    maps = {path: maps[path] for path in paths if path in maps}
    still = config.static != "none"
    behind = {path: backgrounds(path, found, config) for path, found in maps.items()} if still else {}
    return Prepared(maps, behind, speeds, names, skipped)


def _prepare(path: Path, config: ClipsConfig, size: int, advance: Callable[[int], None]) -> FrameMap:
    """Decode one recording into the cache; ``advance`` takes how many more of its ``size`` bytes are done."""
    opened, done = open_recording(path, config.stride, how=config), 0
    try:
        for count in prepare(opened, config):
            now = size * min(count, opened.expected) // opened.expected if opened.expected else 0
            advance(now - done)
            done = now
    finally:
        advance(size - done)
    found = prepared(path, config)
    if found is None:
        raise BrokenRecording(f"{path}: found it changing while it was read, expected it to stay as it is")
    return found
