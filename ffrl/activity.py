"""Activity g of the fields: given (supervised) or one unknown field per sequence (weakly supervised)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ffrl.config import StillConfig, WarmupConfig
from ffrl.posterior import TransitionPosterior
from ffrl.priors import categorical_chain_kl, categorical_kl_uniform

NEGLIGIBLE = -30.0
"""Log-weight of relaxed activity that counts as off; e^-30 is below float32's resolution of 1."""


@dataclass(frozen=True)
class Phase:
    """Where training stands: temperature of relaxed activity, which restrictions of the warm-up hold, KL weights.

    ``still``: every frame is a sequence of its own (T = 0), the KL of its latent is weighted by ``latent_weight``, and
    the cross-entropy of its pixels by ``cross_entropy_weight``; ``exclusive``: exactly one field acts per step.
    """

    temperature: float | Tensor = 1.0
    still: bool = False
    latent_weight: float | Tensor = 1.0
    cross_entropy_weight: float | Tensor = 0.0
    exclusive: bool = False
    chain_weight: float | Tensor = 1.0
    sparsity_weight: float | Tensor = 1.0


@dataclass(frozen=True)
class ActivitySample:
    """Relaxed activity ``(B, T, C)`` and the named terms, ``(B,)`` each, that the bound subtracts for it."""

    g: Tensor
    kl: dict[str, Tensor]


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


def warmup_phase(progress: float, config: WarmupConfig, start: float = 0.0) -> Phase:
    """Phase at ``progress`` in [0, 1] of a run whose frames begin to move at ``start``.

    The temperature falls geometrically over the run; the chain's weight goes geometrically from that at ``start`` to
    that at the end of the warm-up.
    """
    temperature = config.temperature * (config.final_temperature / config.temperature) ** progress
    passed = min(max((progress - start) / (config.fraction - start), 0.0), 1.0) if config.fraction > start else 1.0
    weight = config.weight * (config.final_weight / config.weight) ** passed
    return Phase(temperature=temperature, exclusive=progress < config.fraction, chain_weight=weight)


def still_phase(progress: float, config: StillConfig) -> Phase:
    """Phase at ``progress`` in [0, ``config.fraction``): frames alone, the KL of their latents ramped from 0 to 1."""
    weight = progress / config.fraction
    return Phase(still=True, latent_weight=weight, cross_entropy_weight=config.cross_entropy)


def gumbel_softmax(logits: Tensor, uniform: Tensor, temperature: float | Tensor) -> Tensor:
    """Relaxed one-hot sample, softmax((logits + Gumbel noise) / temperature), from uniform noise of the same shape.

    Log-weights below :data:`NEGLIGIBLE` are raised to it, which keeps the flow's products clear of denormal numbers.

    Source: Jang, Gu and Poole 2017, Eq. 2; Maddison, Mnih and Teh 2017.
    """
    noisy = (logits - torch.log(-torch.log(uniform))) / temperature
    return noisy.log_softmax(dim=-1).clamp(min=NEGLIGIBLE).exp()


class Activity(nn.Module, ABC):
    """Prior and posterior over the activity of all fields at all steps.

    Args:
        num_controls: C, the length of the activity vector.
        noise_channels: independent uniform numbers needed per control and step.
    """

    needs_all_frames = True
    aligned = True
    """Whether each of its entries says how one field acts, so that it can be compared with true activity."""

    def __init__(self, num_controls: int, noise_channels: int) -> None:
        super().__init__()
        self.num_controls = num_controls
        self.noise_channels = noise_channels

    @abstractmethod
    def phase(self, progress: float, start: float = 0.0) -> Phase:
        """Phase at ``progress`` in [0, 1] of training, in which frames begin to move at ``start``."""

    @abstractmethod
    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """Relaxed sample for training from latent means ``(B, T+1, D)`` and uniform noise ``(B, T, C, channels)``."""

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

    def phase(self, progress: float, start: float = 0.0) -> Phase:
        """The same throughout training."""
        return Phase()

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """Raises ValueError: supervised activity has to be passed in."""
        raise ValueError("a supervised model infers no activity: pass activity (B, T, K)")

    def infer(self, means: Tensor) -> Tensor:
        """Raises ValueError, as :meth:`forward` does."""
        raise ValueError("a supervised model infers no activity: its activity is given")

    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        """Raises ValueError, as :meth:`forward` does."""
        raise ValueError("a supervised model infers no activity: its activity is given")


class CategoricalActivity(Activity):
    r"""One field acts at unit speed throughout the sequence; which one is inferred from all frames.

    The posterior multiplies the evidence of all transitions, :math:`\log q(k|\bar x) = \sum_t l_t^k + const`, under a
    uniform prior per sequence (FFRL, weakly supervised ELBO). During the warm-up the same logits choose one field per
    step under a sticky chain, which keeps two transformations from sharing a field.

    Args:
        num_fields: K.
        dim: latent dimension D.
        warmup: the warm-up.
    """

    def __init__(self, num_fields: int, dim: int, warmup: WarmupConfig) -> None:
        super().__init__(num_fields, noise_channels=1)
        self.posterior = TransitionPosterior(dim, num_fields)
        self.warmup = warmup

    def phase(self, progress: float, start: float = 0.0) -> Phase:
        """See :func:`warmup_phase`."""
        return warmup_phase(progress, self.warmup, start)

    def log_posterior(self, means: Tensor) -> Tensor:
        """log q(k | frames), ``(B, T+1, D)`` -> ``(B, K)``."""
        return self.posterior(means).sum(1).log_softmax(-1)

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """Relaxed one-hot activity, per step during the warm-up and per sequence after it."""
        logits = self.posterior(means)
        uniform = uniform[..., 0]
        if phase.exclusive:
            kl = categorical_chain_kl(logits.log_softmax(-1), self.warmup.stay)
            g = gumbel_softmax(logits, uniform, phase.temperature)
            return ActivitySample(g, {"chain": phase.chain_weight * kl})
        log_q = logits.sum(1).log_softmax(-1)
        g = gumbel_softmax(log_q, uniform[:, 0], phase.temperature)
        return ActivitySample(g.unsqueeze(1).expand_as(logits), {"field": categorical_kl_uniform(log_q)})

    def infer(self, means: Tensor) -> Tensor:
        """One-hot of the most probable field, repeated over the steps."""
        best = self.log_posterior(means).argmax(-1)
        onehot = nn.functional.one_hot(best, self.num_controls).to(means.dtype)
        return onehot.unsqueeze(1).repeat(1, means.shape[1] - 1, 1)

    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        """Every k in turn, weighted by q(k | frames): nothing random is left."""
        log_q = self.log_posterior(means)
        cases, (batch, steps) = self.num_controls, (len(means), means.shape[1] - 1)
        g = torch.eye(cases, dtype=means.dtype, device=means.device)[:, None, None, None, :]
        log_ratio = -math.log(cases) - log_q.T
        return ActivityDraws(
            g=g.expand(cases, samples, batch, steps, cases),
            log_ratio=log_ratio.unsqueeze(1).expand(cases, samples, batch),
            log_case=log_q.T,
        )
