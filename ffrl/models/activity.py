"""Activity g of the fields: what every model says of it, and the case in which it is given (supervised)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor, nn

from ffrl.config import StillConfig

Pool = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[list[Tensor], list[Tensor]]]
"""Maps means and sums over the sequences that a model sees to those over the whole batch, of which they are a part."""


def whole(means: Sequence[Tensor], sums: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return means and sums over a batch that the model sees as a whole: they stay what they are.

    Example:
        >>> whole([torch.zeros(())], [])
        ([tensor(0.)], [])
    """
    return list(means), list(sums)


class ActivityKind(Enum):
    """Where the activity of a model comes from, and what it says."""

    GIVEN = "given"
    """It is observed: every transformation has a field of its own."""
    CONSTANT = "constant"
    """It is inferred, and one field acts throughout a sequence."""
    FREE = "free"
    """It is inferred, and any number of fields may act at each step, to be matched with what does."""
    OPAQUE = "opaque"
    """It is inferred, and says not how much each field acts: a matrix, for instance."""

    @property
    def given(self) -> bool:
        """Whether it is observed."""
        return self is ActivityKind.GIVEN

    @property
    def constant(self) -> bool:
        """Whether one unknown field acts throughout."""
        return self is ActivityKind.CONSTANT

    @property
    def free(self) -> bool:
        """Whether any number of unknown fields may act."""
        return self is ActivityKind.FREE

    @property
    def of_fields(self) -> bool:
        """Whether each of its entries says how one field acts.

        Example:
            >>> [kind.name for kind in ActivityKind if kind.of_fields]
            ['GIVEN', 'CONSTANT', 'FREE']
        """
        return self is not ActivityKind.OPAQUE


@dataclass(frozen=True)
class Phase:
    """Where training stands.

    ``still``: every frame is a sequence of its own (T = 0), the KL of its latent is weighted by ``latent_weight``, and
    the cross-entropy of its pixels by ``cross_entropy_weight``.
    """

    still: bool = False
    latent_weight: float | Tensor = 1.0
    cross_entropy_weight: float | Tensor = 0.0


@dataclass(frozen=True)
class ActivitySample:
    """Activity ``(B, T, C)``, the named terms ``(B,)`` that the bound subtracts for it, and weighted penalties."""

    g: Tensor
    kl: dict[str, Tensor]
    penalties: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ActivityDraws:
    """Draws from q(activity | frames) for reported bounds: M enumerated cases times S samples of each.

    Args:
        g: activity, ``(M, S, B, T, C)``.
        log_ratio: log p(activity) - log q(activity), ``(M, S, B)``.
        log_case: log q of the enumerated case, ``(M, B)``; zeros when nothing is enumerated.
    """

    g: Tensor
    log_ratio: Tensor
    log_case: Tensor


def still_phase(progress: float, config: StillConfig) -> Phase:
    """Phase at ``progress`` in [0, ``config.fraction``): frames alone, the KL of their latents ramped up from 0."""
    weight = config.latent_weight * progress / config.fraction
    return Phase(still=True, latent_weight=weight, cross_entropy_weight=config.cross_entropy)


def alone(phase: Phase, frames: int, config: StillConfig) -> Phase:
    """Phase of frames alone beside sequences of ``frames`` frames: the KL of each weighs as much as theirs per frame.

    Example:
        >>> alone(Phase(), 4, StillConfig())
        Phase(still=True, latent_weight=0.25, cross_entropy_weight=1.0)
    """
    return Phase(still=True, latent_weight=phase.latent_weight / frames, cross_entropy_weight=config.cross_entropy)


class Activity(nn.Module, ABC):
    """Prior and posterior over the activity of all fields at all steps.

    Args:
        num_controls: C, the length of the activity vector.
        noise_channels: independent uniform numbers needed per control and step.

    Attributes:
        pool: what estimates that follow the batches are taken of: all that the model sees, unless that is a part.
    """

    kind: ActivityKind = ActivityKind.FREE
    """Where it comes from."""

    def __init__(self, num_controls: int, noise_channels: int) -> None:
        super().__init__()
        self.num_controls = num_controls
        self.noise_channels = noise_channels
        self.pool: Pool = whole

    def phase(self, progress: float, start: float = 0.0) -> Phase:
        """Phase at ``progress`` in [0, 1] of training, in which frames begin to move at ``start``: always the same."""
        return Phase()

    @abstractmethod
    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """Sample for training from latent means ``(B, T+1, D)`` and uniform noise ``(B, T, C, channels)``."""

    @abstractmethod
    def infer(self, means: Tensor) -> Tensor:
        """Most probable activity ``(B, T, C)``, exactly zero where off."""

    @abstractmethod
    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        """Hard draws for reported bounds."""


class GivenActivity(Activity):
    """Activity that is observed: nothing to infer, no KL."""

    kind = ActivityKind.GIVEN

    def __init__(self, num_controls: int) -> None:
        super().__init__(num_controls, noise_channels=0)

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """Raises ValueError: supervised activity has to be passed in."""
        raise ValueError("a supervised model infers no activity: pass activity (B, T, K)")

    def infer(self, means: Tensor) -> Tensor:
        """Raises ValueError, as :meth:`forward` does."""
        raise ValueError("a supervised model infers no activity: its activity is given")

    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        """Raises ValueError, as :meth:`forward` does."""
        raise ValueError("a supervised model infers no activity: its activity is given")
