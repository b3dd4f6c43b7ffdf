"""Chains of joint states against sums over all paths."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from inference_tools import chain_log_prob, normal, uniform
from torch import Tensor

from stf.inference.chain import PathPosterior, PathPrior, factorial_prior, infer_paths
from stf.inference.states import StateSpace, subsets


@dataclass(frozen=True)
class Paths:
    """All paths ``(N, T)`` of one sequence, their log prior ``(N,)`` and log joint probability ``(N,)``."""

    paths: Tensor
    prior: Tensor
    joint: Tensor

    @property
    def evidence(self) -> Tensor:
        """log p(all)."""
        return self.joint.logsumexp(0)

    @property
    def weight(self) -> Tensor:
        """Posterior probability of every path."""
        return (self.joint - self.evidence).exp()

    def pairwise(self, states: int) -> Tensor:
        """``(T-1, M, M)``."""
        is_state = torch.nn.functional.one_hot(self.paths, states).double()
        return torch.einsum("n,ntm,ntk->tmk", self.weight, is_state[:, :-1], is_state[:, 1:])

    def marginal(self, states: int) -> Tensor:
        """``(T, M)``."""
        return torch.einsum("n,ntm->tm", self.weight, torch.nn.functional.one_hot(self.paths, states).double())


def enumerate_paths(log_likelihood: Tensor, space: StateSpace, on: Tensor, off: Tensor) -> Paths:
    """Of one sequence, ``(T, M)``."""
    steps, states = log_likelihood.shape
    signed = bool((space.values < 0).any())
    paths = torch.tensor(list(itertools.product(range(states), repeat=steps)))
    prior = [chain_log_prob(space.values[path], on, off, signed) for path in paths]
    prior = torch.tensor(prior, dtype=torch.float64)
    return Paths(paths, prior, prior + log_likelihood[torch.arange(steps), paths].sum(-1))


@dataclass(frozen=True)
class Case:
    """A posterior over paths and the same by enumeration, per sequence."""

    found: PathPosterior
    every: list[Paths]
    space: StateSpace


def rates_of(seed: int, controls: int, batch: int | None) -> tuple[Tensor, Tensor]:
    """Rates ``(C,)`` or ``(B, C)``."""
    shape = (controls,) if batch is None else (batch, controls)
    return 0.02 + 0.5 * uniform(seed, *shape), 0.05 + 0.7 * uniform(seed + 1, *shape)


SIZES = {  # controls, most, signed, steps, rates per sequence
    "one": (1, 1, False, 4, False),
    "two": (2, 2, False, 4, False),
    "two of three": (3, 2, False, 3, False),
    "one of three": (3, 1, False, 4, False),
    "signed": (2, 1, True, 4, False),
    "signed two": (2, 2, True, 3, False),
    "per sequence": (2, 2, False, 3, True),
    "per sequence, signed": (2, 1, True, 3, True),
    "single step": (3, 2, False, 1, False),
    "single step, per sequence": (2, 2, False, 1, True),
}


def build(kind: str, seed: int, scale: float = 2.0) -> Case:
    controls, most, signed, steps, batched = SIZES[kind]
    space = subsets(controls, most, signed, dtype=torch.float64)
    log = scale * normal(seed, 3, steps, space.num_states)
    on, off = rates_of(seed, controls, 3 if batched else None)
    found = infer_paths(log, factorial_prior(space, on, off))
    rates = [(on[b], off[b]) if batched else (on, off) for b in range(3)]
    return Case(found, [enumerate_paths(log[b], space, *rates[b]) for b in range(3)], space)


@pytest.fixture(params=[f"{kind}/{seed}" for kind in SIZES for seed in (0, 7)])
def case(request: pytest.FixtureRequest) -> Case:
    kind, seed = request.param.split("/")
    return build(kind, int(seed))


def test_evidence_is_the_sum_over_all_paths(case: Case) -> None:
    expected = torch.stack([every.evidence for every in case.every])
    assert torch.allclose(case.found.log_evidence, expected, atol=1e-10)


def test_marginals_and_pairs_of_steps(case: Case) -> None:
    pairs = case.found.pairwise()
    expected = case.found.expected_transitions()
    for b, every in enumerate(case.every):
        states = case.space.num_states
        assert torch.allclose(case.found.marginal[b], every.marginal(states), atol=1e-10)
        assert torch.allclose(pairs[b], every.pairwise(states), atol=1e-10)
        assert torch.allclose(expected[b], every.pairwise(states).sum(0), atol=1e-10)


def test_marginals_are_those_of_the_pairs(case: Case) -> None:
    pairs = case.found.pairwise()
    assert torch.allclose(pairs.sum(-1), case.found.marginal[:, :-1])
    assert torch.allclose(pairs.sum(-2), case.found.marginal[:, 1:])


def test_the_filter_has_seen_only_what_came_before(case: Case) -> None:
    steps = case.found.marginal.shape[1]
    for seen in range(1, steps + 1):
        cut = infer_paths(case.found.log_likelihood[:, :seen], case.found.prior)
        assert torch.allclose(cut.marginal[:, -1], case.found.filtered[:, seen - 1])


def test_kl_is_that_of_whole_paths(case: Case) -> None:
    expected = torch.stack([(every.weight * (every.weight.log() - every.prior)).sum() for every in case.every])
    assert torch.allclose(case.found.kl(), expected, atol=1e-9)


def test_the_mode_is_the_best_path(case: Case) -> None:
    mode = case.found.mode()
    for b, every in enumerate(case.every):
        assert torch.equal(mode[b], every.paths[every.joint.argmax()])


@pytest.mark.parametrize("kind", ["two", "one of three", "signed", "per sequence", "single step"])
def test_draws_have_the_frequencies_of_paths(kind: str) -> None:
    case, draws = build(kind, 3), 20000
    batch, steps = case.found.marginal.shape[:2]
    paths = case.found.draw(uniform(5, draws, batch, steps))
    assert paths.shape == (draws, batch, steps)
    powers = case.space.num_states ** torch.arange(steps - 1, -1, -1)
    for b, every in enumerate(case.every):
        frequency = torch.bincount((paths[:, b] * powers).sum(-1), minlength=len(every.paths)) / draws
        deviation = (every.weight * (1 - every.weight) / draws).sqrt()
        assert ((frequency - every.weight).abs() < 5 * deviation + 2 / draws).all()


def test_a_draw_is_never_of_an_impossible_state() -> None:
    """Whatever the noise, 0 and the largest number below 1 included."""
    for dtype in (torch.float32, torch.float64):
        log = torch.zeros(1, 4, 4, dtype=dtype)
        log[..., [0, 3]] = torch.finfo(dtype).min / 1e3
        rates = torch.full((2,), 0.3, dtype=dtype), torch.full((2,), 0.4, dtype=dtype)
        found = infer_paths(log, factorial_prior(subsets(2, 2, dtype=dtype), *rates))
        edge = torch.tensor([0.0, 1 - torch.finfo(dtype).eps / 2], dtype=dtype)
        noise = torch.cartesian_prod(*[edge] * 4).view(16, 1, 4)
        drawn = found.draw(noise)
        assert ((drawn == 1) | (drawn == 2)).all()


@pytest.mark.parametrize(("controls", "most", "signed"), [(3, 1, False), (3, 2, False), (2, 1, True)])
def test_fewer_states_condition_on_never_visiting_the_others(controls: int, most: int, signed: bool) -> None:
    steps = 3
    whole = subsets(controls, controls, signed, dtype=torch.float64)
    small = subsets(controls, most, signed, dtype=torch.float64)
    kept = [whole.values.tolist().index(row) for row in small.values.tolist()]
    log = 2 * normal(0, 1, steps, whole.num_states)
    on, off = rates_of(3, controls, None)
    every = enumerate_paths(log[0], whole, on, off)
    inside = torch.isin(every.paths, torch.tensor(kept)).all(-1)
    conditioned = Paths(every.paths[inside], every.prior[inside], every.joint[inside])
    found = infer_paths(log[..., kept], factorial_prior(small, on, off))
    assert torch.isclose(found.log_evidence[0], conditioned.evidence, atol=1e-10)
    assert torch.allclose(found.marginal[0], conditioned.marginal(whole.num_states)[:, kept], atol=1e-10)
    pairs = conditioned.pairwise(whole.num_states)[:, kept][:, :, kept]
    assert torch.allclose(found.pairwise()[0], pairs, atol=1e-10)
    assert torch.allclose(found.expected_transitions()[0], pairs.sum(0), atol=1e-10)


@pytest.mark.parametrize("controls", [1, 2, 3])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("batch", [None, 2])
def test_the_prior_is_a_product_of_chains(controls: int, signed: bool, batch: int | None) -> None:
    space = subsets(controls, controls, signed, dtype=torch.float64)
    on, off = rates_of(controls, controls, batch)
    prior = factorial_prior(space, on, off)
    shape = () if batch is None else (batch,)
    ones = torch.ones(*shape, space.num_states, dtype=torch.float64)
    assert torch.allclose(prior.transition.exp().sum(-1), ones)
    assert torch.allclose(prior.initial.exp().sum(-1), ones[..., 0])
    step = (prior.initial.exp().unsqueeze(-2) @ prior.transition.exp()).squeeze(-2)
    assert torch.allclose(step, prior.initial.exp()), "the first law is stationary"
    for b in range(1 if batch is None else batch):
        pick = (on, off) if batch is None else (on[b], off[b])
        initial, transition = (x if batch is None else x[b] for x in (prior.initial, prior.transition))
        for i, j in itertools.product(range(space.num_states), repeat=2):
            two = chain_log_prob(space.values[[i, j]], *pick, signed)
            one = chain_log_prob(space.values[[i]], *pick, signed)
            assert math.isclose(initial[i].item(), one, abs_tol=1e-10)
            assert math.isclose(transition[i, j].item(), two - one, abs_tol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batched", [False, True])
def test_extreme_log_likelihoods_stay_finite(dtype: torch.dtype, batched: bool) -> None:
    """Differences of 10,000 nats, at a level of a million, with rare switches; the most likely states win."""
    space = subsets(4, 3, dtype=dtype)
    log = 1e4 * normal(1, 3, 8, space.num_states).to(dtype) - 1e6
    shape = (3, 4) if batched else (4,)
    prior = factorial_prior(space, torch.full(shape, 1e-3, dtype=dtype), torch.full(shape, 1e-3, dtype=dtype))
    found = infer_paths(log, prior)
    for value in (found.log_evidence, found.marginal, found.pairwise(), found.expected_transitions(), found.kl()):
        assert value.isfinite().all()
    assert torch.allclose(found.marginal.sum(-1), torch.ones(3, 8, dtype=dtype))
    assert torch.allclose(found.expected_transitions().sum((-2, -1)), torch.full((3,), 7.0, dtype=dtype))
    assert torch.equal(found.marginal.argmax(-1), log.argmax(-1))
    assert torch.equal(found.mode(), log.argmax(-1))
    assert torch.equal(found.draw(uniform(2, 3, 3, 8).to(dtype)), log.argmax(-1).expand(3, -1, -1))


def test_no_evidence_leaves_the_prior() -> None:
    space = subsets(3, 3, True, dtype=torch.float64)
    on, off = rates_of(0, 3, None)
    found = infer_paths(torch.zeros(2, 5, space.num_states, dtype=torch.float64), factorial_prior(space, on, off))
    assert torch.allclose(found.log_evidence, torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(found.kl(), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(found.marginal @ space.on, (on / (on + off)).expand(2, 5, 3))


@pytest.mark.parametrize("kind", ["two", "signed", "per sequence"])
def test_single_precision_is_near_double(kind: str) -> None:
    case = build(kind, 1)
    prior = PathPrior(case.found.prior.initial.float(), case.found.prior.transition.float())
    found = infer_paths(case.found.log_likelihood.float(), prior)
    assert torch.allclose(found.marginal.double(), case.found.marginal, atol=1e-5)
    assert torch.allclose(found.log_evidence.double(), case.found.log_evidence, atol=1e-4)
    assert torch.allclose(found.kl().double(), case.found.kl(), atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_random_sizes(seed: int) -> None:
    """Any sizes: evidence, marginals and KL against enumeration."""
    pick = torch.Generator().manual_seed(seed)
    controls, most, steps = (int(torch.randint(1, 4, (), generator=pick)) for _ in range(3))
    signed = seed % 2 == 1 and min(controls, most) < 3
    space = subsets(controls, most, signed, dtype=torch.float64)
    steps = min(steps, 2) if space.num_states > 10 else steps
    on, off = rates_of(seed, controls, None)
    log = 3 * normal(seed, 2, steps, space.num_states)
    found = infer_paths(log, factorial_prior(space, on, off))
    for b in range(2):
        every = enumerate_paths(log[b], space, on, off)
        assert torch.isclose(found.log_evidence[b], every.evidence, atol=1e-10)
        assert torch.allclose(found.marginal[b], every.marginal(space.num_states), atol=1e-10)
        assert torch.isclose(found.kl()[b], (every.weight * (every.weight.log() - every.prior)).sum(), atol=1e-9)
