"""Frames of arrays in ``.npy``, ``.npz`` and HDF5 files, in blocks: nothing is ever in memory as a whole."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ffrl.core.errors import UserError
from ffrl.data.base import check_frames
from ffrl.data.recordings.array_files import damage_named, dataset, member, read_header

BLOCK = 2**22
"""Bytes of an array that are read at a time; more only if a single frame, or a chunk of an HDF5 file, is larger."""
CHANNELS = (1, 3)


class Layout(NamedTuple):
    """How an array is ``parts`` recordings of ``frames`` frames each."""

    parts: int
    frames: int
    height: int
    width: int
    channels: int
    channels_first: bool

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape of one frame as it is stored, ``(C, H, W)`` or ``(H, W, C)``."""
        size = (self.height, self.width)
        return (self.channels, *size) if self.channels_first else (*size, self.channels)


class Plain(NamedTuple):
    """Where the values of a uint8 array lie in a file, one after the other and as they are."""

    path: Path
    offset: int
    layout: Layout


def layout_of(shape: tuple[int, ...], source: str, least: int = 1) -> Layout:
    """Return how an array of ``shape`` is read: ``(T', H, W)``, ``(T', H, W, C)``, ``(T', C, H, W)``, or N of these.

    Args:
        shape: three dimensions, four with channels last or first, or five, the first of them recordings; C is 1 or 3.
        source: what messages start with.
        least: pixels that each side of three dimensions must have, where nothing else tells pictures from vectors.

    Raises:
        UserError: another number of dimensions, nothing in it, channels that cannot be told from pixels, or vectors.

    Example:
        >>> layout_of((100, 64, 48, 3), "clip.npy")
        Layout(parts=1, frames=100, height=64, width=48, channels=3, channels_first=False)
        >>> layout_of((7, 100, 1, 64, 48), "clips.npy")
        Layout(parts=7, frames=100, height=64, width=48, channels=1, channels_first=True)
    """
    expected = "(frames, height, width), the same with 1 or 3 channels last or first, or recordings of these in front"
    dims = len(shape)
    if 0 in shape:
        raise UserError(f"{source}: found an empty array of shape {shape}, expected {expected}")
    if dims == 3 and min(shape[1:]) < least:
        found = f"an array of shape {shape}, vectors or pictures of {shape[1]} x {shape[2]} pixels"
        hint = f"(if these are pictures: --data.sequences.size {min(shape[1:])} or less)"
        raise UserError(f"{source}: found {found}, expected {least} x {least} pixels or more {hint}")
    if dims == 3:
        return Layout(1, shape[0], shape[1], shape[2], 1, True)
    first, last = dims in (4, 5) and shape[-3] in CHANNELS, dims in (4, 5) and shape[-1] in CHANNELS
    if first == last:
        raise UserError(f"{source}: found an array of shape {shape}, expected {expected}")
    parts = shape[0] if dims == 5 else 1
    if first:
        channels, height, width = shape[-3:]
    else:
        height, width, channels = shape[-3:]
    return Layout(parts, shape[-4], height, width, channels, first)


