"""Relaxed, amortised activity: which fields act at each step, and how fast, is read from the frames by a network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrl.models.activity import Activity, ActivityDraws, ActivitySample, Phase
from stf.sta.config import RelaxationConfig, SpikeSlabConfig
from stf.sta.network import TransitionPosterior
from stf.sta.sparsity import (
    SpikeChain,
    binary_concrete,
    laplace_kl,
    laplace_log_prob,
    laplace_sample,
    sign_kl,
    uniform_draws,
)

PER_CONTROL = {"unit": 1, "positive": 3, "signed": 4}
"""Numbers per control and step that the posterior has, by kind of slab: a spike's logit, then a slab's."""


@dataclass(frozen=True)
class RelaxedPhase(Phase):
    """Where training stands, with the temperature of the relaxed spikes."""

    temperature: float | Tensor = 1.0


class RelaxedActivity(Activity):
    r"""Spike-and-slab activity g = y s with Markov spikes y and Laplace slabs s, each relaxed in training.

    The posterior factorises over steps and controls: q(y_t^k = 1), q(s | y = 1) = Laplace(m, b) with m in (0, 2), and
    q(s | y = 0) = p(s). The slab's KL is therefore q(y = 1) KL[Laplace(m, b) || Laplace(1, b_0)]; signed slabs carry a
    sign with uniform prior, adding q(y = 1) (log 2 - H(q(sign))).

    Source: STA, sparse prior; the relaxation is the binary concrete of Maddison, Mnih and Teh 2017.

    Args:
        num_controls: C.
        dim: number of features per frame, D.
        config: the prior.
        relaxation: temperatures.

    Example:
        >>> activity = RelaxedActivity(3, 4, SpikeSlabConfig(), RelaxationConfig())
        >>> activity.infer(torch.zeros(2, 9, 4)).shape
        torch.Size([2, 8, 3])
    """

    def __init__(self, num_controls: int, dim: int, config: SpikeSlabConfig, relaxation: RelaxationConfig) -> None:
        # The first of the four channels is not used: with three, a seed would not give the runs of docs/results.md.
        super().__init__(num_controls, noise_channels=4)
        self.slab = config.slab
        self.slab_scale = config.slab_scale
        self.relaxation = relaxation
        self.posterior = TransitionPosterior(dim, num_controls * PER_CONTROL[config.slab])
        self.chain = SpikeChain(num_controls, config.on_rate, config.off_rate, config.learn_rates)

    def phase(self, progress: float, start: float = 0.0) -> RelaxedPhase:
        """Phase at ``progress`` in [0, 1]: the temperature falls geometrically over the whole run, ``start`` or not.

        Example:
            >>> activity = RelaxedActivity(3, 4, SpikeSlabConfig(), RelaxationConfig(1.0, 0.25))
            >>> activity.phase(0.5).temperature
            0.5
        """
        first, last = self.relaxation.temperature, self.relaxation.final_temperature
        return RelaxedPhase(temperature=first * (last / first) ** progress)

    def posterior_parameters(self, means: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Spike logits, slab location and scale, and sign logits, ``(B, T+1, D)`` -> ``(B, T, C)`` each."""
        raw = self.posterior(means).unflatten(-1, (PER_CONTROL[self.slab], self.num_controls)).unbind(-2)
        if self.slab == "unit":
            return raw[0], torch.ones_like(raw[0]), torch.zeros_like(raw[0]), None
        location = 1 + torch.tanh(raw[1])
        scale = self.slab_scale * torch.exp(raw[2].clamp(-6.0, 6.0))
        return raw[0], location, scale, raw[3] if self.slab == "signed" else None

    def spike_probability(self, means: Tensor) -> Tensor:
        """q(y_t = 1 | frames), ``(B, T+1, D)`` -> ``(B, T, C)``."""
        return self.posterior_parameters(means)[0].sigmoid()

    def prior_on(self) -> Tensor:
        """Stationary probability that a spike is on under the prior, on / (on + off): ``(C,)``."""
        on, off = self.chain.rates()
        return on / (on + off)

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """Relaxed spikes times sampled slabs, with their KLs.

        Raises:
            TypeError: the phase is not one of :meth:`phase`.
        """
        if not isinstance(phase, RelaxedPhase):
            raise TypeError(f"phase: found {type(phase).__name__}, expected RelaxedPhase")
        logits, location, scale, sign_logits = self.posterior_parameters(means)
        _, spike_noise, slab_noise, sign_noise = uniform.unbind(-1)
        spikes, on = binary_concrete(logits, spike_noise, phase.temperature), logits.sigmoid()
        kl = {"spike": self.chain.kl(logits)}
        if self.slab == "unit":
            return ActivitySample(spikes, kl)
        slabs = laplace_sample(location, scale, slab_noise)
        if sign_logits is not None:
            slabs = slabs * (2 * binary_concrete(sign_logits, sign_noise, phase.temperature) - 1)
        return ActivitySample(spikes * slabs, kl | {"slab": self._slab_kl(on, location, scale, sign_logits)})

    def _slab_kl(self, on: Tensor, location: Tensor, scale: Tensor, sign_logits: Tensor | None) -> Tensor:
        """KL of slabs and signs, ``(B,)``, weighted by the probability of each spike, ``(B, T, C)``."""
        kl = laplace_kl(location, scale, self.slab_scale)
        kl = kl if sign_logits is None else kl + sign_kl(sign_logits)
        return (on * kl).sum((-2, -1))

    def kl(self, means: Tensor) -> Tensor:
        """KL[q(spikes, slabs, signs) || p], ``(B, T+1, D)`` -> ``(B,)`` nats, exactly."""
        logits, location, scale, sign_logits = self.posterior_parameters(means)
        total = self.chain.kl(logits)
        return total if self.slab == "unit" else total + self._slab_kl(logits.sigmoid(), location, scale, sign_logits)

    def infer(self, means: Tensor) -> Tensor:
        """Speeds where a spike is more likely than not, exact zeros elsewhere: ``(B, T, C)``."""
        logits, location, _, sign_logits = self.posterior_parameters(means)
        if sign_logits is not None:
            location = torch.where(sign_logits > 0, location, -location)
        return torch.where(logits > 0, location, torch.zeros_like(location))

    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        """Hard spikes y ~ Bernoulli(q), slabs s ~ q(s | y) and signs, with log p - log q of each joint draw."""
        logits, location, scale, sign_logits = self.posterior_parameters(means)

        def uniform() -> Tensor:
            return uniform_draws(samples, logits, generator)

        spikes = (uniform() < logits.sigmoid()).to(logits.dtype)
        log_q = (spikes * F.logsigmoid(logits) + (1 - spikes) * F.logsigmoid(-logits)).sum((-2, -1))
        log_ratio = self.chain.log_prob(spikes) - log_q
        g = spikes
        if self.slab != "unit":
            slabs = laplace_sample(location, scale, uniform())
            ratio = laplace_log_prob(slabs, 1.0, self.slab_scale) - laplace_log_prob(slabs, location, scale)
            if sign_logits is not None:
                positive = (uniform() < sign_logits.sigmoid()).to(logits.dtype)
                log_sign = positive * F.logsigmoid(sign_logits) + (1 - positive) * F.logsigmoid(-sign_logits)
                slabs, ratio = slabs * (2 * positive - 1), ratio - math.log(2) - log_sign
            g = spikes * slabs
            log_ratio = log_ratio + (spikes * ratio).sum((-2, -1))
        return ActivityDraws(g.unsqueeze(0), log_ratio.unsqueeze(0), torch.zeros_like(log_ratio[:1]))
