"""Frames of picture files, one at a time: single pictures, animations, stacks and folders of pictures."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError, reason_of, shortened
from ffrl.core.files import reporting
from ffrl.data.recordings.checks import MIB, instead, require_size
from ffrl.data.recordings.walk import excluded

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Files that are the frames of a folder."""
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
"""Formats of pillow that are read, whatever a file is called; the first picture of a JPEG file is the picture."""
SINGLE = ("JPEG", "MPO")
"""Formats of one picture, with which others may come, such as previews."""
GREY = ("1", "L", "LA", "P", "PA", "F")
"""Modes of pillow without colour, and with a palette, which may be grey; all that begin with I are grey too."""
TRAILER = 4096
"""Bytes at the end of a GIF among which its last byte must be; zeros may follow it."""
ORIENTATION, BITS = 0x0112, 258
"""EXIF's tag of how a picture is to be turned, and TIFF's of the bits of each channel."""
UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""What turns pixels ``(H, W, 3)`` upright, by the value of that tag."""
HOW = ClipsConfig()


class Frame(NamedTuple):
    """A frame as it is stored, ``(H, W, 3)`` of any type, whether its file may be grey, and which file that is."""

    pixels: NDArray[Any]
    grey: bool
    source: str


def natural_key(name: str) -> list[str | int]:
    """Return what sorts names by the numbers in them.

    Example:
        >>> sorted(["frame10.png", "frame9.png"], key=natural_key)
        ['frame9.png', 'frame10.png']
    """
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)]


def reason(error: Exception) -> str:
    """Return why a file could not be read, as one line.

    Example:
        >>> reason(ValueError("cannot  reshape\\n the array")), reason(EOFError())
        ('cannot reshape the array', 'EOFError')
    """
    return "not a picture of this format" if isinstance(error, UnidentifiedImageError) else shortened(reason_of(error))


def pictures_in(folder: Path, patterns: str | None = None) -> list[Path]:
    """Return the pictures of ``folder``, in the order of the numbers in their names, without hidden and other files.

    Args:
        folder: where they are.
        patterns: of pictures that are left out, see :func:`~ffrl.data.recordings.walk.excluded`.

    Raises:
        UserError: the folder cannot be read, has no pictures, or links to some that are not there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("10.png", "9.png", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     [path.name for path in pictures_in(Path(folder))]
        ['9.png', '10.png']
    """
    with reporting("read", folder), os.scandir(folder) as entries:
        kept = [entry for entry in entries if not entry.name.startswith(".") and not entry.is_dir()]
    there = {entry.name: not entry.is_symlink() or os.path.exists(entry.path) for entry in kept}
    pictures = picture_names(there)
    pictures = [name for name in pictures if not excluded(folder / name, patterns)]
    if not pictures:
        raise UserError(f"{folder}: found no pictures in this folder, expected {', '.join(PICTURES)} files")
    lost = [name for name in pictures if not there[name]]
    if lost:
        found = f"{len(lost)} of {len(pictures)} pictures that are links to files that are not there, {lost[0]} first"
        raise UserError(f"{folder}: found {found}, expected the files (or --data.sequences.exclude)")
    return [folder / name for name in pictures]


def picture_names(names: Any) -> list[str]:
    """Return which of some names are those of pictures, in natural order.

    Example:
        >>> picture_names(["b.png", "a10.jpg", "a9.jpg", "notes.txt"])
        ['a9.jpg', 'a10.jpg', 'b.png']
    """
    return sorted((name for name in names if name.lower().endswith(PICTURES)), key=lambda n: (natural_key(n), n))


def frames_of(path: Path, how: ClipsConfig = HOW) -> Iterator[Frame]:
    """Yield the frames of one picture file, upright, as they are stored; only one at a time is in memory.

    Args:
        path: a picture, an animation or a stack.
        how: the background of transparent pixels, and how large a frame may be.

    Raises:
        UserError: unreadable or damaged, too large, or transparent without a background.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (4, 2), 7).save(Path(folder, "a.png"))
        ...     [frame.pixels.shape for frame in frames_of(Path(folder, "a.png"))]
        [(2, 4, 3)]
    """
    with reporting("read", path):
        file = open(path, "rb")
    with file, _damage_named(path):
        if file.read(4) == b"GIF8" and not _has_trailer(file):
            raise UserError(f"{path}: found no end of the data, expected a complete GIF file")
        file.seek(0)
        with _opened(file) as image:
            with _quiet():
                count = 1 if image.format in SINGLE else getattr(image, "n_frames", 1)
            grey = image.mode in GREY or image.mode.startswith("I")
            for number in range(count):
                with _quiet(how.frame_mib), _bomb_named(path, how.frame_mib):
                    require_size(_bytes(image), how.frame_mib, str(path))
                    image.seek(number)
                    require_size(_bytes(image), how.frame_mib, str(path))
                    pixels = _upright(image, path, how)
                yield Frame(pixels, grey, str(path))


def on_background(pixels: NDArray[np.uint8], colour: str) -> NDArray[np.uint8]:
    """Return pixels ``(H, W, 4)`` in front of a colour: ``(H, W, 3)``.

    Example:
        >>> on_background(np.array([[[255, 0, 0, 255], [0, 0, 0, 0]]], np.uint8), "white").tolist()
        [[[255, 0, 0], [255, 255, 255]]]
    """
    clear = Image.fromarray(np.ascontiguousarray(pixels), "RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", clear.size, colour), clear).convert("RGB"))


def count_frames(path: Path) -> int | None:
    """Return how many frames a picture file says that it has; None for one that cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (4, 2)).save(Path(folder, "a.png"))
        ...     count_frames(Path(folder, "a.png"))
        1
    """
    try:
        with open(path, "rb") as file, _opened(file) as image, _quiet():
            return 1 if image.format in SINGLE else int(getattr(image, "n_frames", 1))
    except Exception:  # pillow raises many kinds on damaged files, and whoever reads them will say so
        return None


def folder_frames(folder: Path, stride: int = 1, how: ClipsConfig = HOW) -> Iterator[Frame]:
    """Yield every ``stride``-th picture of ``folder``.

    Args:
        folder: see :func:`pictures_in`.
        stride: how many pictures there are from one to the next that is read.
        how: see :func:`frames_of`; also which pictures are left out.

    Raises:
        UserError: as :func:`frames_of`; also for a file of several frames, and for a folder without pictures.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(5):
        ...         Image.new("L", (4, 2), number).save(Path(folder, f"{number}.png"))
        ...     [int(frame.pixels[0, 0, 0]) for frame in folder_frames(Path(folder), stride=2)]
        [0, 2, 4]
    """
    for path in pictures_in(folder, how.exclude)[::stride]:
        count = count_frames(path)
        if count is not None and count != 1:
            raise UserError(f"{path}: found {count} frames in one file of a folder, expected one")
        yield from frames_of(path, how)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn whatever pillow raises into a UserError that names the file."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # pillow raises many kinds on damaged files
        other = instead(path)
        if other is not None:
            raise UserError(f"{path}: found {other}, expected a picture") from None
        raise UserError(f"{path}: found damaged data ({reason(error)}), expected a picture") from None


@contextmanager
def _bomb_named(path: Path, mib: int) -> Iterator[None]:
    """Turn pillow's refusal of a part of an animation that is too large into a UserError that names the file."""
    try:
        yield
    except Image.DecompressionBombError:
        expected = f"{mib} or less (--data.sequences.frame-mib)"
        raise UserError(f"{path}: found a frame of more than {mib} MiB, expected {expected}") from None


