"""Frames of arrays in ``.npy``, ``.npz`` and HDF5 files, in blocks: nothing is ever in memory as a whole."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.recordings.array_files import Header, damage_named, dataset, member, read_header
from ffrl.data.recordings.checks import require_size
from ffrl.data.recordings.levels import BYTES, levels_of, own_levels, to_bytes

BLOCK = 2**22
"""Bytes of an array that are read at a time; more only if a single frame, or a chunk of an HDF5 file, is larger."""
CHANNELS, MOST_CHANNELS = (1, 3), 4
FLAG = "--data.sequences.axes"
MOVING_MNIST = (20, 64, 64)
"""Axes 0, 2 and 3 of the published test sequences of Moving MNIST, whose frames come before its sequences."""
HOW = ClipsConfig()


class Layout(NamedTuple):
    """How an array is ``parts`` recordings of ``frames`` frames each, with or without an axis for the recordings."""

    parts: int
    frames: int
    height: int
    width: int
    channels: int
    channels_first: bool
    several: bool = False
    time_first: bool = False

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


def layout_of(shape: tuple[int, ...], source: str, least: int = 1, axes: str | None = None) -> Layout:
    """Return how an array of ``shape`` is read: ``(T', H, W)``, ``(T', H, W, C)``, ``(T', C, H, W)``, or N of these.

    Args:
        shape: three dimensions, four with channels last or first, or five, the first of them recordings; C is 1 or 3.
            Four without such a C are N grey recordings.
        source: what messages start with.
        least: pixels that each side must have where there is no C, and nothing else tells pictures from vectors.
        axes: what the axes are, such as ``TNHW``; None to tell by their lengths.

    Raises:
        UserError: another shape, or one whose axes are not clear.

    Example:
        >>> layout_of((100, 64, 48, 3), "clip.npy")[:5]
        (1, 100, 64, 48, 3)
        >>> layout_of((7, 100, 1, 64, 48), "clips.npy")[:5]
        (7, 100, 64, 48, 1)
        >>> layout_of((20, 100, 64, 48), "clips.npy", axes="TNHW")[:5]
        (100, 20, 64, 48, 1)
    """
    expected = "(frames, height, width), the same with 1 or 3 channels last or first, or recordings of these in front"
    dims = len(shape)
    if 0 in shape:
        raise UserError(f"{source}: found an empty array of shape {shape}, expected {expected}")
    if axes is None:
        axes = _axes(shape, source, expected)
        if axes in ("THW", "NTHW") and min(shape[-2:]) < least:
            found = f"an array of shape {shape}, vectors or pictures of {shape[-2]} x {shape[-1]} pixels"
            hint = f"(if these are pictures: --data.sequences.size {min(shape[-2:])} or less)"
            raise UserError(f"{source}: found {found}, expected {least} x {least} pixels or more {hint}")
    if len(axes) != dims:
        raise UserError(f"{source}: found an array of shape {shape}, expected {len(axes)} axes ({FLAG} {axes})")
    size = dict(zip(axes, shape, strict=True))
    channels = size.get("C", 1)
    if channels not in CHANNELS:
        raise UserError(f"{source}: found {channels} channels in shape {shape}, expected 1 or 3 ({FLAG} {axes})")
    first = not axes.endswith("C")
    return Layout(size.get("N", 1), size["T"], size["H"], size["W"], channels, first, "N" in axes, axes[:2] == "TN")


def _axes(shape: tuple[int, ...], source: str, expected: str) -> str:
    """What the axes of an array are, by their lengths."""
    dims = len(shape)
    if dims == 3:
        return "THW"
    first, last = dims in (4, 5) and shape[-3] in CHANNELS, dims in (4, 5) and shape[-1] in CHANNELS
    if first != last:
        return ("N" if dims == 5 else "") + ("TCHW" if first else "THWC")
    if dims == 4 and not first and min(shape[1], shape[-1]) > MOST_CHANNELS:
        if (shape[0], *shape[2:]) == MOVING_MNIST:
            hint = f"{FLAG} TNHW, or NTHW for {shape[0]} recordings of {shape[1]} frames"
            found = f"shape {shape}, as Moving MNIST's file with frames before sequences"
            raise UserError(f"{source}: found {found}, expected {hint}")
        return "NTHW"
    hint = f"; {FLAG} says which axis is which" if first else ""
    raise UserError(f"{source}: found an array of shape {shape}, expected {expected}{hint}")


class ArrayFrames(NamedTuple):
    """An array of frames in a file, opened anew whenever frames are read.

    ``plain`` says where its values are, if they lie in the file as they are; otherwise it is None.
    """

    path: Path
    layout: Layout
    plain: Plain | None
    dtype: np.dtype
    how: ClipsConfig = HOW

    def pixels(self, stride: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Yield every ``stride``-th frame of every recording, ``(H, W, 3)`` uint8, recording after recording.

        Values are bytes of the range that ``how`` says, rounded.

        Raises:
            UserError: damaged data, NaN, or values outside the range.
        """
        levels = levels_of(self.dtype, self.how.range) or own_levels(self.blocks(stride), str(self.path))
        number = 0
        for block in self.blocks(stride):
            found = to_bytes(block, levels, f"{self.path}: frame {number + 1} and after")
            found = np.moveaxis(found, 1, -1) if self.layout.channels_first else found
            yield from np.broadcast_to(found, (*found.shape[:3], 3))
            number += stride * len(block)

    def blocks(self, stride: int = 1) -> Iterator[NDArray[Any]]:
        """Yield the same frames as they are stored, ``(n, *layout.frame_shape)``."""
        with damage_named(self.path):
            yield from _BLOCKS[self.path.suffix.lower()](self.path, self.layout, stride, self.how)


def array_frames(path: Path, least: int = 1, how: ClipsConfig = HOW) -> ArrayFrames:
    """Return the frames in ``path``, of which only the header is read.

    Args:
        path: ``.npy``, ``.npz``, ``.h5`` or ``.hdf5``, as :func:`~ffrl.data.recordings.array_files.member` and
            :func:`~ffrl.data.recordings.array_files.dataset` choose from it.
        least: see :func:`layout_of`.
        how: which array, what its axes and values are, and how large a frame may be.

    Raises:
        UserError: unreadable or damaged, values or a shape that cannot be frames, or frames that are too large.

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
                wanted = member(archive, path, how.array)
                with archive.open(wanted) as file:
                    source = f"{path}: {wanted.removesuffix('.npy')}"
                    header, offset = read_header(file, source), file.tell()
                layout = _checked(header, source, least, how)
                _require_whole(header, archive.getinfo(wanted).file_size - offset, source)
            return ArrayFrames(path, layout, None, header.dtype, how)
        if suffix == ".npy":
            with open(path, "rb") as file:
                header, offset = read_header(file, str(path)), file.tell()
            layout, in_order = _checked(header, str(path), least, how), not header.fortran_order
            _require_whole(header, path.stat().st_size - offset, str(path))
            dtype, where = header.dtype, offset
        else:
            import h5py

            with h5py.File(path, "r") as file:
                data = dataset(file, path, how.array)
                dtype, source = data.dtype, f"{path}: {data.name.removeprefix('/')}"
                layout = _checked(Header(data.shape, False, dtype), source, least, how)
                if data.chunks:
                    require_size(math.prod(data.chunks) * dtype.itemsize, how.frame_mib, source, "a chunk")
                where, in_order = data.id.get_offset(), data.id.get_offset() is not None
    as_is = dtype == np.uint8 and levels_of(dtype, how.range) == BYTES and not layout.time_first
    return ArrayFrames(path, layout, Plain(path, where, layout) if in_order and as_is else None, dtype, how)


def _checked(header: Header, source: str, least: int, how: ClipsConfig) -> Layout:
    """The layout of an array whose frames are not too large."""
    layout = layout_of(header.shape, source, least, how.axes)
    require_size(math.prod(layout.frame_shape) * header.dtype.itemsize, how.frame_mib, source)
    return layout


def _require_whole(header: Header, there: int, source: str) -> None:
    """Raise a UserError unless as many bytes are there as the header says."""
    needed = math.prod(header.shape) * header.dtype.itemsize
    if there < needed:
        raise UserError(f"{source}: found damaged data ({there} bytes of values), expected {needed}")


def _blocks(array: Any, layout: Layout, stride: int, at_least: int = 1) -> Iterator[NDArray[Any]]:
    """Every ``stride``-th frame of an array or HDF5 dataset, in blocks ``(n, *frame_shape)``."""
    bytes_per_frame = math.prod(layout.frame_shape) * array.dtype.itemsize
    frames = math.ceil(max(BLOCK // bytes_per_frame, at_least) / stride) * stride
    for part in range(layout.parts):
        for start in range(0, layout.frames, frames):
            here = slice(start, start + frames)
            if layout.time_first:
                block = array[here, part]
            else:
                block = array[part, here] if layout.several else array[here]
            yield np.asarray(block)[::stride].reshape(-1, *layout.frame_shape)


def _npy_blocks(path: Path, layout: Layout, stride: int, how: ClipsConfig) -> Iterator[NDArray[Any]]:
    yield from _blocks(np.load(path, mmap_mode="r", allow_pickle=False), layout, stride)


def _hdf5_blocks(path: Path, layout: Layout, stride: int, how: ClipsConfig) -> Iterator[NDArray[Any]]:
    import h5py

    with h5py.File(path, "r") as file:
        data = dataset(file, path, how.array)
        chunk = data.chunks[1 if layout.several and not layout.time_first else 0] if data.chunks else 1
        yield from _blocks(data, layout, stride, chunk)


def _npz_blocks(path: Path, layout: Layout, stride: int, how: ClipsConfig) -> Iterator[NDArray[Any]]:
    """A zipped array can only be read from its beginning to its end."""
    with zipfile.ZipFile(path) as archive, archive.open(member(archive, path, how.array)) as file:
        header = read_header(file, str(path))
        if header.fortran_order:
            raise UserError(f"{path}: found an array in Fortran order, expected C order (numpy.ascontiguousarray)")
        if layout.time_first:
            raise UserError(f"{path}: found frames before recordings, expected an .npy file, or recordings first")
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
