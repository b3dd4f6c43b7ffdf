"""Finding recordings of every kind under a path, and opening one; nothing that is opened can execute code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.core.files import reporting
from ffrl.data.recordings.array_files import MissingPackage
from ffrl.data.recordings.array_frames import Plain, array_frames
from ffrl.data.recordings.levels import in_bytes
from ffrl.data.recordings.pictures import (
    PICTURES,
    count_frames,
    folder_frames,
    frames_of,
    natural_key,
    picture_names,
    pictures_in,
)
from ffrl.data.recordings.video import VIDEOS, import_av, video_frames, video_length
from ffrl.data.recordings.walk import folders

ARRAYS = (".npy", ".npz", ".h5", ".hdf5")
ANIMATIONS = (".gif", ".apng")
ANIMATED_PICTURES = (".png", ".webp", ".tif", ".tiff")
"""Frames of a folder, unless the first of them is animated, or a stack: then each is a recording."""
KINDS = (*ARRAYS, *ANIMATIONS, *VIDEOS)
HOW = ClipsConfig()


class BrokenRecording(UserError):
    """A recording that cannot be used, and that others can be used without."""


class Found(NamedTuple):
    """What is under a path.

    Attributes:
        paths: files and folders of frames to open, in natural order.
        ignored: how many files are neither.
        results: how many folders of results of this package were left out.
        unread: one line about every folder that could not be read.
        doubts: one line about every folder that may hold several recordings in one.
    """

    paths: tuple[Path, ...]
    ignored: int = 0
    results: int = 0
    unread: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opened:
    """A file or folder of one or more recordings of the same length.

    Attributes:
        path: the file or folder.
        parts: how many recordings are in it, one after the other; more than one only in arrays.
        expected: about how many frames there will be in all, None if that is not known.
        frames: yields the frames of all parts, ``(H, W, 3)`` uint8; raises :class:`BrokenRecording`.
        plain: where the values are, if they are bytes that need no decoding.
    """

    path: Path
    parts: int
    expected: int | None
    frames: Iterator[NDArray[np.uint8]]
    plain: Plain | None = None


def find_recordings(root: Path, besides: Path | None = None, patterns: str | None = None) -> Found:
    """Return the recordings that ``root`` is or holds, at any depth.

    A recording is an array file, an animation, a video, or a folder with pictures directly in it. Left out are hidden
    files and folders, those of the system (bins, thumbnails, ``lost+found``), and what this package has written: runs,
    transfers, benchmarks, figures, samples and caches. What links lead to more than once counts once.

    Args:
        root: a recording or a folder of recordings.
        besides: a folder that is not looked into.
        patterns: of what else is left out, see :func:`~ffrl.data.recordings.walk.excluded`.

    Raises:
        UserError: nothing there, of an unknown kind, or no recordings in it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b10.mp4", "b9.npy", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     found = find_recordings(Path(folder))
        >>> [path.name for path in found.paths], found.ignored
        (['b9.npy', 'b10.mp4'], 1)
    """
    kinds = ", ".join((*KINDS, *ANIMATED_PICTURES))
    if not os.path.isdir(root):
        if not os.path.exists(root):
            raise UserError(f"data.root: found no file or folder {root}, expected a recording or a folder of them")
        if root.suffix.lower() not in (*KINDS, *ANIMATED_PICTURES):
            found = f"{root}, a file of type {root.suffix or 'unknown'!r}"
            raise UserError(f"data.root: found {found}, expected {kinds}, a folder of frames, or a folder of these")
        return Found((root,))
    paths: dict[Path, Path] = {}
    ignored = results = 0
    unread: list[str] = []
    doubts: list[str] = []

    def note_results() -> None:
        nonlocal results
        results += 1

    looked_into = None if besides is None else besides.resolve()
    for folder, names in folders(root, looked_into, patterns, unread.append, note_results):
        pictures = picture_names(names)
        for name in names:
            if name.lower().endswith(KINDS):
                paths.setdefault((folder / name).resolve(), folder / name)
            elif not name.lower().endswith(PICTURES):
                ignored += 1
                if (folder / name).is_symlink() and not (folder / name).exists():
                    unread.append(f"{folder / name}: found a link to what is not there, expected a file or folder")
        if pictures:
            here = [folder]
            if (count_frames(folder / pictures[0]) or 1) > 1:
                here = [folder / name for name in pictures]
            elif (several := _several(folder, pictures)) is not None:
                doubts.append(several)
            for path in here:
                paths.setdefault(path.resolve(), path)
    if not paths:
        why = f" ({'; '.join(unread)})" if unread else ""
        raise UserError(f"data.root: found no recordings in {root}{why}, expected {kinds}, or folders of pictures")
    ordered = sorted(paths.values(), key=lambda path: ([natural_key(part) for part in path.parts], str(path)))
    return Found(tuple(ordered), ignored, results, tuple(unread), tuple(doubts))


def _several(folder: Path, pictures: list[str]) -> str | None:
    """One line about pictures that are named in several ways, each of them more than once; None for one way."""
    ways: dict[str, int] = {}
    for name in pictures:
        way = re.sub(r"\d+", "#", name)
        ways[way] = ways.get(way, 0) + 1
    if len(ways) == 1 or len(ways) > len(pictures) // 2 or min(ways.values()) < 2:
        return None
    named = ", ".join(sorted(ways)[:3])
    hint = "--data.sequences.exclude leaves some out"
    return f"{folder}: found pictures named in {len(ways)} ways ({named}), read as one recording in that order; {hint}"


def open_recording(path: Path, stride: int = 1, least: int = 1, how: ClipsConfig = HOW) -> Opened:
    """Open a recording and look at its header; its frames are read when they are asked for.

    Args:
        path: as :func:`find_recordings` returns it.
        stride: how many frames there are from one to the next that is taken, in every part anew.
        least: pixels a side of arrays that may be vectors, see
            :func:`~ffrl.data.recordings.array_frames.layout_of`.
        how: what is read of files and how: excluded pictures, array, axes, range, background, rate of videos,
            largest frame.

    Raises:
        BrokenRecording: it cannot be used.
        UserError: a package is missing, for videos or for a filter of HDF5.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "clips.npy"), np.zeros((4, 9, 8, 8, 3), np.uint8))
        ...     opened = open_recording(Path(folder, "clips.npy"), stride=2)
        ...     opened.parts, opened.expected, len(list(opened.frames))
        (4, 20, 20)
    """
    suffix, source = path.suffix.lower(), str(path)
    video = suffix in VIDEOS and not path.is_dir()
    if video:
        import_av()
    try:
        if how.fps and not video:
            found = "a folder of pictures" if path.is_dir() else f"a file of type {suffix!r}"
            raise UserError(f"{path}: found {found}, which has no times, expected a video (--data.sequences.fps)")
        if path.is_dir():
            count = len(pictures_in(path, how.exclude))
            frames = in_bytes(lambda: (frame.pixels for frame in folder_frames(path, stride, how)), how.range, source)
            opened = Opened(path, 1, _strided(count, stride), frames)
        elif suffix in ARRAYS:
            arrays = array_frames(path, least, how)
            expected = arrays.layout.parts * _strided(arrays.layout.frames, stride)
            opened = Opened(path, arrays.layout.parts, expected, arrays.pixels(stride), arrays.plain)
        elif suffix in VIDEOS:
            frames = in_bytes(lambda: video_frames(path, stride, how), how.range, source)
            opened = Opened(path, 1, video_length(path, stride, how), frames)
        else:
            length = count_frames(path)

            def taken() -> Iterator[NDArray[Any]]:
                return (frame.pixels for number, frame in enumerate(frames_of(path, how)) if number % stride == 0)

            frames = in_bytes(taken, how.range, source)
            opened = Opened(path, 1, length and _strided(length, stride), frames)
    except MissingPackage:
        raise
    except UserError as error:
        raise BrokenRecording(str(error)) from error
    frames = _of_one_size(path, opened.frames, stride, how)
    return Opened(path, opened.parts, opened.expected, frames, opened.plain)


def modification(path: Path, patterns: str | None = None) -> tuple[int, str]:
    """Return how many bytes a recording has, and what changes when it is written to: names, sizes and times.

    Raises:
        BrokenRecording: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        ...     modification(Path(file.name))[0]
        0
    """
    try:
        with reporting("read", path):
            files = pictures_in(path, patterns) if path.is_dir() else [path]
            entries = [(file.name, file.stat()) for file in files]
    except UserError as error:
        raise BrokenRecording(str(error)) from error
    text = "\n".join(f"{name} {entry.st_size} {entry.st_mtime_ns}" for name, entry in entries)
    return sum(entry.st_size for _, entry in entries), text


def _strided(count: int, stride: int) -> int:
    return -(-count // stride)


def _of_one_size(
    path: Path, frames: Iterator[NDArray[np.uint8]], stride: int, how: ClipsConfig
) -> Iterator[NDArray[np.uint8]]:
    """The frames, with whatever is wrong with them as :class:`BrokenRecording`."""
    size = None
    try:
        for number, frame in enumerate(frames):
            size = size or frame.shape
            if frame.shape != size:
                name = f" ({pictures_in(path, how.exclude)[number * stride].name})" if path.is_dir() else ""
                found = f"frame {number * stride + 1}{name} of {frame.shape[1]} x {frame.shape[0]} pixels"
                raise UserError(f"{path}: found {found}, expected {size[1]} x {size[0]} like the first")
            yield frame
    except UserError as error:
        raise BrokenRecording(str(error)) from error
    if size is None:
        raise BrokenRecording(f"{path}: found no frames, expected a recording")
