"""The phases of training at work: who takes the steps of each, and which steps are whose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ffrl.config import RunConfig, TrainingPhase

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ffrl.data.base import SequenceData
    from ffrl.models.interface import SequenceModel


@dataclass(frozen=True)
class Span:
    """The steps ``first`` .. ``last`` - 1 of a phase.

    Attributes:
        phase: the phase.
        first: its first step, counted from 0.
        last: the first step after it.
    """

    phase: TrainingPhase
    first: int
    last: int

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return self.last - self.first


def spans(config: RunConfig) -> list[Span]:
    """The phases of a run that have steps, in their order.

    A phase begins at the first step whose share of all steps is not before it. Steps beyond those that were planned at
    first are of the last gradient phase, and of what follows it.

    Example:
        >>> from ffrl.config import StillConfig
        >>> [(span.phase.name, span.first, span.last) for span in spans(RunConfig(steps=9, still=StillConfig(0.3)))]
        [('still', 0, 3), ('joint', 3, 9)]
        >>> longer = RunConfig(steps=9, still=StillConfig(0.3)).longer(15)
        >>> [(span.phase.name, span.first, span.last) for span in spans(longer)]
        [('still', 0, 3), ('joint', 3, 9), ('joint', 9, 15)]
    """
    planned, schedule = config.planned_steps or config.steps, config.schedule
    found = _shared_out(schedule, 0, planned)
    if config.steps > planned:  # once more what training ended with
        end = max(place for place, phase in enumerate(schedule) if phase.by_gradient and phase.fraction > 0)
        others = sum(phase.fraction for phase in schedule[end + 1 :])
        found += _shared_out((replace(schedule[end], fraction=1 - others), *schedule[end + 1 :]), planned, config.steps)
    return found


def _shared_out(schedule: Sequence[TrainingPhase], begin: int, end: int) -> list[Span]:
    """The spans of phases that share out the steps from ``begin`` to ``end``."""
    found, share, first = [], 0.0, begin
    for phase in schedule:
        share += phase.fraction
        last = begin + min(math.ceil(share * (end - begin) - 1e-9), end - begin)
        if phase is schedule[-1]:
            last = end
        if last > first:
            found.append(Span(phase, first, last))
        first = max(first, last)
    return found


def span_at(config: RunConfig, step: int) -> Span:
    """The phase that takes step ``step``, counted from 0; the last one for the end of the run."""
    found = spans(config)
    return next((span for span in found if step < span.last), found[-1])


def frames_of(config: RunConfig, phase: TrainingPhase, num_steps: int) -> int:
    """Return how many frames a step of a phase trains on, or costs as much as: B (T + 1), or fewer, and those alone.

    Example:
        >>> config = RunConfig(batch_size=2)
        >>> [frames_of(config, phase, num_steps=8) for phase in config.schedule]
        [6, 24]
    """
    alone = min(config.still.frames, num_steps + 1)
    if phase.frames is not None:
        frames = min(phase.frames, num_steps + 1)
    else:
        frames = num_steps + 1 + (alone if config.still.beside else 0)
    return config.batch_size * frames


def frames_until(config: RunConfig, num_steps: int, step: int) -> int:
    """Return how many frames the steps before ``step`` train on, or cost as much as.

    Example:
        >>> from ffrl.config import StillConfig
        >>> frames_until(RunConfig(steps=100, batch_size=2, still=StillConfig(fraction=0.1, beside=0.0)), 8, 20)
        240
    """
    return sum(
        max(0, min(step, span.last) - span.first) * frames_of(config, span.phase, num_steps) for span in spans(config)
    )


def cycle(config: RunConfig, step: int) -> tuple[int, int]:
    """First step and length of the stretch of gradient phases around ``step``: one cycle of the learning rate.

    Steps beyond those that were planned at first have a cycle of their own.

    Example:
        >>> cycle(RunConfig(steps=100), 60)
        (0, 100)
    """
    first, stretch = 0, 0
    for span in spans(config):
        if not span.phase.by_gradient:
            if step < span.first:
                break
            first, stretch = span.last, 0
        elif span.first == config.planned_steps and step < span.first:
            break
        else:
            first = span.first if span.first == config.planned_steps else first
            stretch = span.last - first
    return first, stretch


@dataclass(frozen=True)
class RunContext:
    """What a phase has to do its work with.

    Args:
        config: run configuration.
        model: the model in training, on ``device``.
        data: sequence data.
        device: where to compute.
        span: the steps of the phase.
        take_step: takes one step of the bound's optimiser.
        add: adds named 0-dim tensors of a step, and whether it was finite, to the window of the log.
    """

    config: RunConfig
    model: SequenceModel
    data: SequenceData
    device: torch.device
    span: Span
    take_step: Callable[[int], None]
    add: Callable[[dict[str, Tensor], Tensor], None]


class Runner(Protocol):
    """Takes the steps of a phase; its state is tensors and plain numbers."""

    def __call__(self, step: int) -> None:
        """Take step ``step`` of the run, counted from 0."""

    def tensors(self) -> dict[str, Tensor]:
        """Its state, as tensors by name; what the model needs of it is put there first."""

    def numbers(self) -> Any:
        """Its state, as JSON values."""

    def load(self, tensors: dict[str, Tensor], numbers: Any, checkpoint: Path) -> None:
        """Go on from the state of :meth:`tensors` and :meth:`numbers`, read from the folder ``checkpoint``.

        Raises:
            UserError: it is damaged, or of another phase; the message names the file.
        """

    def events(self) -> list[dict[str, Any]]:
        """Entries for ``metrics.jsonl`` since the last call, each with a ``text`` to show."""


class GradientRunner:
    """Takes steps of the bound's optimiser, whose state is kept by the trainer."""

    def __init__(self, run: RunContext) -> None:
        self._take_step = run.take_step

    def __call__(self, step: int) -> None:
        """Take step ``step``."""
        self._take_step(step)

    def tensors(self) -> dict[str, Tensor]:
        """Nothing of its own."""
        return {}

    def numbers(self) -> None:
        """Nothing of its own."""
        return None

    def load(self, tensors: dict[str, Tensor], numbers: Any, checkpoint: Path) -> None:
        """Nothing to go on from."""

    def events(self) -> list[dict[str, Any]]:
        """None."""
        return []
