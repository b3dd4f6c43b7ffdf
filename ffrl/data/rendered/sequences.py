"""Sequences of images in the manner of Isaac3D and Falcor3D: rendered once, at any speed, and kept."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import require
from ffrl.core.seed import generator
from ffrl.data.base import SequenceBatch, Split, evenly_spaced
from ffrl.data.contents import Contents, digest
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.sequences import GridSequences
from ffrl.data.rendered.frames import KEY, FrameCache, Renderer
from ffrl.data.synthesis.activity_process import single_activity, states
from ffrl.storage.cache import cache_home

ROUNDING = 1e-3
"""How far out of its range a state may be, by rounding."""
SEED = 0
"""Of images and activity: the sequences are a data set, the same in every run."""


def scene_numbers(factors: Factors, digits: Tensor) -> NDArray[np.float64]:
    """Return what scenes are set with: digits ``(N, F)``, also between whole ones -> numbers ``(N, F)``.

    With m values, digit d of a factor is d / (m - 1) of its range, of a circle d / m of a turn, and of a category d.

    Example:
        >>> factors = Factors(("shape", "x", "hue"), (4, 5, 10), circles=("hue",), categories=("shape",))
        >>> scene_numbers(factors, torch.tensor([[3, 1.5, 5]])).tolist()
        [[3.0, 0.375, 0.5]]
    """
    numbers = digits.double().numpy().copy()
    for column, (name, size) in enumerate(zip(factors.names, factors.sizes, strict=True)):
        if name in factors.circles:
            numbers[:, column] = numbers[:, column] % size / size
        elif name not in factors.categories:
            numbers[:, column] = (numbers[:, column] / max(size - 1, 1)).clip(0, 1)
    return numbers


def drawn_images(factors: Factors, sequences: int, held_out: int) -> dict[str, Tensor]:
    """Return which images of a large grid sequences start with: different ones, the same for every seed.

    Example:
        >>> images = drawn_images(Factors(("x", "y"), (9, 9)), 60, 21)
        >>> sorted(torch.cat(list(images.values())).tolist()) == list(range(81))
        True
    """
    count = sequences + held_out
    require(count <= factors.count, "data.rendered.sequences", sequences, f"at most {factors.count - held_out:,}")
    source = generator("cpu", SEED, "rendered-images")
    if factors.count <= 2**20:
        drawn = torch.randperm(factors.count, generator=source)[:count]
    else:
        drawn = torch.randint(factors.count, (2 * count,), generator=source).unique()
        drawn = drawn[torch.randperm(len(drawn), generator=source)[:count]]
    return {"train": drawn[held_out:], "validation": drawn[:held_out]}


class RenderedSequences(GridSequences):
    """Sequences of a scene, at any speed; every image has a place on a grid and what follows may lie in between.

    Mixed sequences are those of a data set: sequence i of a split is always the same one, whatever the generator.
    Single ones are rendered when they are first asked for, of a transformation all at once; in training, of J
    transformations, those of the first N / J images, so that there are N as well. All else that is asked for is
    rendered then, and kept too.

    Args:
        config: sequence length, activity process, and ``rendered``: how many sequences, size and cache.
        device: ignored: batches are made on the CPU.

    Raises:
        UserError: T is too large. MuJoCo is looked for when the first image is needed.
    """

    streamed = True
    scene: str
    grid: Factors
    columns: tuple[int, ...]

    def __init__(self, config: DataConfig, device: object = "cpu") -> None:
        rendered = config.rendered
        sizes = {size for name, size in zip(self.grid.names, self.grid.sizes, strict=True) if self._has_range(name)}
        self.limits = f"states from 0 to {min(sizes) - 1} of all factors but hues"
        images = drawn_images(self.grid, rendered.sequences, rendered.held_out)
        super().__init__(config, self.grid, self.columns, images=images)
        folder = cache_home(rendered.cache, KEY)
        self.about = f"Images are rendered by MuJoCo in the manner of {self.title.split()[-1]}, and kept in {folder}"
        self._frames = FrameCache(Renderer(self.scene, rendered.size, config.workers), folder)
        self._kept: dict[tuple[str, int | None], tuple[NDArray[np.uint8], Tensor]] = {}

    def contents(self) -> Contents:
        """Hash of how the scene is drawn."""
        return Contents({self.scene: digest(self._frames.file(np.zeros((0, len(self.grid.names)))).name)})

    def showable(self, visited: Tensor) -> Tensor:
        inside = (visited >= -ROUNDING) & (visited <= self._last + ROUNDING)
        closed = torch.tensor([self.factors.names[column] in self.factors.circles for column in self.moved])
        return (inside | closed).all(-1)

    def _has_range(self, name: str) -> bool:
        return name not in self.grid.circles + self.grid.categories

    def frames(self, digits: Tensor) -> Tensor:
        return torch.from_numpy(np.array(self._frames.images(scene_numbers(self.factors, digits)))).float().div_(255)

    def mixed(self, split: Split, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        return self._read(split, None, indices, range(self.num_steps + 1))

    def stills(self, split: Split, indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
        return self._read(split, None, indices, evenly_spaced(self.num_steps, count)).frames

    def single(
        self, split: Split, indices: Tensor, which: Tensor, generator: torch.Generator | None = None
    ) -> SequenceBatch:
        """Return rendered sequences, with or without a generator: the images already are in all states."""
        shape = (len(indices), self.num_steps + 1, *self.image_shape)
        frames = torch.empty(shape)
        for acting in which.unique().tolist():
            here = which == acting
            frames[here] = self._read(split, acting, indices[here] % self._singles(split), range(shape[1])).frames
        return SequenceBatch(frames, single_activity(which, self.num_steps, len(self.transformations)))

    def _singles(self, split: Split) -> int:
        """How many single sequences there are of each transformation."""
        return self.size(split) if split != "train" else -(-self.size(split) // len(self.transformations))

    def _read(self, split: Split, acting: int | None, rows: Tensor, steps: range | list[int]) -> SequenceBatch:
        """Some frames of the sequences ``rows``: mixed ones, or those of one transformation."""
        if (split, acting) not in self._kept:
            self._kept[split, acting] = self._make(split, acting)
        frames, activity = self._kept[split, acting]
        chosen = frames[rows.numpy()[:, None], np.array(steps)]
        return SequenceBatch(torch.from_numpy(chosen).float().div_(255), activity[rows])

    def _make(self, split: Split, acting: int | None) -> tuple[NDArray[np.uint8], Tensor]:
        """Render sequences unless they are there, frames ``(N, T+1, C, H, W)``; and their activity ``(N, T, J)``."""
        if acting is None:
            indices, what = torch.arange(self.size(split)), "mixed"
            activity, visited = self._mixed(split, indices, generator("cpu", SEED, f"rendered-{split}"))
        else:
            indices, what = torch.arange(self._singles(split)), self.transformations[acting]
            activity = single_activity(torch.full_like(indices, acting), self.num_steps, len(self.transformations))
            activity, start = self.placed(split, indices, activity, None)
            visited = states(activity, start)
        digits = self._digits(split, indices)[:, None].expand(-1, visited.shape[1], -1).to(visited.dtype)
        digits = digits.index_copy(-1, self._columns, visited).flatten(0, 1)
        label = f"rendering {len(indices):,} {what} {split} sequences of {self.title}"
        frames = self._frames.images(scene_numbers(self.factors, digits), label)
        if split == "train":
            self._frames.renderer.close()  # training asks for no more
        return frames.reshape(len(indices), -1, *self.image_shape), activity