class ArrayFrames(NamedTuple):
    """An array of frames in a file, opened anew whenever frames are read.

    ``plain`` says where its values are, if they lie in the file as they are; otherwise it is None.
    """

    path: Path
    layout: Layout
    plain: Plain | None

    def pixels(self, stride: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Yield every ``stride``-th frame of every recording, ``(H, W, 3)`` uint8, recording after recording.

        Floating-point values are rounded to multiples of 1/255.

        Raises:
            UserError: damaged data, NaN, or values outside [0, 1].
        """
        with damage_named(self.path):
            number = 0
            for block in _BLOCKS[self.path.suffix.lower()](self.path, self.layout, stride):
                yield from _as_pixels(block, self.layout, f"{self.path}: frame {number + 1} and after")
                number += stride * len(block)


def array_frames(path: Path, least: int = 1) -> ArrayFrames:
    """Return the frames in ``path``, of which only the header is read.

    Args:
        path: ``.npy``, ``.npz``, ``.h5`` or ``.hdf5``, as :func:`~ffrl.data.recordings.array_files.member` and
            :func:`~ffrl.data.recordings.array_files.dataset` choose from it.
        least: see :func:`layout_of`.

    Raises:
        UserError: unreadable or damaged, or values or a shape that cannot be frames.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "clip.npy"), np.zeros((9, 8, 8), np.uint8))
        ...     frames = array_frames(Path(folder, "clip.npy"))
        ...     frames.plain.offset, [frame.shape for frame in frames.pixels(stride=4)]
        (128, [(8, 8, 3), (8, 8, 3), (8, 8, 3)])
    """
    suffix = path.suffix.lower()
    with damage_named(path):
        if suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                wanted = member(archive, path)
                with archive.open(wanted) as file:
                    source = f"{path}: {wanted.removesuffix('.npy')}"
                    return ArrayFrames(path, layout_of(read_header(file, source).shape, source, least), None)
        if suffix == ".npy":
            with open(path, "rb") as file:
                header, offset = read_header(file, str(path)), file.tell()
            layout, in_order = layout_of(header.shape, str(path), least), not header.fortran_order
            expected = offset + math.prod(header.shape) * header.dtype.itemsize
            if path.stat().st_size < expected:
                found = f"{path.stat().st_size} bytes"
                raise UserError(f"{path}: found damaged data ({found}), expected {expected} bytes")
            dtype, where = header.dtype, offset
        else:
            import h5py

            with h5py.File(path, "r") as file:
                data = dataset(file, path)
                layout = layout_of(data.shape, f"{path}: {data.name.removeprefix('/')}", least)
                dtype, where, in_order = data.dtype, data.id.get_offset(), data.id.get_offset() is not None
    plain = Plain(path, where, layout) if in_order and dtype == np.uint8 else None
    return ArrayFrames(path, layout, plain)


def _blocks(array: Any, layout: Layout, stride: int, at_least: int = 1) -> Iterator[NDArray[Any]]:
    """Every ``stride``-th frame of an array or HDF5 dataset, in blocks ``(n, *frame_shape)``."""
    bytes_per_frame = math.prod(layout.frame_shape) * array.dtype.itemsize
    frames = math.ceil(max(BLOCK // bytes_per_frame, at_least) / stride) * stride
    for part in range(layout.parts):
        for start in range(0, layout.frames, frames):
            here = slice(start, start + frames)
            block = array[part, here] if array.ndim == 5 else array[here]
            yield np.asarray(block)[::stride].reshape(-1, *layout.frame_shape)


def _npy_blocks(path: Path, layout: Layout, stride: int) -> Iterator[NDArray[Any]]:
    yield from _blocks(np.load(path, mmap_mode="r", allow_pickle=False), layout, stride)


def _hdf5_blocks(path: Path, layout: Layout, stride: int) -> Iterator[NDArray[Any]]:
    import h5py

    with h5py.File(path, "r") as file:
        data = dataset(file, path)
        chunk = data.chunks[1 if data.ndim == 5 else 0] if data.chunks else 1
        yield from _blocks(data, layout, stride, chunk)


def _npz_blocks(path: Path, layout: Layout, stride: int) -> Iterator[NDArray[Any]]:
    """A zipped array can only be read from its beginning to its end."""
    with zipfile.ZipFile(path) as archive, archive.open(member(archive, path)) as file:
        header = read_header(file, str(path))
        if header.fortran_order:
            raise UserError(f"{path}: found an array in Fortran order, expected C order (numpy.ascontiguousarray)")
        bytes_per_frame = math.prod(layout.frame_shape) * header.dtype.itemsize
        frames = math.ceil(max(BLOCK // bytes_per_frame, 1) / stride) * stride
        for _ in range(layout.parts):
            for start in range(0, layout.frames, frames):
                count = min(frames, layout.frames - start)
                raw = file.read(count * bytes_per_frame)
                if len(raw) < count * bytes_per_frame:
                    raise EOFError("the array ends early")
                yield np.frombuffer(raw, header.dtype).reshape(count, *layout.frame_shape)[::stride]
        if file.read(1):  # and with the last byte zipfile compares the checksum
            raise ValueError("values after the end of the array")


_BLOCKS = {".npy": _npy_blocks, ".npz": _npz_blocks, ".h5": _hdf5_blocks, ".hdf5": _hdf5_blocks}


def _as_pixels(block: NDArray[Any], layout: Layout, source: str) -> NDArray[np.uint8]:
    """Frames as they are stored -> ``(n, H, W, 3)`` uint8."""
    if block.dtype != np.uint8:
        with np.errstate(over="ignore"):
            values = np.array(block, dtype=np.float32)
        check_frames(torch.from_numpy(values)[None], source)
        block = np.rint(values * 255).astype(np.uint8)
    if layout.channels_first:
        block = np.moveaxis(block, 1, -1)
    return np.broadcast_to(block, (*block.shape[:3], 3))
