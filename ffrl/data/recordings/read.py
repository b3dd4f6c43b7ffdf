"""Reader of a user's own sequences and images: arrays, folders of pictures, GIFs; nothing read can execute code."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.core.errors import UserError
from ffrl.core.files import reporting
from ffrl.data.base import check_frames
from ffrl.data.recordings.array_files import damage_named, member, read_header
from ffrl.data.recordings.pictures import PICTURES, Frame, folder_frames, frames_of, pictures_in

ImageShape = tuple[int, int, int]
GreyAs = Literal["red", "grey"]
ARRAYS, ANIMATIONS = (".npy", ".npz"), (".gif", ".png")
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
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (28, 28), 255).save(Path(folder, "white.png"))
        ...     read_images(Path(folder, "white.png"), (3, 28, 28), grey_as="red").mean((-2, -1))
        tensor([[1., 0., 0.]])
    """
    return _read(path, image_shape, grey_as, one=True)


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
        images = _animation(path, image_shape)
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


def _array(path: Path) -> NDArray[Any]:
    """The array in an ``.npy`` or ``.npz`` file, whose header is checked before anything is read."""
    with damage_named(path):
        if path.suffix.lower() == ".npy":
            with open(path, "rb") as file:
                return _parse(file, str(path))
        with zipfile.ZipFile(path) as archive:
            wanted = member(archive, path)
            with archive.open(wanted) as file:
                return _parse(file, f"{path}: {wanted.removesuffix('.npy')}")


def _parse(file: IO[bytes], source: str) -> NDArray[Any]:
    """The array in an open ``.npy`` file."""
    _limit(math.prod(read_header(file, source).shape), source)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _limit(values: int, source: str) -> None:
    if values > MOST_VALUES:
        raise UserError(f"{source}: found {values} values or more, expected at most {MOST_VALUES}")


def _in_order(array: NDArray[Any], image_shape: ImageShape, source: str, one: bool) -> NDArray[Any]:
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


def _colour(images: NDArray[Any], image_shape: ImageShape, grey_as: GreyAs | None, source: str) -> NDArray[Any]:
    """Grey images ``(N, 1, H, W)`` as ``(N, 3, H, W)`` if that is wanted and asked for."""
    if images.shape[1] != 1 or image_shape[0] != 3:
        return images
    if grey_as is None:
        raise UserError(f"{source}: found grey images, expected 3 channels; --grey-as red or grey colours them")
    if grey_as == "grey":
        return np.repeat(images, 3, axis=1)
    return np.concatenate([images, np.zeros_like(images), np.zeros_like(images)], axis=1)


def _folder(folder: Path, image_shape: ImageShape) -> NDArray[Any]:
    """Pictures of a folder, ``(N, C, H, W)``; hidden files and other files are ignored."""
    _limit(len(pictures_in(folder)) * math.prod(image_shape), str(folder))
    return _stack([_planes([frame]) for frame in folder_frames(folder, size=image_shape[:0:-1])])


def _animation(path: Path, image_shape: ImageShape) -> NDArray[Any]:
    """The frames of a picture file, ``(N, C, H, W)``, C = 1 if the file is grey."""
    with reporting("read", path):
        size = path.stat().st_size
    if size > MOST_BYTES:
        raise UserError(f"{path}: found {size} bytes, expected at most {MOST_BYTES}")
    frames: list[Frame] = []
    for frame in frames_of(path, image_shape[:0:-1]):
        frames.append(frame)
        _limit(len(frames) * math.prod(image_shape), str(path))
    return _planes(frames)


def _planes(frames: list[Frame]) -> NDArray[np.uint8]:
    """The frames of one file as ``(N, C, H, W)``; a palette of greys may give way to colours."""
    pixels = np.moveaxis(np.stack([frame.pixels for frame in frames]), -1, 1)
    grey = all(frame.grey for frame in frames) and bool((pixels == pixels[:, :1]).all())
    return pixels[:, :1] if grey else pixels


def _stack(files: list[NDArray[Any]]) -> NDArray[Any]:
    """The frames ``(N, C, H, W)`` of several files as one array, which is grey if all of them are."""
    channels = max(frames.shape[1] for frames in files)
    return np.concatenate([np.broadcast_to(frames, (len(frames), channels, *frames.shape[2:])) for frames in files])
