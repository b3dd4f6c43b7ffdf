"""Reader of a user's own sequences and images, of any kind of recording; nothing read can execute code."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.base import check_frames
from ffrl.data.recordings.array_files import (
    Header,
    damage_named,
    dataset,
    member,
    member_values,
    read_header,
    read_values,
)
from ffrl.data.recordings.array_frames import ArrayFrames, Layout
from ffrl.data.recordings.cache import fitted
from ffrl.data.recordings.checks import require_size
from ffrl.data.recordings.find import ANIMATIONS, ARRAYS
from ffrl.data.recordings.levels import Levels, levels_of, own_levels, to_bytes
from ffrl.data.recordings.pictures import PICTURES, Frame, folder_frames, frames_of
from ffrl.data.recordings.video import VIDEOS, video_frames

ImageShape = tuple[int, int, int]
GreyAs = Literal["red", "grey"]
Tell = Callable[[str], None]
MOST_VALUES = 2**27
"""Largest number of pixel values of a sequence or a set of images (512 MiB in float32)."""


class Reading(NamedTuple):
    """How files are read.

    Args:
        image_shape: ``(C, H, W)`` that the frames must have, or get.
        grey_as: what grey frames become if C = 3: ``red`` on black, or ``grey`` in all channels; refused for None.
        how: what is read of files, and how frames of another size are cropped and resized; None to refuse these.
        stride: of the frames of videos, animations and folders.
        tell: told in words what was done to the frames.
    """

    image_shape: ImageShape
    grey_as: GreyAs | None = None
    how: ClipsConfig | None = None
    stride: int = 1
    tell: Tell = lambda text: None

    @property
    def files(self) -> ClipsConfig:
        """What is read of files."""
        return self.how or ClipsConfig()


def read_sequence(path: Path, image_shape: ImageShape, grey_as: GreyAs | None = None, **more: Any) -> Tensor:
    """Return the frames of one sequence, ``(T+1, C, H, W)`` float32 in [0, 1], T >= 1.

    Args:
        path: an array (``.npy``, ``.npz``, HDF5; ``(T+1, C, H, W)``, ``(T+1, H, W, C)`` or, grey, ``(T+1, H, W)``), a
            video, an animation, a stack, or a folder of pictures, in the order of the numbers in their names.
        image_shape, grey_as, more: see :class:`Reading`.

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
    frames = _read(path, Reading(image_shape, grey_as, **more), one=False)
    if len(frames) < 2:
        raise UserError(f"{path}: found one frame, expected a sequence of at least two")
    return frames


