"""Divergence-free and curl-free by construction, for any weights; and what a discrete step makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.potential import Potentials
from ffrl.fields.ridge import RidgeUnits, time_features
from ffrl.flow.density import log_density_change
from ffrl.flow.integrate import INTEGRATORS, integrate
from stf.fields.rotational import RotationalFields

FIELDS, DIM, WIDTH, TERMS, RANK, BATCH = 3, 6, 8, 2, 3, 7

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
with_and_without_time = pytest.mark.parametrize("timed", [False, True])


def fields(weights: Callable, activation: str = "logcosh", timed: bool = False) -> RotationalFields:
    return weights(lambda: RotationalFields(FIELDS, DIM, WIDTH, TERMS, RANK, activation, timed))


def points() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(BATCH, DIM), torch.randn(BATCH, FIELDS), torch.rand(BATCH)


def assert_divergence_free(jacobian: Tensor) -> None:
    size = jacobian.flatten(-2).norm(dim=-1)
    assert (size > 0).all()
    assert (jacobian.diagonal(dim1=-2, dim2=-1).sum(-1).abs() <= 1e-12 * size).all()


@every_activation
@with_and_without_time
def test_trace_of_the_jacobian_vanishes(weights: Callable, activation: str, timed: bool) -> None:
    units, (z, g, t) = fields(weights, activation, timed).units(), points()
    assert_divergence_free(units.jacobian(z, g, t))
    assert_divergence_free(vmap(jacrev(units.velocity))(z, g, t))
    for control in range(FIELDS):
        alone = torch.eye(FIELDS)[control].expand(BATCH, -1)
        assert_divergence_free(units.jacobian(z, alone, t))


def test_trace_vanishes_for_badly_scaled_weights(weights: Callable) -> None:
    r = fields(weights)
    with torch.no_grad():
        r.weight[..., :2] *= 1e6
        r.left[:, 0] *= 1e-4
        r.right[..., -1:, :] *= 1e5
        r.scale[:, 1] *= 1e-8
    z, g, _ = points()
    assert_divergence_free(r.units().jacobian(z, g))


def test_trace_vanishes_at_the_size_of_a_real_latent_space(float64: None) -> None:
    torch.manual_seed(0)
    r = RotationalFields(6, dim=32, width=64, terms=2, rank=8).requires_grad_(False)
    assert_divergence_free(r.units().jacobian(torch.randn(BATCH, 32), torch.rand(BATCH, 6)))


@every_activation
@with_and_without_time
def test_jacobian_of_the_potential_part_is_symmetric(weights: Callable, activation: str, timed: bool) -> None:
    units = weights(lambda: Potentials(FIELDS, DIM, WIDTH, activation, timed)).units()
    z, g, t = points()
    for jacobian in (units.jacobian(z, g, t), vmap(jacrev(units.velocity))(z, g, t)):
        size = jacobian.flatten(-2).norm(dim=-1)
        assert size.max() > 0  # not all: units with large weights saturate
        assert ((jacobian - jacobian.mT).flatten(-2).norm(dim=-1) <= 1e-12 * size).all()


def test_the_matrices_are_skew(weights: Callable) -> None:
    r = fields(weights)
    skew = r.skew()
    assert skew.shape == (FIELDS, TERMS, DIM, DIM)
    assert torch.equal(skew, -skew.mT)
    torch.testing.assert_close(skew, r.left @ r.right.mT - r.right @ r.left.mT, rtol=1e-12, atol=0.0)


@every_activation
@with_and_without_time
def test_field_is_the_sum_of_skew_matrices_times_gradients(weights: Callable, activation: str, timed: bool) -> None:
    r, (z, _, t) = fields(weights, activation, timed), points()

    def hamiltonian(z: Tensor, t: Tensor, k: int, m: int) -> Tensor:
        h = r.weight[k, m] @ z + r.bias[k, m]
        if timed:
            h = h + r.time_weight[k, m] @ time_features(t)
        return 0.5 * r.linear[k, m] * z.square().sum() + (r.scale[k, m] * ACTIVATIONS[activation].value(h)).sum()

    found = r.units().per_control(z, t)
    for k in range(FIELDS):
        expected = torch.zeros(BATCH, DIM)
        for m in range(TERMS):
            gradient = vmap(grad(lambda z, t, k=k, m=m: hamiltonian(z, t, k, m)))(z, t)
            expected = expected + gradient @ r.skew()[k, m].mT
        assert (found[:, k] - expected).norm() <= 1e-11 * expected.norm()


def test_linear_field_is_the_quadratic_hamiltonian_alone(weights: Callable) -> None:
    r, (z, _, _) = fields(weights), points()
    with torch.no_grad():
        r.scale.zero_()
    expected = torch.einsum("km,kmde,be->bkd", r.linear, r.skew(), z)
    torch.testing.assert_close(r.units().per_control(z), expected, rtol=1e-11, atol=1e-11 * expected.abs().max().item())


def change(units: RidgeUnits, z: Tensor, g: Tensor, method: str, integrator: str = "euler", n: int = 1) -> Tensor:
    tableau = INTEGRATORS[integrator]
    _, visited = integrate(lambda z: units.velocity(z, g), z, tableau, n)
    return log_density_change(units, visited, g, None, tableau, method)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_trace_method_sees_exactly_nothing(weights: Callable, integrator: str) -> None:
    units, (z, g, _) = fields(weights).units(), points()
    assert torch.equal(units.divergence(z, g), torch.zeros(BATCH))
    assert torch.equal(change(units, z, g, "trace", integrator, 3), torch.zeros(BATCH))
    assert torch.equal(change(units, z, g, "poster"), torch.zeros(BATCH))


def plane_rotation() -> RidgeUnits:
    """r(z) = (y, -x) in the plane, whose linearisation has eigenvalues +i and -i."""
    r = RotationalFields(1, dim=2, width=1, terms=1, rank=1).requires_grad_(False)
    r.scale.zero_()
    r.linear.fill_(1.0)
    r.left.copy_(torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1))
    r.right.copy_(torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1))
    return r.units()


def saddle() -> RidgeUnits:
    """The gradient of u(x, y) = xy to second order at the origin: harmonic, so divergence-free as well as curl-free."""
    u = Potentials(1, dim=2, width=2, activation="sine").requires_grad_(False)
    u.bias.zero_()
    u.weight.copy_(torch.tensor([[[1.0, 1.0], [1.0, -1.0]]]) / math.sqrt(2))
    u.scale.copy_(torch.tensor([[1.0, -1.0]]))
    return u.units()


@pytest.mark.parametrize("speed", [1e-3, 0.1, 0.5, -0.7, 2.0])
def test_euler_step_of_a_rotation_expands_volume_at_second_order(float64: None, speed: float) -> None:
    units, z, g = plane_rotation(), torch.tensor([[0.3, -0.4]]), torch.tensor([[speed]])
    torch.testing.assert_close(units.velocity(z, g), speed * torch.tensor([[-0.4, -0.3]]), rtol=1e-15, atol=0.0)
    exact = -change(units, z, g, "exact").item()
    assert exact == pytest.approx(math.log1p(speed**2), rel=1e-9, abs=1e-15)
    assert exact > 0
    assert change(units, z, g, "trace").item() == 0.0


@pytest.mark.parametrize("speed", [1e-3, 0.1, 0.5, -0.7])
def test_euler_step_of_a_saddle_contracts_volume_at_second_order(float64: None, speed: float) -> None:
    units, z, g = saddle(), torch.zeros(1, 2), torch.tensor([[speed]])
    expected = speed * torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    torch.testing.assert_close(units.jacobian(z, g), expected, rtol=1e-14, atol=1e-15)
    exact = -change(units, z, g, "exact").item()
    assert exact == pytest.approx(math.log1p(-(speed**2)), rel=1e-9, abs=1e-15)
    assert exact < 0
    assert change(units, z, g, "trace").item() == pytest.approx(0.0, abs=1e-15)


def test_second_order_change_of_a_rotation_fades_with_substeps(float64: None) -> None:
    units, z, g = plane_rotation(), torch.tensor([[0.3, -0.4]]), torch.tensor([[0.8]])
    changes = [-change(units, z, g, "exact", n=n).item() for n in (1, 4, 16)]
    assert changes == pytest.approx([n * math.log1p(0.64 / n**2) for n in (1, 4, 16)], rel=1e-12)
    assert changes[0] > 3 * changes[1] > 9 * changes[2] > 0


def test_width_must_divide_into_the_terms() -> None:
    with pytest.raises(ValueError, match="width: found 7"):
        RotationalFields(2, 4, width=7, terms=2)
