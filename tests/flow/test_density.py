"""Change of log-density along the flow, against the Jacobian of the whole integrator by automatic differentiation."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from ffrl.fields.potential import Potentials
from ffrl.fields.ridge import RidgeUnits
from ffrl.flow.density import METHODS, log_density_change
from ffrl.flow.integrate import INTEGRATORS, integrate
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.rotational import RotationalFields

FIELDS, DIM, BATCH = 3, 4, 5

every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS)


def helmholtz(timed: bool, separate: bool) -> HelmholtzFields:
    potentials = Potentials(FIELDS, DIM, 6, time_dependent=timed)
    return HelmholtzFields(potentials, RotationalFields(FIELDS, DIM, 8, 2, 3, time_dependent=timed), separate)


KINDS: dict[str, Callable[[], nn.Module]] = {
    "potentials": lambda: Potentials(FIELDS, DIM, 6),
    "timed": lambda: Potentials(FIELDS, DIM, 6, "softplus", time_dependent=True),
    "helmholtz": lambda: helmholtz(False, False),
    "timed-helmholtz": lambda: helmholtz(True, True),
    "fewer units than dimensions": lambda: Potentials(FIELDS, 11, 3),
}


def build(kind: str, strength: float = 3.0) -> RidgeUnits:
    torch.manual_seed(0)
    fields = KINDS[kind]().requires_grad_(False)
    for name, parameter in fields.named_parameters():
        if name.endswith(("scale", "linear")):
            parameter.mul_(strength)
    return fields.units()


def inputs(units: RidgeUnits) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    draw = [torch.randn(BATCH, n, generator=generator) for n in (units.weight.shape[1], units.num_controls)]
    return draw[0], draw[1], torch.rand(BATCH, generator=generator)


def change(units: RidgeUnits, z: Tensor, g: Tensor, t: Tensor, integrator: str, n: int, method: str) -> Tensor:
    tableau = INTEGRATORS[integrator]
    _, visited = integrate(lambda z: units.velocity(z, g, t), z, tableau, n)
    return log_density_change(units, visited, g, t, tableau, method)


def autograd_log_det(units: RidgeUnits, z: Tensor, g: Tensor, t: Tensor, integrator: str, n: int) -> Tensor:
    def transition(z: Tensor, g: Tensor, t: Tensor) -> Tensor:
        return integrate(lambda z: units.velocity(z, g, t), z, INTEGRATORS[integrator], n)[0]

    return torch.linalg.slogdet(vmap(jacrev(transition))(z, g, t)).logabsdet


@pytest.mark.parametrize("kind", KINDS)
@every_integrator
@pytest.mark.parametrize("substeps", [1, 2, 3])
def test_exact_is_the_log_determinant_of_the_integrator(
    float64: None, kind: str, integrator: str, substeps: int
) -> None:
    units = build(kind)
    z, g, t = inputs(units)
    expected = -autograd_log_det(units, z, g, t, integrator, substeps)
    assert expected.abs().max() > 0.1
    found = change(units, z, g, t, integrator, substeps, "exact")
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


@every_integrator
def test_exact_with_trained_or_large_weights(weights: Callable, integrator: str) -> None:
    units = weights(KINDS["helmholtz"]).units()
    z, g, t = inputs(units)
    g = 1e-4 * g if units.weight.abs().max() > 50 else g
    expected = -autograd_log_det(units, z, g, t, integrator, 2)
    assert expected.isfinite().all()
    torch.testing.assert_close(change(units, z, g, t, integrator, 2, "exact"), expected, rtol=1e-7, atol=1e-9)


def test_euler_is_the_sum_of_log_determinants_of_its_substeps(float64: None) -> None:
    units, n = build("helmholtz"), 4
    z, g, _ = inputs(units)
    expected = torch.zeros(BATCH)
    for _ in range(n):
        expected = expected - torch.linalg.slogdet(torch.eye(DIM) + units.jacobian(z, g) / n).logabsdet
        z = z + units.velocity(z, g) / n
    found = change(units, inputs(units)[0], g, inputs(units)[2], "euler", n, "exact")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@every_integrator
@pytest.mark.parametrize("method", ["exact", "trace"])
def test_whole_sequences_at_once(float64: None, integrator: str, method: str) -> None:
    """Points (B, T, n, stages, D) with times (T,), as the model passes them, step by step and sample by sample."""
    units, tableau, steps = build("timed-helmholtz"), INTEGRATORS[integrator], 3
    z, t = torch.randn(BATCH, DIM), torch.arange(1, steps + 1) / steps
    g = torch.randn(BATCH, steps, units.num_controls)
    visited, expected = [], []
    for step in range(steps):
        time, activity = t[step].expand(BATCH), g[:, step]
        expected.append(change(units, z, activity, time, integrator, 2, method))
        z, points = integrate(lambda z, g=activity, t=time: units.velocity(z, g, t), z, tableau, 2)
        visited.append(points)
    found = log_density_change(units, torch.stack(visited, 1), g, t, tableau, method)
    torch.testing.assert_close(found, torch.stack(expected, 1), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["potentials", "helmholtz", "timed-helmholtz"])
@pytest.mark.parametrize(("integrator", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_trace_and_exact_meet_at_the_order_of_the_integrator(
    float64: None, kind: str, integrator: str, order: int
) -> None:
    units = build(kind, strength=2.0)
    z, g, t = inputs(units)

    def gap(n: int) -> float:
        difference = change(units, z, g, t, integrator, n, "exact") - change(units, z, g, t, integrator, n, "trace")
        return difference.norm().item()

    gaps = [gap(n) for n in (16, 32, 64)]
    for coarse, fine in zip(gaps, gaps[1:], strict=False):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


@every_integrator
def test_trace_is_minus_the_quadrature_of_the_divergence(float64: None, integrator: str) -> None:
    units, tableau, n = build("timed-helmholtz"), INTEGRATORS[integrator], 3
    z, g, t = inputs(units)
    _, visited = integrate(lambda z: units.velocity(z, g, t), z, tableau, n)
    expected = torch.zeros(BATCH)
    for i in range(n):
        for stage, weight in enumerate(tableau.b):
            jacobian = vmap(jacrev(units.velocity))(visited[:, i, stage], g, t)
            expected -= weight / n * jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)
    found = log_density_change(units, visited, g, t, tableau, "trace")
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["potentials", "helmholtz"])
def test_poster_is_its_formula(float64: None, kind: str) -> None:
    torch.manual_seed(0)
    fields = KINDS[kind]().requires_grad_(False)
    units, potentials = fields.units(), fields if kind == "potentials" else fields.potentials
    z, g, t = inputs(units)
    expected = -torch.log(torch.abs(1 + (g * potentials.laplacian(z)).sum(-1)))
    found = change(units, z, g, t, "euler", 1, "poster")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_poster_and_trace_agree_to_first_order_in_the_activity(float64: None) -> None:
    units = build("potentials")
    z, g, t = inputs(units)
    gaps = []
    for speed in (1e-2, 1e-3):
        poster, trace = (change(units, z, speed * g, t, "euler", 1, method) for method in ("poster", "trace"))
        gaps.append(((poster - trace).norm() / trace.norm()).item())
    assert gaps[0] < 0.1
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.15)


@pytest.mark.parametrize("integrator", ["euler", "rk4"])
def test_density_that_is_carried_along_still_integrates_to_one(float64: None, integrator: str) -> None:
    """The sign: pushing N(0, 1) through a contraction has to raise the density."""
    torch.manual_seed(0)
    u = Potentials(1, dim=1, width=4).requires_grad_(False)
    u.scale.copy_(torch.tensor([[-0.3, 0.1, -0.2, -0.1]]))
    units, z = u.units(), torch.linspace(-9, 9, 20001).unsqueeze(-1)
    g, t = torch.full((len(z), 1), 0.5), torch.zeros(len(z))
    moved, visited = integrate(lambda z: units.velocity(z, g, t), z, INTEGRATORS[integrator], 2)
    assert (moved.diff(dim=0) > 0).all()
    log_q = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 0])
    log_q = log_q + log_density_change(units, visited, g, t, INTEGRATORS[integrator], "exact")
    assert torch.trapezoid(log_q.exp(), moved[:, 0]).item() == pytest.approx(1.0, abs=1e-6)
    assert log_q.max() > math.log(1 / math.sqrt(2 * math.pi))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_every_weight(float64: None, method: str) -> None:
    torch.manual_seed(0)
    fields = helmholtz(True, False)
    units = fields.units()
    z, g, t = inputs(units)
    change(units, z, g, t, "euler", 2, method).sum().backward()
    for name, parameter in fields.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


def test_unknown_methods_and_the_poster_beyond_euler_are_refused(float64: None) -> None:
    units = build("potentials")
    z, g, t = inputs(units)
    with pytest.raises(ValueError, match="found 'exakt', expected one of exact, trace, poster"):
        change(units, z, g, t, "euler", 1, "exakt")
    for integrator in ("midpoint", "rk4"):
        with pytest.raises(ValueError, match="Euler"):
            change(units, z, g, t, integrator, 1, "poster")
