"""Bounds from draws of the exact posterior, in models so small that their likelihood is a sum of Gaussians."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from inference_tools import chain_log_prob, generator
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal, Normal

from ffrl.distributions.priors import gaussian_kl
from ffrl.evaluation.likelihood.bounds import elbo, iwae
from ffrl.evaluation.likelihood.estimate import draw, log_weights
from stf.inference.activity import ExactActivity
from stf.inference.posterior import ActivityPosterior
from stf.inference.prior import ActivityPrior
from stf.models.sparse_flow import SparseTransformationFlow

DIM = PIXELS = 2
SAMPLES = 16384


class LinearFlow(nn.Module):
    """z_0 ~ N(0, I), z_t = z_{t-1} + sum_k g_t^k (A_k z_{t-1} + b_k), x_t ~ N(W z_t, I), and a crude encoder."""

    draw_activity = SparseTransformationFlow.draw_activity

    def __init__(self, activity: ExactActivity, seed: int) -> None:
        super().__init__()
        source = generator(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=source, dtype=torch.float64)

        self.activity_model = activity
        controls = activity.num_controls
        self.slope, self.shift = 0.2 * normal(controls, DIM, DIM), 1.0 * normal(controls, DIM)
        self.weight = normal(PIXELS, DIM)
        self.encoder = torch.linalg.inv(torch.eye(DIM).double() + self.weight.T @ self.weight) @ self.weight.T
        self.log_variance = torch.full((DIM,), -0.5, dtype=torch.float64)
        activity.variance.copy_(self.log_variance.exp())
        activity.misfit.fill_(0.1)

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        means = frames.flatten(-3) @ self.encoder.T
        return means, self.log_variance.expand_as(means)

    def _posterior(self, means: Tensor) -> ActivityPosterior:
        midpoints = (means[:, 1:] + means[:, :-1]) / 2
        velocities = torch.einsum("kij,btj->btki", self.slope, midpoints) + self.shift
        return self.activity_model.posterior(means, velocities[:, :, self.activity_model.places])

    def activity_features(self, frames: Tensor, means: Tensor) -> Tensor:
        return means

    def decode_logits(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T).unflatten(-1, (1, 1, -1))

    def log_prob(self, logits: Tensor, frames: Tensor) -> Tensor:
        return Normal(logits, 1.0).log_prob(frames).sum((-3, -2, -1))

    def step(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Matrix and offset of one transition, ``g (..., C)``."""
        return torch.eye(DIM).double() + torch.einsum("...k,kij->...ij", g, self.slope), g @ self.shift

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        latents = [z0]
        for speeds in g.unbind(1):
            matrix, offset = self.step(speeds)
            latents.append((matrix @ latents[-1].unsqueeze(-1)).squeeze(-1) + offset)
        return torch.stack(latents, 1)

    def exact(self, frames: Tensor, g: Tensor) -> Tensor:
        """log p(frames | g) of N activities: ``(N, B)``."""
        matrices = [torch.eye(DIM).double().expand(len(g), -1, -1)]
        offsets = [torch.zeros(len(g), DIM, dtype=torch.float64)]
        for speeds in g.unbind(1):
            matrix, offset = self.step(speeds)
            matrices.append(matrix @ matrices[-1])
            offsets.append((matrix @ offsets[-1].unsqueeze(-1)).squeeze(-1) + offset)
        factor = (self.weight @ torch.stack(matrices, 1)).flatten(1, 2)
        mean = (torch.stack(offsets, 1) @ self.weight.T).flatten(1)
        law = LowRankMultivariateNormal(mean, factor, torch.ones_like(mean))
        return torch.stack([law.log_prob(sequence.flatten()) for sequence in frames], 1)


@dataclass(frozen=True)
class Kind:
    """A prior over activity of ``controls`` fields and ``steps`` steps."""

    prior: ActivityPrior
    controls: int
    steps: int
    places: tuple[int, ...] | None = None


KINDS = {
    "unit": Kind(ActivityPrior("unit"), 2, 3),
    "at most one": Kind(ActivityPrior("unit", most=1), 2, 3),
    "truncated to two": Kind(ActivityPrior("unit", enumerated=2), 3, 2),
    "truncated to one": Kind(ActivityPrior("unit", enumerated=1), 3, 2),
    "dead": Kind(ActivityPrior("unit"), 3, 3, (0, 2)),
    "dead and truncated": Kind(ActivityPrior("unit", enumerated=1), 3, 3, (0, 2)),
    "positive": Kind(ActivityPrior("positive", 0.3), 1, 2),
    "signed": Kind(ActivityPrior("signed", 0.3), 1, 2),
    "positive, truncated": Kind(ActivityPrior("positive", 0.3, enumerated=1), 2, 1),
    "weak": Kind(ActivityPrior("unit", most=1, constant=True), 3, 3),
    "weak, dead": Kind(ActivityPrior("unit", most=1, constant=True), 3, 3, (0, 2)),
}


