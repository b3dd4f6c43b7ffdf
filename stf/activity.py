"""Sparse activity: which fields act at each step, and how fast, inferred from the frames."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrl.activity import Activity, ActivityDraws, ActivitySample, Phase, gumbel_softmax, warmup_phase
from ffrl.posterior import TransitionPosterior
from ffrl.priors import categorical_chain_kl
from stf.config import SparseWarmupConfig, SparsityConfig
from stf.sparsity import SpikeChain, binary_concrete, laplace_kl, laplace_log_prob, laplace_sample, sign_kl


class SpikeSlabActivity(Activity):
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
        super().__init__(num_controls, noise_channels=4)
        self.num_fields = num_fields
        self.slab = config.slab
        self.slab_scale = config.slab_scale
        self.sparsity_weights = config.weight, config.final_weight
        self.slab_weight = config.slab_weight
        self.warmup = warmup
        self.chain = SpikeChain(num_controls, config.on_rate, config.off_rate, config.learn_rates)
        self.parameters_per_control = {"unit": 1, "positive": 3, "signed": 4}[config.slab]
        self.posterior = TransitionPosterior(dim, num_controls * self.parameters_per_control)

    def phase(self, progress: float, start: float = 0.0) -> Phase:
        """See :func:`ffrl.activity.warmup_phase`; after it the KLs' weight goes geometrically to its end."""
        phase = warmup_phase(progress, self.warmup, start)
        if phase.exclusive:
            return phase
        ended = self.warmup.fraction
        passed = (progress - ended) / (1 - ended) if ended < 1 else 1.0
        first, last = self.sparsity_weights
        return replace(phase, sparsity_weight=first * (last / first) ** passed)

    def posterior_parameters(self, means: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Spike logits, slab location and scale, and sign logits, ``(B, T, C)`` each."""
        raw = self.posterior(means).unflatten(-1, (self.parameters_per_control, self.num_controls)).unbind(-2)
        if self.slab == "unit":
            return raw[0], torch.ones_like(raw[0]), torch.zeros_like(raw[0]), None
        location = 1 + torch.tanh(raw[1])
        scale = self.slab_scale * torch.exp(raw[2].clamp(-6.0, 6.0))
        return raw[0], location, scale, raw[3] if self.slab == "signed" else None

    def _field_logits(self, logits: Tensor) -> Tensor:
        """Logits of the warm-up's categories: one per field, the mean over its controls."""
        return logits.unflatten(-1, (-1, self.num_fields)).mean(-2)

    def spike_probability(self, means: Tensor) -> Tensor:
        """q(y_t = 1 | frames), ``(B, T+1, D)`` -> ``(B, T, C)``."""
        return self.posterior_parameters(means)[0].sigmoid()

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """Relaxed spikes times sampled slabs, with their KLs."""
        logits, location, scale, sign_logits = self.posterior_parameters(means)
        gumbel_noise, spike_noise, slab_noise, sign_noise = uniform.unbind(-1)
        if phase.exclusive:
            categories = self._field_logits(logits)
            log_q = categories.log_softmax(-1)
            choice = gumbel_softmax(categories, gumbel_noise[..., : self.num_fields], phase.temperature)
            repeats = self.num_controls // self.num_fields
            spikes, on = choice.repeat(1, 1, repeats), log_q.exp().repeat(1, 1, repeats)
            kl = {"chain": phase.chain_weight * categorical_chain_kl(log_q, self.warmup.stay)}
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
        shape = (samples, *logits.shape)

        def uniform() -> Tensor:
            tiny = torch.finfo(logits.dtype).eps
            drawn = torch.rand(shape, generator=generator, device=logits.device, dtype=logits.dtype)
            return drawn.clamp(tiny, 1 - tiny)

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
