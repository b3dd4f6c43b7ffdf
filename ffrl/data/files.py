"""Reader of a user's own sequences and images: arrays, folders of pictures, GIFs; nothing read can execute code."""

from __future__ import annotations

import math
import os
import re
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import IO, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from torch import Tensor

from ffrl.data.base import check_frames
from ffrl.engine.files import reporting
from ffrl.errors import UserError

ImageShape = tuple[int, int, int]
GreyAs = Literal["red", "grey"]
ARRAYS, ANIMATIONS, PICTURES = (".npy", ".npz"), (".gif", ".png"), (".png", ".jpg", ".jpeg")
GREY = ("1", "L", "LA", "P", "PA")
"""Modes of pillow without colour, and with a palette, which may be grey."""
KEY = "frames"
"""The array that is read from an ``.npz`` file that holds several."""
MOST_VALUES = 2**27
"""Largest number of pixel values of a sequence or a set of images (512 MiB in float32)."""
MOST_BYTES = 2**30
"""Largest file of pictures that is read."""


def read_sequence(path: Path, image_shape: ImageShape, grey_as: GreyAs | None = None) -> Tensor:
    """Return the frames of one sequence, ``(T+1, C, H, W)`` float32 in [0, 1], T >= 1.

    Args:
        path: ``.npy``; ``.npz`` (the array ``frames``, or the only one); ``.gif`` or animated ``.png``; or a folder of
            ``.png`` and ``.jpg`` pictures, in the order of the numbers in their names. Arrays are ``(T+1, C, H, W)``,
            ``(T+1, H, W, C)`` or, grey, ``(T+1, H, W)``; uint8, or floating-point in [0, 1].
        image_shape: ``(C, H, W)`` that the frames must have.
        grey_as: what grey frames become if C = 3: ``red`` on black, or ``grey`` in all channels; refused for None.

    Raises:
        UserError: missing, unreadable or damaged, of another size or type, with NaN or values outside [0, 1], too
            large, or of fewer than two frames.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "clip.npy"), np.zeros((9, 28, 28, 3), np.uint8))
        ...     read_sequence(Path(folder, "clip.npy"), (3, 28, 28)).shape
        torch.Size([9, 3, 28, 28])
    """
    frames = _read(path, image_shape, grey_as, one=False)
    if len(frames) < 2:
        raise UserError(f"{path}: found one frame, expected a sequence of at least two")
    return frames


def read_images(path: Path, image_shape: ImageShape, grey_as: GreyAs | None = None) -> Tensor:
    """Return images, ``(N, C, H, W)`` float32 in [0, 1], N >= 1: whatever :func:`read_sequence` reads, or one picture.

    Args:
        path: as for :func:`read_sequence`; also a single ``.png`` or ``.jpg``, or an array ``(C, H, W)``,
            ``(H, W, C)`` or ``(H, W)``.
        image_shape: ``(C, H, W)`` that the images must have.
        grey_as: as for :func:`read_sequence`.

    Raises:
        UserError: as :func:`read_sequence`, but one image is enough.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (28, 28), 255).save(Path(folder, "white.png"))
        ...     read_images(Path(folder, "white.png"), (3, 28, 28), grey_as="red").mean((-2, -1))
        tensor([[1., 0., 0.]])
    """
    return _read(path, image_shape, grey_as, one=True)


def natural_key(name: str) -> list[str | int]:
    """Return what sorts names by the numbers in them.

    Example:
        >>> sorted(["frame10.png", "frame9.png"], key=natural_key)
        ['frame9.png', 'frame10.png']
    """
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)]


def _read(path: Path, image_shape: ImageShape, grey_as: GreyAs | None, one: bool) -> Tensor:
    """Images of any kind of file; ``one`` allows what is a single image and no sequence."""
    suffix, kinds = path.suffix.lower(), (*ARRAYS, *ANIMATIONS, *(PICTURES if one else ()))
    if os.path.isdir(path):
        images = _folder(path, image_shape)
    elif not os.path.exists(path):
        raise UserError(f"{path}: found no such file or folder, expected frames or images")
    elif suffix in ARRAYS:
        images = _in_order(_array(path), image_shape, str(path), one)
    elif suffix in kinds:
        images = _stack(_pictures(path, image_shape))
    else:
        expected = ", ".join(sorted(set(kinds)))
        raise UserError(f"{path}: found a file of type {suffix or 'unknown'!r}, expected {expected}, or a folder")
    coloured = _colour(images, image_shape, grey_as, str(path))
    with np.errstate(over="ignore"):
        frames = torch.from_numpy(np.ascontiguousarray(coloured, dtype=np.float32))
    if images.dtype == np.uint8:
        frames /= 255
    check_frames(frames[None], str(path), image_shape)
    return frames


def _array(path: Path) -> NDArray:
    """The array in an ``.npy`` or ``.npz`` file, whose header is checked before anything is read."""
    with reporting("read", path):
        try:
            if path.suffix.lower() == ".npy":
                with open(path, "rb") as file:
                    return _parse(file, str(path))
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                wanted = f"{KEY}.npy" if f"{KEY}.npy" in names else names[0] if len(names) == 1 else None
                if wanted is None:
                    found = ", ".join(name.removesuffix(".npy") for name in names) or "none"
                    raise UserError(f"{path}: found arrays {found}, expected one called {KEY!r}, or only one")
                with archive.open(wanted) as file:
                    return _parse(file, f"{path}: {wanted.removesuffix('.npy')}")
        except (UserError, OSError):
            raise
        except Exception as error:  # numpy and zipfile raise many kinds on damaged files
            expected = f"{path.suffix} file"
            raise UserError(f"{path}: found damaged data ({_reason(error)}), expected an {expected}") from None


