"""What every kind of fields promises, whatever computes it: sums, derivatives, broadcasting, times; in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from ffrl.config import ModelConfig
from ffrl.config.field_types import FIELDS
from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.autograd import AutogradFields
from ffrl.fields.build import build_fields
from ffrl.fields.potential import Potentials
from ffrl.fields.protocol import FieldModule, Fields, RowFields, SomeFields, some_fields
from ffrl.flow.density import METHODS, log_density_change
from ffrl.flow.integrate import INTEGRATORS
from ffrl.flow.rollout import roll_out
from stf.config import SparseModelConfig
from stf.discovery.population import rows_of, with_rows
from stf.fields.config import FIELDS as SPARSE_FIELDS
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.rotational import RotationalFields
from stf.fields.unconstrained import UnconstrainedFields

COUNT, DIM, BATCH = 3, 4, 5
TOLERANCE = 1e-11


class Network(nn.Module):
    """An own type of fields: a network of two hidden layers, of points one at a time or all at once."""

    def __init__(self, timed: bool, batched: bool = True) -> None:
        super().__init__()
        self.timed, self.batched = timed, batched
        self.net = nn.Sequential(nn.Linear(DIM + timed, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh())
        self.head = nn.Linear(6, COUNT * DIM)

    def forward(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        inputs = torch.cat([z, t.unsqueeze(-1)], -1) if self.timed else z
        made = self.head(self.net(inputs))
        return made.unflatten(-1, (COUNT, DIM)) if self.batched else made.view(COUNT, DIM)


def rotational(timed: bool) -> RotationalFields:
    return RotationalFields(COUNT, DIM, 8, 2, 3, time_dependent=timed)


def penalised(timed: bool) -> UnconstrainedFields:
    return UnconstrainedFields(COUNT, DIM, 6, time_dependent=timed)


def helmholtz(timed: bool, separate: bool = False, second: Callable = rotational) -> HelmholtzFields:
    return HelmholtzFields(Potentials(COUNT, DIM, 6, time_dependent=timed), second(timed), separate)


KINDS: dict[str, Callable[[bool], FieldModule]] = {
    **{f"potentials-{phi}": lambda timed, phi=phi: Potentials(COUNT, DIM, 6, phi, timed) for phi in ACTIVATIONS},
    **{
        f"rotational-{phi}": lambda timed, phi=phi: RotationalFields(COUNT, DIM, 8, 2, 3, phi, timed)
        for phi in ACTIVATIONS
    },
    "unconstrained": penalised,
    "helmholtz": helmholtz,
    "helmholtz-separate": lambda timed: helmholtz(timed, True),
    "helmholtz-penalised": lambda timed: helmholtz(timed, False, penalised),
    "helmholtz-penalised-separate": lambda timed: helmholtz(timed, True, penalised),
    "network": lambda timed: AutogradFields(Network(timed), COUNT, DIM, timed),
    "network-of-one-point": lambda timed: AutogradFields(Network(timed, False), COUNT, DIM, timed),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without_time = pytest.mark.parametrize("timed", [False, True])
PLAIN = [kind for kind in KINDS if not kind.startswith("network")]


@pytest.fixture
def made(kind: str, timed: bool, float64: None) -> FieldModule:
    torch.manual_seed(2)
    return KINDS[kind](timed).requires_grad_(False)


def inputs(fields: FieldModule) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, signed activity and times."""
    return torch.randn(BATCH, DIM), torch.randn(BATCH, fields.num_controls), torch.rand(BATCH)