def read_images(path: Path, image_shape: ImageShape, grey_as: GreyAs | None = None, **more: Any) -> Tensor:
    """Return images, ``(N, C, H, W)`` float32 in [0, 1], N >= 1: whatever :func:`read_sequence` reads, or one picture.

    Args:
        path: as for :func:`read_sequence`; also a single picture, or an array ``(C, H, W)``, ``(H, W, C)`` or
            ``(H, W)``.
        image_shape, grey_as, more: see :class:`Reading`.

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
    return _read(path, Reading(image_shape, grey_as, **more), one=True)


def _read(path: Path, reading: Reading, one: bool) -> Tensor:
    """Images of any kind of file; ``one`` allows what is a single image and no sequence."""
    suffix, kinds = path.suffix.lower(), (*ARRAYS, *ANIMATIONS, *PICTURES, *VIDEOS)
    if not os.path.isdir(path) and not os.path.exists(path):
        raise UserError(f"{path}: found no such file or folder, expected frames or images")
    if os.path.isdir(path) or suffix in (*ANIMATIONS, *PICTURES, *VIDEOS):
        images = _frames(partial(_shown, path, reading), reading, str(path), one)
    elif suffix in ARRAYS:
        images = _array(path, reading, one)
    else:
        expected = ", ".join(sorted(set(kinds)))
        raise UserError(f"{path}: found a file of type {suffix or 'unknown'!r}, expected {expected}, or a folder")
    coloured = _colour(images, reading.image_shape, reading.grey_as, str(path))
    frames = torch.from_numpy(np.ascontiguousarray(coloured))
    frames = frames.float().div_(255) if frames.dtype == torch.uint8 else frames
    return check_frames(frames[None], str(path), reading.image_shape)[0]


def _shown(path: Path, reading: Reading) -> Iterator[Frame]:
    """Frames of a video, a picture file or a folder, as they are stored."""
    stride, how = reading.stride, reading.files
    if path.is_dir():
        return folder_frames(path, stride, how)
    if path.suffix.lower() in VIDEOS:
        return (Frame(pixels, False, str(path)) for pixels in video_frames(path, stride, how))
    return (frame for number, frame in enumerate(frames_of(path, how)) if number % stride == 0)


def _frames(frames: Callable[[], Iterable[Frame]], reading: Reading, source: str, one: bool) -> NDArray[np.uint8]:
    """Frames of pictures and videos as bytes ``(N, C, H, W)``, C = 1 if all of them are grey.

    Those of a sequence have one size; images, ``one`` or several, may have several.
    """
    setting, found, grey = reading.files.range, [], True
    sizes: set[tuple[int, ...]] = set()
    own = own_levels((frame.pixels for frame in frames()), source) if setting == "own" else None
    for frame in frames():
        levels = own or levels_of(frame.pixels.dtype, setting)
        assert levels is not None
        planes = _resized(to_bytes(frame.pixels, levels, frame.source), reading, frame.source)
        grey = grey and frame.grey and bool((planes == planes[:1]).all())
        size = frame.pixels.shape[1::-1]
        sizes.add(size)
        if len(sizes) > 1 and not one:
            (first,) = sizes - {size}
            wrong = f"a frame of {size[0]} x {size[1]} pixels"
            raise UserError(f"{frame.source}: found {wrong}, expected {first[0]} x {first[1]} like the first")
        found.append(planes)
        _limit(len(found) * math.prod(reading.image_shape), source)
    _tell_sizes(sizes, reading)
    if not found:
        raise UserError(f"{source}: found no frames, expected some")
    stacked = np.stack(found)
    return stacked[:, :1] if grey else stacked


def _resized(frame: NDArray[np.uint8], reading: Reading, source: str) -> NDArray[np.uint8]:
    """A frame ``(H, W, 3)`` as ``(3, H, W)`` of the size that is wanted."""
    _, height, width = reading.image_shape
    if frame.shape[:2] == (height, width):
        return np.moveaxis(frame, -1, 0)
    if reading.how is None:
        found = f"pictures of {frame.shape[1]} x {frame.shape[0]} pixels"
        raise UserError(f"{source}: found {found}, expected {width} x {height} (width x height)")
    return fitted(frame, height, width, reading.how.crop)


def _tell_sizes(sizes: set[tuple[int, ...]], reading: Reading) -> None:
    _, height, width = reading.image_shape
    others = sorted(sizes - {(width, height)})
    if others and reading.how is not None:
        cut = "cropped to the middle and " if reading.how.crop == "center" else ""
        listed = ", ".join(f"{wide} x {high}" for wide, high in others[:3])
        reading.tell(f"{cut}resized from {listed} to {width} x {height} pixels")


def _array(path: Path, reading: Reading, one: bool) -> NDArray[Any]:
    """An array as ``(N, C, H, W)``, C = 1 if it is grey; float32 in [0, 1], or bytes where frames were resized."""
    source, how = str(path), reading.files
    with damage_named(path):
        header = _header(path, how)
        axes = _axes(header.shape, reading.image_shape, how.axes, one, source)
        size = dict(zip(axes, header.shape, strict=True))
        layout = Layout(1, size.get("T", 1), size["H"], size["W"], size.get("C", 1), axes[-1] != "C")
        require_size(math.prod(layout.frame_shape) * header.dtype.itemsize, how.frame_mib, source)
        _limit(layout.frames * math.prod(reading.image_shape), source)
        arrays = ArrayFrames(path, layout._replace(several="N" in axes), None, header.dtype, how)
        blocks = (lambda: iter([_whole(path, how)[None]])) if "T" not in axes else arrays.blocks
        levels = levels_of(header.dtype, how.range) or own_levels(blocks(), source)
        return np.concatenate([_block(block, layout, levels, reading, source) for block in blocks()])


def _block(block: NDArray[Any], layout: Layout, levels: Levels, reading: Reading, source: str) -> NDArray[Any]:
    """Frames as they are stored as ``(N, C, H, W)``, of the size that is wanted."""
    channels, height, width = reading.image_shape
    first = block if layout.channels_first else np.moveaxis(block, -1, 1)
    if first.shape[-2:] == (height, width) or reading.how is None:
        if first.dtype.kind == "f" and reading.files.range == "type":
            with np.errstate(over="ignore"):
                return np.array(first, dtype=np.float32)
        return to_bytes(first, levels, source).astype(np.float32) / np.float32(255)
    if layout.channels not in (1, 3):
        found, expected = f"images of {layout.channels} channels of another size", f"{(channels, height, width)}"
        raise UserError(f"{source}: found {found}, expected {expected} (C, H, W)")
    _tell_sizes({(layout.width, layout.height)}, reading)
    shown = np.moveaxis(np.broadcast_to(to_bytes(first, levels, source), (len(first), 3, *first.shape[2:])), 1, -1)
    made = np.stack([_resized(frame, reading, source) for frame in shown])[:, : layout.channels]
    return made.astype(np.float32) / np.float32(255)


def _header(path: Path, how: ClipsConfig) -> Header:
    """Shape and type of the array that is read."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            return read_header(file, str(path))
    if path.suffix.lower() == ".npz":
        with zipfile.ZipFile(path) as archive:
            wanted = member(archive, path, how.array)
            with archive.open(wanted) as inside:
                return read_header(inside, f"{path}: {wanted.removesuffix('.npy')}")
    import h5py

    with h5py.File(path, "r") as opened:
        data = dataset(opened, path, how.array)
        if data.chunks:
            require_size(math.prod(data.chunks) * data.dtype.itemsize, how.frame_mib, str(path), "a chunk")
        return Header(data.shape, False, data.dtype)