def _parse(file: IO[bytes], source: str) -> NDArray:
    """The array in an open ``.npy`` file."""
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in header:
        raise UserError(f"{source}: found version {version} of the .npy format, expected 1.0 or 2.0")
    shape, _, dtype = header[version](file)
    if dtype != np.uint8 and dtype.kind != "f":
        raise UserError(f"{source}: found values of type {dtype}, expected uint8 or floating point")
    _limit(math.prod(shape), source)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _limit(values: int, source: str) -> None:
    if values > MOST_VALUES:
        raise UserError(f"{source}: found {values} values or more, expected at most {MOST_VALUES}")


def _in_order(array: NDArray, image_shape: ImageShape, source: str, one: bool) -> NDArray:
    """An array as ``(N, C, H, W)``, or ``(N, 1, H, W)`` if it is grey."""
    channels, height, width = image_shape
    first, last = image_shape, (height, width, channels)
    if array.ndim == 5 and len(array) == 1:
        array = array[0]
    if one and (array.ndim == 2 or array.shape in (first, last)):
        array = array[None]
    if array.ndim == 3:
        return array[:, None]
    known = (1, channels)
    if array.ndim == 4 and array.shape[-1] in known and (array.shape[1:] == last or array.shape[1] not in known):
        return array if array.shape[1:] == first else np.moveaxis(array, -1, 1)
    if array.ndim != 4:
        number = "N" if one else "T+1"
        expected = f"({number}, {', '.join(map(str, first))}) or ({number}, {', '.join(map(str, last))})"
        raise UserError(f"{source}: found an array of shape {array.shape}, expected {expected}")
    return array


def _colour(images: NDArray, image_shape: ImageShape, grey_as: GreyAs | None, source: str) -> NDArray:
    """Grey images ``(N, 1, H, W)`` as ``(N, 3, H, W)`` if that is wanted and asked for."""
    if images.shape[1] != 1 or image_shape[0] != 3:
        return images
    if grey_as is None:
        raise UserError(f"{source}: found grey images, expected 3 channels; --grey-as red or grey colours them")
    if grey_as == "grey":
        return np.repeat(images, 3, axis=1)
    return np.concatenate([images, np.zeros_like(images), np.zeros_like(images)], axis=1)


def _folder(folder: Path, image_shape: ImageShape) -> NDArray:
    """Pictures of a folder, ``(N, C, H, W)``; hidden files and other files are ignored."""
    with reporting("read", folder):
        names = [path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    pictures = sorted((name for name in names if name.lower().endswith(PICTURES)), key=natural_key)
    if not pictures:
        raise UserError(f"{folder}: found no pictures in this folder, expected {', '.join(PICTURES)} files")
    _limit(len(pictures) * math.prod(image_shape), str(folder))
    frames: list[NDArray] = []
    for name in pictures:
        found = _pictures(folder / name, image_shape)
        if len(found) > 1:
            raise UserError(f"{folder / name}: found {len(found)} frames in one file of a folder, expected one")
        frames += found
    return _stack(frames)


def _stack(pictures: list[NDArray]) -> NDArray:
    """Pictures ``(C, H, W)`` as one array, which is grey if all of them are."""
    channels = max(picture.shape[0] for picture in pictures)
    return np.stack([np.broadcast_to(picture, (channels, *picture.shape[1:])) for picture in pictures])


def _pictures(path: Path, image_shape: ImageShape) -> list[NDArray]:
    """The frames of a picture file, ``(C, H, W)`` uint8 each, C = 1 if the file is grey; the size is checked first."""
    _, height, width = image_shape
    with reporting("read", path):
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_BYTES else b""
    if size > MOST_BYTES:
        raise UserError(f"{path}: found {size} bytes, expected at most {MOST_BYTES}")
    if path.suffix.lower() == ".gif" and not content.rstrip(b"\0").endswith(b";"):
        raise UserError(f"{path}: found no end of the data, expected a complete GIF file")
    expected = {".gif": "GIF", ".png": "PNG"}.get(path.suffix.lower(), "JPEG")
    frames = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(content), formats=[expected]) as image:
                if image.size != (width, height):
                    found = f"pictures of {image.size[0]} x {image.size[1]} pixels"
                    raise UserError(f"{path}: found {found}, expected {width} x {height} (width x height)")
                grey = image.mode in GREY
                for frame in ImageSequence.Iterator(image):
                    frames.append(_pixels(frame, path))
                    _limit(len(frames) * math.prod(image_shape), str(path))
    except UserError:
        raise
    except Exception as error:  # pillow raises many kinds on damaged files
        raise UserError(f"{path}: found damaged data ({_reason(error)}), expected a {expected} picture") from None
    if grey and all((frame == frame[:1]).all() for frame in frames):  # a palette of greys may give way to colours
        frames = [frame[:1] for frame in frames]
    return frames


def _pixels(frame: Image.Image, path: Path) -> NDArray[np.uint8]:
    """A frame as ``(3, H, W)``."""
    if frame.mode in ("I", "F") or frame.mode.startswith("I;"):
        raise UserError(f"{path}: found a picture of mode {frame.mode!r}, expected 8 bits per channel")
    if frame.has_transparency_data and np.asarray(frame.convert("RGBA"))[..., 3].min() < 255:
        raise UserError(f"{path}: found transparent pixels, expected an opaque picture")
    return np.moveaxis(np.asarray(frame.convert("RGB")), -1, 0)


def _reason(error: Exception) -> str:
    text = "not a picture of this format" if isinstance(error, Image.UnidentifiedImageError) else str(error)
    return " ".join(text.split()) or type(error).__name__
