"""Activity whose training begins with exactly one field per step: what all priors of the unsupervised model share."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ffrl.activity import Activity, Phase, gumbel_softmax, warmup_phase
from ffrl.posterior import TransitionPosterior
from ffrl.priors import categorical_chain_kl
from stf.config import SparseWarmupConfig, SparsityConfig


class WarmedActivity(Activity):
    r"""Activity inferred per step by one network, with a warm-up in which its logits choose one field per step.

    The warm-up's choice stands under a sticky categorical chain, and speeds are held close to 1 by their KL from
    Laplace(1, b_0). What follows the warm-up is left to subclasses; the weight of its KLs goes geometrically from
    ``config.weight`` to ``config.final_weight``.

    Args:
        num_fields: K.
        num_controls: C, either K or 2K (separate control: both parts of a field share their category in the warm-up).
        dim: number of features per frame, D.
        config: the prior.
        warmup: the warm-up.
        outputs: numbers per control and step that the network gives.
    """

    def __init__(
        self,
        num_fields: int,
        num_controls: int,
        dim: int,
        config: SparsityConfig,
        warmup: SparseWarmupConfig,
        outputs: int,
    ) -> None:
        super().__init__(num_controls, noise_channels=4)
        self.num_fields = num_fields
        self.slab_scale = config.slab_scale
        self.sparsity_weights = config.weight, config.final_weight
        self.warmup = warmup
        self.parameters_per_control = outputs
        self.posterior = TransitionPosterior(dim, num_controls * outputs)

    def phase(self, progress: float, start: float = 0.0) -> Phase:
        """See :func:`ffrl.activity.warmup_phase`; after it the KLs' weight goes geometrically to its end."""
        phase = warmup_phase(progress, self.warmup, start)
        if phase.exclusive:
            return phase
        ended = self.warmup.fraction
        passed = (progress - ended) / (1 - ended) if ended < 1 else 1.0
        first, last = self.sparsity_weights
        return replace(phase, sparsity_weight=first * (last / first) ** passed)

    def network_outputs(self, means: Tensor) -> tuple[Tensor, ...]:
        """The network's numbers, ``(B, T+1, D)`` -> ``(B, T, C)`` each; the first are the logits of the choice."""
        return self.posterior(means).unflatten(-1, (self.parameters_per_control, self.num_controls)).unbind(-2)

    def choose(self, logits: Tensor, uniform: Tensor, phase: Phase) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Relaxed choice of one field per step, in the warm-up.

        Args:
            logits: of the controls, ``(B, T, C)``; the logit of a field is the mean over its controls.
            uniform: noise, ``(B, T, C)``.
            phase: temperature and weight of the chain.

        Returns:
            Relaxed activity and probability of each control, ``(B, T, C)`` each, and the chain's weighted KL.
        """
        categories = logits.unflatten(-1, (-1, self.num_fields)).mean(-2)
        log_q = categories.log_softmax(-1)
        choice = gumbel_softmax(categories, uniform[..., : self.num_fields], phase.temperature)
        repeats = self.num_controls // self.num_fields
        relaxed, probability = choice.repeat(1, 1, repeats), log_q.exp().repeat(1, 1, repeats)
        return relaxed, probability, {"chain": phase.chain_weight * categorical_chain_kl(log_q, self.warmup.stay)}