@contextmanager
def _quiet(mib: int | None = None) -> Iterator[None]:
    """Without pillow's warnings, and with a limit of so many MiB, or none, in place of its own.

    It holds where pillow makes room for a part of an animation before anybody can ask how large that is.
    """
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None if mib is None else mib * MIB // 3 // 2  # pillow refuses twice as many
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[Image.Image]:
    with _quiet():
        image = Image.open(file, formats=FORMATS)
    with image:
        yield image


def _bytes(image: Image.Image) -> int:
    """What a frame takes in colour."""
    return 3 * (1 if _of_bytes(image.mode) else 4) * image.size[0] * image.size[1]


def _of_bytes(mode: str) -> bool:
    return not mode.startswith(("I", "F"))


def _has_trailer(file: IO[bytes]) -> bool:
    file.seek(max(0, file.seek(0, os.SEEK_END) - TRAILER))
    return file.read().rstrip(b"\0").endswith(b";")


def _upright(image: Image.Image, path: Path, how: ClipsConfig) -> NDArray[Any]:
    """The frame an image is at."""
    image.load()
    pixels = _pixels(image, path, how.background)
    if pixels.dtype == np.uint8 and how.range not in ("type", "own") and _deep(image, path):
        found, expected = "16 bits in each of several channels, of which 8 are read", "type or own"
        raise UserError(f"{path}: found {found}, expected --data.sequences.range {expected}")
    turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    return pixels if turn is None else turn(pixels)


def _pixels(frame: Image.Image, path: Path, background: str | None) -> NDArray[Any]:
    """A frame as ``(H, W, 3)``."""
    if not _of_bytes(frame.mode):
        values = np.asarray(frame)
        return np.broadcast_to(values[..., None], (*values.shape, 3))
    if frame.has_transparency_data:
        clear = frame.convert("RGBA")
        if np.asarray(clear)[..., 3].min() < 255:
            if background is None:
                expected = "an opaque picture, or --data.sequences.background COLOUR"
                raise UserError(f"{path}: found transparent pixels, expected {expected}")
            return on_background(np.asarray(clear), background)
    return np.asarray(frame.convert("RGB"))


def _deep(image: Image.Image, path: Path) -> bool:
    """Whether a file has 16 bits a channel, of which pillow reads the upper half."""
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(BITS, (8,))
        return max(bits if isinstance(bits, tuple) else (bits,)) > 8
    if image.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24:] == b"\x10"
    return False
