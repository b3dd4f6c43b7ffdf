"""Closed-form derivatives of the potentials against automatic differentiation of their values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, vmap

from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.potential import Potentials

FIELDS, DIM, WIDTH, BATCH = 3, 5, 7, 6
TOLERANCE = 1e-11

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
with_and_without_time = pytest.mark.parametrize("timed", [False, True])


def distance(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference relative to the norm of the expected value."""
    assert found.shape == expected.shape
    return ((found - expected).norm() / expected.norm()).item()


@pytest.fixture
def potentials(weights: Callable) -> Callable[[str, bool], Potentials]:
    return lambda activation, timed: weights(lambda: Potentials(FIELDS, DIM, WIDTH, activation, timed))


def points() -> tuple[Tensor, Tensor]:
    return torch.randn(BATCH, DIM), torch.rand(BATCH)


@every_activation
@with_and_without_time
def test_value_is_the_formula(potentials: Callable, activation: str, timed: bool) -> None:
    u, (z, t) = potentials(activation, timed), points()
    for k in range(FIELDS):
        h = z @ u.weight[k].T + u.bias[k]
        if timed:
            tau = torch.stack([t, torch.sin(torch.pi * t), torch.cos(torch.pi * t)], dim=-1)
            h = h + tau @ u.time_weight[k].T
        assert distance(u(z, t)[:, k], ACTIVATIONS[activation].value(h) @ u.scale[k]) < TOLERANCE


@every_activation
@with_and_without_time
def test_gradient(potentials: Callable, activation: str, timed: bool) -> None:
    u, (z, t) = potentials(activation, timed), points()
    for k in range(FIELDS):
        expected = vmap(grad(lambda z, t, k=k: u(z, t)[k]))(z, t)
        assert distance(u.gradient(z, t)[:, k], expected) < TOLERANCE


@every_activation
@with_and_without_time
def test_hessian_and_laplacian(potentials: Callable, activation: str, timed: bool) -> None:
    u, (z, t) = potentials(activation, timed), points()
    expected = vmap(hessian(u))(z, t)
    assert distance(u.hessian(z, t), expected) < TOLERANCE
    trace = expected.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert ((u.laplacian(z, t) - trace).norm() / expected.norm()).item() < TOLERANCE


@every_activation
def test_time_derivative(potentials: Callable, activation: str) -> None:
    u, (z, t) = potentials(activation, True), points()
    expected = vmap(jacfwd(u, argnums=1))(z, t)
    assert expected.norm() > 0
    assert distance(u.time_derivative(z, t), expected) < TOLERANCE


def test_time_free_potentials_do_not_depend_on_time(potentials: Callable) -> None:
    u, (z, t) = potentials("logcosh", False), points()
    assert torch.equal(u.time_derivative(z, t), torch.zeros(BATCH, FIELDS))
    assert torch.equal(u.gradient(z, t), u.gradient(z))


def test_time_dependent_potentials_need_a_time(potentials: Callable) -> None:
    u, (z, _) = potentials("logcosh", True), points()
    for method in (u, u.gradient, u.hessian, u.laplacian, u.units().per_control):
        with pytest.raises(ValueError, match="t is needed"):
            method(z)


@every_activation
def test_leading_dimensions_broadcast(potentials: Callable, activation: str) -> None:
    u = potentials(activation, True)
    z, t = torch.randn(2, 4, DIM), torch.rand(4)
    for method in (u, u.gradient, u.hessian, u.laplacian, u.time_derivative):
        whole = method(z, t)
        for i in range(2):
            for j in range(4):
                assert distance(whole[i, j], method(z[i, j], t[j])) < 1e-10


def test_no_output_bias() -> None:
    assert {name for name, _ in Potentials(2, 3, time_dependent=True).named_parameters()} == {
        "weight", "bias", "scale", "time_weight",
    }  # fmt: skip


@every_activation
@with_and_without_time
def test_gradients_are_curl_free_for_any_weights(potentials: Callable, activation: str, timed: bool) -> None:
    u, (z, t) = potentials(activation, timed), points()
    jacobian = vmap(jacfwd(lambda z, t: u.gradient(z, t)))(z, t)
    for found in (u.hessian(z, t), jacobian):
        skew = (found - found.mT).flatten(-2).norm(dim=-1)
        assert (skew <= 1e-12 * found.flatten(-2).norm(dim=-1)).all()
