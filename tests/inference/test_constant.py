"""One state throughout: products of likelihoods, also where steps disagree by hundreds of nats."""

from __future__ import annotations

import math

import pytest
import torch
from inference_tools import normal, uniform
from torch import Tensor

from stf.inference.chain import infer_constant

DISAGREE = torch.tensor([[[0.0, -400.0, -900.0], [-300.0, 250.0, -800.0], [-10.0, 0.0, 5.0]]], dtype=torch.float64)
"""One step for state 0, one for state 1: over all, state 1 wins by 160 nats."""


@pytest.fixture(params=["random", "hundreds", "disagreeing", "single step"])
def log_likelihood(request: pytest.FixtureRequest) -> Tensor:
    made = {
        "random": normal(0, 4, 5, 3),
        "hundreds": 300 * normal(1, 4, 5, 3),
        "disagreeing": DISAGREE,
        "single step": normal(2, 4, 1, 3),
    }
    return made[request.param]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_posterior_is_the_softmax_of_sums(log_likelihood: Tensor, dtype: torch.dtype) -> None:
    found = infer_constant(log_likelihood.to(dtype))
    expected = log_likelihood.sum(1).softmax(-1)
    tolerance = 1e-10 if dtype == torch.float64 else 2e-4
    assert torch.allclose(found.marginal.double(), expected.unsqueeze(1).expand_as(log_likelihood), atol=tolerance)
    evidence = log_likelihood.sum(1).logsumexp(-1) - math.log(3)
    assert torch.allclose(found.log_evidence.double(), evidence, rtol=1e-6, atol=tolerance)
    assert torch.equal(found.mode(), log_likelihood.sum(1).argmax(-1, keepdim=True).expand(-1, found.marginal.shape[1]))


def test_kl_is_that_of_a_categorical(log_likelihood: Tensor) -> None:
    log_q = log_likelihood.sum(1).log_softmax(-1)
    expected = (log_q.exp() * (log_q + math.log(3))).sum(-1)
    assert torch.allclose(infer_constant(log_likelihood).kl(), expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_nothing_ever_switches(log_likelihood: Tensor, dtype: torch.dtype) -> None:
    """Expected transitions and pairs of steps are diagonal, however unlikely the winner was at first."""
    found = infer_constant(log_likelihood.to(dtype))
    steps = log_likelihood.shape[1]
    expected = log_likelihood.sum(1).softmax(-1)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    pairs, total = found.pairwise().double(), found.expected_transitions().double()
    assert pairs.shape == (len(expected), steps - 1, 3, 3)
    assert torch.allclose(pairs, expected.diag_embed().unsqueeze(1).expand_as(pairs), atol=tolerance)
    assert torch.allclose(total, (steps - 1) * expected.diag_embed(), atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_draws_are_of_one_state_throughout(log_likelihood: Tensor, dtype: torch.dtype) -> None:
    found, draws = infer_constant(log_likelihood.to(dtype)), 4000
    paths = found.draw(uniform(3, draws, *log_likelihood.shape[:2]).to(dtype))
    assert (paths == paths[..., :1]).all()
    frequency = torch.nn.functional.one_hot(paths[..., 0], 3).double().mean(0)
    expected = log_likelihood.sum(1).softmax(-1)
    assert ((frequency - expected).abs() < 5 * (expected * (1 - expected) / draws).sqrt() + 2 / draws).all()


def test_forbidden_states_have_no_part() -> None:
    log = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    log[..., 2] = torch.finfo(log.dtype).min / 1e3
    found = infer_constant(log)
    assert (found.marginal[..., 2] == 0).all()
    for value in (found.log_evidence, found.marginal, found.pairwise(), found.expected_transitions(), found.kl()):
        assert value.isfinite().all()
    others = infer_constant(log[..., [0, 1, 3]])
    assert torch.allclose(found.marginal[..., [0, 1, 3]], others.marginal)
    assert torch.allclose(found.log_evidence, others.log_evidence + math.log(3 / 4), atol=1e-5)
