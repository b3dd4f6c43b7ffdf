"""How close drawn Shapes3D pictures come to given ones.

Run ``python benchmarks/calibrate_shapes3d.py IMAGES.npz [--out DIR]`` on a file with ``images`` (N, 64, 64, 3) uint8
from the data set. The factors of every image are searched on the data set's grid; a table shows the error in grey
levels of 255, and a picture shows given, drawn and difference (four times as bright) side by side.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.image import imsave
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ffrl.core.errors import UserError, require
from ffrl.data.shapes3d.render import FACTORS, SIZES, render

SHAPES = ("cube", "cylinder", "sphere", "capsule")


def load(path: Path) -> Tensor:
    """The images of ``path`` as ``(N, 3, 64, 64)`` in [0, 1]."""
    try:
        with np.load(path, allow_pickle=False) as file:
            require("images" in file, str(path), sorted(file), "an array named images")
            images = file["images"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise UserError(f"{path}: found no readable file of that kind, expected an .npz file with images") from None
    fits = images.dtype == np.uint8 and images.ndim == 4 and images.shape[1:] == (64, 64, 3) and len(images) > 0
    require(fits, f"{path}: images", f"{images.dtype} {images.shape}", "uint8 (N, 64, 64, 3)")
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def weights(images: Tensor, skip_doubled: bool) -> Tensor:
    """Which pixels count, ``(N, 1, 64, 64)``: all, or those of rows and columns that differ from their neighbours."""
    keep = torch.ones(len(images), 1, 64, 64)
    if skip_doubled:
        for axis in (2, 3):
            lines = images.transpose(2, axis)
            flat = lines.amax(3) == lines.amin(3)
            same = (lines[:, :, 1:] == lines[:, :, :-1]).all(3).all(1) & ~flat[:, :, 1:].all(1)
            doubled = torch.zeros(len(images), 64, dtype=torch.bool)
            doubled[:, 1:] |= same
            doubled[:, :-1] |= same
            keep = keep * (~doubled).view(-1, 1, *((64, 1) if axis == 2 else (1, 64)))
    return keep


def absolute_errors(factors: Tensor, images: Tensor, keep: Tensor) -> Tensor:
    """Mean absolute error of each image, in grey levels."""
    error = (render(factors) - images).abs() * keep
    return 255 * error.mean((1, 2, 3)) / keep.mean((1, 2, 3))


def hue_digits(patch: Tensor) -> Tensor:
    """Nearest hue digit of the median colour of patches ``(N, 3, h, w)``."""
    colour = patch.flatten(2).median(2).values
    colour = colour / colour.amax(1, keepdim=True).clamp(min=1e-3)
    palette = torch.tensor([[d, 0.0, 0.0, 0.0, 0.0, 7.0] for d in range(10)])
    drawn = render(palette)[:, :, 60, 2]
    return (colour[:, None] - drawn).abs().sum(2).argmin(1).float()


def fit(images: Tensor, keep: Tensor, rounds: int = 4) -> tuple[Tensor, Tensor]:
    """Factors on the grid with the least error found, and that error: one factor (or scale and shape) at a time."""
    factors = torch.zeros(len(images), len(FACTORS))
    factors[:, 0] = hue_digits(images[:, :, 58:63, 1:9])
    factors[:, 1] = hue_digits(images[:, :, 20:30, 6:12])
    factors[:, 2] = hue_digits(images[:, :, 44:50, 30:36])
    factors[:, 5] = 7
    best = absolute_errors(factors, images, keep)
    both = [(3, 4), *((i,) for i in (5, 2, 0, 1))]
    for _ in range(rounds):
        before = best.clone()
        for columns in both:
            start = factors.clone()
            for values in torch.cartesian_prod(*(torch.arange(float(SIZES[i])) for i in columns)):
                trial = start.clone()
                trial[:, list(columns)] = values.reshape(1, -1)
                error = absolute_errors(trial, images, keep)
                better = error < best
                factors[better], best = trial[better], torch.where(better, error, best)
        if torch.equal(before, best):
            break
    return factors, best


def tables(factors: Tensor, images: Tensor, keep: Tensor, errors: Tensor) -> tuple[Table, Table]:
    """One row per image, and one per shape."""
    squares = 255 * (((render(factors) - images) ** 2 * keep).mean((1, 2, 3)) / keep.mean((1, 2, 3))).sqrt()
    each = Table(title="Each image, in grey levels of 255")
    for name in ("image", *FACTORS, "mean absolute", "RMSE"):
        each.add_column(name, justify="right")
    for i, row in enumerate(factors.long().tolist()):
        each.add_row(str(i), *map(str, row), f"{errors[i]:.2f}", f"{squares[i]:.2f}")
    groups = Table(title="By shape: mean absolute error of an image, in grey levels of 255")
    for name in ("shape", "images", "mean", "median", "worst", "mean RMSE"):
        groups.add_column(name, justify="left" if name == "shape" else "right")
    for name, chosen in [*((s, factors[:, 4] == k) for k, s in enumerate(SHAPES)), ("all", factors[:, 4] >= 0)]:
        if chosen.any():
            e = errors[chosen]
            middle = e.quantile(0.5)
            shown = (e.mean(), middle, e.max(), squares[chosen].mean())
            groups.add_row(name, str(len(e)), *(f"{x:.2f}" for x in shown))
    return each, groups


def pairs(factors: Tensor, images: Tensor, across: int = 4, zoom: int = 3) -> np.ndarray:
    """Given, drawn and four times their difference, image by image, ``(height, width, 3)``."""
    drawn = render(factors)
    sides = torch.cat([images, drawn, (4 * (drawn - images).abs()).clamp(max=1)], dim=3)
    sides = torch.nn.functional.pad(
        sides.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3), (4, 4, 4, 4), value=1.0
    )
    blank = torch.ones_like(sides[:1]).expand(-len(sides) % across, -1, -1, -1)
    rows = torch.cat([sides, blank]).split(across)
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).permute(1, 2, 0).numpy()


def main() -> None:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, metavar="IMAGES.npz")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for pairs.png (default: here)")
    parser.add_argument(
        "--skip-doubled",
        action="store_true",
        help="leave out rows and columns equal to their neighbour, as in pictures cut from a resampled sheet",
    )
    options = parser.parse_args()
    try:
        images = load(options.images)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    keep = weights(images, options.skip_doubled)
    factors, errors = fit(images, keep)
    console = Console(width=None if sys.stdout.isatty() else 130)
    for table in tables(factors, images, keep, errors):
        console.print(table)
    console.print(f"pixels that count: {100 * keep.mean():.1f} %")
    options.out.mkdir(parents=True, exist_ok=True)
    imsave(options.out / "pairs.png", pairs(factors, images))
    console.print(f"pairs: {options.out / 'pairs.png'}")


if __name__ == "__main__":
    main()
