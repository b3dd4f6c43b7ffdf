"""Ridge units: the summed velocity, its Jacobian and divergence against automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacfwd, jacrev, vmap

from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.potential import Potentials
from ffrl.fields.ridge import time_features, time_features_slope
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.rotational import RotationalFields

FIELDS, DIM, BATCH = 3, 4, 5
TOLERANCE = 1e-11


def helmholtz(activation: str, timed: bool, separate: bool) -> HelmholtzFields:
    return HelmholtzFields(
        Potentials(FIELDS, DIM, 6, activation, timed),
        RotationalFields(FIELDS, DIM, 8, 2, 3, activation, timed),
        separate,
    )


KINDS: dict[str, Callable[[str, bool], nn.Module]] = {
    "potentials": lambda activation, timed: Potentials(FIELDS, DIM, 6, activation, timed),
    "rotational": lambda activation, timed: RotationalFields(FIELDS, DIM, 8, 2, 3, activation, timed),
    "single": lambda activation, timed: helmholtz(activation, timed, False),
    "separate": lambda activation, timed: helmholtz(activation, timed, True),
}

every_kind = pytest.mark.parametrize("kind", KINDS)


def distance(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return ((found - expected).norm() / expected.norm()).item()


def inputs(controls: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, signed activity and times."""
    return torch.randn(BATCH, DIM), torch.randn(BATCH, controls), torch.rand(BATCH)


@every_kind
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("timed", [False, True])
def test_jacobian_and_divergence_match_autograd(weights: Callable, kind: str, activation: str, timed: bool) -> None:
    units = weights(lambda: KINDS[kind](activation, timed)).units()
    z, g, t = inputs(units.num_controls)
    expected = vmap(jacrev(units.velocity))(z, g, t)
    assert distance(units.jacobian(z, g, t), expected) < TOLERANCE
    trace = expected.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert ((units.divergence(z, g, t) - trace).norm() / expected.norm()).item() < TOLERANCE


@every_kind
@pytest.mark.parametrize("timed", [False, True])
def test_velocity_is_the_activity_weighted_sum_of_the_fields(weights: Callable, kind: str, timed: bool) -> None:
    units = weights(lambda: KINDS[kind]("logcosh", timed)).units()
    z, g, t = inputs(units.num_controls)
    fields = units.per_control(z, t)
    assert distance(units.velocity(z, g, t), torch.einsum("bc,bcd->bd", g, fields)) < TOLERANCE
    for control in range(units.num_controls):
        alone = torch.eye(units.num_controls)[control].expand(BATCH, -1)
        assert distance(units.velocity(z, alone, t), fields[:, control]) < TOLERANCE


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("timed", [False, True])
def test_potential_units_agree_with_the_potentials(weights: Callable, activation: str, timed: bool) -> None:
    u = weights(lambda: Potentials(FIELDS, DIM, 6, activation, timed))
    units = u.units()
    z, g, t = inputs(FIELDS)
    assert distance(units.per_control(z, t), u.gradient(z, t)) < TOLERANCE
    assert distance(units.velocity(z, g, t), torch.einsum("bk,bkd->bd", g, u.gradient(z, t))) < TOLERANCE
    assert distance(units.jacobian(z, g, t), torch.einsum("bk,bkde->bde", g, u.hessian(z, t))) < TOLERANCE
    # Large weights of either sign cancel in the sum, so the error is measured against the size of its terms.
    expected = torch.einsum("bk,bk->b", g, u.laplacian(z, t))
    size = torch.einsum("bk,bkde->bde", g, u.hessian(z, t)).norm()
    assert ((units.divergence(z, g, t) - expected).norm() / size).item() < TOLERANCE


@every_kind
def test_silent_fields_do_nothing_at_all(weights: Callable, kind: str) -> None:
    units = weights(lambda: KINDS[kind]("logcosh", False)).units()
    z, g, _ = inputs(units.num_controls)
    silent = torch.zeros_like(g)
    assert torch.equal(units.velocity(z, silent), torch.zeros_like(z))
    assert torch.equal(units.divergence(z, silent), torch.zeros(BATCH))
    assert torch.equal(units.jacobian(z, silent), torch.zeros(BATCH, DIM, DIM))


@every_kind
def test_leading_dimensions_and_times_broadcast(weights: Callable, kind: str) -> None:
    units = weights(lambda: KINDS[kind]("logcosh", True)).units()
    z, g, t = torch.randn(2, 3, DIM), torch.randn(2, 3, units.num_controls), torch.rand(3)
    for method in (units.velocity, units.jacobian, units.divergence):
        whole = method(z, g, t)
        assert whole.shape[:2] == (2, 3)
        for i in range(2):
            for j in range(3):
                scale = units.jacobian(z[i, j], g[i, j], t[j]).norm() if method == units.divergence else None
                difference = (whole[i, j] - method(z[i, j], g[i, j], t[j])).norm()
                assert difference <= 1e-10 * (whole[i, j].norm() if scale is None else scale)


@every_kind
def test_time_dependent_units_need_a_time(weights: Callable, kind: str) -> None:
    units = weights(lambda: KINDS[kind]("logcosh", True)).units()
    z, g, _ = inputs(units.num_controls)
    for method in (units.velocity, units.jacobian, units.divergence):
        with pytest.raises(ValueError, match="t is needed"):
            method(z, g)


def test_time_features_and_their_slope(float64: None) -> None:
    t = torch.linspace(0, 1, 11)
    features = time_features(t)
    assert torch.equal(features[:, 0], t)
    torch.testing.assert_close(features[:, 1] ** 2 + features[:, 2] ** 2, torch.ones(11), rtol=1e-14, atol=0.0)
    torch.testing.assert_close(features[0], torch.tensor([0.0, 0.0, 1.0]), rtol=0.0, atol=1e-15)
    torch.testing.assert_close(features[-1], torch.tensor([1.0, 0.0, -1.0]), rtol=0.0, atol=1e-15)
    torch.testing.assert_close(time_features_slope(t), vmap(jacfwd(time_features))(t), rtol=1e-13, atol=1e-14)