def every_activity(kind: Kind, activity: ExactActivity) -> tuple[Tensor, Tensor]:
    """All activities ``(N, T, C)`` with their log prior ``(N,)``: spikes, times the nodes of a quadrature of slabs."""
    places = list(range(kind.controls)) if kind.places is None else list(kind.places)
    if kind.prior.constant:
        g = torch.eye(kind.controls).double()[places].unsqueeze(1).repeat(1, kind.steps, 1)
        return g, torch.full((len(g),), -math.log(len(g)), dtype=torch.float64)
    values, log_slab = [0.0], [0.0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(31) if kind.prior.speed_spread else (np.zeros(1), np.ones(1))
    for sign in (1, -1) if kind.prior.slab == "signed" else (1,):
        values += (sign + kind.prior.speed_spread * nodes).tolist()
        log_slab += np.log(weights / weights.sum()).tolist()
    on, off = activity.rates()
    spiking, signed = torch.tensor([0] + [1] * (len(values) - 1)), kind.prior.slab == "signed"
    choices = torch.tensor(list(itertools.product(range(len(values)), repeat=kind.steps * len(places))))
    choices = choices.view(-1, kind.steps, len(places))
    patterns, which = spiking[choices].unique(dim=0, return_inverse=True)
    prior = [chain_log_prob(pattern, on[places], off[places], signed) for pattern in patterns]
    g = torch.zeros(len(choices), kind.steps, kind.controls, dtype=torch.float64)
    g[..., places] = torch.tensor(values, dtype=torch.float64)[choices]
    log_slab = torch.tensor(log_slab, dtype=torch.float64)[choices].sum((1, 2))
    return g, torch.tensor(prior, dtype=torch.float64)[which] + log_slab


@dataclass(frozen=True)
class Case:
    """Sequences of a model, their log-likelihood ``(B,)``, and weights of draws ``(M, S, B)``."""

    model: LinearFlow
    frames: Tensor
    exact: Tensor
    log_weight: Tensor
    log_case: Tensor
    log_latent: Tensor


@pytest.fixture(scope="module", params=[f"{kind}/{seed}" for kind in KINDS for seed in (0, 1)])
def case(request: pytest.FixtureRequest) -> Case:
    name, seed = request.param.split("/")
    kind, seed = KINDS[name], int(seed)
    activity = ExactActivity(kind.controls, DIM, kind.prior, 0.3, 0.4, False).double()
    model = LinearFlow(activity, seed).requires_grad_(False)
    if kind.places is not None:
        activity.adopt(list(kind.places), model.log_variance.exp(), torch.tensor(0.1).double())
    every, log_prior = every_activity(kind, activity)
    assert math.isclose(log_prior.logsumexp(0).exp().item(), 1.0, abs_tol=1e-9)
    source = generator(seed + 10)
    g = every[torch.multinomial(log_prior.exp(), 3, replacement=True, generator=source)]
    images = model.decode_logits(model.flow(torch.randn(3, DIM, generator=source, dtype=torch.float64), g))
    frames = images + torch.randn(images.shape, generator=source, dtype=torch.float64)
    exact = (log_prior.unsqueeze(1) + model.exact(frames, every)).logsumexp(0)
    draws = draw(model, frames, SAMPLES, generator(seed + 20))
    weights = log_weights(model, frames, draws, {"known": model.log_prob})
    log_weight = weights.pixels["known"] + weights.latent
    return Case(model, frames, exact, log_weight, weights.log_case, weights.latent)


def test_elbo_is_below_iwae_is_below_the_exact_log_likelihood(case: Case) -> None:
    """In expectation over the draws, for every sequence; and more samples make the bound tighter."""
    lower = elbo(case.log_weight, case.log_case)
    assert (lower < case.exact).all()
    for samples in (4, 32, 256):
        blocks = case.log_weight.unflatten(1, (-1, samples)).permute(0, 2, 1, 3)
        cases, _, repeats, batch = blocks.shape
        log_case = case.log_case.unsqueeze(1).expand(cases, repeats, batch)
        estimates = iwae(blocks.flatten(2), log_case.flatten(1)).view(repeats, batch)
        mean, error = estimates.mean(0), estimates.std(0) / math.sqrt(repeats)
        assert (mean <= case.exact + 4 * error).all()
        assert (mean > lower - 4 * error).all()
        lower = mean


def test_weights_average_to_at_most_the_likelihood(case: Case) -> None:
    """To the likelihood itself where the posterior leaves no activity out; to no more where it does."""
    weight = (case.log_case.unsqueeze(1) + case.log_weight).logsumexp(0)
    relative = (weight - case.exact).exp()
    error = relative.std(0) / math.sqrt(SAMPLES)
    assert (error < 0.2).all(), "too few samples for this test"
    assert (relative.mean(0) < 1 + 4 * error).all()
    prior, places = case.model.activity_model.prior, len(case.model.activity_model.places)
    if prior.constant or min(prior.most, prior.enumerated) >= places:
        assert ((relative.mean(0) - 1).abs() < 4 * error).all()


def test_the_latent_terms_are_the_kls(case: Case) -> None:
    """The mean of log p - log q of z_0 and the activity is minus the KLs, exact as they are."""
    means, log_variances = case.model.posterior(case.frames)
    kl = gaussian_kl(means[:, 0], log_variances[:, 0]) + sum(case.model._posterior(means).kl().values())
    per_sample = (case.log_case.exp().unsqueeze(1) * case.log_latent).sum(0)
    error = per_sample.std(0) / math.sqrt(SAMPLES)
    assert ((-per_sample.mean(0) - kl).abs() < 5 * error + 1e-6).all()
