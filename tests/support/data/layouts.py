"""Makers of tiny files in the exact layouts of the published data sets; every image shows its own digits."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ffrl.data.catalogue import DataSet

TOY = DataSet("", (3, 16, 16), ("hue", "scale", "depth"), 2)
"""A data set for the catalogue."""
STEP = 12
"""Grey levels between two digits."""


def all_digits(sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """The digits ``(N, F)`` of all images in row-major order, the last factor fastest."""
    return np.indices(sizes).reshape(len(sizes), -1).T


def picture(digits: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """An image ``(size, size, 3)`` with one horizontal band per factor; red tells the digit, green the factor."""
    image = np.zeros((size, size, 3), dtype=np.uint8)
    height = size // len(digits)
    for column, digit in enumerate(digits):
        band = image[column * height : (column + 1) * height]
        band[..., 0], band[..., 1], band[:, : size // 2, 2] = STEP * digit, column, 255
    return image


def shown_digits(frames: torch.Tensor, factors: int) -> torch.Tensor:
    """The digits ``(..., F)`` that frames ``(..., C, H, W)`` show; asserts that each is a whole image of them."""
    height = frames.shape[-1] // factors
    scaled = frames * 255
    grey = scaled.round().to(torch.uint8)
    assert (scaled - grey).abs().max() < 1e-3
    bands = grey[..., : height * factors, :].unflatten(-2, (factors, height))
    red, green, blue = bands.unbind(-4)
    assert (red == red[..., :1, :1]).all() and (red % STEP == 0).all()
    assert (green == torch.arange(factors, dtype=torch.uint8).view(-1, 1, 1)).all()
    half = frames.shape[-1] // 2
    assert (blue[..., :half] == 255).all() and (blue[..., half:] == 0).all()
    return red[..., 0, 0].long() // STEP


def shapes3d_labels(sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """The labels of ``3dshapes.h5``: hues in tenths, scale, shape, degrees."""
    values = [[digit / 10 for digit in range(size)] for size in sizes[:3]]
    values.append([0.75 + 0.5 * digit / (sizes[3] - 1) for digit in range(sizes[3])])
    values.append(list(range(sizes[4])))
    values.append([-30 + 60 * digit / (sizes[5] - 1) for digit in range(sizes[5])])
    rows = [[values[column][digit] for column, digit in enumerate(row)] for row in all_digits(sizes)]
    return np.array(rows, dtype=np.float64)


def write_shapes3d(
    folder: Path,
    sizes: tuple[int, ...],
    labels: NDArray | None = None,
    images: NDArray | None = None,
    chunks: tuple[int, ...] | None = (50, 4, 4, 1),
) -> Path:
    """Write ``3dshapes.h5``, compressed in chunks that cut through images like those of the published file."""
    if images is None:
        images = np.stack([picture(row, 64) for row in all_digits(sizes)])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "3dshapes.h5"
    with h5py.File(path, "w") as file:
        compression = None if chunks is None else "gzip"
        file.create_dataset("images", data=images, chunks=chunks, compression=compression)
        file["labels"] = shapes3d_labels(sizes) if labels is None else labels
    return path


def unit_labels(sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """The labels of Falcor3D and Isaac3D: i / (m - 1)."""
    return all_digits(sizes) / (np.array(sizes) - 1.0)


def write_pictures(
    folder: Path, sizes: tuple[int, ...], labels_name: str, labels: NDArray | None = None, size: int = 128
) -> Path:
    """Write ``images/000000.png`` and so on, and the labels in ``.npy`` format whatever their name."""
    (folder / "images").mkdir(parents=True)
    for index, row in enumerate(all_digits(sizes)):
        Image.fromarray(picture(row, size)).save(folder / "images" / f"{index:06}.png", compress_level=1)
    write_labels(folder / labels_name, unit_labels(sizes) if labels is None else labels)
    return folder


def write_labels(path: Path, labels: NDArray) -> None:
    """Write an array in ``.npy`` format into a file of any name."""
    with open(path, "wb") as file:
        np.save(file, labels)
