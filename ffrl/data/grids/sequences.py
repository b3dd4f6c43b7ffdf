"""Sequences that walk through a grid of factors: rendered in between, or looked up among stored images."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import UserError, require
from ffrl.data.base import SequenceBatch, Split
from ffrl.data.catalogue import image_shape, transformations
from ffrl.data.contents import Contents, digest
from ffrl.data.grids.factors import Factors, split_images
from ffrl.data.synthesis.activity_process import states
from ffrl.data.synthesis.states import StateSequences
from ffrl.data.synthesis.variation import Factor
from ffrl.storage.machine import memory


class ImageSource(Protocol):
    """Images that are read by their index.

    Attributes:
        image_shape: ``(C, H, W)``.
        count: how many there are.
        block: how many consecutive images are best read at once.
        about: where they are, and what memory they take.
    """

    image_shape: tuple[int, int, int]
    count: int
    block: int
    about: str

    def read(self, indices: Tensor) -> Tensor:
        """Return the images ``indices (N,)``, in any order, as uint8 ``(N, C, H, W)``; raises UserError if damaged."""


class GridSequences(StateSequences):
    """Sequences whose states are the digits of the moved factors; what else an image shows stays as it is.

    The initial images are all images of the grid, in the order of the file. A fixed random 80 % of them are the train
    split, the others the validation split; there is no test split. The grid is complete, so a held-out image is never
    an initial image in training, but training sequences pass through it.

    In single sequences the acting transformation starts at digit 0, the others stay at the digits of the image. In
    mixed sequences a transformation starts, with probability ``start_probability`` (1 if left out), as far up as leaves
    room for its path, else at digit 0: with n values, and room = n - 1 - (the extent of its path), digit d starts at
    floor(d (room + 1) / n) on stored images and at d room / (n - 1) on rendered ones. A path that is longer than the
    grid is slowed down to fit; on stored images T is limited so that this cannot happen.

    Args:
        config: sequence length and activity process.
        factors: the grid.
        moved: the columns of the factors that the transformations move, in the order of the transformations.
        device: where indices are expected and batches are made.
        images: which images of the grid are the train and which the validation split; left out, all are divided.

    Raises:
        UserError: T is too large for the grid.
    """

    def __init__(
        self,
        config: DataConfig,
        factors: Factors,
        moved: tuple[int, ...],
        device: torch.device | str = "cpu",
        images: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.factors, self.moved = config, factors, moved
        self.device, self.num_steps = torch.device(device), config.num_steps
        self.protocol = config.protocol
        named = replace(config, name=self.name)
        self.transformations, self.image_shape = transformations(named), image_shape(named)
        divided = split_images(factors.count) if images is None else images
        self._split = {name: part.to(self.device) for name, part in divided.items()}
        self._columns = torch.tensor(moved, device=self.device)
        self._last = torch.tensor([factors.sizes[column] - 1.0 for column in moved], device=self.device)
        self._require_steps()

    def _require_steps(self) -> None:
        """Raise a UserError if a single sequence leaves the data."""
        paths = torch.eye(len(self.moved)) * torch.arange(self.num_steps + 1).view(-1, 1, 1)
        shown = self.showable(paths.to(self.device))
        if not shown.all():
            step, column = (~shown).nonzero()[0].tolist()
            name, size = self.factors.names[self.moved[column]], self.factors.sizes[self.moved[column]]
            raise UserError(
                f"data.num-steps: found {self.num_steps}, expected at most {step - 1} for {self.title}: "
                f"{name} has {size} values, and a sequence starts at the first"
            )

    @abstractmethod
    def frames(self, digits: Tensor) -> Tensor:
        """Return the images that have the digits ``(N, F)``, float ``(N, C, H, W)`` in [0, 1]."""

    def size(self, split: Split) -> int:
        return len(self._images(split))

    def origin(self, split: Split, indices: Tensor) -> Tensor:
        return self._digits(split, indices).index_select(-1, self._columns).float()

    def in_states(self, split: Split, indices: Tensor, visited: Tensor) -> Tensor:
        digits = self._digits(split, indices)[:, None].expand(-1, visited.shape[1], -1).to(visited.dtype)
        digits = digits.index_copy(-1, self._columns, visited)
        return self.frames(digits.flatten(0, 1)).unflatten(0, visited.shape[:2])

    def moved_factors(self) -> tuple[Factor, ...]:
        """Return the factors that the transformations move, with all their values."""
        columns = zip(self.moved, self.transformations, strict=True)
        return tuple(self.factors.factor(column, name) for column, name in columns)

    def states_of(self, split: Split, indices: Tensor, values: Tensor) -> Tensor:
        """Return digits as states, ``(B, N, J)``."""
        return values.float()

    def kept_factors(self, split: Split, indices: Tensor) -> tuple[tuple[Factor, Tensor], ...]:
        """Return the other factors of the grid, with the digits of the images."""
        digits, kept = self._digits(split, indices), set(range(len(self.factors.names))) - set(self.moved)
        return tuple((self.factors.factor(column), digits[:, column]) for column in sorted(kept))

    def single(
        self, split: Split, indices: Tensor, which: Tensor, generator: torch.Generator | None = None
    ) -> SequenceBatch:
        """Return published sequences, with or without a generator: the images already are in all states."""
        return super().single(split, indices, which)

    def placed(
        self, split: Split, indices: Tensor, activity: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        origin = self.origin(split, indices)
        if generator is None:
            return activity, torch.where((activity != 0).any(1), 0.0, origin)
        given = self.config.start_probability
        draws = torch.rand(origin.shape, generator=generator, device=generator.device)
        origin = torch.where(draws < (1.0 if given is None else given), origin, 0.0)
        if not self.graded:
            room = self._last - activity.sum(1)
            return activity, (origin * (room + 1) / (self._last + 1)).floor()
        path = states(activity)
        extent = path.amax(1) - path.amin(1)
        slower = (self._last / extent.clamp(min=1e-6)).clamp(max=1.0)
        room, low = (self._last - extent * slower).clamp(min=0), path.amin(1) * slower
        return activity * slower.unsqueeze(1), origin * room / self._last - low

    def _digits(self, split: Split, indices: Tensor) -> Tensor:
        return self.factors.digits(self._images(split).index_select(0, indices))

    def _images(self, split: Split) -> Tensor:
        require(split in self._split, "split", split, f"train or validation: {self.title} has no test split")
        return self._split[split]


class StoredSequences(GridSequences):
    """Sequences of stored images, one step from neighbour to neighbour; batches are made on the CPU.

    Args:
        config: sequence length and activity process.
        factors: the grid.
        moved: the columns of the factors that the transformations move.
        source: the images, in the order of the grid.

    Raises:
        UserError: T is too large for the grid, or the images are of another number or shape.
    """

    graded, streamed = False, True

    def __init__(self, config: DataConfig, factors: Factors, moved: tuple[int, ...], source: ImageSource) -> None:
        sizes = ", ".join(str(factors.sizes[column]) for column in moved)
        self.limits = f"whole states from 0 to one less than the number of values ({sizes}) of every factor"
        super().__init__(config, factors, moved)
        found = (source.count, source.image_shape)
        require(found == (factors.count, self.image_shape), self.title, found, f"{(factors.count, self.image_shape)}")
        self.source, self.about = source, source.about

    def contents(self) -> Contents:
        """Hash of the number of images, and of the first, the middle and the last one."""
        some = torch.tensor([0, self.source.count // 2, self.source.count - 1])
        return Contents({"images": digest(str(self.source.count), self.source.read(some))})

    def showable(self, visited: Tensor) -> Tensor:
        return ((visited == visited.round()) & (visited >= 0) & (visited <= self._last)).all(-1)

    def frames(self, digits: Tensor) -> Tensor:
        """Return stored images, reading each but once: digits ``(N, F)`` -> ``(N, C, H, W)`` in [0, 1].

        Raises:
            UserError: digits that are not in the grid, or an image that is missing or damaged.
        """
        indices, places = self.factors.index(digits).unique(return_inverse=True)
        return self.source.read(indices)[places].float().div_(255)


class MemoryImages:
    """Images of a source, read once as a whole.

    Args:
        source: what is read.
        title: what it is, for the line that tells of progress.

    Raises:
        UserError: an image is damaged, or the machine has less memory than the images need.
    """

    def __init__(self, source: ImageSource, title: str) -> None:
        from ffrl.core.progress import progress

        self.image_shape, self.count, self.block = source.image_shape, source.count, source.block
        size = self.count * math.prod(self.image_shape)
        self.about = f"{source.about}; {size / 2**30:.1f} GiB, all of it in memory"
        have = memory(torch.device("cpu"))
        if have is not None and size > have:
            raise UserError(
                f"data.in-memory: found {have / 2**30:.1f} GiB of memory, expected more than the {size / 2**30:.1f} "
                f"GiB of {title}; leave the flag out"
            )
        self._images = torch.empty(self.count, *self.image_shape, dtype=torch.uint8)
        with progress(f"reading {title} into memory", size) as advance:
            for start in range(0, self.count, self.block):
                part = torch.arange(start, min(start + self.block, self.count))
                images = source.read(part)
                self._images[part[0] : part[-1] + 1] = images
                advance(images.numel())

    def read(self, indices: Tensor) -> Tensor:
        """Return the images ``indices (N,)`` as uint8 ``(N, C, H, W)``."""
        return self._images.index_select(0, indices)
