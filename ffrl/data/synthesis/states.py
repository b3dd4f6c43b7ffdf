"""Data whose frames are a function of an image and of the states of its transformations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data.base import SequenceBatch, SequenceData, Split, evenly_spaced
from ffrl.data.on_device import where_made
from ffrl.data.synthesis.activity_process import mixed_activity, single_activity, states
from ffrl.data.synthesis.variation import Factor


class StateSequences(SequenceData):
    """Sequences x_t = image in state s_t = s_{t-1} + g_t, states being counted in unit steps of each transformation.

    Subclasses say which state an image is in (:meth:`origin`), how it looks in another one (:meth:`in_states`), which
    states can be shown (:meth:`showable`), and where sequences start (:meth:`placed`).

    Attributes:
        config: sequence length and activity process.
        limits: what :meth:`showable` asks for, in words.
        periods: after how many unit steps a transformation comes round, for those that do.
    """

    config: DataConfig
    limits: str
    periods: Mapping[str, float] = MappingProxyType({})

    @abstractmethod
    def origin(self, split: Split, indices: Tensor) -> Tensor:
        """Return the states ``(B, J)`` of the images ``indices (B,)`` as they are."""

    @abstractmethod
    def in_states(self, split: Split, indices: Tensor, visited: Tensor) -> Tensor:
        """Return images in given states, ``indices (B,)``, ``visited (B, N, J)`` in unit steps -> ``(B, N, C, H, W)``.

        Raises:
            UserError: if the split is not there.
        """

    @abstractmethod
    def showable(self, visited: Tensor) -> Tensor:
        """Return which of the states ``(..., J)`` can be shown, ``(...)`` of bools."""

    @abstractmethod
    def placed(
        self, split: Split, indices: Tensor, activity: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return the activity ``(B, T, J)``, slower where it would leave the data, and the initial states ``(B, J)``.

        ``generator`` is None for the sequences of the published protocols, in which one transformation acts.
        """

    def moved_factors(self) -> tuple[Factor, ...]:
        """Return the factors that states determine, with the values that single-transformation sequences go through.

        One for each transformation: whole unit steps from 0 to T, at most once round.

        Raises:
            UserError: a frame does not tell its factors.
        """
        count = self.num_steps + 1
        periods = {name: self.periods.get(name) for name in self.transformations}
        return tuple(Factor(name, 0, int(min(count, round or count)), round) for name, round in periods.items())

    def states_of(self, split: Split, indices: Tensor, values: Tensor) -> Tensor:
        """Return the states ``(B, N, J)`` in which the images ``(B,)`` have values ``(B, N, F)`` of the moved factors.

        Example:
            >>> from ffrl.data.digits.mnist import MnistSequences
            >>> MnistSequences(DataConfig()).states_of("train", torch.tensor([7]), torch.tensor([[[1, 0, 8]]]))
            tensor([[[1., 0., 8.]]])
        """
        return values.float() + self.origin(split, indices)[:, None]

    def kept_factors(self, split: Split, indices: Tensor) -> tuple[tuple[Factor, Tensor], ...]:
        """Return the factors that no transformation moves, as far as they are known, with the values of the images.

        Returns:
            Of every such factor itself and its values, ``(B,)``.
        """
        return ()

    def images(self, split: Split, indices: Tensor) -> Tensor:
        return self.in_states(split, indices, self.origin(split, indices)[:, None])[:, 0]

    def single(
        self, split: Split, indices: Tensor, which: Tensor, generator: torch.Generator | None = None
    ) -> SequenceBatch:
        activity = single_activity(which, self.num_steps, len(self.transformations))
        activity, start = self.placed(split, indices, activity, generator)
        return SequenceBatch(self.in_states(split, indices, states(activity, start)), activity)

    def mixed(self, split: Split, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        activity, visited = self._mixed(split, indices, generator)
        return SequenceBatch(self.in_states(split, indices, visited), activity)

    def stills(self, split: Split, indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
        visited = self._mixed(split, indices, generator)[1][:, evenly_spaced(self.num_steps, count)]
        return self.in_states(split, indices, visited)

    def _mixed(self, split: Split, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Activity and states of mixed sequences."""
        shape = (len(indices), self.num_steps, len(self.transformations))
        activity = mixed_activity(self.config, shape, self.graded, generator)
        activity, start = self.placed(split, indices, activity, generator)
        return activity, states(activity, start)


def prescribable(data: SequenceData) -> bool:
    """Tell whether sequences of ``data`` can be prescribed: whether its frames are made from states.

    Example:
        >>> from ffrl.data import load
        >>> prescribable(load(DataConfig()))
        True
    """
    return isinstance(where_made(data), StateSequences)


def made_from_states(data: SequenceData, why: str) -> StateSequences:
    """Return the sequences that make the frames of ``data`` from states.

    Args:
        data: the sequences, wherever their batches are.
        why: what needs states, for the message.

    Raises:
        UserError: the frames are not made from states.

    Example:
        >>> from ffrl.data import load
        >>> made_from_states(load(DataConfig()), "frames are rendered").name
        'mnist'
    """
    made = where_made(data)
    if not isinstance(made, StateSequences):
        expected = "data whose frames are made from states, such as 'mnist'"
        raise UserError(f"data.name: found {data.name!r}, expected {expected}: {why}")
    return made


def visited_states(
    data: StateSequences, split: Split, indices: Tensor, activity: Tensor, start: Tensor | None = None
) -> Tensor:
    """Return the states ``(B, T+1, J)`` that images go through under one activity; see :func:`moved`."""
    origin = data.origin(split, indices)
    if start is not None:
        origin = origin + start.to(origin)
    return states(activity.to(origin).expand(len(indices), -1, -1), origin)


def renderable(
    data: SequenceData, split: Split, indices: Tensor, activity: Tensor, start: Tensor | None = None
) -> bool:
    """Tell whether :func:`moved` can show every state that an activity leads to.

    Example:
        >>> from ffrl.data import load
        >>> renderable(load(DataConfig()), "validation", torch.arange(2), torch.tensor([[-12.0, 0.0, 0.0]]))
        False
    """
    source = where_made(data)
    if not isinstance(source, StateSequences):
        return False
    indices = indices.to(source.device)
    return bool(source.showable(visited_states(source, split, indices, activity, start)).all())


def moved(
    data: SequenceData, split: Split, indices: Tensor, activity: Tensor, start: Tensor | None = None
) -> SequenceBatch:
    """Return sequences of images under one given activity: x_t is the image moved by s_0 + g_1 + ... + g_t unit steps.

    Args:
        data: data whose frames are a function of image and state.
        split: "train", "validation" or "test".
        indices: ``(B,)``, the images.
        activity: ``(T, J)``, any number of steps (also none), any speeds.
        start: s_0, how many unit steps the images are moved before the first frame, ``(J,)``; zero for None.

    Raises:
        UserError: other data, a split that is not there, or states that cannot be shown.

    Example:
        >>> from ffrl.data import load
        >>> moved(load(DataConfig()), "validation", torch.arange(2), torch.ones(5, 3)).frames.shape
        torch.Size([2, 6, 3, 28, 28])
    """
    source = made_from_states(data, "other sequences cannot be moved on request")
    if not renderable(data, split, indices, activity, start):
        raise UserError(f"moves: found states that {data.title} does not show, expected {source.limits}")
    device, indices = indices.device, indices.to(source.device)
    visited = visited_states(source, split, indices, activity, start)
    activity = activity.to(device, visited.dtype).expand(len(indices), -1, -1)
    return SequenceBatch(source.in_states(split, indices, visited).to(device), activity)
