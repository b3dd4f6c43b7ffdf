"""Activity g of the fields: what every model says of it, and the case in which it is given (supervised)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ffrl.config import StillConfig


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


class Activity(nn.Module, ABC):
    """Prior and posterior over the activity of all fields at all steps.

    Args:
        num_controls: C, the length of the activity vector.
        noise_channels: independent uniform numbers needed per control and step.
    """

    needs_all_frames = True
    aligned = True
    """Whether each of its entries says how one field acts, so that it can be compared with true activity."""
    constant = False
    """Whether one field acts throughout a sequence."""

    def __init__(self, num_controls: int, noise_channels: int) -> None:
        super().__init__()
        self.num_controls = num_controls
        self.noise_channels = noise_channels

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

    needs_all_frames = False

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
