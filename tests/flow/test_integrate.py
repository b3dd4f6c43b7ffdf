"""Integrators: order of convergence, their polynomials on linear flows, and the points they visit."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ffrl.fields.potential import Potentials
from ffrl.flow.integrate import INTEGRATORS, combine, integrate
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.rotational import RotationalFields

ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4}


def pendulum(z: Tensor) -> Tensor:
    return torch.stack([z[..., 1], -torch.sin(z[..., 0])], dim=-1)


def test_every_integrator_is_tested() -> None:
    assert set(ORDERS) == set(INTEGRATORS)


def helmholtz() -> Callable[[Tensor], Tensor]:
    torch.manual_seed(0)
    fields = HelmholtzFields(Potentials(2, 4, 8), RotationalFields(2, 4, 8, 2, 2)).requires_grad_(False)
    fields.potentials.scale *= 4
    units, g = fields.units(), torch.tensor([1.5, -0.7])
    return lambda z: units.velocity(z, g.expand(*z.shape[:-1], 2))


@pytest.mark.parametrize("name", INTEGRATORS)
@pytest.mark.parametrize("field", ["pendulum", "helmholtz"])
def test_order_of_convergence_on_a_nonlinear_field(float64: None, name: str, field: str) -> None:
    velocity = pendulum if field == "pendulum" else helmholtz()
    z = torch.tensor([[1.0, 0.5], [-0.3, 2.0]]) if field == "pendulum" else torch.randn(2, 4)
    exact, _ = integrate(velocity, z, INTEGRATORS["rk4"], 400)
    errors = [(integrate(velocity, z, INTEGRATORS[name], n)[0] - exact).norm().item() for n in (16, 32, 64)]
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert math.log2(coarse / fine) == pytest.approx(ORDERS[name], abs=0.15)


@pytest.mark.parametrize("name", INTEGRATORS)
@pytest.mark.parametrize("substeps", [1, 3])
def test_linear_flow_gives_the_truncated_exponential(float64: None, name: str, substeps: int) -> None:
    torch.manual_seed(0)
    matrix, z = torch.randn(4, 4), torch.randn(5, 4)
    end, _ = integrate(lambda z: z @ matrix.T, z, INTEGRATORS[name], substeps)
    step = matrix / substeps
    terms = [torch.linalg.matrix_power(step, i) / math.factorial(i) for i in range(ORDERS[name] + 1)]
    expected = z @ torch.linalg.matrix_power(sum(terms), substeps).T
    torch.testing.assert_close(end, expected, rtol=1e-12, atol=1e-13)


def test_linear_flow_tends_to_the_matrix_exponential(float64: None) -> None:
    torch.manual_seed(0)
    matrix, z = torch.randn(4, 4), torch.randn(5, 4)
    end, _ = integrate(lambda z: z @ matrix.T, z, INTEGRATORS["rk4"], 200)
    torch.testing.assert_close(end, z @ torch.linalg.matrix_exp(matrix).T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", INTEGRATORS)
@pytest.mark.parametrize("substeps", [1, 4])
def test_constant_flow_is_exact(float64: None, name: str, substeps: int) -> None:
    z, speed = torch.randn(3, 2), torch.tensor([0.25, -2.0])
    end, _ = integrate(lambda z: speed.expand_as(z), z, INTEGRATORS[name], substeps)
    torch.testing.assert_close(end, z + speed, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("name", INTEGRATORS)
@pytest.mark.parametrize("substeps", [1, 2, 5])
def test_visited_points_are_where_the_field_was_evaluated(float64: None, name: str, substeps: int) -> None:
    asked: list[Tensor] = []

    def velocity(z: Tensor) -> Tensor:
        asked.append(z)
        return pendulum(z)

    z, tableau = torch.randn(3, 2), INTEGRATORS[name]
    end, visited = integrate(velocity, z, tableau, substeps)
    stages = len(tableau.b)
    assert visited.shape == (3, substeps, stages, 2)
    assert torch.equal(visited.flatten(1, 2), torch.stack(asked, dim=1))
    assert torch.equal(visited[:, 0, 0], z)
    following = [*visited[:, 1:, 0].unbind(1), end]
    for i, expected in enumerate(following):
        moved, _ = integrate(lambda z: pendulum(z) / substeps, visited[:, i, 0], tableau)
        torch.testing.assert_close(moved, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_substeps_are_repeated_shorter_steps(float64: None, name: str) -> None:
    z, tableau = torch.randn(3, 2), INTEGRATORS[name]
    end, _ = integrate(pendulum, z, tableau, 6)
    repeated = z
    for _ in range(3):
        repeated, _ = integrate(lambda z: pendulum(z) / 3, repeated, tableau, 2)
    torch.testing.assert_close(end, repeated, rtol=1e-14, atol=1e-14)


def test_tableaux_are_consistent_and_explicit() -> None:
    for tableau in INTEGRATORS.values():
        assert sum(tableau.b) == pytest.approx(1.0, abs=1e-15)
        assert [len(row) for row in tableau.a] == list(range(len(tableau.b)))


def test_combine_leaves_out_zero_weights() -> None:
    start, broken = torch.ones(2), torch.full((2,), float("nan"))
    found = combine(start, (0.0, 0.5), [broken, torch.tensor([2.0, 4.0])], step=0.5)
    assert torch.equal(found, torch.tensor([1.5, 2.0]))
