"""Sheets of the Liberated Pixel Cup: reading their layers, and composing characters from one variant of each.

A sheet has 13 x 21 cells of 64 x 64 pixels. An action takes four rows, in which the character looks up, left, down
(to the front) and right: spell cast from row 0, walk from row 8, slash from row 12. Layout and choice of frames are
those of the Sprites of Li and Mandt, "Disentangled Sequential Autoencoder", ICML 2018, arXiv:1803.02991.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ffrl.core.errors import UserError, reason_of, require

CELL = 64
COLUMNS, ROWS = 13, 21
LAYERS = {"body": 6, "eyes": 1, "bottomwear": 6, "shoes": 2, "topwear": 6, "hair": 6}
"""The folders of sheets, from the lowest layer to the uppermost, and the fewest sheets that the published set needs."""
NUM_FRAMES = 8
FACINGS = {"front": 2, "left": 1, "right": 3}
"""Row of a facing within the four rows of an action."""
SHEET_NAME = re.compile(r"(0|[1-9][0-9]*)\.png")


class Action(NamedTuple):
    """Where an action is on a sheet: its first row, the columns of its 8 frames, and after how many it repeats."""

    row: int
    columns: tuple[int, ...]
    period: int


ACTIONS = {
    "walk": Action(8, (8, 1, 2, 3, 4, 5, 6, 7), 8),
    "spellcast": Action(0, (0, 1, 2, 3, 4, 5, 4, 6), 8),
    "slash": Action(12, (0, 1, 2, 3, 4, 5, 4, 0), 7),
}
"""The actions, with the 8 frames that the published set makes of the 9, 7 and 6 on a sheet.

