"""Activity without spikes: every field is always on, at speeds with a Laplace or a normal prior around zero."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.activity import ActivityDraws, ActivitySample, Phase
from ffrl.priors import gaussian_kl
from stf.config import SparseWarmupConfig, SparsityConfig
from stf.sta.sparsity import laplace_kl, laplace_log_prob, laplace_sample, uniform_draws
from stf.warmed_activity import WarmedActivity


class DenseActivity(WarmedActivity):
    r"""Every field acts at every step, at a speed with a prior around zero.

    ``laplace`` is the classical sparse code, g ~ Laplace(0, b_0) and q = Laplace(m, b), whose prior favours small
    speeds; ``dense`` has g ~ N(0, 1) and q = N(m, b^2). Speeds are independent over steps and fields in both.

    The network gives the same numbers as that of :class:`stf.activity.SpikeSlabActivity`, a logit l and a speed a with
    its scale, so that the warm-up is the same: l chooses one field per step, at speeds a ~ Laplace(1, b_0). After it
    the posterior's mean is what the gate leaves of the speed,

    .. math:: m = \sigma(l) \, a,

    which carries over what the warm-up has found; a is not bounded, so that any sign and size can be reached. Without
    warm-up this is but a product of two outputs.

    Args:
        num_fields: K.
        num_controls: C, either K or 2K.
        dim: number of features per frame, D.
        config: the prior; its ``prior`` is ``laplace`` or ``dense``.
        warmup: the warm-up.

    Example:
        >>> activity = DenseActivity(3, 3, 4, SparsityConfig(prior="laplace"), SparseWarmupConfig())
        >>> activity.infer(torch.zeros(2, 9, 4)).shape
        torch.Size([2, 8, 3])
    """

    def __init__(
        self, num_fields: int, num_controls: int, dim: int, config: SparsityConfig, warmup: SparseWarmupConfig
    ) -> None:
        super().__init__(num_fields, num_controls, dim, config, warmup, outputs=3)
        self.laplace = config.prior == "laplace"

    def _outputs(self, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logit l, speed a and scale b, ``(B, T, C)`` each."""
        logits, speed, log_scale = self.network_outputs(means)
        return logits, 1 + speed, self.slab_scale * torch.exp(log_scale.clamp(-6.0, 6.0))

    def posterior_parameters(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """Mean m and scale b of q(g_t), ``(B, T+1, D)`` -> ``(B, T, C)`` each."""
        logits, speed, scale = self._outputs(means)
        return logits.sigmoid() * speed, scale

    def prior_on(self) -> Tensor:
        """Probability that a field is on under the prior: one, ``(C,)``."""
        return torch.ones(self.num_controls)

    def _sample(self, mean: Tensor, scale: Tensor, uniform: Tensor) -> Tensor:
        return laplace_sample(mean, scale, uniform) if self.laplace else mean + scale * torch.special.ndtri(uniform)

    def _kl(self, mean: Tensor, scale: Tensor) -> Tensor:
        if self.laplace:
            return laplace_kl(mean, scale, self.slab_scale, 0.0).sum((-2, -1))
        return gaussian_kl(mean, 2 * scale.log()).sum(-1)

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """One field per step during the warm-up, then speeds drawn from q, with their KLs."""
        logits, speed, scale = self._outputs(means)
        noise = uniform[..., 2]
        if phase.exclusive:
            choice, on, kl = self.choose(logits, uniform[..., 0], phase)
            slab_kl = (on * laplace_kl(speed, scale, self.slab_scale)).sum((-2, -1))
            slabs = laplace_sample(speed, scale, noise)
            return ActivitySample(choice * slabs, kl | {"slab": self.warmup.slab_weight * slab_kl})
        mean = logits.sigmoid() * speed
        kl = {"speed": phase.sparsity_weight * self._kl(mean, scale)}
        return ActivitySample(self._sample(mean, scale, noise), kl)

    def kl(self, means: Tensor) -> Tensor:
        """KL[q(speeds) || p], ``(B, T+1, D)`` -> ``(B,)`` nats, exactly."""
        return self._kl(*self.posterior_parameters(means))

    def infer(self, means: Tensor) -> Tensor:
        """Posterior means of the speeds, ``(B, T, C)``: small where a field rests, but never exactly zero.

        A score that asks which fields are on counts every one of them, as these priors do.
        """
        return self.posterior_parameters(means)[0]

    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        """Speeds from q, with log p - log q of each joint draw."""
        mean, scale = self.posterior_parameters(means)
        g = self._sample(mean, scale, uniform_draws(samples, mean, generator))
        if self.laplace:
            ratio = laplace_log_prob(g, 0.0, self.slab_scale) - laplace_log_prob(g, mean, scale)
        else:
            ratio = 0.5 * (((g - mean) / scale).square() - g.square()) + scale.log()
        log_ratio = ratio.sum((-2, -1))
        return ActivityDraws(g.unsqueeze(0), log_ratio.unsqueeze(0), torch.zeros_like(log_ratio[:1]))
