"""What the tests of the figures share: tiny models and data, and finding what a figure shows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from engine_tiny import STEPS, TinyData, tiny_config
from exact_tools import awaken, silence
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor, nn

from ffrl.config import DataConfig, ModelConfig
from ffrl.core.errors import require
from ffrl.data.base import SequenceBatch, SequenceData
from ffrl.data.catalogue import DATA_SETS
from ffrl.data.synthesis.states import StateSequences
from stf.config import SparseModelConfig, SparsityConfig
from stf.plot.compute.roles import FieldRole
from stf.run import build_model

SIZE = dict(latent_dim=3, width=8, depth=1, potential_width=4)
TRANSFORMATIONS = TinyData.transformations


def tiny_model(
    mode: str = "unsupervised",
    num_fields: int = 3,
    slab: str = "positive",
    data: SequenceData | None = None,
    **size: Any,
) -> nn.Module:
    """An untrained model of tiny images whose fields move visibly, each as a transformation does if there are any."""
    data = data or SparseData()
    config = tiny_config(mode)
    kind = ModelConfig if mode == "supervised" else SparseModelConfig
    config = replace(config, model=kind(num_fields=num_fields, **(SIZE | size)))
    name = data.name if data.name in DATA_SETS else "mnist"
    config = replace(config, data=replace(config.data, name=name, num_steps=data.num_steps))
    if mode == "unsupervised":
        config = replace(config, sparsity=SparsityConfig(slab=slab))
    model = build_model(config, data.image_shape).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model if mode == "supervised" else awake(model, data)


def awake(model: nn.Module, data: SequenceData) -> nn.Module:
    """Let every control do what a transformation of the data does to latents, half of it for a second part.

    After a longer fit the fields would be the same everywhere.
    """
    indices = torch.arange(data.size("validation"))
    frames = data.mixed("validation", indices, torch.Generator().manual_seed(0)).frames
    moves = []
    for number in range(len(data.transformations)):
        alone = data.single("validation", indices, torch.full_like(indices, number)).frames
        moves.append(model.encode(alone).diff(dim=1).mean((0, 1)))
    if not moves:
        return awaken(model, frames)
    targets = torch.stack(moves).detach()[torch.arange(model.num_controls) % model.num_fields % len(moves)]
    first = (torch.arange(model.num_controls) < model.num_fields).unsqueeze(-1)
    return awaken(model, frames, torch.where(first, targets, targets / 2), steps=40)


class SparseData(TinyData):
    """Sequences in which each transformation acts at about half of the steps."""

    def mixed(self, split: str, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        uniform = torch.rand(2, len(indices), STEPS, 3, generator=generator)
        return self._batch(split, indices, torch.where(uniform[0] < 0.5, 0.5 + uniform[1], 0.0))


class Clips(SequenceData):
    """Recordings of which nothing is known: a bright square on a gradient walks to the right, at its own speed."""

    name, title, image_shape = "sequences", "my clips", (3, 16, 16)
    transformations, unit_steps = (), ()
    num_steps, device = 3, torch.device("cpu")

    def size(self, split: str) -> int:
        require(split in ("train", "validation"), "split", split, "train or validation")
        return {"train": 12, "validation": 7}[split]

    def images(self, split: str, indices: Tensor) -> Tensor:
        return self.mixed(split, indices, None).frames[:, 0]

    def mixed(self, split: str, indices: Tensor, generator: torch.Generator | None) -> SequenceBatch:
        _, height, width = self.image_shape
        count, number = self.num_steps + 1, indices[:, None].float() + (split == "train") / 2
        left = (1 + (0.5 + number % 3) * torch.arange(count)) % width
        column = torch.arange(width) - left[..., None]
        frames = torch.linspace(0, 0.4, width).expand(len(indices), count, 3, height, width).clone()
        inside = ((column >= 0) & (column < 4))[:, :, None, None] & (torch.arange(height) >= height // 2)[:, None]
        colour = torch.tensor([0.9, 0.5, 0.1]).roll(1)[None, :, None, None]
        frames = torch.where(inside, colour * (1 - 0.05 * number[..., None, None, None]), frames)
        return SequenceBatch(frames, torch.zeros(len(indices), self.num_steps, 0))


class Grid(StateSequences):
    """Images of J squares whose brightness is a digit from 0 to 4; only whole digits can be shown, as in a file."""

    name, title, unit_steps = "isaac3d", "made Isaac3D", ()
    limits, graded, device = "whole states from 0 to 4", False, torch.device("cpu")

    def __init__(self, count: int = 3, num_steps: int = 3, side: int = 16) -> None:
        self.config, self.num_steps, self.image_shape = DataConfig(), num_steps, (1, side, side)
        self.transformations = tuple(f"square-number-{number}" for number in range(count))
        self.unit_steps = ("brightness + 1",) * count

    def size(self, split: str) -> int:
        require(split in ("train", "validation"), "split", split, "train or validation")
        return {"train": 12, "validation": 9}[split]

    def origin(self, split: str, indices: Tensor) -> Tensor:
        return ((indices[:, None] + torch.arange(len(self.transformations))) % 5).float()

    def in_states(self, split: str, indices: Tensor, visited: Tensor) -> Tensor:
        count, (_, height, width) = len(self.transformations), self.image_shape
        per_row = math.ceil(math.sqrt(count))
        cell = height // per_row
        frames = torch.full((*visited.shape[:2], 1, height, width), 0.05)
        for number in range(count):
            y, x = (place * cell for place in divmod(number, per_row))
            frames[..., y : y + cell, x : x + cell] += 0.2 * visited[..., number, None, None, None]
        return frames

    def showable(self, visited: Tensor) -> Tensor:
        return ((visited == visited.round()) & (visited >= 0) & (visited <= 4)).all(-1)

    def placed(
        self, split: str, indices: Tensor, activity: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        origin = self.origin(split, indices)
        if generator is None:
            return activity, torch.where((activity != 0).any(1), 0.0, origin)
        return activity, (origin * (5 - activity.sum(1)) / 5).floor()


def silenced(model: nn.Module) -> nn.Module:
    """The same unsupervised model with spikes that are never on."""
    return silence(model)


def artists(figure: Figure, prefix: str = "") -> dict[str, Artist]:
    """All artists with a gid that starts with ``prefix``, by gid."""
    found = figure.findobj(lambda artist: (artist.get_gid() or "").startswith(prefix or "\0"))
    assert len({artist.get_gid() for artist in found}) == len(found)
    return {artist.get_gid(): artist for artist in found}


def picture(figure: Figure, gid: str) -> np.ndarray:
    """Pixels ``(H, W, 3)`` of the picture with this gid."""
    (image,) = (image for image in figure.axes[0].images if image.get_gid() == gid)
    return np.asarray(image.get_array())


def pictures(figure: Figure) -> set[str]:
    """Gids of all pictures."""
    return {image.get_gid() for image in figure.axes[0].images}


def axes_of(figure: Figure, label: str) -> list[Axes]:
    """All axes with this label, also inside of others, in the order they were drawn."""

    def within(axes: Axes) -> list[Axes]:
        return [axes, *(inner for child in axes.child_axes for inner in within(child))]

    return [axes for outer in figure.axes for axes in within(outer) if axes.get_label() == label]


def part(axes: Axes, gid: str) -> Any:
    """The one artist of these axes with this gid."""
    (artist,) = axes.findobj(lambda artist: artist.get_gid() == gid)
    return artist


def texts(figure: Figure) -> str:
    """All text of a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def as_drawn(frame: Tensor) -> np.ndarray:
    """A frame ``(1, H, W)`` or ``(3, H, W)`` as grey or coloured pixels ``(H, W, 3)``."""
    return frame.expand(3, -1, -1).permute(1, 2, 0).numpy()


def sticks_out(figure: Figure) -> bool:
    """Whether anything that is drawn reaches beyond the page."""
    figure.set_dpi(60)
    figure.canvas.draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(drawn.x0, drawn.y0) < -0.01 or drawn.x1 > width + 0.01 or drawn.y1 > height + 0.01


INDICES = torch.tensor([4, 0])
ROLES = [FieldRole(2, 1, "rotation"), FieldRole(0, 0, "scaling", direction=-1.0), FieldRole(1, silent=True)]


def batch(count: int = 6) -> SequenceBatch:
    """Mixed sequences."""
    return SparseData().mixed("validation", torch.arange(count), torch.Generator().manual_seed(0))


def moved(model: Any, image: torch.Tensor, columns: list[int], speed: float, steps: int) -> torch.Tensor:
    """Decoded image after some transitions of constant speed in some columns of the activity."""
    if steps == 0:
        return model.decode(model.encode(image[None]))[0]
    activity = torch.zeros(1, steps, model.num_controls)
    activity[..., columns] = speed
    return model.decode(model.flow(model.encode(image[None]), activity)[:, -1])[0]
