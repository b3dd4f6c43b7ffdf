"""Activity without spikes: exact KLs, honest draws, and the warm-up that it shares with spike-and-slab."""

from __future__ import annotations

import math

import pytest
import torch
from test_maths_activity import BATCH, DIM, FIELDS, MEANS, STEPS, Fixed, generator, noise
from torch.distributions import Distribution, Laplace, Normal, kl_divergence

from ffrl.activity import Phase
from stf.activity import SpikeSlabActivity
from stf.config import SparseWarmupConfig, SparsityConfig
from stf.dense_activity import DenseActivity

pytestmark = pytest.mark.usefixtures("float64")
every_prior = pytest.mark.parametrize("prior", ["laplace", "dense"])
single_and_separate = pytest.mark.parametrize("controls", [FIELDS, 2 * FIELDS])
SCALE = 0.4


def dense(prior: str, controls: int = FIELDS, **changes) -> DenseActivity:
    """Activity with random posterior parameters, near enough to the prior for Monte Carlo."""
    torch.manual_seed(0)
    config = SparsityConfig(prior=prior, slab_scale=SCALE, **changes)
    activity = DenseActivity(FIELDS, controls, DIM, config, SparseWarmupConfig(slab_weight=3.0))
    raw = torch.randn(BATCH, STEPS, 3, controls)
    raw[:, :, 1:] *= 0.3
    activity.posterior = Fixed(raw.flatten(2))
    return activity


def laws(activity: DenseActivity) -> tuple[Distribution, Distribution]:
    """q and p, from the network's numbers by hand."""
    logit, speed, log_scale = activity.posterior.raw.unflatten(-1, (3, -1)).unbind(2)
    mean, scale = (1 + speed) / (1 + (-logit).exp()), SCALE * log_scale.exp()
    if activity.laplace:
        return Laplace(mean, scale), Laplace(torch.zeros_like(mean), SCALE * torch.ones_like(mean))
    return Normal(mean, scale), Normal(torch.zeros_like(mean), torch.ones_like(mean))


@every_prior
@single_and_separate
def test_kl_is_that_of_the_distributions(prior: str, controls: int) -> None:
    activity = dense(prior, controls)
    q, p = laws(activity)
    expected = kl_divergence(q, p).sum((1, 2))
    torch.testing.assert_close(activity.kl(MEANS), expected)
    sample = activity(MEANS, noise(activity), Phase(sparsity_weight=2.5))
    assert list(sample.kl) == ["speed"]
    torch.testing.assert_close(sample.kl["speed"], 2.5 * expected)


@every_prior
@single_and_separate
def test_log_ratio_of_every_draw_is_exact(prior: str, controls: int) -> None:
    activity = dense(prior, controls)
    q, p = laws(activity)
    draws = activity.draws(MEANS, 7, generator())
    assert draws.g.shape == (1, 7, BATCH, STEPS, controls)
    assert torch.equal(draws.log_case, torch.zeros(1, BATCH))
    expected = (p.log_prob(draws.g) - q.log_prob(draws.g)).sum((-2, -1))
    torch.testing.assert_close(draws.log_ratio, expected)


@every_prior
def test_draws_have_the_posterior_law_and_their_ratios_the_kl(prior: str) -> None:
    activity, samples = dense(prior), 40_000
    q, _ = laws(activity)
    draws = activity.draws(MEANS, samples, generator())
    for level in (0.02, 0.3, 0.5, 0.9):
        below = (q.cdf(draws.g[0]) < level).double().mean(0)
        assert ((below - level).abs() < 5 * math.sqrt(level * (1 - level) / samples)).all(), level
    error = draws.log_ratio[0].std(0) / math.sqrt(samples)
    assert ((draws.log_ratio[0].mean(0) + activity.kl(MEANS)).abs() < 4 * error).all()


@every_prior
def test_importance_weights_average_to_one(prior: str) -> None:
    activity = dense(prior)
    with torch.no_grad():
        raw = activity.posterior.raw.unflatten(-1, (3, -1))
        raw[:, :, 0] -= 2.0
        raw[:, :, 2] += 0.2 if prior == "laplace" else math.log(1.2 / SCALE)
    weights = activity.draws(MEANS, 40_000, generator()).log_ratio[0].exp()
    error = weights.std(0) / math.sqrt(len(weights))
    assert (error < 0.1).all()
    assert ((weights.mean(0) - 1).abs() < 4 * error).all()


@every_prior
def test_training_samples_have_the_posterior_law(prior: str) -> None:
    activity = dense(prior)
    q, _ = laws(activity)
    uniform = noise(activity)
    g = activity(MEANS, uniform, Phase()).g
    torch.testing.assert_close(q.cdf(g), uniform[..., 2])


@every_prior
def test_inferred_speeds_are_posterior_means_and_never_zero(prior: str) -> None:
    activity = dense(prior)
    inferred = activity.infer(MEANS)
    torch.testing.assert_close(inferred, laws(activity)[0].mean)
    assert (inferred != 0).all()
    assert torch.equal(activity.prior_on(), torch.ones(FIELDS))


@every_prior
@single_and_separate
def test_warm_up_is_that_of_spike_and_slab(prior: str, controls: int) -> None:
    """The same choice of fields and the same KLs, where the speeds of both read the same."""
    activity = dense(prior, controls)
    other = SpikeSlabActivity(
        FIELDS, controls, DIM, SparsityConfig(slab_scale=SCALE), SparseWarmupConfig(slab_weight=3.0)
    )
    raw = activity.posterior.raw.detach().unflatten(-1, (3, -1)).clone()
    raw[:, :, 1] = torch.atanh(raw[:, :, 1].clamp(-0.95, 0.95))
    with torch.no_grad():
        activity.posterior.raw.copy_(torch.stack([raw[:, :, 0], raw[:, :, 1].tanh(), raw[:, :, 2]], 2).flatten(2))
    other.posterior = Fixed(raw.flatten(2))
    assert activity.posterior.raw.shape == other.posterior.raw.shape
    phase = Phase(temperature=0.7, exclusive=True, chain_weight=4.0)
    found, expected = activity(MEANS, noise(activity), phase), other(MEANS, noise(other), phase)
    torch.testing.assert_close(found.g, expected.g)
    torch.testing.assert_close(found.kl, expected.kl)
    assert activity.phase(0.8, 0.25) == other.phase(0.8, 0.25)


@every_prior
@pytest.mark.parametrize("exclusive", [False, True])
def test_every_posterior_parameter_gets_a_gradient(prior: str, exclusive: bool) -> None:
    activity = dense(prior)
    sample = activity(MEANS, noise(activity), Phase(exclusive=exclusive))
    for value in (sample.g.square().sum(), sum(sample.kl.values()).sum()):
        (gradient,) = torch.autograd.grad(value, activity.posterior.raw, retain_graph=True)
        assert (gradient.abs() > 1e-12).all()


@every_prior
def test_extreme_noise_and_parameters_stay_finite(prior: str) -> None:
    activity = dense(prior).float()
    tiny = torch.finfo(torch.float32).eps
    for raw, uniform in ((50.0, 1 - tiny), (-50.0, tiny)):
        with torch.no_grad():
            activity.posterior.raw.fill_(raw)
        sample = activity(MEANS.float(), torch.full((BATCH, STEPS, FIELDS, 4), uniform), Phase())
        assert sample.g.isfinite().all() and sample.kl["speed"].isfinite().all()
