"""Finding recordings of every kind under a path, and opening one; nothing that is opened can execute code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError
from ffrl.core.files import reporting
from ffrl.data.recordings.array_frames import Plain, array_frames
from ffrl.data.recordings.pictures import PICTURES, folder_frames, frames_of, is_animated, natural_key, pictures_in
from ffrl.data.recordings.video import VIDEOS, import_av, video_frames, video_length

ARRAYS = (".npy", ".npz", ".h5", ".hdf5")
ANIMATIONS = (".gif", ".apng")
ANIMATED_PICTURE = ".png"
"""Frames of a folder, unless the first of them is animated: then each is a recording."""
KINDS = (*ARRAYS, *ANIMATIONS, *VIDEOS)


class BrokenRecording(UserError):
    """A recording that cannot be used, and that others can be used without."""


class Found(NamedTuple):
    """What is under a path: files and folders of frames to open, in natural order, and how many files are neither."""

    paths: tuple[Path, ...]
    ignored: int


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


def find_recordings(root: Path, besides: Path | None = None) -> Found:
    """Return the recordings that ``root`` is or holds, at any depth.

    A recording is an array file, an animation, a video, or a folder with pictures directly in it. Hidden files and
    folders are left out, and what links lead to more than once counts once.

    Args:
        root: a recording or a folder of recordings.
        besides: a folder that is not looked into.

    Raises:
        UserError: nothing there, of an unknown kind, or no recordings in it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b10.mp4", "b9.npy", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     paths, ignored = find_recordings(Path(folder))
        >>> [path.name for path in paths], ignored
        (['b9.npy', 'b10.mp4'], 1)
    """
    kinds = ", ".join((*KINDS, ANIMATED_PICTURE))
    if not os.path.isdir(root):
        if not os.path.exists(root):
            raise UserError(f"data.root: found no file or folder {root}, expected a recording or a folder of them")
        if root.suffix.lower() not in (*KINDS, ANIMATED_PICTURE):
            found = f"{root}, a file of type {root.suffix or 'unknown'!r}"
            raise UserError(f"data.root: found {found}, expected {kinds}, a folder of frames, or a folder of these")
        return Found((root,), 0)
    paths: dict[Path, Path] = {}
    ignored = 0
    for folder, names in _folders(root, None if besides is None else besides.resolve()):
        pictures = [name for name in names if name.lower().endswith(PICTURES)]
        for name in names:
            if name.lower().endswith(KINDS):
                paths.setdefault((folder / name).resolve(), folder / name)
            elif name not in pictures:
                ignored += 1
        if pictures:
            here = [folder]
            if is_animated(pictures_in(folder)[0]):
                here = pictures_in(folder)
            for path in here:
                paths.setdefault(path.resolve(), path)
    if not paths:
        raise UserError(f"data.root: found no recordings in {root}, expected {kinds}, or folders of pictures")
    ordered = sorted(paths.values(), key=lambda path: ([natural_key(part) for part in path.parts], str(path)))
    return Found(tuple(ordered), ignored)


def open_recording(path: Path, stride: int = 1, least: int = 1) -> Opened:
    """Open a recording and look at its header; its frames are read when they are asked for.

    Args:
        path: as :func:`find_recordings` returns it.
        stride: how many frames there are from one to the next that is taken, in every part anew.
        least: pixels a side of arrays that may be vectors, see
            :func:`~ffrl.data.recordings.array_frames.layout_of`.

    Raises:
        BrokenRecording: it cannot be used.
        UserError: the package for videos is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "clips.npy"), np.zeros((4, 9, 8, 8, 3), np.uint8))
        ...     opened = open_recording(Path(folder, "clips.npy"), stride=2)
        ...     opened.parts, opened.expected, len(list(opened.frames))
        (4, 20, 20)
    """
    suffix = path.suffix.lower()
    if suffix in VIDEOS and not path.is_dir():
        import_av()
    try:
        if path.is_dir():
            pixels = (frame.pixels for frame in folder_frames(path, stride))
            opened = Opened(path, 1, _strided(len(pictures_in(path)), stride), pixels)
        elif suffix in ARRAYS:
            arrays = array_frames(path, least)
            expected = arrays.layout.parts * _strided(arrays.layout.frames, stride)
            opened = Opened(path, arrays.layout.parts, expected, arrays.pixels(stride), arrays.plain)
        elif suffix in VIDEOS:
            length = video_length(path)
            opened = Opened(path, 1, length and _strided(length, stride), video_frames(path, stride))
        else:
            pixels = (frame.pixels for number, frame in enumerate(frames_of(path)) if number % stride == 0)
            opened = Opened(path, 1, None, pixels)
    except UserError as error:
        raise BrokenRecording(str(error)) from error
    return Opened(path, opened.parts, opened.expected, _of_one_size(path, opened.frames, stride), opened.plain)


def modification(path: Path) -> tuple[int, str]:
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
            files = pictures_in(path) if path.is_dir() else [path]
            entries = [(file.name, file.stat()) for file in files]
    except UserError as error:
        raise BrokenRecording(str(error)) from error
    text = "\n".join(f"{name} {entry.st_size} {entry.st_mtime_ns}" for name, entry in entries)
    return sum(entry.st_size for _, entry in entries), text


def _strided(count: int, stride: int) -> int:
    return -(-count // stride)


def _folders(root: Path, besides: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """All folders from ``root`` down with the names of their files, each folder once even if links lead in circles."""
    seen: set[Path] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        real = folder.resolve()
        if real in seen or real == besides:
            continue
        seen.add(real)
        with reporting("read", folder), os.scandir(folder) as entries:
            kept = [entry for entry in entries if not entry.name.startswith(".")]
            waiting += [folder / entry.name for entry in kept if entry.is_dir()]
            names = sorted(entry.name for entry in kept if entry.is_file())
        yield folder, names


def _of_one_size(path: Path, frames: Iterator[NDArray[np.uint8]], stride: int) -> Iterator[NDArray[np.uint8]]:
    """The frames, with whatever is wrong with them as :class:`BrokenRecording`."""
    size = None
    try:
        for number, frame in enumerate(frames):
            size = size or frame.shape
            if frame.shape != size:
                found = f"frame {number * stride + 1} of {frame.shape[1]} x {frame.shape[0]} pixels"
                raise UserError(f"{path}: found {found}, expected {size[1]} x {size[0]} like the first")
            yield frame
    except UserError as error:
        raise BrokenRecording(str(error)) from error
    if size is None:
        raise BrokenRecording(f"{path}: found no frames, expected a recording")
