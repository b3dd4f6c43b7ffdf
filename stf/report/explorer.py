"""Frames for the sliders of the report: images moved by each field alone at several speeds, in one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ffrl.models.interface import SequenceModel
from stf.plot.compute.observed import Traversal, alone
from stf.plot.compute.pictures import pictures
from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import to_image

SPEEDS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
"""Speeds of the slider, in the unit of training and in the direction of the field's transformation."""
LARGEST = 740_000
"""Bytes of the PNG, a third more in the report; with more, there are fewer images, then smaller ones."""
SMALLER = (1, 2, 4)
"""How many times smaller."""


@dataclass(frozen=True)
class Explorer:
    """What the sliders show.

    Args:
        roles: of the F fields.
        images: how many images, N.
        steps: T + 1 frames of each sequence.
        size: width and height of a frame.
        png: the frames: a row for every field and image, the image varying fastest, in it the sequences of all
            :data:`SPEEDS` one after the other, and the real image itself.
    """

    roles: tuple[FieldRole, ...]
    images: int
    steps: int
    size: tuple[int, int]
    png: bytes

    @property
    def sheet_size(self) -> tuple[int, int]:
        """Width and height of the PNG."""
        width, height = self.size
        return width * (len(SPEEDS) * self.steps + 1), height * len(self.roles) * self.images


@torch.no_grad()
def explore(model: SequenceModel, traversals: Sequence[Traversal], largest: int = LARGEST) -> Explorer | None:
    """Move the images of traversals at all :data:`SPEEDS` for the trained length.

    Args:
        model: in evaluation mode.
        traversals: of all fields that are shown, from :func:`stf.plot.compute.observed.move_images`.
        largest: bytes of the PNG.

    Returns:
        None where there are no traversals, or where even one small image of each takes more bytes.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> frames = torch.rand(2, 9, 3, 28, 28)
        >>> one = Traversal(FieldRole(0), frames[:, 0], tuple(range(9)), frames, trained=8)
        >>> found = explore(model, [one])
        >>> found.images, found.steps, found.sheet_size
        (2, 9, (1792, 56))
    """
    if not traversals:
        return None
    rows = np.stack([_sequences(model, one) for one in traversals])  # (F, N, S (T+1) + 1, H, W, 3)
    roles = tuple(one.role for one in traversals)
    for smaller in (times for times in SMALLER if times <= min(rows.shape[3:5])):
        for images in range(rows.shape[1], 0, -1):
            png, size = _sheet(rows[:, :images], smaller)
            if len(png) <= largest:
                return Explorer(roles, images, traversals[0].trained + 1, size, png)
    return None


def _sequences(model: SequenceModel, one: Traversal) -> NDArray[np.uint8]:
    """All frames of one field, and the real images at the end: ``(N, S (T+1) + 1, H, W, 3)``."""
    inputs = one.inputs.to(next(model.parameters()).device)
    speeds = torch.tensor(SPEEDS)[:, None] * alone([one.role], model.num_fields, model.num_controls)
    start = model.encode(inputs).repeat_interleave(len(SPEEDS), 0)
    steady = speeds.to(start).repeat(len(inputs), 1).unsqueeze(1).expand(-1, one.trained, -1)
    moved = model.decode(model.flow(start, steady)).unflatten(0, (len(inputs), -1)).flatten(1, 2).cpu()
    frames = pictures(torch.cat([moved, one.inputs.unsqueeze(1)], 1), model.frame_kind)
    shown = np.stack([[to_image(frame) for frame in row] for row in frames])
    return (255 * shown).round().astype(np.uint8)


def _sheet(rows: NDArray[np.uint8], smaller: int) -> tuple[bytes, tuple[int, int]]:
    """A PNG of frames ``(F, N, M, H, W, 3)``, and the width and height of each."""
    *_, height, width, _ = rows.shape
    width, height = width // smaller, height // smaller
    frames = rows[..., : height * smaller, : width * smaller, :]
    if smaller > 1:
        blocks = frames.reshape(*frames.shape[:3], height, smaller, width, smaller, 3)
        frames = blocks.mean((-4, -2)).round().astype(np.uint8)
    sheet = frames.transpose(0, 1, 3, 2, 4, 5).reshape(-1, frames.shape[2] * width, 3)
    image = Image.fromarray(sheet)
    if (sheet == sheet[..., :1]).all():
        image = image.convert("L")
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue(), (width, height)
