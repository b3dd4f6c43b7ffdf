"""The file 3dshapes.h5 as published, read in blocks; and its unpacked form, in which any image is found at once."""

from __future__ import annotations

import math
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.core.errors import UserError, reason_of
from ffrl.core.files import replacing, reporting
from ffrl.data.grids.factors import Factors, check_labels, map_array
from ffrl.data.grids.sequences import ImageSource
from ffrl.data.recordings.array_files import require_stored

NAME, UNPACKED = "3dshapes.h5", "3dshapes-images.npy"
IMAGE = (64, 64, 3)
FACTORS = Factors(
    ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"),
    (10, 10, 10, 8, 4, 15),
    circles=("floor_hue", "wall_hue", "object_hue"),
    categories=("shape",),
)
"""The grid of 480,000 images, in the order of the file."""
CACHE_BYTES = 512 * 2**20
"""Most memory that decompressed blocks are kept in."""
SLOW_BLOCK = 1024
"""Images per compressed block from which random reading is so slow that it is worth a warning."""


class Shapes3DFile:
    """The images of ``3dshapes.h5``, decompressed block by block as they are needed.

    A block is what has to be decompressed for one image: in the published file, whose chunks are (15000, 4, 4, 1),
    15,000 images or 176 MiB. The blocks used last are kept, in at most :data:`CACHE_BYTES` of memory. To read at random
    from blocks of that size takes a minute: :func:`unpack` the file, or read it into memory.

    Args:
        path: the file.
        factors: the grid, a smaller one in tests.
        cache_bytes: most memory for decompressed blocks.

    Raises:
        UserError: the file is missing, damaged, of another shape or type, or in another order.
    """

    image_shape = (IMAGE[2], *IMAGE[:2])

    def __init__(self, path: Path, factors: Factors = FACTORS, cache_bytes: int = CACHE_BYTES) -> None:
        self.path, self.count = path, factors.count
        self._file = _open(path, factors)
        self._images = self._file["images"]
        chunks = self._images.chunks
        self.block = min(chunks[0] if chunks else 64, self.count)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._room = cache_bytes // (self.block * math.prod(IMAGE))
        self.about = f"{path}, compressed {self.block:,} images at a time"

    def read(self, indices: Tensor) -> Tensor:
        """Return the images ``indices (N,)`` as uint8 ``(N, C, H, W)``.

        Raises:
            UserError: the file is damaged.
        """
        rows = indices.numpy()
        blocks = rows // self.block
        images = np.empty((len(rows), *IMAGE), dtype=np.uint8)
        with self._lock:
            order = sorted(np.unique(blocks).tolist(), key=lambda block: (block not in self._kept, block))
            for block in order:
                here = blocks == block
                images[here] = self._block(block)[rows[here] - block * self.block]
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """Yield all images ``(N, H, W, C)``, block after block.

        Raises:
            UserError: the file is damaged.
        """
        for start in range(0, self.count, self.block):
            yield self._decompressed(start)

    def _block(self, block: int) -> NDArray[np.uint8]:
        if block in self._kept:
            self._kept.move_to_end(block)
            return self._kept[block]
        while self._kept and len(self._kept) >= self._room:
            self._kept.popitem(last=False)
        images = self._decompressed(block * self.block)
        if self._room:
            self._kept[block] = images
        return images

    def _decompressed(self, start: int) -> NDArray[np.uint8]:
        with _reading(self.path):
            return self._images[start : start + self.block]


class UnpackedShapes3D:
    """The images of an unpacked file, mapped into memory: only what is read is loaded, and the system may drop it.

    Args:
        path: the ``.npy`` file that :func:`unpack` made.
        factors: the grid.

    Raises:
        UserError: the file is damaged, or of another shape or type.
    """

    image_shape = (IMAGE[2], *IMAGE[:2])
    block = 4096

    def __init__(self, path: Path, factors: Factors = FACTORS) -> None:
        self.path, self.count = path, factors.count
        images, expected = map_array(path), (factors.count, *IMAGE)
        if images.shape != expected or images.dtype != np.uint8:
            found = f"{images.dtype} values of shape {images.shape}"
            raise UserError(f"{path}: found {found}, expected uint8 of shape {expected}: remove it and unpack again")
        self.about = f"{path}, mapped into memory"
        self._images = images

    def read(self, indices: Tensor) -> Tensor:
        """Return the images ``indices (N,)`` as uint8 ``(N, C, H, W)``."""
        return torch.from_numpy(self._images[indices.numpy()]).permute(0, 3, 1, 2).contiguous()


