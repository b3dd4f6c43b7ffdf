"""Switches of single controls from joint states, and the rates that follow from them."""

from __future__ import annotations

import pytest
import torch
from inference_tools import normal, uniform
from torch import Tensor

from stf.inference.chain import factorial_prior, infer_paths, rates, switches
from stf.inference.states import StateSpace, subsets


def counted(spikes: Tensor) -> Tensor:
    """Transitions of ``spikes (S, T, C)``, one by one: ``(C, 2, 2)``."""
    counts = torch.zeros(spikes.shape[-1], 2, 2, dtype=torch.float64)
    for path in spikes.long().tolist():
        for before, after in zip(path[:-1], path[1:], strict=True):
            for k, (was, now) in enumerate(zip(before, after, strict=True)):
                counts[k, was, now] += 1
    return counts


def certain(space: StateSpace, path: Tensor) -> Tensor:
    """Transitions of one path of states ``(T,)``, as a matrix ``(M, M)``."""
    joint = torch.zeros(space.num_states, space.num_states, dtype=torch.float64)
    joint.index_put_((path[:-1], path[1:]), torch.ones(len(path) - 1, dtype=torch.float64), accumulate=True)
    return joint


@pytest.mark.parametrize("signed", [False, True])
def test_switches_of_a_known_path_are_counted(signed: bool) -> None:
    space = subsets(3, 2, signed, dtype=torch.float64)
    for seed in range(5):
        path = torch.randint(space.num_states, (20,), generator=torch.Generator().manual_seed(seed))
        assert torch.equal(switches(certain(space, path), space), counted(space.on[path].unsqueeze(0)))


@pytest.mark.parametrize("signed", [False, True])
def test_expected_switches_are_those_of_sampled_paths(signed: bool) -> None:
    space = subsets(2, 2, signed, dtype=torch.float64)
    on, off = torch.tensor([0.1, 0.4]).double(), torch.tensor([0.3, 0.2]).double()
    found = infer_paths(normal(0, 1, 6, space.num_states), factorial_prior(space, on, off))
    draws = 4000
    expected = switches(found.expected_transitions(), space)[0]
    paths = found.draw(uniform(1, draws, 1, 6))[:, 0]
    sampled = counted(space.on[paths]) / draws
    assert torch.allclose(expected.sum((-2, -1)), torch.full((2,), 5.0).double())
    assert ((expected - sampled).abs() < 5 * 2.5 / draws**0.5).all()


def test_a_batch_of_switches_is_that_of_each() -> None:
    space = subsets(3, 2, dtype=torch.float64)
    joint = uniform(0, 4, space.num_states, space.num_states)
    assert torch.allclose(switches(joint, space), torch.stack([switches(one, space) for one in joint]))


def transition_score(counts: Tensor, on: Tensor, off: Tensor) -> Tensor:
    """Expected log-probability of all switches, per control."""
    table = torch.stack([torch.stack([1 - on, on], -1), torch.stack([off, 1 - off], -1)], -2)
    return (counts * table.log()).sum((-2, -1))


@pytest.mark.parametrize("seed", range(4))
def test_rates_are_the_best_for_their_counts(seed: int) -> None:
    counts, pseudo = 20 * uniform(seed, 3, 2, 2), 5 * uniform(seed + 10, 3, 2, 2)
    on, off = rates(counts, pseudo)
    best = transition_score(counts + pseudo, on, off)
    for other in range(20):
        moved_on, moved_off = uniform(100 + other, 3), uniform(200 + other, 3)
        assert (transition_score(counts + pseudo, moved_on, moved_off) <= best).all()
    grid = torch.stack([on, off]).requires_grad_()
    transition_score(counts + pseudo, *grid).sum().backward()
    assert torch.allclose(grid.grad, torch.zeros_like(grid), atol=1e-9)


def test_an_update_of_the_rates_improves_the_chain() -> None:
    """Expectation-maximisation on many sequences raises their evidence; the first step's law counts little."""
    space = subsets(2, 2, dtype=torch.float64)
    truth = factorial_prior(space, torch.tensor([0.05, 0.2]).double(), torch.tensor([0.3, 0.1]).double())
    nothing = torch.zeros(40, 60, space.num_states, dtype=torch.float64)
    paths = infer_paths(nothing, truth).draw(uniform(0, 1, 40, 60))[0]
    log = normal(1, 40, 60, space.num_states) + 2.5 * torch.nn.functional.one_hot(paths, space.num_states)
    on = off = torch.full((2,), 0.5, dtype=torch.float64)
    before = -torch.inf
    for _ in range(15):
        found = infer_paths(log, factorial_prior(space, on, off))
        total = found.log_evidence.sum().item()
        assert total > before - 0.05
        before = total
        on, off = rates(switches(found.expected_transitions(), space).sum(0), torch.zeros(2, 2, 2).double())
    assert torch.allclose(on, torch.tensor([0.05, 0.2]).double(), atol=0.05)
    assert torch.allclose(off, torch.tensor([0.3, 0.1]).double(), atol=0.08)
