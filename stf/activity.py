"""Sparse activity: which fields act at each step, and how fast, inferred from the frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrl.activity import ActivityDraws, ActivitySample, Phase
from stf.config import SparseWarmupConfig, SparsityConfig
from stf.sta.sparsity import (
    SpikeChain,
    binary_concrete,
    laplace_kl,
    laplace_log_prob,
    laplace_sample,
    sign_kl,
    uniform_draws,
)
from stf.warmed_activity import WarmedActivity


class SpikeSlabActivity(WarmedActivity):
    r"""Spike-and-slab activity g = y s with Markov spikes y and Laplace slabs s (STA, sparse prior).

    The posterior factorises over steps and controls: q(y_t^k = 1), q(s | y = 1) = Laplace(m, b) with m in (0, 2), and
    q(s | y = 0) = p(s). The slab's KL is therefore q(y = 1) KL[Laplace(m, b) || Laplace(1, b_0)]; signed slabs carry a
    sign with uniform prior, adding q(y = 1) (log 2 - H(q(sign))).

    During the warm-up the spikes' logits choose exactly one field per step under a sticky categorical chain, at speeds
    held close to 1; after it they are read as independent Bernoulli logits.

    Args:
        num_fields: K.
        num_controls: C, either K or 2K (separate control: both parts of a field share its category in the warm-up).
        dim: latent dimension D.
        config: the prior.
        warmup: the warm-up.

    Example:
        >>> activity = SpikeSlabActivity(3, 3, 4, SparsityConfig(), SparseWarmupConfig())
        >>> activity.infer(torch.zeros(2, 9, 4)).shape
        torch.Size([2, 8, 3])
    """

    def __init__(
        self, num_fields: int, num_controls: int, dim: int, config: SparsityConfig, warmup: SparseWarmupConfig
    ) -> None:
        outputs = {"unit": 1, "positive": 3, "signed": 4}[config.slab]
        super().__init__(num_fields, num_controls, dim, config, warmup, outputs)
        self.slab = config.slab
        self.slab_weight = config.slab_weight
        self.chain = SpikeChain(num_controls, config.on_rate, config.off_rate, config.learn_rates)

    def posterior_parameters(self, means: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Spike logits, slab location and scale, and sign logits, ``(B, T, C)`` each."""
        raw = self.network_outputs(means)
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
        """Relaxed spikes times sampled slabs, with their KLs."""
        logits, location, scale, sign_logits = self.posterior_parameters(means)
        gumbel_noise, spike_noise, slab_noise, sign_noise = uniform.unbind(-1)
        if phase.exclusive:
            spikes, on, kl = self.choose(logits, gumbel_noise, phase)
        else:
            spikes, on = binary_concrete(logits, spike_noise, phase.temperature), logits.sigmoid()
            kl = {"spike": phase.sparsity_weight * self.chain.kl(logits)}
        if self.slab == "unit":
            return ActivitySample(spikes, kl)
        slabs = laplace_sample(location, scale, slab_noise)
        slab_kl = laplace_kl(location, scale, self.slab_scale)
        if sign_logits is not None:
            slabs = slabs * (2 * binary_concrete(sign_logits, sign_noise, phase.temperature) - 1)
            slab_kl = slab_kl + sign_kl(sign_logits)
        weight = self.warmup.slab_weight if phase.exclusive else self.slab_weight * phase.sparsity_weight
        return ActivitySample(spikes * slabs, kl | {"slab": weight * (on * slab_kl).sum((-2, -1))})

    def kl(self, means: Tensor) -> Tensor:
        """KL[q(spikes, slabs, signs) || p], ``(B, T+1, D)`` -> ``(B,)`` nats, exactly."""
        logits, location, scale, sign_logits = self.posterior_parameters(means)
        total = self.chain.kl(logits)
        if self.slab != "unit":
            slab_kl = laplace_kl(location, scale, self.slab_scale)
            slab_kl = slab_kl if sign_logits is None else slab_kl + sign_kl(sign_logits)
            total = total + (logits.sigmoid() * slab_kl).sum((-2, -1))
        return total

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
