"""Posteriors over activity: exact KLs against hard draws, exact zeros, the weak posterior, the warm-up, relaxation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Laplace

from ffrl.activity import CategoricalActivity, GivenActivity, Phase, gumbel_softmax, warmup_phase
from ffrl.config import WarmupConfig
from ffrl.priors import categorical_chain_kl
from stf.activity import SpikeSlabActivity
from stf.config import SparseWarmupConfig, SparsityConfig

pytestmark = pytest.mark.usefixtures("float64")
FIELDS, DIM, BATCH, STEPS = 2, 4, 3, 4
SLABS = {"unit": 1, "positive": 3, "signed": 4}
MEANS = torch.zeros(BATCH, STEPS + 1, DIM, dtype=torch.float64)
DRAWS = 200_000

every_slab = pytest.mark.parametrize("slab", SLABS)
single_and_separate = pytest.mark.parametrize("controls", [FIELDS, 2 * FIELDS])


class Fixed(nn.Module):
    """Posterior parameters that are given instead of computed."""

    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = nn.Parameter(raw)

    def forward(self, means: Tensor) -> Tensor:
        return self.raw


def sparse(slab: str, controls: int = FIELDS, seed: int = 0, **prior) -> SpikeSlabActivity:
    """Spike-and-slab activity with random posterior parameters, near enough to the prior for Monte Carlo."""
    torch.manual_seed(seed)
    warmup = SparseWarmupConfig(slab_weight=5.0)
    prior = dict(slab_weight=1.0) | prior
    activity = SpikeSlabActivity(FIELDS, controls, DIM, SparsityConfig(slab=slab, **prior), warmup)
    raw = torch.randn(BATCH, STEPS, SLABS[slab], controls)
    raw[:, :, 1:3] *= 0.3
    activity.posterior = Fixed(raw.flatten(2))
    return activity


def weak(seed: int = 0) -> CategoricalActivity:
    torch.manual_seed(seed)
    activity = CategoricalActivity(3, DIM, WarmupConfig())
    activity.posterior = Fixed(torch.randn(BATCH, STEPS, 3))
    return activity


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int) -> Tensor:
    tiny = torch.finfo(torch.float64).eps
    return torch.rand(*shape, generator=generator()).clamp(tiny, 1 - tiny)


def noise(activity, seed: int = 0) -> Tensor:
    shape = (BATCH, STEPS, activity.num_controls, activity.noise_channels)
    return torch.rand(shape, generator=generator(seed)).clamp(1e-12, 1 - 1e-12)


@every_slab
def test_sparsity_weight_of_the_phase_scales_the_kl_and_nothing_else(slab: str) -> None:
    activity = sparse(slab)
    plain, weighted = (activity(MEANS, noise(activity), Phase(sparsity_weight=weight)) for weight in (1.0, 3.0))
    assert torch.equal(plain.g, weighted.g)
    for name, value in plain.kl.items():
        torch.testing.assert_close(weighted.kl[name], 3.0 * value, rtol=1e-12, atol=0.0)


def test_slabs_have_a_further_weight_after_the_warm_up() -> None:
    plain, heavy = (sparse("signed", slab_weight=weight) for weight in (1.0, 2.5))
    for phase in (Phase(), Phase(sparsity_weight=3.0)):
        ours, theirs = heavy(MEANS, noise(heavy), phase), plain(MEANS, noise(plain), phase)
        assert torch.equal(ours.g, theirs.g) and torch.equal(ours.kl["spike"], theirs.kl["spike"])
        torch.testing.assert_close(ours.kl["slab"], 2.5 * theirs.kl["slab"], rtol=1e-12, atol=0.0)
    warm = Phase(exclusive=True)
    assert torch.equal(heavy(MEANS, noise(heavy), warm).kl["slab"], plain(MEANS, noise(plain), warm).kl["slab"])
    assert torch.equal(heavy.kl(MEANS), plain.kl(MEANS))


def test_sparsity_weight_falls_to_one_after_the_warm_up() -> None:
    activity = sparse("positive", weight=8.0)
    fraction = activity.warmup.fraction
    at = [activity.phase(fraction + share * (1 - fraction)) for share in (0.0, 1 / 3, 2 / 3, 1.0)]
    assert [phase.sparsity_weight for phase in at] == pytest.approx([8.0, 4.0, 2.0, 1.0])
    assert sparse("positive", weight=1.0).phase(0.9).sparsity_weight == 1.0


@single_and_separate
def test_warm_up_lets_exactly_one_field_act(controls: int) -> None:
    activity = sparse("positive", controls)
    phase = Phase(temperature=1e-5, exclusive=True, chain_weight=7.0)
    unit = sparse("unit", controls)
    g = unit(MEANS, noise(unit), phase).g
    parts = g.unflatten(-1, (-1, FIELDS))
    torch.testing.assert_close(parts.sum(-1), torch.ones(parts.shape[:-1]), rtol=1e-9, atol=0.0)
    assert (parts.amax(-1) > 1 - 1e-9).all()
    assert torch.equal(parts, parts[:, :, :1].expand_as(parts))

    terms = activity(MEANS, noise(activity), phase).kl
    logits, location, scale, _ = activity.posterior_parameters(MEANS)
    log_q = logits.unflatten(-1, (-1, FIELDS)).mean(-2).log_softmax(-1)
    chain = categorical_chain_kl(log_q, activity.warmup.stay)
    torch.testing.assert_close(terms["chain"], 7.0 * chain, rtol=1e-12, atol=0.0)
    prior = Laplace(torch.ones(()), torch.full((), 0.1))
    slab = torch.distributions.kl_divergence(Laplace(location, scale), prior)
    expected = (log_q.exp().repeat(1, 1, controls // FIELDS) * slab).sum((-2, -1))
    torch.testing.assert_close(terms["slab"], 5.0 * expected, rtol=1e-9, atol=1e-12)
    (gradient,) = torch.autograd.grad(terms["chain"].sum(), activity.posterior.raw)
    assert (gradient[..., :controls].abs() > 1e-9).all()


def test_weak_draws_enumerate_every_field_with_its_probability() -> None:
    activity, samples = weak(), 2
    draws = activity.draws(MEANS, samples, None)
    q = activity.posterior.raw.sum(1).softmax(-1)
    assert draws.g.shape == (3, samples, BATCH, STEPS, 3)
    torch.testing.assert_close(draws.log_case.exp(), q.T, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(draws.log_case.exp().sum(0), torch.ones(BATCH), rtol=1e-12, atol=0.0)
    for case in range(3):
        assert torch.equal(draws.g[case], torch.eye(3)[case].expand(samples, BATCH, STEPS, 3))
        expected = -math.log(3) - q[:, case].log()
        torch.testing.assert_close(draws.log_ratio[case], expected.expand(samples, BATCH), rtol=1e-12, atol=1e-12)


def test_weak_kl_is_minus_the_expected_log_ratio() -> None:
    activity = weak()
    draws = activity.draws(MEANS, 1, None)
    expected = -(draws.log_case.exp() * draws.log_ratio[:, 0]).sum(0)
    sample = activity(MEANS, noise(activity), Phase(temperature=0.5))
    assert set(sample.kl) == {"field"}
    torch.testing.assert_close(sample.kl["field"], expected, rtol=1e-12, atol=1e-13)
    assert (torch.autograd.grad(sample.kl["field"].sum(), activity.posterior.raw)[0].abs() > 1e-9).all()


def test_weak_activity_is_one_field_for_the_whole_sequence_after_the_warm_up() -> None:
    activity = weak()
    g = activity(MEANS, noise(activity), Phase(temperature=1e-5)).g
    assert g.shape == (BATCH, STEPS, 3)
    assert torch.equal(g, g[:, :1].expand_as(g))
    torch.testing.assert_close(g.amax(-1), torch.ones(BATCH, STEPS), rtol=1e-9, atol=0.0)


def test_weak_activity_is_one_field_per_step_during_the_warm_up() -> None:
    activity = weak()
    sample = activity(MEANS, noise(activity), Phase(temperature=1e-5, exclusive=True, chain_weight=30.0))
    torch.testing.assert_close(sample.g.amax(-1), torch.ones(BATCH, STEPS), rtol=1e-9, atol=0.0)
    assert not torch.equal(sample.g, sample.g[:, :1].expand_as(sample.g))
    chain = categorical_chain_kl(activity.posterior.raw.log_softmax(-1), WarmupConfig().stay)
    torch.testing.assert_close(sample.kl["chain"], 30.0 * chain, rtol=1e-12, atol=0.0)


def test_weak_inference_is_the_most_probable_field_throughout() -> None:
    activity = weak()
    best = activity.posterior.raw.sum(1).argmax(-1)
    expected = torch.eye(3)[best].unsqueeze(1).expand(BATCH, STEPS, 3)
    assert torch.equal(activity.infer(MEANS), expected)


def test_given_activity_infers_nothing() -> None:
    activity = GivenActivity(3)
    with pytest.raises(ValueError, match="pass activity"):
        activity(MEANS, MEANS, Phase())
    with pytest.raises(ValueError, match="infers no activity"):
        activity.infer(MEANS)
    with pytest.raises(ValueError, match="infers no activity"):
        activity.draws(MEANS, 1, None)
    assert activity.phase(0.1) == activity.phase(0.9)


def test_warm_up_ends_at_its_fraction_and_cools_geometrically() -> None:
    config = WarmupConfig(fraction=0.4, weight=30.0, final_weight=30.0, temperature=1.0, final_temperature=0.25)
    phases = [warmup_phase(progress, config) for progress in (0.0, 0.39, 0.4, 0.5, 1.0)]
    assert [phase.exclusive for phase in phases] == [True, True, False, False, False]
    assert all(before.temperature > after.temperature for before, after in itertools.pairwise(phases))
    assert [phases[0].temperature, phases[3].temperature, phases[4].temperature] == pytest.approx([1.0, 0.5, 0.25])
    assert all(phase.chain_weight == 30.0 for phase in phases)
    assert not warmup_phase(0.0, WarmupConfig(fraction=0.0)).exclusive


def test_the_weight_of_the_chain_falls_geometrically_while_the_warm_up_lasts() -> None:
    config = WarmupConfig(fraction=0.6, weight=200.0, final_weight=2.0)
    weights = [warmup_phase(progress, config, start=0.2).chain_weight for progress in (0.2, 0.3, 0.4, 0.6, 0.9)]
    assert weights == pytest.approx([200.0, 200 * 100**-0.25, 20.0, 2.0, 2.0])
    activity = CategoricalActivity(3, 4, config)
    assert activity.phase(0.4, 0.2) == warmup_phase(0.4, config, 0.2) != activity.phase(0.4)
    assert warmup_phase(0.5, WarmupConfig(fraction=0.2), start=0.4).chain_weight == WarmupConfig().final_weight


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_gumbel_softmax_chooses_with_the_softmax_probabilities(temperature: float) -> None:
    logits = torch.tensor([1.0, -0.5, 0.3, -2.0])
    drawn = gumbel_softmax(logits.expand(DRAWS, 4), uniform(DRAWS, 4), temperature)
    torch.testing.assert_close(drawn.sum(-1), torch.ones(DRAWS), rtol=1e-12, atol=0.0)
    share = torch.bincount(drawn.argmax(-1), minlength=4) / DRAWS
    q = logits.softmax(-1)
    assert ((share - q).abs() < 4 * (q * (1 - q) / DRAWS).sqrt()).all()


def test_cold_gumbel_softmax_is_one_hot() -> None:
    drawn = gumbel_softmax(torch.zeros(1000, 3), uniform(1000, 3), 1e-3)
    assert (drawn.amax(-1) > 0.999).double().mean() > 0.99
