"""The exact posterior over spikes and speeds of sequences, given the fields."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stf.inference.chain import PathPosterior
from stf.inference.evidence import Evidence, Noise, Transitions, evidence
from stf.inference.prior import ActivityPrior
from stf.inference.states import StateSpace
from stf.inference.statistics import SpeedStatistics, excess_speed, expected_speeds
from stf.inference.truncation import choose, left_out, put_back, put_back_pairs, select, singles

ON = 0.5
"""A control counts as on where its probability exceeds this."""


@dataclass(frozen=True)
class ActivityPosterior:
    r"""q(y, s | frames): P(on), speeds with standard deviations, the most probable path, draws and KLs, all exact.

    Args:
        data: inner products of all controls, of batch ``(B, T)``.
        kept: those of the enumerated controls.
        found: evidence and speeds of their states.
        paths: posterior over the paths of states.
        space: the states.
        prior: the prior over activity.
        noise: the observation model's noise.
        num_controls: C, of all controls.
        chosen: which controls were enumerated in each sequence, ``(c, B)``; None for all.
        left_out: log evidence that the others would have added, ``(B,)`` nats; see
            :func:`stf.inference.truncation.left_out`.
    """

    data: Transitions
    kept: Transitions
    found: Evidence
    paths: PathPosterior
    space: StateSpace
    prior: ActivityPrior
    noise: Noise
    num_controls: int
    chosen: Tensor | None
    left_out: Tensor

    @property
    def marginal(self) -> Tensor:
        """q(S_t = S), ``(M, B, T)``."""
        return self.paths.marginal.movedim(-1, 0)

    def _all(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """Values of the enumerated controls ``(c, B, T)``, put back among all controls: ``(B, T, C)``."""
        if self.chosen is not None:
            values = put_back(values, self.chosen, self.num_controls, fill)
        return values.movedim(0, -1)

    @property
    def probability(self) -> Tensor:
        """P(y_t = 1 | frames), ``(B, T, C)``."""
        return self._all(torch.tensordot(self.space.on.T, self.marginal, dims=1))

    @property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every speed given that its control is on, ``(B, T, C)`` each."""
        statistics = expected_speeds(self.found, self.marginal, self.space)
        on = torch.tensordot(self.space.on.T, self.marginal, dims=1)
        possible = on > torch.finfo(on.dtype).tiny * 1e6
        weight = torch.where(possible, on, 1.0)
        mean = torch.where(possible, statistics.first / weight, 1.0)
        second = statistics.second.diagonal(dim1=0, dim2=1).movedim(-1, 0) / weight
        spread = self.prior.speed_spread
        variance = torch.where(possible, (second - mean.square()).clamp_min(0), spread**2)
        return self._all(mean, 1.0), self._all(variance.sqrt(), spread)

    @property
    def speed(self) -> Tensor:
        """E[s_t | y_t = 1, frames], ``(B, T, C)``; the prior's 1 where a control is never on."""
        return self._moments[0]

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of s_t given y_t = 1, ``(B, T, C)``."""
        return self._moments[1]

    def excess(self) -> Tensor:
        """How much faster than 1 every control runs on average, ``(B, T, C)``; zero where it is off."""
        return self._all(excess_speed(self.found, self.marginal, self.space))

    def mean_excess(self) -> Tensor:
        """Mean of :meth:`excess` over what is on in the batch, ``(C,)``; 0 where that is not finite."""
        return excess_per_on(*self.sums_of_excess())

    def sums_of_excess(self) -> tuple[Tensor, Tensor]:
        """Sums over the batch of :meth:`excess` and of :attr:`probability`, ``(C,)`` each."""
        return self.excess().sum((0, 1)), self.probability.sum((0, 1))

    def mean_on(self) -> Tensor:
        """Speeds of the controls that are more probably on than off, exact zeros elsewhere: ``(B, T, C)``.

        Where one control acts throughout, the most probable one.
        """
        if self.prior.constant:
            return self.speeds_of(self.paths.marginal.argmax(-1).unsqueeze(0))[0]
        return torch.where(self.probability > ON, self.speed, torch.zeros_like(self.speed))

    def mode(self) -> Tensor:
        """Speeds of the most probable path of states, exact zeros where off: ``(B, T, C)``."""
        return self.speeds_of(self.paths.mode().unsqueeze(0))[0]

    def log_evidence(self) -> Tensor:
        """log p(all displacements of a sequence), ``(B,)`` nats; what was not enumerated is off throughout."""
        return self.paths.log_evidence

    def statistics(self) -> SpeedStatistics:
        """Moments of the speeds of all controls; see :func:`stf.inference.statistics.expected_speeds`."""
        found = expected_speeds(self.found, self.marginal, self.space)
        if self.chosen is None:
            return found
        first = put_back(found.first, self.chosen, self.num_controls)
        second = put_back_pairs(found.second, self.chosen, self.num_controls)
        return SpeedStatistics(first, second)

    def kl(self) -> dict[str, Tensor]:
        r"""KL of the spikes and of the slabs given the spikes from the prior, ``(B,)`` nats each.

        The slabs' is :math:`\sum_t \sum_S q(S_t = S) KL[N(\hat s, P_S^{-1}) \| N(\pm 1, \varsigma^2 I)]`; see
        :meth:`stf.inference.chain.PathPosterior.kl` for the spikes'.
        """
        spikes = self.paths.kl()
        spread = self.prior.speed_spread
        if spread == 0:
            return {"spike": spikes}
        signs = self.space.signs.T.reshape(self.space.most, -1, 1, 1)
        trace = self.found.covariance.diagonal(dim1=0, dim2=1).sum(-1) / spread**2
        distance = (self.found.mean - signs).square().sum(0) / spread**2
        log_det = _log_det(self.found.covariance) - 2 * self.space.most * math.log(spread)
        slab = 0.5 * (trace + distance - self.space.most - log_det)
        return {"spike": spikes, "slab": (self.marginal * slab).sum((0, 2))}

    def draws(self, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        r"""Draws of the activity, with log p(activity) - log q(activity) of each.

        By Bayes' rule, :math:`\log p(y, s) - \log q(y, s) = \log p(\Delta) - \sum_t \log p(\Delta_t | y_t, s_t)`.

        Args:
            uniform: noise of the paths, ``(S, B, T)``.
            normal: noise of the speeds, ``(S, B, T, m)``.

        Returns:
            Activity ``(S, B, T, C)`` and log-ratios ``(S, B)``.
        """
        states = self.paths.draw(uniform)
        g = self.speeds_of(states, normal)
        chosen = g if self.chosen is None else g.gather(-1, self.chosen.T[None, :, None].expand(*g.shape[:-1], -1))
        gram, cross = self.kept.gram.movedim((0, 1), (-2, -1)), self.kept.cross.movedim(0, -1)
        residual = (
            self.data.energy
            - 2 * (chosen * cross).sum(-1)
            + ((chosen.unsqueeze(-2) @ gram).squeeze(-2) * chosen).sum(-1)
        )
        noise = self.found.noise
        log_likelihood = -0.5 * (residual / noise + self.data.dim * torch.log(2 * math.pi * noise))
        return g, self.paths.log_evidence - log_likelihood.sum(-1)

    def speeds_of(self, states: Tensor, normal: Tensor | None = None) -> Tensor:
        """Activity ``(S, B, T, C)`` in given states ``(S, B, T)``, drawn with ``normal`` noise or at the mean."""
        size, (samples, batch, steps) = self.space.most, states.shape
        mean = self.found.mean.movedim(1, 0).unsqueeze(2).expand(-1, -1, samples, -1, -1)  # M, m, S, B, T
        speeds = mean.gather(0, states.unsqueeze(0).unsqueeze(0).expand(1, size, -1, -1, -1)).squeeze(0)
        if normal is not None and self.prior.speed_spread > 0:
            pairs = self.found.covariance.movedim(2, 0).unsqueeze(3).expand(-1, -1, -1, samples, -1, -1)
            picked = pairs.gather(0, states.expand(1, size, size, samples, batch, steps)).squeeze(0)
            factor = torch.linalg.cholesky_ex(picked.movedim((0, 1), (-2, -1))).L  # never raises, nor waits
            speeds = speeds + (factor @ normal.unsqueeze(-1)).squeeze(-1).movedim(-1, 0)
        members = self.space.members[states]  # S, B, T, m
        if self.chosen is not None:
            padded = torch.cat([self.chosen, torch.full_like(self.chosen[:1], self.num_controls)]).T  # B, c + 1
            padded = padded[None, :, None].expand(samples, batch, steps, -1)
            members = padded.gather(-1, members)
        g = speeds.new_zeros(samples, batch, steps, self.num_controls + 1)
        return g.scatter(-1, members, speeds.movedim(0, -1))[..., : self.num_controls]


def excess_per_on(excess: Tensor, on: Tensor) -> Tensor:
    """Return the mean excess of speeds over what is on from the sums of both; 0 where that is not finite.

    Example:
        >>> excess_per_on(torch.tensor([1.0, float("nan")]), torch.tensor([4.0, 4.0]))
        tensor([0.2500, 0.0000])
    """
    mean = excess / on.clamp_min(1.0)
    return torch.where(mean.isfinite(), mean, 0.0)


def _allowed(log: Tensor, space: StateSpace, alive: Tensor | None) -> Tensor:
    """Log evidence ``(M, B, T)`` without the states in which a control is on that must not be."""
    if alive is None:
        return log
    forbidden = (space.on @ (1 - alive)) > 0
    return log.masked_fill(forbidden.unsqueeze(-1), torch.finfo(log.dtype).min / 1e3)


def _log_det(covariance: Tensor) -> Tensor:
    """Log-determinants of ``(m, m, *batch)``."""
    return torch.linalg.slogdet(covariance.movedim((0, 1), (-2, -1))).logabsdet


def infer(
    data: Transitions,
    prior: ActivityPrior,
    noise: Noise,
    on: Tensor,
    off: Tensor,
    alive: Tensor | None = None,
    temper: float = 1.0,
) -> ActivityPosterior:
    """The exact posterior over activity.

    Args:
        data: inner products of the whitened fields, averaged over the transitions, and of the whitened
            displacements of the latent means, of batch ``(B, T)``.
        prior: the prior over activity.
        noise: the observation model's noise.
        on, off: switch-on and switch-off rates, ``(C,)`` each.
        alive: 1 for controls that may be on, 0 for those that must not, ``(C, B)``; all may for None.
        temper: weight of the log-likelihood in the chain, below 1 while fields form.

    Example:
        >>> from stf.inference.evidence import transitions
        >>> fields = 5 * torch.eye(2).expand(1, 4, 2, 2)
        >>> rates = torch.full((2,), 0.1), torch.full((2,), 0.3)
        >>> q = infer(transitions(fields, fields[:, :, 0] * 1.2), ActivityPrior(), Noise(0.5, 0.01, 0.3), *rates)
        >>> (q.probability[0, 0] > 0.5).tolist(), round(q.speed[0, 0, 0].item(), 1)
        ([True, False], 1.2)
    """
    controls = len(data.cross)
    if not prior.truncates(controls):
        space = prior.space(controls, data.energy)
        found = evidence(data, space, noise)
        paths = prior.paths(temper * _allowed(found.log, space, alive).movedim(0, -1), space, on, off)
        nothing = torch.zeros_like(paths.log_evidence)
        return ActivityPosterior(data, data, found, paths, space, prior, noise, controls, None, nothing)
    alone = singles(data, prior.slab == "signed", noise)
    if alive is not None:
        alone = torch.cat([alone[:1], alone[1:].masked_fill(alive.unsqueeze(-1) == 0, -torch.inf)])
    chosen = choose(alone, prior.enumerated)
    kept = select(data, chosen)
    space = prior.space(prior.enumerated, data.energy)
    found = evidence(kept, space, noise)
    allowed = _allowed(found.log, space, None if alive is None else alive.gather(0, chosen))
    paths = prior.paths(temper * allowed.movedim(0, -1), space, on[chosen].T, off[chosen].T)
    others = alone.new_ones(controls, len(data.energy)).scatter(0, chosen, 0.0)  # those are off throughout
    silent = prior.log_silent(on, off, data.energy.shape[-1]) @ others
    paths = replace(paths, log_evidence=paths.log_evidence + silent)
    missing = left_out(replace(found, log=allowed), space, alone, chosen, torch.log(on / off))
    return ActivityPosterior(data, kept, found, paths, space, prior, noise, controls, chosen, missing)
