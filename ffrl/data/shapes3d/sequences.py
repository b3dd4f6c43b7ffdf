"""Shapes3D: an object in a coloured room (Burgess and Kim, 2018), from the published file, or rendered."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import require
from ffrl.core.progress import say
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.sequences import GridSequences, ImageSource, MemoryImages, StoredSequences
from ffrl.data.shapes3d.file import FACTORS, NAME, SLOW_BLOCK, Shapes3DFile, open_shapes3d
from ffrl.data.shapes3d.render import render

MOVED = (0, 1, 2, 3, 5)
"""All factors but the shape."""
SCALE, ORIENTATION = 3, 4
"""Among the moved factors."""
LARGEST_ANGLE, MIDDLE, DEGREES = 90.0, 7.0, 60.0 / 14
SCALES = (-7.0, 14.0)
"""States of scale that are shown: scales from 0.25 to 1.75."""
UNIT_STEPS = 3 * ("hue + 36°",) + ("scale + 0.071", "orientation + 4.3°")


class StoredShapes3D(StoredSequences):
    """Sequences of the images of ``3dshapes.h5`` under five transformations, T at most 7; the shape stays.

    Args:
        config: ``root`` is the file or its folder.
        factors: the grid, a smaller one in tests.

    Raises:
        UserError: the file is missing, damaged or in another order, or T is too large.
    """

    name, title, unit_steps = "shapes3d", "Shapes3D", UNIT_STEPS

    def __init__(self, config: DataConfig, factors: Factors = FACTORS) -> None:
        require(config.root is not None, "data.root", config.root, "3dshapes.h5 or its folder")
        source: ImageSource = open_shapes3d(Path(config.root or NAME), factors)
        if config.in_memory:
            source = MemoryImages(source, self.title)
        elif isinstance(source, Shapes3DFile) and source.block >= SLOW_BLOCK:
            say(
                f"{source.path}: images are compressed {source.block:,} at a time, so every batch takes a minute; "
                f"quick are stf data fetch shapes3d --root {source.path.parent} --unpack (5.5 GiB of disk) and "
                "--data.in-memory (5.5 GiB of memory)"
            )
        super().__init__(config, factors, MOVED, source)


class RenderedShapes3D(GridSequences):
    """Sequences rendered in the manner of Shapes3D: the same five transformations, at any speed, on any device.

    Initial images are on the grid of the data set; what follows may lie between its values.

    Args:
        config: sequence length and activity process.
        device: where frames are rendered.

    Raises:
        UserError: T is so large that a scale or an angle cannot be shown.

    Example:
        >>> data = RenderedShapes3D(DataConfig(name="shapes3d", num_steps=7))
        >>> data.size("train"), data.size("validation")
        (384000, 96000)
        >>> data.mixed("train", torch.arange(2), torch.Generator().manual_seed(0)).frames.shape
        torch.Size([2, 8, 3, 64, 64])
    """

    name, title, unit_steps = "shapes3d", "rendered Shapes3D", UNIT_STEPS
    about = "Images are rendered in the manner of Shapes3D; for the published ones see stf data fetch shapes3d"
    limits = "states of scale from -7 to 14, and angles below 90°, which are states of orientation from -13 to 27"

    def __init__(self, config: DataConfig, device: torch.device | str = "cpu") -> None:
        super().__init__(config, FACTORS, MOVED, device)

    def showable(self, visited: Tensor) -> Tensor:
        scale, angle = visited[..., SCALE], (visited[..., ORIENTATION] - MIDDLE) * DEGREES
        low, high = SCALES
        return (scale >= low) & (scale <= high) & (angle.abs() < LARGEST_ANGLE)

    def frames(self, digits: Tensor) -> Tensor:
        return render(digits)


def shapes3d_sequences(config: DataConfig, device: torch.device | str = "cpu") -> StoredShapes3D | RenderedShapes3D:
    """Return sequences of the published images if ``config.root`` says where they are, else rendered ones.

    The ``title`` of the data says which: "Shapes3D" or "rendered Shapes3D".

    Raises:
        UserError: the file is missing, damaged or in another order, or T is too large.

    Example:
        >>> shapes3d_sequences(DataConfig(name="shapes3d", num_steps=7)).title
        'rendered Shapes3D'
    """
    return RenderedShapes3D(config, device) if config.root is None else StoredShapes3D(config)
