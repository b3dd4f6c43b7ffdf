"""Square uint8 frames in memory-mapped files: arrays where they are, everything else decoded once into a cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.core.files import replacing, reporting, write_atomically
from ffrl.data.contents import DIGEST
from ffrl.data.recordings.array_frames import Layout, Plain
from ffrl.data.recordings.checks import require_space
from ffrl.data.recordings.find import ARRAYS, BrokenRecording, Opened, modification, open_recording
from ffrl.data.recordings.moving.background import background
from ffrl.data.recordings.moving.following import following
from ffrl.data.recordings.moving.node import poses_beside
from ffrl.storage.cache import cache_home, caching, make_cache, whole_bytes, write_byte_header

KEY = "data.sequences.cache"
FORMAT = 2
"""Version of what is in the cache; it is part of the names, so another version is never read."""
SHARPLY = 2.0
"""From this reduction on, pixels are averaged over areas."""
READING = ("array", "axes", "range", "background")
"""Settings that decide what frames are, beside size, crop and stride."""
STATIC = "-static"
"""What the name of a file of backgrounds has beside that of its frames."""
HASH = ".sha256"
"""What stands in the cache beside prepared frames, or in place of those that need not be prepared."""
KEPT_FROM, BLOCK = 2**20, 2**24
"""Bytes from which a hash is kept, since finding it takes longer than reading it; and bytes read at a time."""


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

    def blocks(self) -> Iterator[bytes]:
        """All of :meth:`open`'s bytes in order, read rather than mapped, so that they do not stay in memory.

        Raises:
            UserError: they cannot be read, or the file is shorter.
        """
        path, offset, layout = self.where
        left = layout.parts * layout.frames * math.prod(layout.frame_shape)
        with reporting("read", path), path.open("rb") as file:
            file.seek(offset)
            while left:
                block = file.read(min(BLOCK, left))
                if not block:
                    raise UserError(f"{path}: found a file that has become shorter, expected {left:,} bytes more")
                left -= len(block)
                yield block

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
    return cache_home(config.cache, KEY)


def cache_file(path: Path, config: ClipsConfig) -> Path:
    """Return where the prepared frames of the recording ``path`` belong.

    The name holds a hash of the path, of the sizes and times of its files, of size, crop, stride or rate, the window
    that follows what moves and how values are read, and of the version of the format, so that a file with this name was
    made from what is there now.

    Raises:
        BrokenRecording: the recording cannot be read.
    """
    _, files = modification(path, config.exclude)
    reading = [getattr(config, name) for name in READING]
    settings = f"{FORMAT} {config.size} {config.crop} {config.stride} {reading}"
    if config.fps:
        settings += f" at {config.fps}"
    if config.follow:
        settings += f" following {config.follow} {config.follow_smooth}"
    if config.follow_node:
        try:
            poses = poses_beside(path)
        except UserError as error:
            raise BrokenRecording(str(error)) from error
        settings += f" {config.follow_node} {modification(poses)}"
    digest = hashlib.sha256(f"{settings}\n{path.resolve()}\n{files}".encode(errors="surrogateescape")).hexdigest()
    stem = "".join(letter if letter.isalnum() else "-" for letter in path.stem)[:40]
    return cache_folder(config) / f"{stem}-{digest[:24]}.npy"


def static_file(frames: Path) -> Path:
    """Return where the backgrounds of prepared frames belong, beside them.

    Example:
        >>> static_file(Path("cache/walk-0123.npy")).name
        'walk-0123-static.npy'
    """
    return frames.with_name(frames.stem + STATIC + frames.suffix)


def prepared(path: Path, config: ClipsConfig) -> FrameMap | None:
    """Return the frames of the recording ``path`` in the cache; None if they are not there, or not whole.

    Where a window follows what moves and backgrounds are wanted, those have to be there too: they move with it.

    Raises:
        BrokenRecording: the recording cannot be read.
    """
    file = cache_file(path, config)
    found = _mapped(file, config.size)
    if found is None or not config.follow or config.static == "none":
        return found
    behind = _mapped(static_file(file), config.size)
    return None if behind is None or behind.length != found.length else found


def backgrounds(path: Path, frames: FrameMap, config: ClipsConfig) -> FrameMap:
    """Return the static backgrounds of the recordings in ``path``: one of each, or, behind windows, one of each frame.

    They are the medians of prepared frames, made once and kept beside them in the cache.

    Args:
        path: the recording.
        frames: of it.
        config: as its frames were prepared with.

    Raises:
        BrokenRecording: the recording cannot be read.
        UserError: the cache cannot be written.
    """
    file = static_file(cache_file(path, config))
    length = frames.length if config.follow else 1
    found = _mapped(file, config.size)
    if found is not None and (found.parts, found.length) == (frames.parts, length):
        return found
    mapped = frames.open()
    with caching(file.parent, KEY):
        make_cache(file.parent)
        with replacing(file) as out:
            write_byte_header(out, (frames.parts, 1, 3, config.size, config.size))
            for part in range(frames.parts):
                numbers = frames.numbers(np.array(part), np.arange(frames.length))
                one = (frames.read(mapped, number.reshape(1, 1))[0, 0] for number in numbers)
                out.write(np.ascontiguousarray(background(one)).data)
    made = _mapped(file, config.size)
    if made is None:
        raise UserError(f"{file}: found it changing while it was read, expected it to stay as it is")
    return made


def _mapped(file: Path, size: int) -> FrameMap | None:
    """Frames in a file of the cache; None if it is not there, or not whole."""
    found = whole_bytes(file)
    if found is None:
        return None
    shape, offset = found
    if len(shape) != 5 or min(shape) <= 0 or shape[2:] != (3, size, size):
        return None
    return FrameMap(Plain(file, offset, Layout(shape[0], shape[1], shape[3], shape[4], 3, True)))


def frames_hash(path: Path, config: ClipsConfig, frames: FrameMap) -> str:
    """SHA-256 of the frames of a recording as they are trained on; that of large ones is kept in the cache.

    Raises:
        BrokenRecording: the recording cannot be read.
        UserError: its frames cannot be read.
    """
    kept = cache_file(path, config).with_suffix(HASH)
    with suppress(OSError, ValueError):
        found = kept.read_text("ascii")
        if DIGEST.fullmatch(found):
            return found
    total, size = hashlib.sha256(f"{frames.stride} {frames.where.layout}\n".encode()), 0
    for block in frames.blocks():
        total.update(block)
        size += len(block)
    if size >= KEPT_FROM:
        with suppress(OSError, UserError):  # it is found again
            make_cache(kept.parent)
            write_atomically(kept, total.hexdigest().encode())
    return total.hexdigest()


def as_it_is(path: Path, config: ClipsConfig) -> FrameMap | None:
    """Return the frames of an array of bytes that already has the right size; None for all else.

    Raises:
        BrokenRecording: it is an array that cannot be used.
    """
    if path.is_dir() or path.suffix.lower() not in ARRAYS or config.follow:
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
    if config.follow and config.static != "none":
        yield from _write(opened, config, [file, static_file(file)], following(opened.path, config))
    elif config.follow:
        yield from _write(opened, config, [file], ((one.frame,) for one in following(opened.path, config)))
    else:
        yield from _write(opened, config, [file], ((frame,) for frame in opened.frames))


def _write(
    opened: Opened, config: ClipsConfig, files: Sequence[Path], rows: Iterable[tuple[NDArray[np.uint8], ...]]
) -> Iterator[int]:
    """Write frames of the wanted size, one of a row to each file; yield how many rows are written."""
    folder, size, count = files[0].parent, config.size, 0
    with caching(folder, KEY), _unless_there(opened.path, config):
        make_cache(folder)
        require_space(folder, len(files) * (opened.expected or 0) * 3 * size**2, str(opened.path))
        with ExitStack() as stack:
            outs = [stack.enter_context(replacing(file)) for file in files]
            for out in outs:
                write_byte_header(out, (opened.parts, 0, 3, size, size))
            for row in rows:
                for out, frame in zip(outs, row, strict=True):
                    out.write(np.ascontiguousarray(fitted(frame, size, size, config.crop)).data)
                count += 1
                yield count
            for out in outs:
                out.seek(0)
                write_byte_header(out, (opened.parts, count // opened.parts, 3, size, size))


@contextmanager
def _unless_there(path: Path, config: ClipsConfig) -> Iterator[None]:
    """Let it pass that a file cannot be replaced which another process has written and reads already, as on Windows."""
    try:
        yield
    except PermissionError:
        if prepared(path, config) is None:
            raise
