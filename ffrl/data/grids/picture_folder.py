"""Images of a grid in PNG files that are named by their index, and the labels that say what the order is."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import UserError, reason_of, require
from ffrl.core.files import reporting
from ffrl.data.catalogue import image_shape
from ffrl.data.grids.factors import Factors, check_labels, map_array
from ffrl.data.grids.sequences import ImageSource, MemoryImages

IMAGES = "images"
BLOCK = 512


class PictureFolder:
    """The files ``images/000000.png``, ``images/000001.png``, ... of a folder, decoded on the CPU as they are needed.

    Args:
        root: the folder that ``images`` is in.
        count: how many there are.
        size: height and width of every picture.
        workers: threads that decode; 0 and 1 decode in the thread that asks.

    Raises:
        UserError: there is no such folder.
    """

    block = BLOCK

    def __init__(self, root: Path, count: int, size: int, workers: int = 0) -> None:
        self.folder, self.count = root / IMAGES, count
        self.image_shape = (3, size, size)
        self.about = f"{count:,} PNG pictures in {self.folder}"
        if not self.folder.is_dir():
            raise UserError(f"data.root: found no folder {IMAGES} in {root}, expected {IMAGES}/000000.png and so on")
        self._pool = ThreadPoolExecutor(workers, "stf-pictures") if workers > 1 else None

    def path(self, index: int) -> Path:
        """Return the file of image ``index``."""
        return self.folder / f"{index:06}.png"

    def read(self, indices: Tensor) -> Tensor:
        """Return the images ``indices (N,)`` as uint8 ``(N, C, H, W)``.

        Raises:
            UserError: a picture that is missing, damaged, no PNG file, or of another size; the first is named.
        """
        _, height, width = self.image_shape
        images = np.empty((len(indices), height, width, 3), dtype=np.uint8)
        paths = map(self.path, indices.tolist())
        run = map if self._pool is None else self._pool.map
        for place, pixels in enumerate(run(partial(read_picture, size=(width, height)), paths)):
            images[place] = pixels
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def require_all(self) -> None:
        """Raise a UserError unless every picture has its file; their contents are not read."""
        with reporting("read", self.folder):
            names = {entry.name for entry in os.scandir(self.folder)}
        missing = [index for index in range(self.count) if self.path(index).name not in names]
        if missing:
            found = f"no {self.path(missing[0])}, and {len(missing) - 1:,} more missing"
            raise UserError(f"{self.folder}: found {found}, expected {self.count:,} pictures")


def read_picture(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a PNG picture of ``size`` (width, height) in colour, ``(H, W, 3)``.

    Raises:
        UserError: it is missing, damaged, no PNG file, or of another size or depth.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.size != size:
                found, expected = (f"{width} x {height} pixels" for width, height in (image.size, size))
                raise UserError(f"{path}: found a picture of {found}, expected {expected} (width x height)")
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{path}: found a picture of mode {image.mode!r}, expected 8 bits per channel")
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: found no such file, expected a PNG picture") from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: found a file of another kind, expected a PNG picture") from None
    except Exception as error:  # pillow raises many kinds on damaged files
        reason = reason_of(error)
        raise UserError(f"{path}: found a damaged file ({reason}), expected a PNG picture") from None


def check_label_file(path: Path, factors: Factors) -> None:
    """Raise a UserError unless a file in ``.npy`` format, whatever its name, has the labels i / (m - 1) of the grid.

    Raises:
        UserError: it is missing, damaged, in another format, or of another order of images.
    """
    if not path.is_file():
        raise UserError(f"data.root: found no {path.name} in {path.parent}, expected the labels that tell the order")
    values = [np.linspace(0, 1, size) for size in factors.sizes]
    check_labels(map_array(path), factors, values, str(path))


def picture_source(config: DataConfig, title: str, labels: str, factors: Factors) -> ImageSource:
    """Return the pictures of a data set in a folder ``config.root``, in memory if ``config.in_memory``.

    Args:
        config: root, workers, and whether to read into memory.
        title: of the data set.
        labels: name of the file of labels, which must be in the order of the grid.
        factors: the grid.

    Raises:
        UserError: there is no root, or its labels are missing or in another order.
    """
    expected = f"the folder of {title} (stf data fetch {config.name})"
    require(config.root is not None, "data.root", config.root, expected)
    root = Path(config.root or "")
    require(root.is_dir(), "data.root", str(root), expected)
    folder = PictureFolder(root, factors.count, image_shape(config)[1], config.workers)
    check_label_file(root / labels, factors)
    return MemoryImages(folder, title) if config.in_memory else folder
