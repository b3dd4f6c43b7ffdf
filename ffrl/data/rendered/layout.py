"""A rendered grid in the layout of the published files: every combination of values once, and the labels."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ffrl.core.errors import UserError
from ffrl.core.files import is_empty, locked, replacing, reporting, to_json, write_atomically
from ffrl.core.progress import progress
from ffrl.data.grids import falcor3d as published_falcor3d
from ffrl.data.grids import isaac3d as published_isaac3d
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.made import MARK, Made, made, mark_of
from ffrl.data.grids.picture_folder import IMAGES
from ffrl.data.rendered import falcor3d, isaac3d
from ffrl.data.rendered.frames import Renderer
from ffrl.data.rendered.sequences import scene_numbers

BLOCK = 1024
"""Images that are rendered before they are written."""


@dataclass(frozen=True)
class Grid:
    """The published grid of a data set, and what renders it.

    Attributes:
        factors: the published ones, in the order of the files.
        labels: name of the file of labels.
        scene: what is rendered.
        drawn: the factors of the scene, those of the published grid among them.
    """

    factors: Factors
    labels: str
    scene: str
    drawn: Factors

    def numbers(self, factors: Factors, digits: torch.Tensor) -> NDArray[np.float64]:
        """Return what the scene is set with for digits ``(N, F)`` of a grid of the published factors."""
        of_scene = torch.zeros(len(digits), len(self.drawn.names), dtype=digits.dtype)
        sizes = [1] * len(self.drawn.names)
        for column, name in enumerate(factors.names):
            place = self.drawn.names.index(name)
            of_scene[:, place], sizes[place] = digits[:, column], factors.sizes[column]
        return scene_numbers(replace(self.drawn, sizes=tuple(sizes)), of_scene)


GRIDS = {
    "isaac3d": Grid(published_isaac3d.FACTORS, published_isaac3d.LABELS, "kitchen", isaac3d.GRID),
    "falcor3d": Grid(published_falcor3d.FACTORS, published_falcor3d.LABELS, "living_room", falcor3d.GRID),
}
"""Every data set whose grid can be rendered, by its ``--data.name``."""


def coarser(factors: Factors, values: int | None) -> Factors:
    """Return a grid whose factors have at most so many values, spread over the same ranges.

    Example:
        >>> coarser(Factors(("x", "shape"), (8, 3)), 4).sizes
        (4, 3)
    """
    return factors if values is None else replace(factors, sizes=tuple(min(size, values) for size in factors.sizes))


def labels_of(factors: Factors) -> NDArray[np.float64]:
    """Return the labels ``(N, F)`` of all images: i / (m - 1) for the i-th of m values.

    Example:
        >>> labels_of(Factors(("x", "y"), (2, 3))).tolist()[-2:]
        [[1.0, 0.5], [1.0, 1.0]]
    """
    digits = np.indices(factors.sizes).reshape(len(factors.sizes), -1).T
    return digits / np.maximum(np.array(factors.sizes) - 1.0, 1.0)


def write_grid(name: str, root: Path, values: int | None, size: int, workers: int) -> str:
    """Render a whole grid as ``images/000000.png`` and so on, with its labels, and say in words what is there.

    A file beside them says that they are rendered. The labels are written last: without them no reader takes the
    folder, so one that was left half-written is no data set, and is written anew.

    Args:
        name: a key of :data:`GRIDS`.
        root: the folder.
        values: most values of a factor, None for as many as published.
        size: pixels of a side.
        workers: processes that render.

    Raises:
        UserError: the folder holds other files or cannot be written, or MuJoCo is missing.
    """
    grid = GRIDS[name]
    factors = coarser(grid.factors, values)
    with reporting("write", root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        if made(root) is None and not is_empty(root):
            raise UserError(
                f"--root: found other files in {root}, expected an empty folder, or a grid that was rendered"
            )
        renderer = Renderer(grid.scene, size, workers)
        with reporting("write", root):
            (root / grid.labels).unlink(missing_ok=True)
            write_atomically(root / MARK, to_json(mark_of(Made(factors.sizes, size))))
            (root / IMAGES).mkdir(exist_ok=True)
            label = f"rendering {factors.count:,} images"
            with progress(label, factors.count * 3 * size**2) as advance:
                for part in torch.arange(factors.count).split(BLOCK):
                    numbers, index = grid.numbers(factors, factors.digits(part)), int(part[0])
                    for images in renderer.images(numbers):
                        for image in images:
                            picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
                            picture.save(root / IMAGES / f"{index:06}.png", compress_level=1)
                            index += 1
                        advance(images.nbytes)
            for path in (root / IMAGES).iterdir():  # of a larger grid that was here before
                if path.suffix == ".png" and path.stem.isdecimal() and int(path.stem) >= factors.count:
                    os.unlink(path)
            with replacing(root / grid.labels) as file:
                np.save(file, labels_of(factors))
        renderer.close()
    sizes = ", ".join(f"{name} {count}" for name, count in zip(factors.names, factors.sizes, strict=True))
    return f"{root}: {factors.count:,} rendered pictures of {size} x {size} pixels ({sizes})"
