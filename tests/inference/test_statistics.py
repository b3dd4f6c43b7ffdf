"""Expected speeds against sums over all paths, and the E-step against the gradient of the log evidence."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from inference_tools import Problem, brute, chain_log_prob, noise_of, problem
from torch import Tensor
from torch.distributions import MultivariateNormal

from stf.inference.evidence import evidence, transitions
from stf.inference.posterior import ActivityPosterior
from stf.inference.statistics import expected_speeds

CASES = {
    "positive": {"slab": "positive", "controls": 2, "steps": 3},
    "at most one": {"slab": "positive", "controls": 3, "steps": 3, "most": 1},
    "at most two": {"slab": "positive", "controls": 3, "steps": 2, "most": 2},
    "signed": {"slab": "signed", "controls": 2, "steps": 2},
    "unit": {"slab": "unit", "controls": 3, "steps": 2},
}


@pytest.fixture(params=[f"{kind}/{seed}" for kind in CASES for seed in (0, 20)])
def setting(request: pytest.FixtureRequest) -> Problem:
    kind, seed = request.param.split("/")
    return problem(int(seed), **CASES[kind])


def test_moments_are_sums_over_all_paths(setting: Problem) -> None:
    found = setting.infer()
    statistics = found.statistics()
    for b in range(2):
        first, second = brute(setting, b, found.space).moments()
        assert torch.allclose(statistics.first[:, b].T, first, atol=1e-9)
        assert torch.allclose(statistics.second[:, :, b].movedim(-1, 0), second, atol=1e-9)


def test_the_misfit_is_the_expected_squared_residual(setting: Problem) -> None:
    found = setting.infer()
    misfit = found.statistics().misfit(setting.data)
    for b in range(2):
        every = brute(setting, b, found.space)
        for t in range(setting.fields.shape[1]):
            fields, delta = setting.fields[b, t], setting.displacement[b, t]
            residual = (delta - every.mean[t] @ fields).square().sum(-1)
            residual = residual + torch.einsum("mkl,kd,ld->m", every.covariance[t], fields, fields)
            assert torch.isclose(misfit[b, t], every.marginal[t] @ residual, atol=1e-9)


def log_evidence(setting: Problem, found: ActivityPosterior, fields: Tensor, sequence: int) -> Tensor:
    """log p of one sequence with dense normals and a sum over all paths, as a function of ``fields (T, C, D)``."""
    values, spread, steps = found.space.values, setting.noise.spread, len(fields)
    log = []
    for t, state in itertools.product(range(steps), values):
        active = state.abs().unsqueeze(-1) * fields[t]
        tau = noise_of(setting.displacement[sequence, t], setting.noise, setting.noise.misfit)
        covariance = tau * torch.eye(fields.shape[-1]).double() + spread**2 * active.T @ active
        log.append(MultivariateNormal(state @ fields[t], covariance).log_prob(setting.displacement[sequence, t]))
    log = torch.stack(log).view(steps, -1)
    paths = torch.tensor(list(itertools.product(range(len(values)), repeat=steps)))
    signed = setting.prior.slab == "signed"
    prior = torch.tensor([chain_log_prob(values[path], setting.on, setting.off, signed) for path in paths]).double()
    return (prior + log[torch.arange(steps), paths].sum(-1)).logsumexp(0)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("misfit", [0.0, 0.2])
def test_the_e_step_is_the_gradient_of_the_log_evidence(kind: str, misfit: float) -> None:
    """Fisher's identity, the chain included: d log p / d V_k = (E[g_k] Delta - sum_l E[g_k g_l] V_l) / tau."""
    setting = problem(40, misfit=misfit, **CASES[kind])
    found = setting.infer()
    statistics = found.statistics()
    first, second = statistics.first.movedim(0, -1), statistics.second.movedim((0, 1), (-2, -1))
    expected = first.unsqueeze(-1) * setting.displacement.unsqueeze(-2) - second @ setting.fields
    expected = expected / found.found.noise[..., None, None]
    for b in range(2):
        fields = setting.fields[b].clone().requires_grad_()
        value = log_evidence(setting, found, fields, b)
        assert math.isclose(value.item(), found.log_evidence()[b].item(), abs_tol=1e-6)
        (gradient,) = torch.autograd.grad(value, fields)
        assert torch.allclose(gradient, expected[b], atol=1e-7)


def test_marginals_may_have_any_batch() -> None:
    """Moments are linear in the marginals, over whichever axes the transitions have."""
    setting = problem(50, controls=3, steps=4, batch=3)
    found = setting.infer()
    flat = transitions(setting.fields.flatten(0, 1), setting.displacement.flatten(0, 1))
    one = expected_speeds(found.found, found.marginal, found.space)
    two = expected_speeds(evidence(flat, found.space, setting.noise), found.marginal.flatten(1), found.space)
    assert torch.allclose(one.first.flatten(1), two.first)
    assert torch.allclose(one.second.flatten(2), two.second)
