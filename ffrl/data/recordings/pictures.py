"""Frames of picture files, one at a time: single pictures, GIFs, animated PNGs and folders of pictures."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError

from ffrl.core.errors import UserError
from ffrl.core.files import reporting

PICTURES = (".png", ".jpg", ".jpeg")
"""Files that are the frames of a folder."""
GREY = ("1", "L", "LA", "P", "PA")
"""Modes of pillow without colour, and with a palette, which may be grey."""
FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG"}
TRAILER = 4096
"""Bytes at the end of a GIF among which its last byte must be; zeros may follow it."""


class Frame(NamedTuple):
    """A frame, ``(H, W, 3)`` uint8, and whether its file may be grey."""

    pixels: NDArray[np.uint8]
    grey: bool


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
    text = "not a picture of this format" if isinstance(error, UnidentifiedImageError) else str(error)
    return " ".join(text.split()) or type(error).__name__


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of ``folder``, in the order of the numbers in their names, without hidden and other files.

    Raises:
        UserError: the folder cannot be read, or has no pictures.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("10.png", "9.png", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     [path.name for path in pictures_in(Path(folder))]
        ['9.png', '10.png']
    """
    with reporting("read", folder), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    pictures = sorted((name for name in names if name.lower().endswith(PICTURES)), key=lambda n: (natural_key(n), n))
    if not pictures:
        raise UserError(f"{folder}: found no pictures in this folder, expected {', '.join(PICTURES)} files")
    return [folder / name for name in pictures]


def frames_of(path: Path, size: tuple[int, int] | None = None) -> Iterator[Frame]:
    """Yield the frames of one picture file; only one frame at a time is in memory.

    Args:
        path: ``.gif``, ``.png``, ``.apng``, ``.jpg`` or ``.jpeg``.
        size: width and height that the pictures must have, checked before they are decoded.

    Raises:
        UserError: unreadable or damaged, of another size, transparent, or not of 8 bits per channel.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (4, 2), 7).save(Path(folder, "a.png"))
        ...     [frame.pixels.shape for frame in frames_of(Path(folder, "a.png"))]
        [(2, 4, 3)]
    """
    expected = FORMATS.get(path.suffix.lower(), "JPEG")
    with reporting("read", path):
        file = open(path, "rb")
    with file:
        if expected == "GIF" and not _has_trailer(file):
            raise UserError(f"{path}: found no end of the data, expected a complete GIF file")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(file, formats=[expected]) as image:
                    if size is not None and image.size != size:
                        found = f"pictures of {image.size[0]} x {image.size[1]} pixels"
                        raise UserError(f"{path}: found {found}, expected {size[0]} x {size[1]} (width x height)")
                    grey = image.mode in GREY
                    for frame in ImageSequence.Iterator(image):
                        yield Frame(_pixels(frame, path), grey)
        except UserError:
            raise
        except Exception as error:  # pillow raises many kinds on damaged files
            raise UserError(f"{path}: found damaged data ({reason(error)}), expected a {expected} picture") from None


def folder_frames(folder: Path, stride: int = 1, size: tuple[int, int] | None = None) -> Iterator[Frame]:
    """Yield every ``stride``-th picture of ``folder``, all of one size.

    Args:
        folder: see :func:`pictures_in`.
        stride: how many pictures there are from one to the next that is read.
        size: width and height of the pictures; left out, those of the first one.

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
    for path in pictures_in(folder)[::stride]:
        found = list(frames_of(path, size))
        if len(found) != 1:
            raise UserError(f"{path}: found {len(found)} frames in one file of a folder, expected one")
        size = found[0].pixels.shape[1::-1]
        yield found[0]


def is_animated(path: Path) -> bool:
    """Tell whether a picture file says that it has several frames; one that cannot be read has not.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (4, 2)).save(Path(folder, "a.png"))
        ...     is_animated(Path(folder, "a.png"))
        False
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # pillow raises many kinds on damaged files, and whoever reads them will say so
        return False


def _has_trailer(file: IO[bytes]) -> bool:
    file.seek(max(0, file.seek(0, os.SEEK_END) - TRAILER))
    found = file.read().rstrip(b"\0").endswith(b";")
    file.seek(0)
    return found


def _pixels(frame: Image.Image, path: Path) -> NDArray[np.uint8]:
    """A frame as ``(H, W, 3)``."""
    if frame.mode in ("I", "F") or frame.mode.startswith("I;"):
        raise UserError(f"{path}: found a picture of mode {frame.mode!r}, expected 8 bits per channel")
    if frame.has_transparency_data and np.asarray(frame.convert("RGBA"))[..., 3].min() < 255:
        raise UserError(f"{path}: found transparent pixels, expected an opaque picture")
    return np.asarray(frame.convert("RGB"))
