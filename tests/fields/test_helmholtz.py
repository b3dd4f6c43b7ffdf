"""Helmholtz fields: both parts as one set of units, driven by one speed or by two."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ffrl.fields.potential import Potentials
from ffrl.flow.density import log_density_change
from ffrl.flow.integrate import INTEGRATORS, integrate
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.rotational import RotationalFields

FIELDS, DIM, BATCH = 3, 5, 6
TOLERANCE = 1e-11

with_and_without_time = pytest.mark.parametrize("timed", [False, True])


def make(timed: bool, separate: bool) -> HelmholtzFields:
    potentials = Potentials(FIELDS, DIM, 6, time_dependent=timed)
    return HelmholtzFields(potentials, RotationalFields(FIELDS, DIM, 8, 2, 3, time_dependent=timed), separate)


def distance(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return ((found - expected).norm() / expected.norm()).item()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(BATCH, DIM), torch.randn(BATCH, FIELDS), torch.rand(BATCH)


@with_and_without_time
def test_parts_add_up_to_the_velocity(weights: Callable, timed: bool) -> None:
    fields, (z, g, t) = weights(lambda: make(timed, False)), inputs()
    curl_free, divergence_free = fields.parts(z, t)
    assert curl_free.shape == divergence_free.shape == (BATCH, FIELDS, DIM)
    assert distance(curl_free, fields.potentials.gradient(z, t)) < TOLERANCE
    assert distance(divergence_free, fields.rotational.units().per_control(z, t)) < TOLERANCE
    expected = torch.einsum("bk,bkd->bd", g, curl_free + divergence_free)
    assert distance(fields.units().velocity(z, g, t), expected) < TOLERANCE


@with_and_without_time
def test_separate_control_moves_each_part_by_its_own_speed(weights: Callable, timed: bool) -> None:
    fields, (z, _, t) = weights(lambda: make(timed, True)), inputs()
    g = torch.randn(BATCH, 2 * FIELDS)
    curl_free, divergence_free = fields.parts(z, t)
    expected = torch.einsum("bk,bkd->bd", g[:, :FIELDS], curl_free)
    expected = expected + torch.einsum("bk,bkd->bd", g[:, FIELDS:], divergence_free)
    assert fields.num_controls == fields.units().num_controls == 2 * FIELDS
    assert distance(fields.units().velocity(z, g, t), expected) < TOLERANCE


@with_and_without_time
def test_single_control_is_separate_control_at_equal_speeds(weights: Callable, timed: bool) -> None:
    separate, (z, g, t) = weights(lambda: make(timed, True)), inputs()
    single = HelmholtzFields(separate.potentials, separate.rotational)
    for method in ("velocity", "jacobian", "divergence"):
        found = getattr(separate.units(), method)(z, torch.cat([g, g], dim=-1), t)
        assert torch.equal(found, getattr(single.units(), method)(z, g, t))


def test_smooth_units_of_both_parts_come_before_the_linear_ones(weights: Callable) -> None:
    fields = weights(lambda: make(False, False))
    units, first, second = fields.units(), fields.potentials.units(), fields.rotational.units()
    assert units.smooth == first.smooth + second.smooth
    assert len(units.weight) == len(first.weight) + len(second.weight)
    assert torch.equal(units.weight[: units.smooth], torch.cat([first.weight, second.weight[: second.smooth]]))
    assert torch.equal(units.weight[units.smooth :], second.weight[second.smooth :])


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_trace_of_both_parts_is_the_trace_of_the_potential_part(
    weights: Callable, separate: bool, integrator: str
) -> None:
    fields, (z, g, _) = weights(lambda: make(False, separate)), inputs()
    activity = torch.cat([g, torch.randn_like(g)], dim=-1) if separate else g
    units, potential, tableau = fields.units(), fields.potentials.units(), INTEGRATORS[integrator]
    _, visited = integrate(lambda z: units.velocity(z, activity), z, tableau, 2)
    both = log_density_change(units, visited, activity, None, tableau, "trace")
    alone = log_density_change(potential, visited, g, None, tableau, "trace")
    assert (both - alone).norm() <= 1e-9 * alone.norm()


def test_without_a_rotational_part_only_the_potentials_are_left(weights: Callable) -> None:
    potentials, (z, g, _) = weights(lambda: Potentials(FIELDS, DIM, 6)), inputs()
    fields = HelmholtzFields(potentials, None)
    curl_free, divergence_free = fields.parts(z)
    assert torch.equal(curl_free, potentials.gradient(z))
    assert torch.equal(divergence_free, torch.zeros(BATCH, FIELDS, DIM))
    assert torch.equal(fields.units().velocity(z, g), potentials.units().velocity(z, g))
    assert fields.num_controls == FIELDS


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="found 2 potentials and 3 rotational fields"):
        HelmholtzFields(Potentials(2, DIM), RotationalFields(3, DIM))
    with pytest.raises(ValueError, match="separate control needs a rotational part"):
        HelmholtzFields(Potentials(2, DIM), None, separate=True)