Column 0 of a walk, the character standing, is left out. The slash ends as it begins, so its frame 7 is its frame 0.
Spell cast and slash show column 4 twice, on the way up and on the way down: one picture has two successors there.
"""


class Layer(NamedTuple):
    """The variants of one layer, cut down to the window in which any of them shows anything.

    ``pixels`` is uint8 ``(V, J, 8, 4, h, w)``: variant, action and facing (:func:`poses`), frame, red, green, blue and
    alpha (not premultiplied); ``top`` and ``left`` are where the window is in the 64 x 64 frame.
    """

    pixels: Tensor
    top: int
    left: int


def poses() -> list[str]:
    """Return the names of the J combinations of action and facing, in the order of :class:`Layer`.

    Example:
        >>> poses()[:4]
        ['walk-front', 'walk-left', 'walk-right', 'spellcast-front']
    """
    return [f"{action}-{facing}" for action in ACTIONS for facing in FACINGS]


def read_layers(root: Path, device: torch.device | str = "cpu") -> list[Layer]:
    """Return all layers of the sheets below ``root``, from the lowest to the uppermost.

    Args:
        root: a folder with the folders of :data:`LAYERS`, each with sheets ``0.png``, ``1.png``, ...; files with other
            names are left alone.
        device: where the pixels are kept.

    Raises:
        UserError: a folder or sheets are missing, or a sheet cannot be used.

    Example:
        >>> read_layers(Path("nowhere"))
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: data.root: found no folder nowhere/body, expected one of LPC sprite sheets
    """
    for name in LAYERS:
        if not (root / name).is_dir():
            raise UserError(f"data.root: found no folder {root / name}, expected one of LPC sprite sheets")
    return [_read_layer(root / name, least, device) for name, least in LAYERS.items()]


def read_sheet(file: Path) -> np.ndarray:
    """Return the cells of one sheet that are used, ``(J, 8, 64, 64, 4)`` uint8: pose, frame, row, column, RGBA.

    Raises:
        UserError: it cannot be read, is no PNG, has another size or no alpha channel, or shows nothing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGBA", (832, 1344), "red").save(Path(folder, "0.png"))
        ...     read_sheet(Path(folder, "0.png")).shape
        (9, 8, 64, 64, 4)
    """
    expected = "an LPC sprite sheet of 832 x 1344 pixels with an alpha channel"
    try:
        with Image.open(file, formats=["PNG"]) as image:
            width, height = image.size
            if (width, height) != (COLUMNS * CELL, ROWS * CELL):
                raise UserError(f"{file}: found {width} x {height} pixels, expected {expected}")
            if not image.has_transparency_data:
                raise UserError(f"{file}: found no alpha channel (mode {image.mode}), expected {expected}")
            pixels = np.asarray(image.convert("RGBA"))
    except UnidentifiedImageError as error:
        raise UserError(f"{file}: found no PNG image, expected {expected}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = reason_of(error)
        raise UserError(f"{file}: found a file that cannot be read ({reason}), expected {expected}") from error
    cells = pixels.reshape(ROWS, CELL, COLUMNS, CELL, 4).swapaxes(1, 2)
    rows = [action.row + below for action in ACTIONS.values() for below in FACINGS.values()]
    columns = [action.columns for action in ACTIONS.values() for _ in FACINGS]
    used = cells[np.array(rows)[:, None], np.array(columns)]
    if not used[..., 3].any():
        raise UserError(
            f"{file}: found only transparent pixels where walk, spell cast and slash are, expected {expected}"
        )
    return used


def compose(layers: Sequence[Layer], variants: Tensor, which: Tensor, frames: Tensor) -> Tensor:
    """Return pictures of characters on black, each layer over the lower ones: c <- c + alpha (c_layer - c).

    Args:
        layers: L layers, from the lowest to the uppermost.
        variants: ``(B, L)``, the variant of every layer.
        which: ``(B,)``, action and facing, in the order of :func:`poses`.
        frames: ``(B, N)``, in [0, 8).

    Returns:
        ``(B, N, 3, 64, 64)`` float32 in [0, 1].

    Example:
        >>> white = Layer(torch.full((1, 9, 8, 4, 2, 2), 255, dtype=torch.uint8), top=10, left=20)
        >>> one = torch.zeros(1, dtype=torch.long)
        >>> compose([white], one[:, None], one, one[:, None]).sum().item()  # 2 x 2 pixels of 3 channels
        12.0
    """
    size, count = frames.shape
    canvas = torch.zeros(size * count, 3, CELL, CELL, device=frames.device)
    for layer, variant in zip(layers, variants.unbind(1), strict=True):
        _, num_poses, num_frames, _, height, width = layer.pixels.shape
        rows = ((variant * num_poses + which) * num_frames)[:, None] + frames
        chosen = layer.pixels.flatten(0, 2).index_select(0, rows.flatten())
        window = canvas[:, :, layer.top : layer.top + height, layer.left : layer.left + width]
        window.lerp_(chosen[:, :3].float(), chosen[:, 3:].float().div_(255))
    return canvas.div_(255).view(size, count, 3, CELL, CELL)


def _read_layer(folder: Path, least: int, device: torch.device | str) -> Layer:
    numbers = sorted(int(file.stem) for file in folder.iterdir() if SHEET_NAME.fullmatch(file.name))
    wanted = f"at least {least}, 0.png to {least - 1}.png" if least > 1 else "at least 0.png"
    require(len(numbers) >= least, str(folder), len(numbers), f"sheets: {wanted}")
    gaps = sorted(set(range(len(numbers))) - set(numbers))
    if gaps:
        raise UserError(f"{folder}: found no {gaps[0]}.png, expected sheets 0.png to {numbers[-1]}.png without gaps")
    sheets = []
    for number in numbers:
        file = folder / f"{number}.png"
        sheet = read_sheet(file)
        if folder.name == "body":
            _check_body(file, sheet)
        sheets.append(sheet)
    pixels = np.stack(sheets)
    shown = np.any(pixels[..., 3], axis=(0, 1, 2))
    (top, bottom), (left, right) = (np.flatnonzero(shown.any(axis))[[0, -1]].tolist() for axis in (1, 0))
    window = pixels[..., top : bottom + 1, left : right + 1, :]
    return Layer(torch.from_numpy(np.ascontiguousarray(np.moveaxis(window, -1, 3))).to(device), top, left)


def _check_body(file: Path, sheet: np.ndarray) -> None:
    """Raise UserError if the body is missing in any frame."""
    empty = np.argwhere(~sheet[..., 3].any((2, 3)))
    if len(empty):
        pose, frame = empty[0].tolist()
        raise UserError(f"{file}: found an empty cell in frame {frame} of {poses()[pose]}, expected a body in all")
