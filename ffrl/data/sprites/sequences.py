"""Sequences of LPC sprites: characters that walk, cast a spell or slash, and pause now and then."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data.base import SequenceBatch, SequenceData, Split, evenly_spaced
from ffrl.data.contents import Contents, digest
from ffrl.data.sets.sprites import NAMES as SPRITES
from ffrl.data.sprites.sheets import ACTIONS, CELL, FACINGS, LAYERS, compose, read_layers
from ffrl.data.synthesis.activity_process import markov_spikes, single_activity, states

RESUME = 0.5
"""Protocol ffrl: probability per step that a pausing character goes on."""


class SpriteSequences(SequenceData):
    """Characters composed from layers of sprite sheets, in three actions and three facings (arXiv:1803.02991).

    A character is one variant of every layer of :data:`~ffrl.data.sprites.sheets.LAYERS`, and all sheets in the folders
    are used; the 1,296 published ones are those with body, trousers, shirt and hair 0 to 5, shoes 1 and no extra eyes.
    Characters are shuffled once and for all; 80 % are the train split and 20 % the validation split, so that held-out
    characters are never seen in training (their parts are, in other combinations). There is no test split.

    A sequence shows one character in one action and facing. One unit step is the next frame; actions repeat. Frame t
    depends on how many frames were shown before and on which action it is, not on counts alone, so these are no
    :class:`~ffrl.data.synthesis.states.StateSequences`. In mixed sequences the action starts anywhere in its cycle and
    the character pauses and goes on, by a two-state chain: under protocol ffrl it goes on acting with probability
    ``stay`` and ends a pause with probability 0.5, under sta it has ``on_rate`` and ``off_rate``.

    Only the layers stay on the device, as bytes (12 MB for the published sheets); frames are composed from them.

    Args:
        config: folder of the sheets, sequence length and activity process.
        device: where the layers are kept and the frames are composed.

    Raises:
        UserError: no folder is given, or folders or sheets are missing or cannot be used.

    Example:
        >>> SpriteSequences(DataConfig(name="sprites"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: data.root: found None, expected the folder of the LPC sprite sheets (body, ...
    """

    name, title = "sprites", "LPC Sprites"
    image_shape = (3, CELL, CELL)
    transformations = SPRITES
    unit_steps = tuple(f"one frame of {action}, {facing}" for action in ACTIONS for facing in FACINGS)
    graded = False

    def __init__(self, config: DataConfig, device: torch.device | str = "cpu") -> None:
        folders = ", ".join(LAYERS)
        expected = f"the folder of the LPC sprite sheets ({folders}): stf data fetch sprites tells how to get them"
        if config.root is None:
            raise UserError(f"data.root: found None, expected {expected}")
        self.config, self.num_steps, self.device = config, config.num_steps, torch.device(device)
        self._layers = read_layers(config.root, self.device)
        self._periods = torch.tensor([action.period for action in ACTIONS.values() for _ in FACINGS], device=device)
        counts = [len(layer.pixels) for layer in self._layers]
        order = np.random.RandomState(0).permutation(math.prod(counts))  # a stream that never changes (NEP 19)
        variants = torch.from_numpy(np.stack(np.unravel_index(order, counts), axis=1)).to(self.device)
        border = len(variants) * 8 // 10
        self._variants = {"train": variants[:border], "validation": variants[border:]}

    def contents(self) -> Contents:
        """Hash of the layers that characters are made of."""
        return Contents({"layers": digest(*(layer.pixels for layer in self._layers))})

    def size(self, split: Split) -> int:
        return len(self._split(split))

    def characters(self, split: Split, indices: Tensor) -> Tensor:
        """Return which variant of every layer characters have, ``indices (B,)`` -> ``(B, L)``.

        Raises:
            UserError: if the split is not there.
            IndexError: if an index is out of range (on CUDA: a device-side assertion).
        """
        return self._split(split).index_select(0, indices)

    def images(self, split: Split, indices: Tensor) -> Tensor:
        """Return the characters in the first frame of walk-front, ``indices (B,)`` -> ``(B, 3, 64, 64)``."""
        first = torch.zeros_like(indices)
        return self._frames(split, indices, first, first[:, None])[:, 0]

    def single(
        self, split: Split, indices: Tensor, which: Tensor, generator: torch.Generator | None = None
    ) -> SequenceBatch:
        """Return sequences without a pause, from frame 0, or from anywhere in the cycle if a generator is given."""
        activity = single_activity(which, self.num_steps, len(self.transformations))
        start = torch.zeros_like(which) if generator is None else self._phases(which, generator)
        shown = start[:, None] + torch.arange(self.num_steps + 1, device=start.device)
        return SequenceBatch(self._frames(split, indices, which, shown), activity)

    def mixed(self, split: Split, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        which, acting, shown = self._mixed(len(indices), generator)
        activity = single_activity(which, self.num_steps, len(self.transformations)) * acting
        return SequenceBatch(self._frames(split, indices, which, shown), activity)

    def stills(self, split: Split, indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
        which, _, shown = self._mixed(len(indices), generator)
        return self._frames(split, indices, which, shown[:, evenly_spaced(self.num_steps, count)])

    def _mixed(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Which action (B,), whether it goes on (B, T, 1), and how far it has come (B, T+1)."""
        which = torch.randint(len(self.transformations), (size,), generator=generator, device=self.device)
        start = self._phases(which, generator)
        config = self.config
        rates = (RESUME, 1 - config.stay) if config.protocol == "ffrl" else (config.on_rate, config.off_rate)
        acting = markov_spikes((size, self.num_steps, 1), *rates, generator)
        return which, acting, states(acting.long(), start[:, None]).squeeze(-1)

    def _phases(self, which: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a frame of each action, uniformly among those of its cycle."""
        share = torch.rand(len(which), generator=generator, device=self.device)
        return (share * self._periods[which]).long()

    def _frames(self, split: Split, indices: Tensor, which: Tensor, shown: Tensor) -> Tensor:
        """Compose frames from counts ``shown (B, N)`` of frames since the start of the cycle."""
        frames = shown.remainder(self._periods.index_select(0, which)[:, None])
        return compose(self._layers, self.characters(split, indices), which, frames)

    def _split(self, split: Split) -> Tensor:
        if split not in self._variants:
            raise UserError(f"split: found {split!r}, expected 'train' or 'validation', all that {self.title} has")
        return self._variants[split]
