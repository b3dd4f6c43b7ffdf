"""Many controls of which few are enumerated: against no truncation, and against sums over the paths that are left."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from inference_tools import Problem, brute, normal, problem, uniform
from torch import Tensor

from stf.inference.evidence import evidence, transitions
from stf.inference.posterior import ActivityPosterior
from stf.inference.prior import ActivityPrior
from stf.inference.states import subsets
from stf.inference.truncation import choose, put_back, put_back_pairs, select, singles

READINGS = ("probability", "speed", "deviation")


def with_prior(setting: Problem, **changes) -> Problem:
    """The same problem under another prior."""
    return replace(setting, prior=replace(setting.prior, **changes))


def planted(seed: int, controls: int, acting: int, batch: int = 4, steps: int = 6, slab: str = "positive") -> Problem:
    """Strong fields of which ``acting`` act throughout, others in each sequence."""
    fields = 3 * normal(seed, batch, steps, controls, 16)
    which = torch.stack([torch.randperm(controls, generator=torch.Generator().manual_seed(b)) for b in range(batch)])
    active = torch.zeros(batch, steps, controls, dtype=torch.float64)
    speed = 1 + 0.2 * normal(seed + 1, batch, 1, acting)
    if slab == "signed":
        speed = speed * torch.where(uniform(seed + 2, batch, 1, acting) < 0.5, -1.0, 1.0)
    active.scatter_(-1, which[:, None, :acting].expand(-1, steps, -1), speed.expand(-1, steps, -1))
    displacement = (active.unsqueeze(-1) * fields).sum(-2) + math.sqrt(0.5) * normal(seed + 3, batch, steps, 16)
    base = problem(0, controls, 2, 3, 1, slab)
    prior = ActivityPrior(slab=slab, most=3, enumerated=5)
    rates = torch.full((controls,), 0.1).double(), torch.full((controls,), 0.3).double()
    return Problem(fields, displacement, prior, base.noise, *rates)


@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
@pytest.mark.parametrize("enumerated", [4, 5, 100])
def test_nothing_changes_while_all_fit(slab: str, enumerated: int) -> None:
    setting = problem(0, controls=4, slab=slab, most=2)
    whole, found = (with_prior(setting, enumerated=n).infer() for n in (1000, enumerated))
    assert found.chosen is None and (found.left_out == 0).all()
    for name in READINGS:
        assert torch.equal(getattr(found, name), getattr(whole, name))


@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_left_is_the_posterior_given_that_the_others_are_off(slab: str, seed: int) -> None:
    """Log evidence, P(on), speeds, moments and KLs: sums over the paths in which only what was chosen acts."""
    setting = problem(30 * seed, controls=3, steps=2, slab=slab, most=2, enumerated=2)
    found = setting.infer()
    assert found.chosen.shape == (2, 2)
    space = subsets(3, 2, slab == "signed", dtype=torch.float64)
    statistics = found.statistics()
    kl = sum(found.kl().values())
    for b in range(2):
        out = next(k for k in range(3) if k not in found.chosen[:, b].tolist())
        every = brute(setting, b, space)
        inside = (space.values[:, out] == 0)[every.paths].all(-1)
        share = every.weight[inside].sum()
        cut = replace(
            every,
            paths=every.paths[inside],
            weight=every.weight[inside] / share,
            log_prior=every.log_prior[inside],
            log_evidence=every.log_evidence + share.log().item(),
        )
        assert math.isclose(found.log_evidence()[b].item(), cut.log_evidence, abs_tol=1e-9)
        assert torch.allclose(found.probability[b], cut.probability, atol=1e-9)
        first, second = cut.moments()
        assert torch.allclose(statistics.first[:, b].T, first, atol=1e-9)
        assert torch.allclose(statistics.second[:, :, b].movedim(-1, 0), second, atol=1e-9)
        assert (found.probability[b, :, out] == 0).all()
        assert (found.speed[b, :, out] == 1).all()
        expected = cut.kl + _slab_kl(cut, setting.noise.spread)
        assert math.isclose(kl[b].item(), expected, abs_tol=1e-8)


def _slab_kl(cut, spread: float) -> float:
    """Expected KL of the speeds of what is on."""
    if spread == 0:
        return 0.0
    total = 0.0
    for t, (m, state) in itertools.product(range(len(cut.mean)), enumerate(cut.values)):
        on = state != 0
        if on.any():
            posterior = torch.distributions.MultivariateNormal(cut.mean[t, m][on], cut.covariance[t, m][on][:, on])
            prior = torch.distributions.MultivariateNormal(state[on], spread**2 * torch.eye(int(on.sum())).double())
            total += (cut.marginal[t, m] * torch.distributions.kl_divergence(posterior, prior)).item()
    return total


@pytest.mark.parametrize("slab", ["positive", "signed"])
@pytest.mark.parametrize("controls", [12, 32])
def test_planted_fields_are_found(slab: str, controls: int) -> None:
    setting = planted(0, controls, acting=2, slab=slab)
    found = setting.infer()
    truth = torch.stack([torch.randperm(controls, generator=torch.Generator().manual_seed(b))[:2] for b in range(4)])
    on = (found.probability > 0.5).double().mean(1)
    assert found.probability.shape == (4, 6, controls)
    for b in range(4):
        assert on[b].nonzero().flatten().tolist() == sorted(truth[b].tolist())
    assert (on.sum(-1) == 2).all()
    assert found.space.num_states == subsets(5, 3, slab == "signed").num_states, "the size does not grow with C"


def test_the_rest_is_worth_nothing_where_the_chosen_ones_suffice() -> None:
    found = planted(0, 12, acting=2).infer()
    assert (found.left_out >= 0).all()
    assert (found.left_out < 1).all()


def test_the_rest_is_worth_much_where_a_strong_field_was_left_out() -> None:
    """Five act in turn, and two are enumerated."""
    setting = planted(3, 8, acting=1, batch=1, steps=5)
    turns = torch.eye(8, dtype=torch.float64)[:5].unsqueeze(0)
    displacement = (turns.unsqueeze(-1) * setting.fields).sum(-2)
    setting = with_prior(replace(setting, displacement=displacement), enumerated=2)
    assert (setting.infer().left_out > 50).all()


@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
@pytest.mark.parametrize("seed", range(3))
def test_left_out_is_the_gain_with_one_more_at_a_time(slab: str, seed: int) -> None:
    """With independent transitions and stationary odds; all subsets of all controls would gain at least as much."""
    setting = problem(50 + seed, controls=5, steps=3, slab=slab, most=2, enumerated=3, size=1.5)
    found = setting.infer()
    space = subsets(5, 2, slab == "signed", dtype=torch.float64)
    log = evidence(setting.data, space, setting.noise).log
    odds = space.on @ torch.log(setting.on / setting.off)
    if slab == "signed":
        odds = odds - math.log(2) * space.on.sum(-1)
    weighted = log + odds[:, None, None]
    for b in range(2):
        out = [k for k in range(5) if k not in found.chosen[:, b].tolist()]
        inside = (space.on[:, out] == 0).all(-1)
        single = (space.on[:, out].sum(-1) == 1) & (space.on.sum(-1) == 1)
        kept, more, every = (weighted[m, b].logsumexp(0) for m in (inside, inside | single, inside | True))
        assert torch.isclose(found.left_out[b], (more - kept).sum(), atol=1e-8)
        assert found.left_out[b] <= (every - kept).sum() + 1e-9


@pytest.mark.parametrize("slab", ["positive", "signed"])
def test_scores_of_single_controls(slab: str) -> None:
    """log p(Delta | only k is on), the sign summed out."""
    setting = problem(3, controls=4, slab=slab)
    alone = singles(setting.data, slab == "signed", setting.noise)
    space = subsets(4, 1, slab == "signed", dtype=torch.float64)
    log = evidence(setting.data, space, setting.noise).log
    assert torch.allclose(alone[0], log[0])
    for k in range(4):
        mine = log[space.on[:, k] == 1]
        assert torch.allclose(alone[k + 1], mine.logsumexp(0) - math.log(len(mine)))


def test_a_field_that_does_nothing_gains_nothing() -> None:
    """A sign that makes no difference is no evidence: the score of a field of zeros is that of silence."""
    for slab in ("positive", "signed"):
        setting = problem(4, controls=3, slab=slab)
        fields = setting.fields.clone()
        fields[:, :, 1] = 0
        alone = singles(transitions(fields, setting.displacement), slab == "signed", setting.noise)
        assert torch.allclose(alone[2], alone[0], atol=1e-10)


@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
def test_what_must_not_act_takes_no_place(slab: str) -> None:
    """With as many alive as are enumerated, the posterior is that of a model without the others."""
    setting = planted(5, 9, acting=2, slab="positive" if slab == "unit" else slab)
    setting = replace(setting, prior=replace(setting.prior, slab=slab, enumerated=4))
    setting = replace(setting, noise=replace(setting.noise, spread=setting.prior.speed_spread))
    alive = torch.zeros(9, 4, dtype=torch.float64)
    for b in range(4):
        alive[torch.randperm(9, generator=torch.Generator().manual_seed(10 + b))[:4], b] = 1
    found = setting.infer(alive=alive)
    for b in range(4):
        kept = alive[:, b].nonzero().flatten()
        assert sorted(found.chosen[:, b].tolist()) == kept.tolist()
        small = Problem(
            setting.fields[b : b + 1, :, kept],
            setting.displacement[b : b + 1],
            replace(setting.prior, enumerated=100),
            setting.noise,
            setting.on[kept],
            setting.off[kept],
        ).infer()
        assert torch.allclose(found.probability[b][:, kept], small.probability[0], atol=1e-9)
        assert (found.probability[b][:, alive[:, b] == 0] == 0).all()
        silent = setting.prior.log_silent(setting.on, setting.off, 6)[alive[:, b] == 0].sum()
        assert torch.isclose(found.log_evidence()[b], small.log_evidence()[0] + silent, atol=1e-8)
    assert (found.left_out == 0).all()


def test_what_must_not_act_may_be_enumerated_or_not() -> None:
    """Evidence with a mask is the same with truncation and without, as long as all that may act is enumerated."""
    setting = problem(6, controls=6, steps=3, most=2)
    alive = torch.tensor([1.0, 0, 1, 0, 0, 1]).double().unsqueeze(-1).expand(-1, 2)
    whole, cut = (with_prior(setting, enumerated=n).infer(alive=alive) for n in (10, 3))
    assert torch.allclose(whole.log_evidence(), cut.log_evidence(), atol=1e-9)
    for name in READINGS:
        assert torch.allclose(getattr(whole, name), getattr(cut, name), atol=1e-8), name
    for name, value in whole.kl().items():
        assert torch.allclose(value, cut.kl()[name], atol=1e-8), name


@pytest.mark.parametrize("enumerated", [3, 10])
@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
def test_the_order_of_the_fields_makes_no_difference(slab: str, enumerated: int) -> None:
    setting = problem(7, controls=6, steps=4, batch=3, slab=slab, most=2, enumerated=enumerated, size=1.5)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    found, moved = setting.infer(), setting.permuted(order).infer()
    assert torch.allclose(found.log_evidence(), moved.log_evidence(), atol=1e-9)
    assert torch.allclose(found.left_out, moved.left_out, atol=1e-8)
    for name in READINGS:
        assert torch.allclose(getattr(found, name)[..., order], getattr(moved, name), atol=1e-7), name
    assert torch.allclose(found.mean_on()[..., order], moved.mean_on(), atol=1e-8)
    assert torch.allclose(found.mode()[..., order], moved.mode(), atol=1e-8)
    for name, value in found.kl().items():
        assert torch.allclose(value, moved.kl()[name], atol=1e-8)
    one, two = found.statistics(), moved.statistics()
    assert torch.allclose(one.first[order], two.first, atol=1e-9)
    assert torch.allclose(one.second[order][:, order], two.second, atol=1e-9)


def test_selected_inner_products_are_those_of_selected_fields() -> None:
    setting = problem(8, controls=5, steps=4, batch=3)
    chosen = torch.stack([torch.randperm(5, generator=torch.Generator().manual_seed(b))[:3] for b in range(3)], 1)
    found = select(setting.data, chosen)
    for b in range(3):
        direct = transitions(setting.fields[b : b + 1, :, chosen[:, b]], setting.displacement[b : b + 1])
        assert torch.allclose(found.gram[:, :, b : b + 1], direct.gram)
        assert torch.allclose(found.cross[:, b : b + 1], direct.cross)


def test_what_is_put_back_is_where_it_was() -> None:
    chosen = torch.tensor([[4, 0], [1, 3]])
    values = normal(9, 2, 2, 3)
    whole = put_back(values, chosen, 5, fill=7.0)
    pairs = normal(10, 2, 2, 2, 3)
    table = put_back_pairs(pairs, chosen, 5)
    for b in range(2):
        for k in range(5):
            mine = chosen[:, b].tolist()
            expected = values[mine.index(k), b] if k in mine else torch.full((3,), 7.0).double()
            assert torch.equal(whole[k, b], expected)
            for other in range(5):
                inside = k in mine and other in mine
                expected = pairs[mine.index(k), mine.index(other), b] if inside else torch.zeros(3).double()
                assert torch.equal(table[k, other, b], expected)


def test_the_best_are_chosen() -> None:
    alone = torch.tensor([[0.0, 0.0], [5.0, -9.0], [1.0, 1.0], [-1.0, -1.0]]).unsqueeze(1)
    assert choose(alone, 2).flatten().tolist() == [0, 1], "a step on which a field does not act counts nothing"
    impossible = torch.cat([alone, torch.full((1, 1, 2), -torch.inf)])
    assert choose(impossible, 3).flatten().tolist() == [0, 1, 2]


@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
def test_many_controls_in_single_precision(slab: str) -> None:
    """32 controls, eight enumerated: finite, and zero where nothing was enumerated."""
    double = planted(11, 32, acting=3, batch=2, slab="positive" if slab == "unit" else slab)
    prior = replace(double.prior, slab=slab, enumerated=8)
    noise = replace(double.noise, spread=prior.speed_spread)
    rates = double.on.float(), double.off.float()
    found = Problem(double.fields.float(), double.displacement.float(), prior, noise, *rates).infer()
    values: list[Tensor] = [found.log_evidence(), found.left_out, found.mean_on(), found.mode(), *found.kl().values()]
    values += [getattr(found, name) for name in READINGS]
    assert all(value.isfinite().all() for value in values)
    g, ratio = found.draws(torch.rand(7, 2, 6), torch.randn(7, 2, 6, 3))
    assert g.isfinite().all() and ratio.isfinite().all()
    outside = torch.ones(2, 32).scatter(1, found.chosen.T, 0.0).bool()
    assert (g.movedim(2, -1)[:, outside] == 0).all()
    assert (found.probability.mT[outside] == 0).all()
    assert isinstance(found, ActivityPosterior)
