"""Relaxed activity of STA: exact KLs against hard draws, exact zeros, what relaxation and temperature do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Laplace

from stf.sta.activity import PER_CONTROL, RelaxedActivity, RelaxedPhase
from stf.sta.config import RelaxationConfig, SpikeSlabConfig

pytestmark = pytest.mark.usefixtures("float64")
FIELDS, DIM, BATCH, STEPS = 2, 4, 3, 4
MEANS = torch.zeros(BATCH, STEPS + 1, DIM, dtype=torch.float64)

every_slab = pytest.mark.parametrize("slab", PER_CONTROL)
single_and_separate = pytest.mark.parametrize("controls", [FIELDS, 2 * FIELDS])


class Fixed(nn.Module):
    """Posterior parameters that are given instead of computed."""

    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = nn.Parameter(raw)

    def forward(self, means: Tensor) -> Tensor:
        return self.raw


def sparse(slab: str, controls: int = FIELDS, seed: int = 0, **prior) -> RelaxedActivity:
    """Activity with random posterior parameters, near enough to the prior for Monte Carlo."""
    torch.manual_seed(seed)
    prior = dict(on_rate=0.05, off_rate=0.3) | prior
    activity = RelaxedActivity(controls, DIM, SpikeSlabConfig(slab=slab, **prior), RelaxationConfig())
    raw = torch.randn(BATCH, STEPS, PER_CONTROL[slab], controls)
    raw[:, :, 1:3] *= 0.3
    activity.posterior = Fixed(raw.flatten(2))
    return activity


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(activity, seed: int = 0) -> Tensor:
    shape = (BATCH, STEPS, activity.num_controls, activity.noise_channels)
    return torch.rand(shape, generator=generator(seed)).clamp(1e-12, 1 - 1e-12)


@every_slab
@single_and_separate
def test_kl_is_minus_the_mean_log_ratio_of_hard_draws(slab: str, controls: int) -> None:
    activity, samples = sparse(slab, controls), 40_000
    draws = activity.draws(MEANS, samples, generator())
    assert draws.g.shape == (1, samples, BATCH, STEPS, controls)
    assert draws.log_ratio.shape == (1, samples, BATCH)
    assert torch.equal(draws.log_case, torch.zeros(1, BATCH))
    kl, error = activity.kl(MEANS), draws.log_ratio[0].std(0) / math.sqrt(samples)
    assert (error < 0.03 * kl).all()
    assert ((draws.log_ratio[0].mean(0) + kl).abs() < 4 * error).all()


@every_slab
def test_importance_weights_of_hard_draws_average_to_one(slab: str) -> None:
    """E_q[p / q] = 1: the draws and the log-densities that come with them belong to the same q and the same p."""
    activity = sparse(slab, on_rate=0.3, slab_scale=0.2)
    with torch.no_grad():
        activity.posterior.raw.mul_(0.3)
    weights = activity.draws(MEANS, 40_000, generator()).log_ratio[0].exp()
    error = weights.std(0) / math.sqrt(len(weights))
    assert (error < 0.1).all()
    assert ((weights.mean(0) - 1).abs() < 4 * error).all()


@every_slab
def test_hard_draws_have_the_posterior_law(slab: str) -> None:
    activity, samples = sparse(slab), 40_000
    g = activity.draws(MEANS, samples, generator()).g[0]
    logits, location, scale, sign_logits = activity.posterior_parameters(MEANS)
    q = logits.sigmoid()
    share = (g != 0).double().mean(0)
    assert ((share - q).abs() < 4.5 * (q * (1 - q) / samples).sqrt()).all()
    if slab == "unit":
        assert set(g.unique().tolist()) == {0.0, 1.0}
        return
    sign = 1.0 if sign_logits is None else 2 * sign_logits.sigmoid() - 1
    spread = (2 * scale**2 + location**2).sqrt()
    assert ((g.mean(0) - q * location * sign).abs() < 5 * spread / math.sqrt(samples)).all()
    size = g.abs().sum(0) / (g != 0).sum(0)
    width = 5 * 2 * scale / (q * samples).sqrt()
    folded = Laplace(location, scale).cdf(torch.zeros(())) * 2 * scale  # E|s| - E s for s = Laplace(m > 0, b)
    assert ((size - location - folded).abs() < width).all()


def test_equal_generators_give_equal_draws() -> None:
    activity = sparse("signed")
    first, again, other = (activity.draws(MEANS, 3, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.g, again.g) and torch.equal(first.log_ratio, again.log_ratio)
    assert not torch.equal(first.g, other.g)


@every_slab
@single_and_separate
def test_training_terms_are_the_exact_kl(slab: str, controls: int) -> None:
    activity = sparse(slab, controls)
    sample = activity(MEANS, noise(activity), RelaxedPhase(temperature=0.7))
    assert sample.g.shape == (BATCH, STEPS, controls)
    assert set(sample.kl) == ({"spike"} if slab == "unit" else {"spike", "slab"})
    torch.testing.assert_close(sum(sample.kl.values()), activity.kl(MEANS), rtol=1e-12, atol=0.0)
    again = activity(MEANS, noise(activity), RelaxedPhase(temperature=0.7))
    assert torch.equal(sample.g, again.g)


@every_slab
def test_every_posterior_parameter_gets_a_gradient_from_its_kl(slab: str) -> None:
    activity = sparse(slab)
    terms = activity(MEANS, noise(activity), RelaxedPhase()).kl

    def gradient(name: str) -> Tensor:
        (found,) = torch.autograd.grad(terms[name].sum(), activity.posterior.raw, retain_graph=True)
        return found.unflatten(-1, (PER_CONTROL[slab], FIELDS))

    assert (gradient("spike")[:, :, 0].abs() > 1e-6).all()
    assert (gradient("spike")[:, :, 1:] == 0).all()
    if slab != "unit":
        assert (gradient("slab").abs() > 1e-6).all()


@every_slab
def test_gradient_of_the_kl_is_that_of_finite_differences(slab: str) -> None:
    activity = sparse(slab)
    raw = activity.posterior.raw.detach().requires_grad_()
    activity.posterior = nn.Identity()
    assert torch.autograd.gradcheck(activity.kl, raw)


@every_slab
def test_relaxed_activity_carries_a_gradient_to_every_posterior_parameter(slab: str) -> None:
    activity = sparse(slab)
    activity(MEANS, noise(activity), RelaxedPhase()).g.sum().backward()
    assert (activity.posterior.raw.grad.abs() > 1e-9).all()


@every_slab
def test_cold_relaxed_activity_is_spike_times_slab(slab: str) -> None:
    activity = sparse(slab)
    uniform = noise(activity)
    g = activity(MEANS, uniform, RelaxedPhase(temperature=1e-5)).g
    logits, location, scale, sign_logits = activity.posterior_parameters(MEANS)
    on = uniform[..., 1] > 1 - logits.sigmoid()
    speed = torch.ones_like(g) if slab == "unit" else Laplace(location, scale).icdf(uniform[..., 2])
    if sign_logits is not None:
        speed = torch.where(uniform[..., 3] > 1 - sign_logits.sigmoid(), speed, -speed)
    torch.testing.assert_close(g, torch.where(on, speed, torch.zeros(())), rtol=1e-9, atol=1e-9)


@every_slab
def test_inferred_speeds_are_exact_zeros_where_off(slab: str) -> None:
    activity = sparse(slab)
    speeds = activity.infer(MEANS)
    logits, location, _, sign_logits = activity.posterior_parameters(MEANS)
    on = logits.sigmoid() > 0.5
    assert 0 < on.sum() < on.numel()
    assert torch.equal(speeds != 0, on)
    assert torch.equal(speeds.abs()[on], location[on])
    positive = torch.ones_like(on) if sign_logits is None else sign_logits.sigmoid() > 0.5
    assert torch.equal(speeds[on] > 0, positive[on])
    torch.testing.assert_close(activity.spike_probability(MEANS), logits.sigmoid())


def test_fresh_slabs_start_at_their_prior() -> None:
    activity = sparse("positive")
    with torch.no_grad():
        activity.posterior.raw.zero_()
    _, location, scale, _ = activity.posterior_parameters(MEANS)
    torch.testing.assert_close(location, torch.ones_like(location), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(scale, torch.full_like(scale, 0.1), rtol=1e-12, atol=0.0)


def test_the_temperature_falls_geometrically_over_the_whole_run() -> None:
    config = RelaxationConfig(temperature=1.0, final_temperature=0.25)
    activity = RelaxedActivity(FIELDS, DIM, SpikeSlabConfig(), config)
    phases = [activity.phase(progress, 0.25) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert [phase.temperature for phase in phases] == pytest.approx([1.0, 2**-0.5, 0.5, 0.25])
    assert not any(phase.still for phase in phases)


def test_the_prior_is_on_as_often_as_its_chain() -> None:
    activity = sparse("positive", on_rate=0.1, off_rate=0.3)
    torch.testing.assert_close(activity.prior_on(), torch.full((FIELDS,), 0.25))
    default = RelaxedActivity(FIELDS, DIM, SpikeSlabConfig(), RelaxationConfig())
    torch.testing.assert_close(default.prior_on(), torch.full((FIELDS,), 0.5))


@every_slab
def test_the_first_channel_of_noise_changes_nothing(slab: str) -> None:
    activity = sparse(slab)
    uniform = noise(activity)
    other = uniform.clone()
    other[..., 0] = 0.5
    assert torch.equal(activity(MEANS, uniform, RelaxedPhase()).g, activity(MEANS, other, RelaxedPhase()).g)
