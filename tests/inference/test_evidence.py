"""Evidence of states against dense normals, and against quadrature over the speeds; elimination against linalg."""

from __future__ import annotations

import math

import pytest
import torch
from inference_tools import normal, problem, slab_law
from scipy.integrate import dblquad, quad
from torch import Tensor

from stf.inference.evidence import Noise, Transitions, evidence, invert, transitions
from stf.inference.states import singletons, subsets


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
def test_every_state_is_a_normal_with_the_speeds_integrated(slab: str, seed: int) -> None:
    """Random numbers of controls, steps and dimensions; all subsets, so that small ones are filled up."""
    sizes = torch.randint(1, 4, (4,), generator=torch.Generator().manual_seed(seed)).tolist()
    controls, steps, dim, most = sizes[0] + 1, sizes[1], sizes[2] + 1, sizes[3]
    setting = problem(10 * seed, controls, steps, dim, slab=slab, size=2.0, most=most)
    space = subsets(controls, most, slab == "signed", dtype=torch.float64)
    found = evidence(setting.data, space, setting.noise)
    for b in range(2):
        for t in range(steps):
            for state, members, signs, log, mean, covariance in zip(
                space.values,
                space.members,
                space.signs,
                found.log[:, b, t],
                found.mean[:, :, b, t].T,
                found.covariance[:, :, :, b, t].movedim(-1, 0),
                strict=True,
            ):
                expected = slab_law(
                    state, setting.fields[b, t], setting.displacement[b, t], setting.noise, setting.noise.misfit
                )
                on = members[members < controls]
                count = len(on)
                assert math.isclose(log.item(), expected[0], rel_tol=1e-10, abs_tol=1e-9)
                assert torch.allclose(mean[:count], expected[1][on], atol=1e-9)
                assert torch.allclose(covariance[:count, :count], expected[2][on][:, on], atol=1e-9)
                rest = torch.full_like(mean[count:], setting.noise.spread**2).diag()
                assert torch.allclose(mean[count:], signs[count:]), "what fills up keeps its prior"
                assert torch.allclose(covariance[count:, count:], rest)
                assert (covariance[:count, count:] == 0).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_speed_against_quadrature(sign: float) -> None:
    fields, delta = 1.5 * normal(1, 1, 2, 3), normal(2, 1, 3)
    noise = Noise(0.5, 0.2, 0.3)
    space = subsets(2, 1, True, dtype=torch.float64)
    found = evidence(transitions(fields, delta), space, noise)
    for k in range(2):
        tau = 0.5 + 0.2 * delta[0].square().mean().item()

        def density(s: float, k: int = k, tau: float = tau) -> float:
            squared = (delta[0] - s * fields[0, k]).square().sum().item()
            likelihood = math.exp(-0.5 * squared / tau) / (2 * math.pi * tau) ** 1.5
            return likelihood * math.exp(-0.5 * ((s - sign) / 0.3) ** 2) / (0.3 * math.sqrt(2 * math.pi))

        span = (sign - 4, sign + 4)
        integral = quad(density, *span, epsabs=1e-13, epsrel=1e-11, points=[sign])[0]
        mean = quad(lambda s: s * density(s), *span, epsabs=1e-13, epsrel=1e-11, points=[sign])[0] / integral  # noqa: B023
        row = next(n for n, state in enumerate(space.values.tolist()) if state[k] == sign)
        assert math.isclose(found.log[row, 0].item(), math.log(integral), abs_tol=1e-8)
        assert math.isclose(found.mean[0, row, 0].item(), mean, abs_tol=1e-7)


@pytest.mark.parametrize("signs", [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])
def test_two_speeds_against_quadrature(signs: tuple[float, float]) -> None:
    fields, delta = normal(3, 1, 2, 2), normal(4, 1, 2)
    noise = Noise(0.5, 0.1, 0.4)
    space = subsets(2, 2, True, dtype=torch.float64)
    found = evidence(transitions(fields, delta), space, noise)
    tau = 0.5 + 0.1 * delta[0].square().mean().item()
    (a, b), (c, d) = fields[0].tolist()
    x, y = delta[0].tolist()

    def density(s: float, r: float) -> float:
        squared = (x - r * a - s * c) ** 2 + (y - r * b - s * d) ** 2
        prior = ((r - signs[0]) ** 2 + (s - signs[1]) ** 2) / 0.4**2
        return math.exp(-0.5 * (squared / tau + prior)) / (2 * math.pi * tau) / (2 * math.pi * 0.4**2)

    span = (signs[0] - 4, signs[0] + 4, signs[1] - 4, signs[1] + 4)
    integral = dblquad(density, *span, epsabs=1e-9, epsrel=1e-9)[0]
    row = space.values.tolist().index(list(signs))
    assert math.isclose(found.log[row, 0].item(), math.log(integral), abs_tol=1e-6)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_misfit_may_differ_by_sequence(spread: float) -> None:
    setting = problem(5, controls=3, batch=3, slab="positive" if spread else "unit")
    misfit = torch.tensor([0.01, 0.3, 2.0], dtype=torch.float64)
    space = subsets(3, 2, dtype=torch.float64)
    found = evidence(setting.data, space, Noise(0.5, misfit.unsqueeze(-1), spread))
    for b in range(3):
        data = transitions(setting.fields[b : b + 1], setting.displacement[b : b + 1])
        alone = evidence(data, space, Noise(0.5, misfit[b], spread))
        for name in ("log", "noise", "mean", "covariance"):
            assert torch.allclose(getattr(found, name)[..., b : b + 1, :], getattr(alone, name)), name


