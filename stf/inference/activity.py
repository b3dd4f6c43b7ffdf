"""Activity whose posterior is exact: what a model keeps of it, and how its estimates follow the training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ffrl.models.activity import Activity, ActivityDraws, ActivityKind, ActivitySample, Phase
from stf.inference.chain import rates, switches
from stf.inference.encoded import whitening
from stf.inference.evidence import FLOOR, Noise, Transitions, relative_misfit, transitions
from stf.inference.posterior import ActivityPosterior, excess_per_on, infer
from stf.inference.prior import ActivityPrior
from stf.inference.statistics import expected_speeds

MOMENTUM = 0.02
"""Weight of a batch in the running means."""
PSEUDO = 20.0
"""Transitions that count for the rates of the configuration beside the expected ones of a field."""


class ExactActivity(Activity):
    r"""Spikes that are independent chains, normal slabs, and their exact posterior given the fields.

    Its state is what the observation model needs: the mean variance of q(z | x), which is the unit of whitened
    displacements, the relative misfit epsilon^2 of the fields, the rates of the chains, and which fields are alive.
    While training they follow the batches as running means, without gradient. ``excess`` is how much faster than 1
    every control ran on average in the last batch, by which its field is to grow.

    Args:
        num_controls: C.
        dim: D.
        prior: the prior over activity.
        on_rate, off_rate: of the chains, at first.
        learn_rates: whether the rates follow the expected transitions.
    """

    alive: Tensor
    variance: Tensor
    misfit: Tensor
    excess: Tensor
    counts: Tensor
    _index: Tensor

    def __init__(
        self, num_controls: int, dim: int, prior: ActivityPrior, on_rate: float, off_rate: float, learn_rates: bool
    ) -> None:
        super().__init__(num_controls, noise_channels=2)
        self.prior = prior
        self.constant = prior.constant
        self.kind = ActivityKind.CONSTANT if prior.constant else ActivityKind.FREE
        self.learn_rates = learn_rates and not prior.constant
        self.initial_rates = on_rate, off_rate
        self.register_buffer("alive", torch.ones(num_controls))
        self.register_buffer("variance", torch.ones(dim))
        self.register_buffer("misfit", torch.tensor(1.0))
        self.register_buffer("excess", torch.zeros(num_controls))
        self.register_buffer("counts", torch.zeros(num_controls, 2, 2))
        self._places = list(range(num_controls))
        self.register_buffer("_index", torch.arange(num_controls), persistent=False)

    # -- state -------------------------------------------------------------------------------------------------------

    def adopt(self, places: list[int], variance: Tensor, misfit: Tensor) -> None:
        """Take over what the discovery of the fields has found: controls alive, the encoder's noise, the misfit."""
        self.alive.zero_()
        self.alive[places] = 1.0
        self.variance.copy_(variance)
        self.misfit.copy_(misfit)
        self.excess.zero_()
        self._remember(sorted(places))

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._remember(self.alive.nonzero().flatten().tolist())

    def _remember(self, places: list[int]) -> None:
        self._places, self._index = places, torch.tensor(places, dtype=torch.int64, device=self.alive.device)

    @property
    def places(self) -> list[int]:
        """Which controls are alive; nothing waits for the device to tell."""
        return self._places

    @property
    def index(self) -> Tensor:
        """:attr:`places` as indices on the device of the activity."""
        return self._index

    @property
    def unit(self) -> Tensor:
        """The whitening lambda, ``(D,)``."""
        return whitening(self.variance)

    def rates(self) -> tuple[Tensor, Tensor]:
        """Switch-on and switch-off rates of all controls, ``(C,)`` each."""
        on, off = self.initial_rates
        pseudo = self.counts.new_tensor([[1 - on, on], [off, 1 - off]]) * self.counts.new_tensor([[off], [on]])
        return rates(self.counts, PSEUDO * pseudo / (on + off))

    def prior_on(self) -> Tensor:
        """Probability that a control is on under the prior, ``(C,)``: zero for those that are not alive."""
        if self.constant:
            return self.alive / self.alive.sum()
        on, off = self.rates()
        return self.alive * on / (on + off)

    # -- inference ---------------------------------------------------------------------------------------------------

    def posterior(self, means: Tensor, velocities: Tensor) -> ActivityPosterior:
        """The exact posterior.

        Args:
            means: latent means, ``(B, T+1, D)``.
            velocities: of the controls alive, averaged over the transitions, ``(B, T, c, D)``.
        """
        unit, places = self.unit, self.index
        data = transitions(velocities * unit, means.diff(dim=1) * unit)
        on, off = self.rates()
        noise = Noise(FLOOR, self.misfit, self.prior.speed_spread)
        found = infer(data, self.prior, noise, on[places], off[places])
        if len(places) == self.num_controls:
            return found
        chosen = torch.arange(len(places), device=means.device)[:, None] if found.chosen is None else found.chosen
        return replace(found, chosen=places[chosen].expand(-1, len(means)), num_controls=self.num_controls)

    @torch.no_grad()
    def follow(self, found: ActivityPosterior, means: Tensor, variance: Tensor) -> None:
        """Let the running estimates follow a batch; what of it is not finite is left out, as the optimizer's step is.

        Args:
            found: posterior of the batch.
            means: latent means, ``(B, T+1, D)``.
            variance: of q(z | x), the same shape.
        """
        kept: Transitions = found.kept
        residual = expected_speeds(found.found, found.marginal, found.space).misfit(kept) / kept.dim
        sums = [*found.sums_of_excess(), *([self._switched(found, residual)] if self.learn_rates else [])]
        mean, total = self.pool([variance.mean((0, 1)), residual.mean(), kept.energy.mean()], sums)
        _towards(self.variance, mean[0])
        _towards(self.misfit, relative_misfit(mean[1], mean[2] / kept.dim))
        self.excess.copy_(excess_per_on(total[0], total[1]))
        if self.learn_rates:
            _towards(self.counts, total[2] / MOMENTUM)

    def _switched(self, found: ActivityPosterior, residual: Tensor) -> Tensor:
        """Expected transitions of every control between off and on in a batch, ``(C, 2, 2)``."""
        switched = switches(found.paths.expected_transitions(), found.space)  # B, c, 2, 2
        if found.chosen is None:
            return switched.sum(0)
        total = torch.zeros_like(self.counts).index_add_(0, found.chosen.T.flatten(), switched.flatten(0, 1))
        rest = residual.shape[0] * (residual.shape[1] - 1) - total.sum((-2, -1))  # not enumerated: off
        total[:, 0, 0] += self.alive * rest.clamp_min(0)
        return total

    # -- the interface of all activity -------------------------------------------------------------------------------

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """Raises TypeError: the posterior needs the fields; see :mod:`stf.models.sparse_flow`."""
        raise TypeError("exact activity is inferred with the fields of its model: use the model's methods")

    def infer(self, means: Tensor) -> Tensor:
        """Raises TypeError, as :meth:`forward` does."""
        raise TypeError("exact activity is inferred with the fields of its model: use the model's methods")

    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        """Raises TypeError, as :meth:`forward` does."""
        raise TypeError("exact activity is inferred with the fields of its model: use the model's methods")


def _towards(running: Tensor, value: Tensor) -> None:
    """Let a running mean follow ``value``, unless that is not finite."""
    running.copy_(torch.where(value.isfinite().all(), running.lerp(value, MOMENTUM), running))


def normal_from(uniform: Tensor) -> Tensor:
    """Standard normal noise from uniform noise, by inversion."""
    return torch.special.ndtri(uniform)
