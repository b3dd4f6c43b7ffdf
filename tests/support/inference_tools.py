"""Small problems of inference, and the same posteriors by brute force: dense normals, and sums over all paths."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from stf.inference.evidence import Noise, Transitions, transitions
from stf.inference.posterior import ActivityPosterior, infer
from stf.inference.prior import ActivityPrior
from stf.inference.states import StateSpace


def generator(seed: int) -> torch.Generator:
    """Source of noise."""
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal noise in double precision."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def uniform(seed: int, *shape: int) -> Tensor:
    """Uniform noise in double precision."""
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


@dataclass(frozen=True)
class Problem:
    """Fields ``(B, T, C, D)`` and displacements ``(B, T, D)``, the prior and the noise, rates ``(C,)``."""

    fields: Tensor
    displacement: Tensor
    prior: ActivityPrior
    noise: Noise
    on: Tensor
    off: Tensor

    @property
    def data(self) -> Transitions:
        """Inner products."""
        return transitions(self.fields, self.displacement)

    def infer(self, **options) -> ActivityPosterior:
        """The posterior."""
        return infer(self.data, self.prior, self.noise, self.on, self.off, **options)

    def permuted(self, order: Tensor) -> Problem:
        """The same with its fields in another order."""
        rates = self.on[order], self.off[order]
        return Problem(self.fields[:, :, order], self.displacement, self.prior, self.noise, *rates)


def problem(
    seed: int,
    controls: int = 2,
    steps: int = 3,
    dim: int = 3,
    batch: int = 2,
    slab: str = "positive",
    size: float = 1.0,
    misfit: float = 0.05,
    **prior,
) -> Problem:
    """Random fields, and displacements that they make now and then, plus noise."""
    fields = size * normal(seed, batch, steps, controls, dim)
    active = (uniform(seed + 1, batch, steps, controls) < 0.4) * (1 + 0.3 * normal(seed + 2, batch, steps, controls))
    if slab == "signed":
        active = active * torch.where(uniform(seed + 3, batch, steps, controls) < 0.5, -1.0, 1.0)
    displacement = (active.unsqueeze(-1) * fields).sum(-2) + math.sqrt(0.5) * normal(seed + 4, batch, steps, dim)
    made = ActivityPrior(slab=slab, **prior)
    noise = Noise(0.5, misfit, made.speed_spread)
    on, off = 0.05 + 0.4 * uniform(seed + 5, controls), 0.05 + 0.5 * uniform(seed + 6, controls)
    return Problem(fields, displacement, made, noise, on, off)


def noise_of(displacement: Tensor, noise: Noise, misfit: float) -> float:
    """tau of one transition, ``displacement (D,)``."""
    return noise.floor + misfit * displacement.square().mean().item()


def slab_law(
    state: Tensor, fields: Tensor, displacement: Tensor, noise: Noise, misfit: float
) -> tuple[float, Tensor, Tensor]:
    """log p(Delta | S), mean and covariance of all speeds ``(C,)``, in the form of the dense covariance of Delta.

    Speeds of what is off are zero.
    """
    dim = fields.shape[-1]
    tau = noise_of(displacement, noise, misfit)
    spread = torch.diag(noise.spread**2 * (state != 0).double())
    covariance = tau * torch.eye(dim, dtype=torch.float64) + fields.T @ spread @ fields
    law = MultivariateNormal(state @ fields, covariance)
    gain = spread @ fields @ torch.linalg.inv(covariance)
    mean = state + gain @ (displacement - state @ fields)
    return law.log_prob(displacement).item(), mean, spread - gain @ fields.T @ spread


def chain_log_prob(path: Tensor, on: Tensor, off: Tensor, signed: bool) -> float:
    """log p of the spikes and signs of one path ``(T, C)``, one factor after another."""
    total = 0.0
    for k in range(path.shape[1]):
        p, q = on[k].item(), off[k].item()
        before = None
        for value in path[:, k].tolist():
            now = value != 0
            if before is None:
                chance = p / (p + q) if now else q / (p + q)
            elif before:
                chance = 1 - q if now else q
            else:
                chance = p if now else 1 - p
            total += math.log(chance) - (math.log(2) if now and signed else 0.0)
            before = now
    return total


@dataclass(frozen=True)
class Brute:
    """Posterior of one sequence as a sum over all paths.

    Args:
        paths: states of every path, ``(N, T)``.
        weight: posterior probability of every path, ``(N,)``.
        log_prior: its log prior probability, ``(N,)``.
        log_likelihood: log p(Delta_t | S), ``(T, M)``.
        log_evidence: of the whole sequence.
        mean, covariance: of the speeds of all controls, ``(T, M, C)`` and ``(T, M, C, C)``.
        values: of the states, ``(M, C)``.
    """

    paths: Tensor
    weight: Tensor
    log_prior: Tensor
    log_likelihood: Tensor
    log_evidence: float
    mean: Tensor
    covariance: Tensor
    values: Tensor

    @property
    def marginal(self) -> Tensor:
        """``(T, M)``."""
        states = torch.arange(len(self.values))
        return ((self.paths.unsqueeze(-1) == states) * self.weight[:, None, None]).sum(0)

    @property
    def pairwise(self) -> Tensor:
        """``(T-1, M, M)``."""
        is_state = (self.paths.unsqueeze(-1) == torch.arange(len(self.values))).double()
        return torch.einsum("n,ntm,ntk->tmk", self.weight, is_state[:, :-1], is_state[:, 1:])

    @property
    def kl(self) -> float:
        """KL from the prior over paths."""
        kept = self.weight > 0
        return (self.weight[kept] * (self.weight[kept].log() - self.log_prior[kept])).sum().item()

    @property
    def probability(self) -> Tensor:
        """P(on), ``(T, C)``."""
        return self.marginal @ self.values.abs()

    def moments(self) -> tuple[Tensor, Tensor]:
        """E[g] and E[g g^T], ``(T, C)`` and ``(T, C, C)``."""
        second = self.covariance + self.mean.unsqueeze(-1) * self.mean.unsqueeze(-2)
        return (self.marginal.unsqueeze(-1) * self.mean).sum(1), (self.marginal[..., None, None] * second).sum(1)


def brute(setting: Problem, sequence: int, space: StateSpace, misfit: float | None = None) -> Brute:
    """Sum over all paths of the states of ``space``."""
    steps, misfit = setting.fields.shape[1], setting.noise.misfit if misfit is None else misfit
    values = space.values.double()
    laws = [
        [
            slab_law(state, setting.fields[sequence, t], setting.displacement[sequence, t], setting.noise, misfit)
            for state in values
        ]
        for t in range(steps)
    ]
    log = torch.tensor([[law[0] for law in row] for row in laws], dtype=torch.float64)
    mean = torch.stack([torch.stack([law[1] for law in row]) for row in laws])
    covariance = torch.stack([torch.stack([law[2] for law in row]) for row in laws])
    paths = torch.tensor(list(itertools.product(range(len(values)), repeat=steps)))
    signed = setting.prior.slab == "signed"
    prior = torch.tensor(
        [chain_log_prob(values[path], setting.on, setting.off, signed) for path in paths], dtype=torch.float64
    )
    joint = prior + log[torch.arange(steps), paths].sum(-1)
    evidence = joint.logsumexp(0)
    return Brute(paths, (joint - evidence).exp(), prior, log, evidence.item(), mean, covariance, values)