def test_a_strong_field_is_not_switched_on_for_its_noise() -> None:
    """An outlier across a weak field, which a strong one at right angles to it does not explain."""
    fields = torch.zeros(1, 2, 16, dtype=torch.float64)
    fields[0, 0, 0], fields[0, 1, 1] = 10.0, 40.0
    delta = torch.full((1, 16), 2.0, dtype=torch.float64)
    delta[0, :2] = torch.tensor([10.0, 0.0])
    found = evidence(transitions(fields, delta), subsets(2, 2, dtype=torch.float64), Noise(0.5, 0.05, 0.3))
    weak, both = (subsets(2, 2).values.tolist().index(state) for state in ([1.0, 0.0], [1.0, 1.0]))
    assert found.log[weak, 0] > found.log[both, 0] + 3


def test_a_smaller_enumeration_gives_the_same_for_its_states() -> None:
    """Whether a subset is filled up to 1, 2 or 4 members makes no difference."""
    setting = problem(6, controls=4)
    whole = evidence(setting.data, subsets(4, 4, dtype=torch.float64), setting.noise)
    for most in (1, 2, 3):
        space = subsets(4, most, dtype=torch.float64)
        found = evidence(setting.data, space, setting.noise)
        assert torch.allclose(found.log, whole.log[: space.num_states], atol=1e-10)
        assert torch.allclose(found.mean, whole.mean[:most, : space.num_states], atol=1e-10)


def test_singletons_are_the_subsets_of_one() -> None:
    setting = problem(7, controls=3, slab="unit")
    one = evidence(setting.data, singletons(3, dtype=torch.float64), setting.noise)
    every = evidence(setting.data, subsets(3, 2, dtype=torch.float64), setting.noise)
    assert torch.allclose(one.log, every.log[1:4], atol=1e-12)


def test_a_spread_that_vanishes_is_unit_speed() -> None:
    setting = problem(8, controls=3, slab="signed")
    space = subsets(3, 3, True, dtype=torch.float64)
    unit = evidence(setting.data, space, Noise(0.5, 0.05, 0.0))
    near = evidence(setting.data, space, Noise(0.5, 0.05, 1e-4))
    assert torch.allclose(unit.log, near.log, atol=1e-4)
    assert torch.allclose(unit.mean, near.mean, atol=1e-5)
    assert (unit.covariance == 0).all()


def test_a_field_and_its_negative_swap_signs() -> None:
    setting = problem(9, controls=2, slab="signed")
    space = subsets(2, 2, True, dtype=torch.float64)
    turned = transitions(-setting.fields, setting.displacement)
    order = [space.values.tolist().index(row) for row in (-space.values).tolist()]
    found, mirrored = (evidence(data, space, setting.noise) for data in (setting.data, turned))
    assert torch.allclose(found.log[order], mirrored.log, atol=1e-12)


def spd(seed: int, size: int, batch: int, condition: float) -> Tensor:
    """Symmetric positive matrices ``(m, m, batch)`` with eigenvalues from 1 to ``condition``."""
    turn = torch.linalg.qr(normal(seed, batch, size, size)).Q
    values = torch.logspace(0, math.log10(condition), size, dtype=torch.float64)
    return (turn * values @ turn.mT).movedim(0, -1)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_elimination_is_inversion(size: int, condition: float) -> None:
    matrix = spd(size, size, 20, condition)
    before = matrix.clone()
    inverse, log_det = invert(matrix)
    expected = torch.linalg.inv(matrix.movedim(-1, 0)).movedim(0, -1)
    assert torch.allclose(inverse, expected, rtol=1e-7, atol=1e-9)
    assert torch.allclose(log_det, torch.linalg.slogdet(matrix.movedim(-1, 0)).logabsdet, atol=1e-8)
    assert torch.equal(matrix, before), "its argument is left as it was"


@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
def test_single_precision_is_near_double(slab: str) -> None:
    setting = problem(11, controls=4, dim=16, slab=slab, size=3.0)
    results = []
    for dtype in (torch.float64, torch.float32):
        data = transitions(setting.fields.to(dtype), setting.displacement.to(dtype))
        results.append(evidence(data, subsets(4, 3, slab == "signed", dtype=dtype), setting.noise))
    for name in ("log", "noise", "mean", "covariance"):
        double, single = (getattr(found, name) for found in results)
        assert single.dtype == torch.float32
        assert torch.allclose(single.double(), double, rtol=1e-4, atol=2e-4), name


def test_equal_fields_stay_finite_in_single_precision() -> None:
    """As after a field has been copied: the Gram matrix is singular, and large beside the prior's precision."""
    field = 100 * normal(12, 1, 4, 1, 32).float()
    data = transitions(field.expand(-1, -1, 3, -1), 1.2 * field[:, :, 0])
    found = evidence(data, subsets(3, 3), Noise(0.5, 0.01, 0.3))
    assert found.log.isfinite().all() and found.mean.isfinite().all()
    assert torch.linalg.cholesky_ex(found.covariance.movedim((0, 1), (-2, -1))).info.eq(0).all()


def test_transitions_are_inner_products() -> None:
    fields, delta = normal(13, 2, 3, 4, 5), normal(14, 2, 3, 5)
    data = transitions(fields, delta)
    assert isinstance(data, Transitions) and data.dim == 5
    assert torch.allclose(data.gram, torch.einsum("btkd,btld->klbt", fields, fields))
    assert torch.allclose(data.cross, torch.einsum("btkd,btd->kbt", fields, delta))
    assert torch.allclose(data.energy, torch.einsum("btd,btd->bt", delta, delta))