def _whole(path: Path, how: ClipsConfig) -> NDArray[Any]:
    """An array that is one image, whose size has been checked."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            return read_values(file, path.stat().st_size, str(path))
    if path.suffix.lower() == ".npz":
        with zipfile.ZipFile(path) as archive:
            found = member_values(archive, member(archive, path, how.array).removesuffix(".npy"), path)
            assert found is not None
            return found
    import h5py

    with h5py.File(path, "r") as opened:
        return np.asarray(dataset(opened, path, how.array)[()])


def _limit(values: int, source: str) -> None:
    if values > MOST_VALUES:
        raise UserError(f"{source}: found {values} values or more, expected at most {MOST_VALUES}")


def _axes(shape: tuple[int, ...], image_shape: ImageShape, axes: str | None, one: bool, source: str) -> str:
    """What the axes of an array are, a leading 1 left out: those that fit, else those that look like it."""
    channels, height, width = image_shape
    first, last, dims = image_shape, (height, width, channels), len(shape)
    if axes is not None and len(axes) == dims and ("N" not in axes or shape[axes.index("N")] == 1):
        return axes
    if 0 in shape:
        raise UserError(f"{source}: found an empty array of shape {shape}, expected at least one frame and pixel")
    if dims == 5 and shape[0] == 1:
        return "N" + _axes(shape[1:], image_shape, None, one, source)
    if one and dims == 2:
        return "HW"
    if dims == 3 and one and shape in (first, last):
        return "CHW" if shape == first else "HWC"
    known = {1, channels} - {0}
    if dims == 3 and one and channels > 1 and (shape[-1] == channels or shape[0] == channels):
        return "HWC" if shape[-1] == channels else "CHW"
    if dims == 3:
        return "THW"
    if dims == 4 and shape[-1] in known and (shape[1:] == last or shape[1] not in known):
        return "TCHW" if shape[1:] == first else "THWC"
    if dims == 4:
        return "TCHW"
    number = "N" if one else "T+1"
    expected = f"({number}, {', '.join(map(str, first))}) or ({number}, {', '.join(map(str, last))})"
    raise UserError(f"{source}: found an array of shape {shape}, expected {expected}")


def _colour(images: NDArray[Any], image_shape: ImageShape, grey_as: GreyAs | None, source: str) -> NDArray[Any]:
    """Grey images ``(N, 1, H, W)`` as ``(N, 3, H, W)`` if that is wanted and asked for."""
    if images.shape[1] != 1 or image_shape[0] != 3:
        return images
    if grey_as is None:
        raise UserError(f"{source}: found grey images, expected 3 channels; --grey-as red or grey colours them")
    if grey_as == "grey":
        return np.repeat(images, 3, axis=1)
    return np.concatenate([images, np.zeros_like(images), np.zeros_like(images)], axis=1)