def locate(root: Path) -> Path:
    """Return the file that ``root`` means: itself, or ``3dshapes.h5`` in the folder.

    Raises:
        UserError: it is not there.
    """
    path = root / NAME if root.is_dir() else root
    if not path.is_file():
        raise UserError(f"data.root: found no file {path}, expected {NAME} or its folder (stf data fetch shapes3d)")
    return path


def open_shapes3d(root: Path, factors: Factors = FACTORS) -> ImageSource:
    """Return the images of ``3dshapes.h5``, unpacked ones if they lie beside it; the labels are checked.

    Raises:
        UserError: a file is missing, damaged, of another shape or type, or in another order.
    """
    path = locate(root)
    packed = Shapes3DFile(path, factors)
    unpacked = path.with_name(UNPACKED)
    return UnpackedShapes3D(unpacked, factors) if unpacked.is_file() else packed


def unpack(root: Path, factors: Factors = FACTORS) -> Path:
    """Write the images of ``3dshapes.h5`` beside it as ``3dshapes-images.npy`` (5.5 GiB), and return its path.

    Raises:
        UserError: the file is missing or damaged, the disk is full, or the folder cannot be written.
    """
    from ffrl.core.progress import progress

    path = locate(root)
    packed, target = Shapes3DFile(path, factors), path.with_name(UNPACKED)
    size = packed.count * math.prod(IMAGE)
    with reporting("read", path.parent):
        free = shutil.disk_usage(path.parent).free
    if free < size:
        found = f"{free / 2**30:.1f} GiB of free space"
        raise UserError(f"{path.parent}: found {found}, expected at least {size / 2**30:.1f} GiB to unpack into")
    header = {"descr": "|u1", "fortran_order": False, "shape": (packed.count, *IMAGE)}
    label = f"unpacking {path.name}"
    with reporting("write", target), progress(label, size) as advance, replacing(target) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for images in packed.blocks():
            file.write(np.ascontiguousarray(images).data)
            advance(images.nbytes)
    return target


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what h5py raises on damaged files into a UserError."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = reason_of(error)
        raise UserError(f"{path}: found a damaged file ({reason}), expected an HDF5 file") from None


def _open(path: Path, factors: Factors) -> Any:
    """Return the open file, its two arrays and its labels checked."""
    try:
        import h5py
    except ImportError:
        raise UserError("data.root: found no package h5py, which reads this file; pip install h5py") from None
    wanted = {
        "images": ((factors.count, *IMAGE), "uint8"),
        "labels": ((factors.count, len(factors.sizes)), "float64"),
    }
    with _reading(path):
        file = h5py.File(path, "r")
        for key, (shape, kind) in wanted.items():
            link, array = file.get(key, None, getlink=True), None
            if isinstance(link, h5py.HardLink):
                array = file[key]
            elif link is not None:
                raise UserError(f"{path}: {key}: found values that are elsewhere, expected them in this file")
            if not isinstance(array, h5py.Dataset):
                found = f"{', '.join(sorted(file)) or 'nothing'}"
                raise UserError(f"{path}: found {found}, expected the arrays images and labels")
            if array.external or array.is_virtual:
                raise UserError(f"{path}: {key}: found values that are elsewhere, expected them in this file")
            if str(array.dtype) != kind or array.shape != shape:
                found = f"{array.dtype} of shape {array.shape}"
                raise UserError(f"{path}: {key}: found {found}, expected {kind} of shape {shape}")
            if array.chunks and math.prod(array.chunks) * array.dtype.itemsize > CACHE_BYTES:
                raise UserError(
                    f"{path}: {key}: found blocks of {array.chunks}, expected at most {CACHE_BYTES:,} bytes"
                )
            require_stored(array, f"{path}: {key}")
        labels = file["labels"][()]
    check_labels(labels, factors, label_values(factors.sizes), f"{path}: labels")
    return file


def label_values(sizes: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Return the labels by digit: hues 0 .. 0.9, scales 0.75 .. 1.25, shapes 0 .. 3, and -30 .. 30 degrees.

    Example:
        >>> label_values((10, 10, 10, 8, 4, 15))[5][:3].round(2).tolist()
        [-30.0, -25.71, -21.43]
    """
    hues = [np.arange(size) / 10 for size in sizes[:3]]
    return [*hues, np.linspace(0.75, 1.25, sizes[3]), np.arange(float(sizes[4])), np.linspace(-30, 30, sizes[5])]
