"""The phases of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ffrl.config.checks import at_least, non_negative
from ffrl.core.errors import require
from ffrl.core.homes import resolve


@dataclass(frozen=True)
class StillConfig:
    """First phase of training, the same in every mode: frames stand alone and nothing moves."""

    fraction: float = 0.25
    """Share of the steps, the first ones, that this phase takes."""
    frames: int = 3
    """Frames taken from each sequence, evenly spaced over it."""
    latent_weight: float = 1.0
    """Weight of the KL of a frame's latent when this phase ends (it rises from 0): 1 / (T + 1) is its share in the
    bound of a sequence, which has one latent for all its frames."""
    cross_entropy: float = 1.0
    """Weight of the pixels' cross-entropy beside their likelihood: its gradient does not vanish on black pixels."""
    beside: float = 1.0
    """Weight of frames alone, as many as in this phase, beside the sequences of the training that follows; 0: none."""

    def __post_init__(self) -> None:
        require(0.0 <= self.fraction < 1.0, "still.fraction", self.fraction, "a number in [0, 1)")
        at_least("still.frames", self.frames, 1)
        non_negative("still.cross-entropy", self.cross_entropy)
        non_negative("still.latent-weight", self.latent_weight)
        non_negative("still.beside", self.beside)


@dataclass(frozen=True)
class TrainingPhase:
    """One phase of training: what the trainer, the progress display, budgets and figures need to know of it.

    Args:
        name: what it is called.
        fraction: its share of the steps.
        frames: frames of a sequence that one step of it trains on, or costs as much as; all of them for None.
        title: what figures call its end.
    """

    name: str
    fraction: float
    frames: int | None
    title: str
    by_gradient: ClassVar[bool] = True
    """Whether its steps are those of the bound's optimiser."""
    home: ClassVar[str] = "ffrl.training.phases:GradientRunner"
    """Where the class is that takes its steps."""

    def runner(self, run: Any) -> Any:
        """What takes its steps in a :class:`ffrl.training.phases.RunContext`."""
        return resolve(self.home)(run)
