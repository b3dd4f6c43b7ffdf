"""Square uint8 frames in memory-mapped files: arrays where they are, everything else decoded once into a cache."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.core.files import TEMPORARY, replacing, reporting
from ffrl.data.recordings.array_files import read_header
from ffrl.data.recordings.array_frames import Layout, Plain
from ffrl.data.recordings.checks import require_space
from ffrl.data.recordings.find import ARRAYS, Opened, modification, open_recording
from ffrl.data.recordings.walk import CACHE_TAG

FORMAT = 2
"""Version of what is in the cache; it is part of the names, so another version is never read."""
ABANDONED_SECONDS = 3600.0
"""A file that nobody has written to for so long was left by a process that was killed."""
SHARPLY = 2.0
"""From this reduction on, pixels are averaged over areas."""
READING = ("array", "axes", "range", "background")
"""Settings that decide what frames are, beside size, crop and stride."""
SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n"
"""What makes a file named CACHEDIR.TAG mark a cache."""


@dataclass(frozen=True)
class FrameMap:
    """Frames of the size that is wanted, in a file from which any of them can be read.

    Attributes:
        where: the file, the place in it and the order of the values.
        stride: frames from one that is counted to the next.
    """

    where: Plain
    stride: int = 1

    @property
    def parts(self) -> int:
        """How many recordings there are."""
        return self.where.layout.parts

    @property
    def length(self) -> int:
        """Frames of one recording, after the stride."""
        return -(-self.where.layout.frames // self.stride)

    def numbers(self, parts: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which frames of the file are ``frames``, counted after the stride, of recordings ``parts``."""
        return parts * self.where.layout.frames + frames * self.stride

    def open(self) -> NDArray[np.uint8]:
        """Map the file, all recordings one after the other: ``(parts * frames, C, H, W)`` or ``(..., H, W, C)``.

        Raises:
            UserError: it cannot be read.
        """
        path, offset, layout = self.where
        with reporting("read", path):
            shape = (layout.parts * layout.frames, *layout.frame_shape)
            try:
                return np.memmap(path, np.uint8, "r", offset, shape)
            except ValueError as error:  # it has become shorter
                raise UserError(f"{path}: found a file that has become shorter, expected {shape}") from error

    def read(self, mapped: NDArray[np.uint8], frames: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return ``frames (n, L)``, counted as in the file, of :meth:`open`'s array: ``(n, L, 3, H, W)`` uint8."""
        found = mapped[frames]
        layout = self.where.layout
        found = found if layout.channels_first else np.moveaxis(found, -1, 2)
        return np.broadcast_to(found, (*frames.shape, 3, layout.height, layout.width))


def fitted(frame: NDArray[np.uint8], height: int, width: int, crop: str) -> NDArray[np.uint8]:
    """Return a frame ``(H, W, 3)`` as ``(3, height, width)``.

    With ``crop`` "center" the largest part of these proportions is cut out of the middle first; an odd margin loses one
    pixel more at the right or at the bottom. Pixels are averaged over areas (pillow's BOX) where both sides shrink to
    half or less; otherwise resizing is bicubic, which also averages where it shrinks.

    Example:
        >>> fitted(np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3), 1, 1, "center").ravel()
        array([11, 12, 13], dtype=uint8)
    """
    high, wide = frame.shape[:2]
    if crop == "center":
        kept = min(high, max(1, wide * height // width)), min(wide, max(1, high * width // height))
        top, left = (high - kept[0]) // 2, (wide - kept[1]) // 2
        frame = frame[top : top + kept[0], left : left + kept[1]]
        high, wide = kept
    if (high, wide) != (height, width):
        sharply = high >= SHARPLY * height and wide >= SHARPLY * width
        method = Image.Resampling.BOX if sharply else Image.Resampling.BICUBIC
        frame = np.asarray(Image.fromarray(np.ascontiguousarray(frame)).resize((width, height), method))
    return np.moveaxis(frame, -1, 0)


def cache_folder(config: ClipsConfig) -> Path:
    """Return where prepared frames are kept: ``config.cache``, or ``stf`` in the user's cache folder.

    Example:
        >>> cache_folder(ClipsConfig(cache=Path("prepared")))
        PosixPath('prepared')
    """
    if config.cache is not None:
        return config.cache
    try:
        home = Path.home()
    except RuntimeError:
        raise UserError("data.sequences.cache: found no home folder, expected a folder for the frames") from None
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "stf"


def cache_file(path: Path, config: ClipsConfig) -> Path:
    """Return where the prepared frames of the recording ``path`` belong.

    The name holds a hash of the path, of the sizes and times of its files, of size, crop, stride and how values are
    read, and of the version of the format, so that a file with this name was made from what is there now.

    Raises:
        BrokenRecording: the recording cannot be read.
    """
    _, files = modification(path, config.exclude)
    reading = [getattr(config, name) for name in READING]
    settings = f"{FORMAT} {config.size} {config.crop} {config.stride} {reading}"
    digest = hashlib.sha256(f"{settings}\n{path.resolve()}\n{files}".encode(errors="surrogateescape")).hexdigest()
    stem = "".join(letter if letter.isalnum() else "-" for letter in path.stem)[:40]
    return cache_folder(config) / f"{stem}-{digest[:24]}.npy"


def prepared(path: Path, config: ClipsConfig) -> FrameMap | None:
    """Return the frames of the recording ``path`` in the cache; None if they are not there, or not whole.

    Raises:
        BrokenRecording: the recording cannot be read.
    """
    file = cache_file(path, config)
    try:
        with open(file, "rb") as opened:
            header, offset = read_header(opened, str(file)), opened.tell()
            size = opened.seek(0, os.SEEK_END)
    except (OSError, ValueError, UserError):
        return None
    shape = header.shape
    whole = len(shape) == 5 and min(shape) > 0 and shape[2:] == (3, config.size, config.size)
    if not whole or header.fortran_order or header.dtype != np.uint8 or size != offset + math.prod(shape):
        return None
    return FrameMap(Plain(file, offset, Layout(shape[0], shape[1], shape[3], shape[4], 3, True)))


def as_it_is(path: Path, config: ClipsConfig) -> FrameMap | None:
    """Return the frames of an array of bytes that already has the right size; None for all else.

    Raises:
        BrokenRecording: it is an array that cannot be used.
    """
    if path.is_dir() or path.suffix.lower() not in ARRAYS:
        return None
    plain = open_recording(path, config.stride, config.size, config).plain
    if plain is None or (plain.layout.height, plain.layout.width) != (config.size, config.size):
        return None
    return FrameMap(plain, config.stride)


def prepare(opened: Opened, config: ClipsConfig) -> Iterator[int]:
    """Decode a recording once and write it to the cache, one frame after the other.

    The frames are written as bytes ``(parts, frames, 3, size, size)`` in the ``.npy`` format to a temporary name, and
    the file is renamed when it is whole. Two processes may do this at once: both write the same.

    Yields:
        How many frames are written, after each of them.

    Raises:
        BrokenRecording: the recording cannot be used.
        UserError: the cache folder cannot be written, or the disk is full or has no room for the frames.
    """
    file = cache_file(opened.path, config)
    count = 0
    with _writing(file.parent), _unless_there(opened.path, config):
        _make(file.parent)
        require_space(file.parent, (opened.expected or 0) * 3 * config.size**2, str(opened.path))
        with replacing(file) as out:
            _write_header(out, (opened.parts, 0, 3, config.size, config.size))
            for frame in opened.frames:
                out.write(np.ascontiguousarray(fitted(frame, config.size, config.size, config.crop)).data)
                count += 1
                yield count
            out.seek(0)
            _write_header(out, (opened.parts, count // opened.parts, 3, config.size, config.size))


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed left half-written in the cache folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, ".tmp-1-a.npy").touch()
        ...     os.utime(Path(folder, ".tmp-1-a.npy"), (0, 0))
        ...     remove_abandoned(Path(folder))
        ...     list(Path(folder).iterdir())
        []
    """
    for path in folder.glob(TEMPORARY + "*"):
        with suppress(OSError):  # another process may have been quicker
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


def _make(folder: Path) -> None:
    """Make the cache folder, and mark it as one, so that nobody takes what is in it for recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        (folder / CACHE_TAG).write_bytes(SIGNATURE)


@contextmanager
def _unless_there(path: Path, config: ClipsConfig) -> Iterator[None]:
    """Let it pass that a file cannot be replaced which another process has written and reads already, as on Windows."""
    try:
        yield
    except PermissionError:
        if prepared(path, config) is None:
            raise


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Name the flag that helps when the cache cannot be written."""
    try:
        yield
    except OSError as error:
        found = f"{folder}, which cannot be written ({error.strerror or error})"
        raise UserError(f"data.sequences.cache: found {found}, expected a folder with enough space") from error


def _write_header(out: IO[bytes], shape: tuple[int, ...]) -> None:
    """Begin an ``.npy`` file of bytes; headers are padded to multiples of 64 bytes, so that of any shape fits here."""
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
