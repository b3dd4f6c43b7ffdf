"""Fields whose divergence is penalised: closed forms against autograd, densities that see it, the penalty."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ffrl.fields.potential import Potentials
from ffrl.fields.ridge import time_features
from ffrl.flow.density import log_density_change
from ffrl.flow.integrate import INTEGRATORS, integrate
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.rotational import RotationalFields
from stf.fields.unconstrained import UnconstrainedFields, comparable_width

FIELDS, DIM, WIDTH, BATCH, STEPS = 3, 5, 8, 6, 4


def unconstrained(weights: Callable, timed: bool = False, activation: str = "logcosh") -> UnconstrainedFields:
    return weights(lambda: UnconstrainedFields(FIELDS, DIM, WIDTH, activation, timed))


def network(r: UnconstrainedFields, field: int, z: Tensor, t: Tensor) -> Tensor:
    """One field at one point."""
    h = r.weight[field] @ z + r.bias[field]
    if r.time_weight is not None:
        h = h + r.time_weight[field] @ time_features(t)
    return torch.tanh(h) @ r.output[field]


def points() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(BATCH, DIM), torch.randn(BATCH, FIELDS), torch.rand(BATCH)


@pytest.mark.parametrize("timed", [False, True])
def test_fields_are_networks_of_one_hidden_layer(weights: Callable, timed: bool) -> None:
    r, (z, g, t) = unconstrained(weights, timed), points()
    expected = torch.stack([torch.stack([network(r, k, z[n], t[n]) for k in range(FIELDS)]) for n in range(BATCH)])
    torch.testing.assert_close(r.units().per_control(z, t), expected)
    torch.testing.assert_close(r.units().velocity(z, g, t), torch.einsum("nk,nkd->nd", g, expected))


@pytest.mark.parametrize("timed", [False, True])
def test_penalty_is_the_mean_over_steps_of_summed_squares(weights: Callable, timed: bool) -> None:
    r = unconstrained(weights, timed)
    z, t = torch.randn(BATCH, STEPS, DIM), torch.rand(STEPS)
    found = r.penalty(z, t)
    assert found.shape == (BATCH,)
    for n in range(2):
        total = 0.0
        for step in range(STEPS):
            for field in range(FIELDS):
                jacobian = jacrev(lambda z, k=field, s=step: network(r, k, z, t[s]))(z[n, step])
                total += jacobian.trace() ** 2 / STEPS
        torch.testing.assert_close(found[n], total)


def test_penalty_and_its_gradient_vanish_where_there_is_no_divergence(float64: None) -> None:
    """With v_j at right angles to w_j every unit is divergence-free, which is the minimum of the penalty."""
    torch.manual_seed(0)
    r = UnconstrainedFields(FIELDS, DIM, WIDTH)
    with torch.no_grad():
        along = (r.output * r.weight).sum(-1, keepdim=True) / r.weight.square().sum(-1, keepdim=True)
        r.output -= along * r.weight
    z = torch.randn(BATCH, STEPS, DIM)
    penalty = r.penalty(z).sum()
    penalty.backward()
    assert penalty < 1e-28
    assert r.units().per_control(z).norm() > 0.1
    for name, parameter in r.named_parameters():
        assert parameter.grad is None or parameter.grad.abs().max() < 1e-13, name


def test_penalty_pulls_at_every_parameter_and_descent_removes_the_divergence(float64: None) -> None:
    torch.manual_seed(0)
    r = UnconstrainedFields(FIELDS, DIM, WIDTH, time_dependent=True)
    z, t = torch.randn(64, STEPS, DIM), torch.linspace(0.25, 1, STEPS)
    optimizer, values = torch.optim.Adam(r.parameters(), lr=0.01), []
    for _ in range(150):
        optimizer.zero_grad()
        penalty = r.penalty(z, t).mean()
        penalty.backward()
        if not values:
            assert all(parameter.grad.abs().max() > 0 for parameter in r.parameters())
        optimizer.step()
        values.append(penalty.item())
    assert values[-1] < 1e-3 * values[0]
    assert r.units().per_control(z, t).norm(dim=-1).mean() > 0.05, "the fields themselves stay"


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("separate", [False, True])
def test_densities_see_the_divergence(weights: Callable, integrator: str, separate: bool) -> None:
    fields = weights(
        lambda: HelmholtzFields(Potentials(FIELDS, DIM, 6), UnconstrainedFields(FIELDS, DIM, WIDTH), separate)
    )
    units, tableau, (z, g, _) = fields.units(), INTEGRATORS[integrator], points()
    g = 0.3 * (torch.cat([g, g.flip(0)], -1) if separate else g)

    def step(z: Tensor, g: Tensor) -> Tensor:
        return integrate(lambda z: units.velocity(z, g), z, tableau, 2)[0]

    visited = integrate(lambda z: units.velocity(z, g), z, tableau, 2)[1]
    exact = log_density_change(units, visited, g, None, tableau, "exact")
    torch.testing.assert_close(exact, -torch.linalg.slogdet(vmap(jacrev(step))(z, g)).logabsdet)
    first, second = (g[:, :FIELDS], g[:, -FIELDS:]) if separate else (g, g)
    expected = torch.zeros(BATCH)
    for substep in range(2):
        for stage, share in enumerate(tableau.b):
            here = visited[:, substep, stage]
            curl_free, rest = fields.potentials.laplacian(here), fields.rotational.divergence(here)
            both = (first * curl_free + second * rest).sum(-1)
            expected -= 0.5 * share * both
    torch.testing.assert_close(log_density_change(units, visited, g, None, tableau, "trace"), expected)


@pytest.mark.parametrize("size", [(32, 64, 2, 8), (6, 8, 2, 2), (324, 64, 2, 8)])
def test_unconstrained_fields_have_as_many_parameters(size: tuple[int, int, int, int]) -> None:
    dim, width, terms, rank = size

    def count(fields: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in fields.parameters())

    exact = count(RotationalFields(1, dim, width, terms, rank))
    free = count(UnconstrainedFields(1, dim, comparable_width(dim, width, terms, rank)))
    assert abs(free - exact) <= dim + 1
    assert math.isclose(free, exact, rel_tol=0.06)
