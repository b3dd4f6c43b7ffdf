"""The Hamilton-Jacobi regulariser against automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.func import grad, vmap

from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.hamilton_jacobi import Source, hamilton_jacobi_terms
from ffrl.fields.potential import Potentials

FIELDS, DIM, BATCH, STEPS = 3, 4, 2, 5
TIMES = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_source", [False, True])
def test_terms_are_the_squared_equation_summed_over_fields_and_steps(
    weights: Callable, activation: str, with_source: bool
) -> None:
    u = weights(lambda: Potentials(FIELDS, DIM, 6, activation, time_dependent=True))
    source = Source(FIELDS, DIM, 5) if with_source else None
    z = torch.randn(BATCH, STEPS, DIM)
    residual, initial = torch.zeros(BATCH), torch.zeros(BATCH)
    for k in range(FIELDS):

        def value(z: torch.Tensor, t: torch.Tensor, k: int = k) -> torch.Tensor:
            return u(z, t)[k]

        for step in range(STEPS):
            t = TIMES[step].expand(BATCH)
            slope, gradient = vmap(grad(value, 1))(z[:, step], t), vmap(grad(value))(z[:, step], t)
            f = source(z[:, step], t)[:, k] if with_source else 0.0
            residual += (slope + 0.5 * gradient.square().sum(-1) - f).square()
        initial += vmap(grad(value))(z[:, 0], torch.zeros(BATCH)).square().sum(-1)
    found = hamilton_jacobi_terms(u, source, z, TIMES)
    assert set(found) == {"residual", "initial"}
    torch.testing.assert_close(found["residual"], residual, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(found["initial"], initial, rtol=1e-9, atol=0.0)


def test_a_vanishing_field_satisfies_the_equation_without_a_source(weights: Callable) -> None:
    u = weights(lambda: Potentials(FIELDS, DIM, 6, time_dependent=True))
    u.scale.zero_()
    for term in hamilton_jacobi_terms(u, None, torch.randn(BATCH, STEPS, DIM), TIMES).values():
        assert torch.equal(term, torch.zeros(BATCH))


def test_source_is_never_positive_and_knows_the_time(float64: None) -> None:
    torch.manual_seed(0)
    source, z = Source(FIELDS, DIM), 100 * torch.randn(200, DIM)
    early, late = source(z, torch.zeros(200)), source(z, torch.ones(200))
    assert early.shape == (200, FIELDS)
    assert (early <= 0).all() and (late <= 0).all() and early.min() < -0.1
    assert not torch.equal(early, late)


def test_gradients_reach_potentials_and_source(float64: None) -> None:
    torch.manual_seed(0)
    u, source = Potentials(FIELDS, DIM, 6, time_dependent=True), Source(FIELDS, DIM)
    terms = hamilton_jacobi_terms(u, source, torch.randn(BATCH, STEPS, DIM), TIMES)
    terms["residual"].sum().backward()
    for name, parameter in (*u.named_parameters(), *source.named_parameters()):
        assert parameter.grad.abs().max() > 0, name