def distance(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return ((found - expected).norm() / expected.norm()).item()


def derivatives(fields: Fields) -> list[Callable]:
    return [fields.velocity, fields.jacobian, fields.divergence]


@every_kind
@with_and_without_time
def test_members(made: FieldModule, timed: bool) -> None:
    units = made.units()
    assert isinstance(units, Fields) and made.timed == timed
    assert made.num_fields == COUNT and made.num_controls == units.num_controls in (COUNT, 2 * COUNT)
    z, g, t = inputs(made)
    assert units.velocity(z, g, t).shape == (BATCH, DIM)
    assert units.per_control(z, t).shape == made.per_control(z, t).shape == (BATCH, made.num_controls, DIM)
    assert units.jacobian(z, g, t).shape == (BATCH, DIM, DIM) and units.divergence(z, g, t).shape == (BATCH,)


@every_kind
@with_and_without_time
def test_velocity_is_the_activity_weighted_sum_of_the_fields(made: FieldModule, timed: bool) -> None:
    units, (z, g, t) = made.units(), inputs(made)
    fields = made.per_control(z, t)
    assert distance(units.velocity(z, g, t), torch.einsum("bc,bcd->bd", g, fields)) < TOLERANCE
    assert distance(units.per_control(z, t), fields) < TOLERANCE
    for control in range(made.num_controls):
        alone = torch.eye(made.num_controls)[control].expand(BATCH, -1)
        assert distance(units.velocity(z, alone, t), fields[:, control]) < TOLERANCE


@every_kind
@with_and_without_time
def test_derivatives_are_those_of_automatic_differentiation(made: FieldModule, timed: bool) -> None:
    units, (z, g, t) = made.units(), inputs(made)
    expected = vmap(jacrev(units.velocity))(z, g, t)
    assert distance(units.jacobian(z, g, t), expected) < TOLERANCE
    trace = units.jacobian(z, g, t).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert ((units.divergence(z, g, t) - trace).norm() / expected.norm()).item() < TOLERANCE


@pytest.mark.parametrize("kind", PLAIN)
@with_and_without_time
def test_closed_forms_are_those_of_the_fallback(made: FieldModule, timed: bool) -> None:
    """The same fields, as a function whose derivatives are left to automatic differentiation."""
    units, (z, g, t) = made.units(), inputs(made)
    function = units.per_control if timed else lambda z: units.per_control(z)
    fallback = AutogradFields(function, made.num_controls, DIM, timed)
    assert distance(fallback.per_control(z, t), units.per_control(z, t)) < TOLERANCE
    for closed, automatic in zip(derivatives(units)[:2], derivatives(fallback)[:2], strict=True):
        assert distance(automatic(z, g, t), closed(z, g, t)) < TOLERANCE
    error = (fallback.divergence(z, g, t) - units.divergence(z, g, t)).norm()
    assert error <= TOLERANCE * units.jacobian(z, g, t).norm()


@every_kind
@with_and_without_time
def test_leading_dimensions_and_times_broadcast(made: FieldModule, timed: bool) -> None:
    units = made.units()
    z, g, t = torch.randn(2, 3, DIM), torch.randn(2, 3, made.num_controls), torch.rand(3)
    for method in derivatives(units):
        whole = method(z, g, t)
        assert whole.shape[:2] == (2, 3)
        for i in range(2):
            for j in range(3):
                size = units.jacobian(z[i, j], g[i, j], t[j]).norm() + whole[i, j].norm()
                assert (whole[i, j] - method(z[i, j], g[i, j], t[j])).norm() <= 1e-10 * size
    assert distance(units.per_control(z, t)[1, 2], units.per_control(z[1, 2], t[2])) < TOLERANCE


@every_kind
@with_and_without_time
def test_silent_fields_do_nothing_at_all(made: FieldModule, timed: bool) -> None:
    z, g, t = inputs(made)
    for method in derivatives(made.units()):
        assert not method(z, torch.zeros_like(g), t).any()


@every_kind
@pytest.mark.parametrize("timed", [True])
def test_fields_that_depend_on_time_need_one(made: FieldModule, timed: bool) -> None:
    z, g, _ = inputs(made)
    for method in derivatives(made.units()):
        with pytest.raises(ValueError, match="t is needed"):
            method(z, g)


@every_kind
@with_and_without_time
def test_parts_add_up(made: FieldModule, timed: bool) -> None:
    z, _, t = inputs(made)
    first, second = made.parts(z, t)
    both = made.per_control(z, t)
    whole = both[:, :COUNT] + both[:, COUNT:] if made.num_controls > COUNT else both
    assert distance(first + second, whole) < TOLERANCE
    for part, fields in zip((first, second), made.split(), strict=True):
        assert not part.any() if fields is None else distance(fields.per_control(z, t), part) < TOLERANCE
    potentials = made.potential_part()
    if potentials is not None:
        slope = vmap(jacrev(potentials))(z, t)
        assert distance(first, slope) < TOLERANCE


@every_kind
@with_and_without_time
def test_some_fields_alone(made: FieldModule, timed: bool) -> None:
    units, (z, _, t) = made.units(), inputs(made)
    every = list(range(made.num_controls))
    for controls in (*([control] for control in every), every[::-1], every[1:]):
        g = torch.randn(BATCH, len(controls))
        only = torch.zeros(BATCH, made.num_controls)
        only[:, controls] = g
        for alone in (some_fields(units, controls), SomeFields(units, tuple(controls))):
            assert alone.num_controls == len(controls)
            assert distance(alone.per_control(z, t), units.per_control(z, t)[:, controls]) < TOLERANCE
            assert distance(alone.velocity(z, g, t), units.velocity(z, only, t)) < TOLERANCE
            assert distance(alone.jacobian(z, g, t), units.jacobian(z, only, t)) < TOLERANCE
            error = (alone.divergence(z, g, t) - units.divergence(z, only, t)).norm()
            assert error <= TOLERANCE * units.jacobian(z, only, t).norm()
    assert some_fields(units, every) is units


@every_kind
@with_and_without_time
def test_rescaled_fields_are_as_many_times_as_large(made: FieldModule, timed: bool) -> None:
    z, _, t = inputs(made)
    before, factors = made.per_control(z, t), torch.linspace(0.5, 1.5, made.num_controls)
    made.rescale(factors)
    assert distance(made.per_control(z, t), factors[:, None] * before) < TOLERANCE


@pytest.mark.parametrize("kind", [kind for kind in PLAIN if "separate" not in kind])
@with_and_without_time
def test_rows_in_another_order_are_the_fields_in_that_order(made: FieldModule, timed: bool) -> None:
    z, _, t = inputs(made)
    assert isinstance(made, RowFields)
    order = [2, 0, 1, 1]
    other = with_rows(made, {name: value[order] for name, value in rows_of(made).items()})
    assert other.num_controls == len(order)
    assert distance(other.per_control(z, t), made.per_control(z, t)[:, order]) < TOLERANCE


@every_kind
@with_and_without_time
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_flow_and_density_need_no_more_than_that(made: FieldModule, timed: bool, integrator: str) -> None:
    units, tableau = made.units(), INTEGRATORS[integrator]
    z, g, times = torch.randn(2, DIM), 0.3 * torch.randn(2, 3, made.num_controls), torch.rand(3)

    def step(z: Tensor, g: Tensor, t: Tensor) -> Tensor:
        return roll_out(units, z[None], g[None, None], t[None], tableau, 2)[0][0, -1]

    latents, points = roll_out(units, z, g, times, tableau, 2)
    found = log_density_change(units, points, g, times, tableau, "exact")
    for b in range(2):
        for t in range(3):
            jacobian = jacrev(step)(latents[b, t], g[b, t], times[t])
            assert abs(found[b, t] + torch.linalg.slogdet(jacobian).logabsdet) < 1e-10
    assert log_density_change(units, points, g, times, tableau, "trace").shape == (2, 3) and "exact" in METHODS


@pytest.mark.parametrize(("types", "config"), [(FIELDS, ModelConfig), (SPARSE_FIELDS, SparseModelConfig)])
def test_every_type_is_built_by_its_name(types: object, config: type[ModelConfig]) -> None:
    for name in types:
        fields = build_fields(config(fields=name, num_fields=2, latent_dim=DIM))
        assert isinstance(fields, FieldModule) and fields.num_fields == 2
        assert fields.per_control(torch.zeros(DIM)).shape == (2, DIM)
