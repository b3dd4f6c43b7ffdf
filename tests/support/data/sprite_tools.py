"""Sprite sheets in the layout of the published ones, whose cells say by their colour which they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ffrl.data.sprites.sheets import LAYERS

ROWS = (10, 9, 11, 2, 1, 3, 14, 13, 15)
"""Row of walk, spell cast and slash, each to the front, left and right (universal LPC layout)."""
COLUMNS = ((8, 1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3, 4, 5, 4, 6), (0, 1, 2, 3, 4, 5, 4, 0))
"""Columns of the 8 published frames of walk, spell cast and slash."""


def blank() -> np.ndarray:
    """The cells of a transparent sheet, (21, 13, 64, 64, 4)."""
    return np.zeros((21, 13, 64, 64, 4), dtype=np.uint8)


def picture(cells: np.ndarray) -> Image.Image:
    return Image.fromarray(cells.swapaxes(1, 2).reshape(21 * 64, 13 * 64, 4))


def coded(layer: int, variant: int) -> np.ndarray:
    """Cells with a block at a place of the layer, whose colour says variant, row and column."""
    cells = blank()
    block = cells[:, :, 9 * layer : 9 * layer + 3, 20 + layer : 30 + layer]
    block[..., 0] = 20 * (variant + 1)
    block[..., 1] = 10 * np.arange(21)[:, None, None, None]
    block[..., 2] = 15 * np.arange(13)[None, :, None, None]
    block[..., 3] = 255
    return cells


def coded_sheets(factory: pytest.TempPathFactory) -> Path:
    """A folder, made once, of the fewest sheets there can be, each with :func:`coded` cells."""
    root = factory.getbasetemp() / "coded-sheets"
    if not root.exists():
        for layer, (name, count) in enumerate(LAYERS.items()):
            (root / name).mkdir(parents=True)
            for variant in range(count):
                picture(coded(layer, variant)).save(root / name / f"{variant}.png", compress_level=1)
    return root
