"""The posterior over activity against sums over all paths: P(on), speeds, draws, log-ratios and KLs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from inference_tools import Brute, Problem, brute, chain_log_prob, noise_of, normal, problem, uniform
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from stf.inference.posterior import ActivityPosterior
from stf.inference.prior import ActivityPrior

CASES = {
    "positive": {"slab": "positive", "controls": 2, "steps": 3},
    "at most one": {"slab": "positive", "controls": 3, "steps": 3, "most": 1},
    "at most two": {"slab": "positive", "controls": 3, "steps": 2, "most": 2},
    "signed": {"slab": "signed", "controls": 2, "steps": 2},
    "signed, at most one": {"slab": "signed", "controls": 2, "steps": 3, "most": 1},
    "unit": {"slab": "unit", "controls": 3, "steps": 2},
    "single step": {"slab": "positive", "controls": 3, "steps": 1},
    "strong": {"slab": "positive", "controls": 2, "steps": 3, "size": 20.0, "misfit": 0.01},
}
DRAWS = 4000


@pytest.fixture(params=[f"{kind}/{seed}" for kind in CASES for seed in (0, 30)])
def setting(request: pytest.FixtureRequest) -> Problem:
    kind, seed = request.param.split("/")
    return problem(int(seed), **CASES[kind])


def both(setting: Problem) -> tuple[ActivityPosterior, list[Brute]]:
    found = setting.infer()
    return found, [brute(setting, b, found.space) for b in range(len(setting.fields))]


def test_probabilities_speeds_and_deviations(setting: Problem) -> None:
    found, every = both(setting)
    for b, one in enumerate(every):
        assert math.isclose(found.log_evidence()[b].item(), one.log_evidence, abs_tol=1e-7)
        assert torch.allclose(found.probability[b], one.probability, atol=1e-8)
        first, second = one.moments()
        mean = first / one.probability
        variance = second.diagonal(dim1=-2, dim2=-1) / one.probability - mean.square()
        assert torch.allclose(found.speed[b], mean, atol=1e-7)
        assert torch.allclose(found.deviation[b], variance.clamp_min(0).sqrt(), atol=1e-4)


def test_what_is_more_probably_off_has_no_speed(setting: Problem) -> None:
    found = setting.infer()
    mean = found.mean_on()
    assert torch.equal(mean != 0, found.probability > 0.5)
    assert torch.equal(mean[mean != 0], found.speed[mean != 0])


def test_the_mode_has_the_speeds_of_the_best_path(setting: Problem) -> None:
    found, every = both(setting)
    mode = found.mode()
    for b, one in enumerate(every):
        best = one.paths[one.weight.argmax()]
        assert torch.allclose(mode[b], one.mean[torch.arange(len(best)), best], atol=1e-8)
        assert torch.equal(mode[b] != 0, one.values[best] != 0)


def slab_kl(one: Brute, spread: float) -> float:
    """sum_t sum_S q(S) KL of the speeds of what is on."""
    total = 0.0
    for t in range(len(one.mean)):
        for m, state in enumerate(one.values):
            on = state != 0
            if on.any():
                prior = MultivariateNormal(state[on], spread**2 * torch.eye(int(on.sum())).double())
                posterior = MultivariateNormal(one.mean[t, m][on], one.covariance[t, m][on][:, on])
                total += (one.marginal[t, m] * kl_divergence(posterior, prior)).item()
    return total


def test_kls_are_sums_over_all_paths(setting: Problem) -> None:
    found, every = both(setting)
    kl = found.kl()
    assert set(kl) == ({"spike"} if setting.noise.spread == 0 else {"spike", "slab"})
    for b, one in enumerate(every):
        assert math.isclose(kl["spike"][b].item(), one.kl, abs_tol=1e-7)
        if "slab" in kl:
            assert math.isclose(kl["slab"][b].item(), slab_kl(one, setting.noise.spread), abs_tol=1e-6)


def draws_of(found: ActivityPosterior, seed: int, draws: int = DRAWS) -> tuple[Tensor, Tensor]:
    batch, steps = found.paths.marginal.shape[:2]
    return found.draws(uniform(seed, draws, batch, steps), normal(seed + 1, draws, batch, steps, found.space.most))


def test_the_kl_is_the_mean_of_the_log_ratio_of_draws(setting: Problem) -> None:
    found = setting.infer()
    _, ratio = draws_of(found, 3)
    error = ratio.std(0) / DRAWS**0.5
    assert ((-ratio.mean(0) - sum(found.kl().values())).abs() < 5 * error + 1e-6).all()


def test_draws_have_the_frequencies_and_moments_of_the_posterior(setting: Problem) -> None:
    found = setting.infer()
    g, _ = draws_of(found, 4)
    on = (g != 0).double().mean(0)
    p = found.probability
    assert ((on - p).abs() < 5 * (p * (1 - p) / DRAWS).sqrt() + 2 / DRAWS).all()
    statistics = found.statistics()
    first, second = statistics.first.movedim(0, -1), statistics.second.movedim((0, 1), (-2, -1))
    products = g.unsqueeze(-1) * g.unsqueeze(-2)
    assert ((g.mean(0) - first).abs() < 5 * g.std(0) / DRAWS**0.5 + 2e-3).all()
    assert ((products.mean(0) - second).abs() < 5 * products.std(0) / DRAWS**0.5 + 4e-3).all()
    assert ((g != 0).sum(-1) <= found.space.most).all()


def test_log_ratios_are_prior_over_posterior(setting: Problem) -> None:
    """log p(y, s) - log q(y, s) of every draw, each written out: chains and normals."""
    found, every = both(setting)
    g, ratio = draws_of(found, 5, draws=12)
    spread, signed = setting.noise.spread, setting.prior.slab == "signed"
    for b, one in enumerate(every):
        for n in range(len(g)):
            assert math.isclose(ratio[n, b].item(), direct_ratio(one, g[n, b], setting, spread, signed), abs_tol=1e-6)


def direct_ratio(one: Brute, g: Tensor, setting: Problem, spread: float, signed: bool) -> float:
    """The state of every step is found as the one with these controls on, its sign summed over."""
    steps = len(g)
    matching = [((one.values != 0) == (g[t] != 0)).all(-1).nonzero().flatten().tolist() for t in range(steps)]
    is_match = torch.zeros(steps, len(one.values), dtype=torch.bool)
    log_p, log_q = torch.zeros(steps, len(one.values)).double(), torch.zeros(steps, len(one.values)).double()
    for t in range(steps):
        on = g[t] != 0
        for m in matching[t]:
            is_match[t, m] = True
            if on.any() and spread:
                scale = spread**2 * torch.eye(int(on.sum())).double()
                log_p[t, m] = MultivariateNormal(one.values[m][on], scale).log_prob(g[t][on])
                covariance = one.covariance[t, m][on][:, on]
                log_q[t, m] = MultivariateNormal(one.mean[t, m][on], covariance).log_prob(g[t][on])
    index = torch.arange(steps)
    kept = is_match[index, one.paths].all(-1)
    paths = one.paths[kept]
    prior = (one.log_prior[kept] + log_p[index, paths].sum(-1)).logsumexp(0)
    posterior = (one.weight[kept].log() + log_q[index, paths].sum(-1)).logsumexp(0)
    return (prior - posterior).item()


def test_log_ratios_by_bayes_rule(setting: Problem) -> None:
    """log p(y, s) - log q(y, s) = log p(Delta) - log p(Delta | y, s), with the residual of the drawn activity."""
    found = setting.infer()
    g, ratio = draws_of(found, 6, draws=5)
    residual = (setting.displacement - (g.unsqueeze(-1) * setting.fields).sum(-2)).square().sum(-1)
    dim = setting.fields.shape[-1]
    for n in range(5):
        for b in range(2):
            total = 0.0
            for t in range(g.shape[2]):
                tau = noise_of(setting.displacement[b, t], setting.noise, setting.noise.misfit)
                total -= 0.5 * (residual[n, b, t].item() / tau + dim * math.log(2 * math.pi * tau))
            assert math.isclose(ratio[n, b].item(), found.log_evidence()[b].item() - total, abs_tol=1e-7)


def test_draws_under_another_noise_estimate_the_evidence() -> None:
    """Importance sampling with the posterior of a larger misfit as its proposal, weighted with its log-ratios."""
    setting = problem(60, controls=2, steps=2)
    found = setting.infer()
    wider = replace(setting, noise=replace(setting.noise, misfit=0.5)).infer()
    g, ratio = draws_of(wider, 7, draws=20000)
    residual = (setting.displacement - (g.unsqueeze(-1) * setting.fields).sum(-2)).square().sum(-1)
    power = ((g != 0) * setting.fields.square().sum(-1)).sum(-1) / 3
    tau = 0.5 + 0.05 * power
    weights = ratio - 0.5 * (residual / tau + 3 * torch.log(2 * math.pi * tau)).sum(-1)
    estimate = weights.logsumexp(0) - math.log(len(weights))
    assert torch.allclose(estimate, found.log_evidence(), atol=0.05)


def test_what_must_not_act_never_does(setting: Problem) -> None:
    """A mask per sequence: exact zeros, and the posterior of the paths on which they are off."""
    controls = setting.fields.shape[2]
    alive = torch.ones(controls, 2, dtype=torch.float64)
    alive[0, 0] = alive[-1, 1] = 0
    found = setting.infer(alive=alive)
    _, every = both(setting)
    g, ratio = draws_of(found, 8, draws=200)
    for b, dead in enumerate((0, controls - 1)):
        for value in (found.probability, found.mean_on(), found.mode()):
            assert (value[b, :, dead] == 0).all()
        assert (g[:, b, :, dead] == 0).all()
        assert (found.speed[b, :, dead] == 1).all()
        one = every[b]
        inside = (one.values[:, dead] == 0)[one.paths].all(-1)
        share = one.weight[inside].sum()
        weight = one.weight[inside] / share
        evidence = one.log_evidence + share.log().item()
        assert math.isclose(found.log_evidence()[b].item(), evidence, abs_tol=1e-7)
        expected = replace(one, paths=one.paths[inside], weight=weight, log_prior=one.log_prior[inside])
        assert torch.allclose(found.probability[b], expected.probability, atol=1e-8)
        assert math.isclose(found.kl()["spike"][b].item(), expected.kl, abs_tol=1e-7)
    assert ratio.isfinite().all()
    assert setting.infer(alive=torch.ones_like(alive)).log_evidence().equal(setting.infer().log_evidence())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_activity(dtype: torch.dtype) -> None:
    """One field throughout at unit speed: a softmax over fields, dead ones excepted."""
    setting = problem(9, controls=4, steps=5, batch=3, slab="unit", constant=True, most=1, size=3.0)
    alive = torch.tensor([1.0, 1, 0, 1], dtype=dtype).unsqueeze(-1).expand(-1, 3)
    rates = setting.on.to(dtype), setting.off.to(dtype)
    made = Problem(setting.fields.to(dtype), setting.displacement.to(dtype), setting.prior, setting.noise, *rates)
    found = made.infer(alive=alive)
    residual = (setting.displacement.unsqueeze(-2) - setting.fields).square().sum(-1)
    tau = 0.5 + 0.05 * setting.displacement.square().sum(-1, keepdim=True) / 3
    score = -0.5 * (residual / tau + 3 * torch.log(2 * math.pi * tau)).sum(1)
    score[:, 2] = -torch.inf
    expected = score.softmax(-1)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    assert torch.allclose(found.probability.double(), expected.unsqueeze(1).expand(-1, 5, -1), atol=tolerance)
    assert torch.allclose(found.log_evidence().double(), score.logsumexp(-1) - math.log(4), rtol=1e-5, atol=tolerance)
    best = torch.nn.functional.one_hot(score.argmax(-1), 4).to(dtype).unsqueeze(1).expand(-1, 5, -1)
    assert torch.equal(found.mean_on(), best) and torch.equal(found.mode(), best)
    assert set(found.kl()) == {"spike"}
    g, ratio = found.draws(torch.rand(50, 3, 5).to(dtype), torch.rand(50, 3, 5, 1).to(dtype))
    assert (g.sum(-1) == 1).all() and (g == g[:, :, :1]).all() and (g[..., 2] == 0).all()
    which = g[:, :, 0].argmax(-1)
    direct = -math.log(4) - expected.log().gather(1, which.T).T
    assert torch.allclose(ratio.double(), direct, rtol=1e-4, atol=1e-4 if dtype == torch.float32 else 1e-8)


@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
def test_single_precision_is_near_double(slab: str) -> None:
    setting = problem(10, controls=4, steps=6, dim=16, batch=4, slab=slab, size=2.0)
    rates = setting.on.float(), setting.off.float()
    single = Problem(setting.fields.float(), setting.displacement.float(), setting.prior, setting.noise, *rates)
    found, double = single.infer(), setting.infer()
    for name, tolerance in {"probability": 1e-4, "speed": 1e-3, "deviation": 5e-3}.items():
        value = getattr(found, name)
        assert value.dtype == torch.float32
        assert torch.allclose(value.double(), getattr(double, name), atol=tolerance), name
    for name, value in found.kl().items():
        assert torch.allclose(value.double(), double.kl()[name], atol=2e-2), name
    assert torch.allclose(found.log_evidence().double(), double.log_evidence(), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("slab", ["positive", "signed"])
def test_equal_strong_fields_can_be_drawn_from_in_single_precision(slab: str) -> None:
    """Two copies of one field, at the least misfit: their speeds are almost one number."""
    field = 60 * torch.randn(3, 5, 1, 32, generator=torch.Generator().manual_seed(0))
    rates = torch.full((3,), 0.1), torch.full((3,), 0.3)
    prior = ActivityPrior(slab=slab)
    noise = replace(problem(0).noise, misfit=0.01)
    found = Problem(field.expand(-1, -1, 3, -1), 2 * field[:, :, 0], prior, noise, *rates).infer()
    g, ratio = found.draws(torch.rand(40, 3, 5), torch.randn(40, 3, 5, 3))
    assert g.isfinite().all() and ratio.isfinite().all()
    assert all(value.isfinite().all() for value in found.kl().values())


def test_tempering_weighs_the_likelihood(setting: Problem) -> None:
    """Between the prior of the spikes, at weight 0, and their posterior, at weight 1."""
    for temper in (1e-9, 0.3, 1.0):
        found = setting.infer(temper=temper)
        every = brute(setting, 0, found.space)
        log = every.log_likelihood[torch.arange(len(every.mean)), every.paths].sum(-1)
        weight = (every.log_prior + temper * log).softmax(0)
        expected = torch.einsum("n,ntc->tc", weight, every.values.abs()[every.paths])
        assert torch.allclose(found.probability[0], expected, atol=1e-8)


def test_the_sign_of_a_field_turns_its_speed() -> None:
    setting = problem(11, controls=3, steps=3, slab="signed", most=2)
    turned = replace(setting, fields=setting.fields * torch.tensor([1.0, -1, 1]).double()[:, None])
    found, mirrored = setting.infer(), turned.infer()
    assert torch.allclose(found.probability, mirrored.probability, atol=1e-10)
    sign = torch.tensor([1.0, -1.0, 1.0]).double()
    assert torch.allclose(found.speed * sign, mirrored.speed, atol=1e-8)
    assert torch.allclose(found.deviation, mirrored.deviation, atol=1e-6)
    assert torch.allclose(found.mode() * sign, mirrored.mode(), atol=1e-8)


def test_negative_speeds_are_recovered() -> None:
    fields = 4 * normal(12, 1, 6, 3, 12)
    truth = torch.tensor([[-1.2, 0, 0], [-0.8, 0.9, 0], [0, 1.1, 0], [0, 1, -1.3], [0, 0, -1], [0, 0, 0]]).double()
    displacement = (truth.unsqueeze(-1) * fields[0]).sum(-2).unsqueeze(0) + 0.1 * normal(13, 1, 6, 12)
    base = problem(0, controls=3, slab="signed", misfit=0.01)
    found = replace(base, fields=fields, displacement=displacement).infer()
    assert torch.allclose(found.mean_on()[0], truth, atol=0.1)
    assert torch.allclose(found.mode()[0], truth, atol=0.1)
    assert torch.equal(found.mode()[0] != 0, truth != 0)


@pytest.mark.parametrize("seed", range(6))
def test_random_sizes(seed: int) -> None:
    """Any sizes and slabs: what is on sums to what the moments say, bounds hold, and KLs are those of draws."""
    pick = torch.Generator().manual_seed(seed)
    controls, most, steps, batch, dim = (int(torch.randint(1, 5, (), generator=pick)) for _ in range(5))
    slab = ("positive", "signed", "unit")[seed % 3]
    enumerated = int(torch.randint(1, 6, (), generator=pick))
    setting = problem(seed, controls, steps, dim, batch, slab, 1.5, most=most, enumerated=enumerated)
    found = setting.infer()
    p = found.probability
    assert p.shape == (batch, steps, controls)
    assert (p >= 0).all() and (p <= 1 + 1e-12).all() and (p.sum(-1) <= most + 1e-9).all()
    assert torch.allclose(found.statistics().first.movedim(0, -1), p * found.speed, atol=1e-9)
    kl = found.kl()
    assert all((value >= -1e-9).all() for value in kl.values())
    g, ratio = draws_of(found, seed + 20, draws=1000)
    assert g.shape == (1000, batch, steps, controls)
    assert ((-ratio.mean(0) - sum(kl.values())).abs() < 5 * ratio.std(0) / 1000**0.5 + 1e-6).all()
    silent = chain_log_prob(torch.zeros(steps, controls), setting.on, setting.off, slab == "signed")
    assert (found.log_evidence() >= silence(setting) + silent - 1e-9).all()


def silence(setting: Problem) -> Tensor:
    """log p of all displacements given that nothing acts."""
    dim = setting.fields.shape[-1]
    return -0.5 * (setting.displacement.square().sum(-1) / 0.5 + dim * math.log(math.pi)).sum(-1)
