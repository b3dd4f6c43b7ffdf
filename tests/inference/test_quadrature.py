"""What a field moves over a transition: against numerical integration along orbits, and bounds of the correction."""

from __future__ import annotations

import math

import pytest
import torch
from exact_tools import turned_mean
from inference_tools import normal
from torch import Tensor

from stf.inference.quadrature import LARGEST_TURN, mean_velocities


def rotation(angle: float, planes: tuple[float, ...] = (1.0, 1.0)) -> Tensor:
    """Matrix that turns every plane of ``(2 P,)`` vectors by its multiple of ``angle``."""
    blocks = []
    for multiple in planes:
        cosine, sine = math.cos(multiple * angle), math.sin(multiple * angle)
        blocks.append(torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float64))
    return torch.block_diag(*blocks)


def generator_of(planes: tuple[float, ...] = (1.0, 1.0)) -> Tensor:
    """Derivative of :func:`rotation` at no angle."""
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    return torch.block_diag(*(multiple * turn for multiple in planes))


def moved(field, start: Tensor, end: Tensor) -> Tensor:
    """Mean velocities of one field, points ``(B, D)`` twice -> ``(B, D)``."""
    return mean_velocities(lambda z, t: field(z).unsqueeze(-2), torch.stack([start, end], 1), None)[:, 0, 0]


@pytest.mark.parametrize("degrees", [0.0, 1e-3, 5.0, 20.0, 63.0, 119.0])
def test_rotations_are_exact_at_any_angle(degrees: float) -> None:
    """The displacement is the angle times the mean of the field that turns by one radian."""
    angle, start = math.radians(degrees), normal(1, 7, 4)
    end = start @ rotation(angle)
    found = moved(lambda z: z @ generator_of(), start, end)
    assert torch.allclose(angle * found, end - start, atol=1e-6 * max(angle, 1e-2))


@pytest.mark.parametrize("degrees", [10.0, 60.0])
def test_a_field_that_is_turned_by_another_one_is_averaged_over_the_turn(degrees: float) -> None:
    """Both act: a rotation, and a field that is carried along by it; against the integral over the transition."""
    angle, start, carried = math.radians(degrees), normal(2, 5, 4), normal(3, 4, 4)
    share = torch.linspace(0, 1, 4001, dtype=torch.float64)
    values = torch.stack([start @ rotation(angle * s) @ (carried @ rotation(0.0)) for s in share.tolist()])
    first, last = values[0], values[-1]
    path = torch.stack([first @ rotation(angle * s) for s in share.tolist()])
    mean = torch.trapezoid(path, share, dim=0)
    found = mean_velocities(
        lambda z, t: torch.stack([first, path[-1]], 1).unsqueeze(2), torch.zeros(5, 2, 4).double(), None
    )[:, 0, 0]
    assert torch.allclose(found, mean, atol=1e-6)
    assert last.shape == first.shape


def test_smooth_fields_are_averaged_to_second_order() -> None:
    """Halving the transition divides the error of displacements by eight."""
    weight = normal(4, 3, 3)

    def field(z: Tensor) -> Tensor:
        return torch.tanh(z @ weight) + 0.5

    errors = []
    for length in (0.2, 0.1, 0.05):
        z, start, count = normal(5, 6, 3), normal(5, 6, 3), 400
        for _ in range(count):
            middle = z + 0.5 * length / count * field(z)
            z = z + length / count * field(middle)
        errors.append((length * moved(field, start, z) - (z - start)).norm().item())
    assert errors[0] > 1e-5
    assert 6 < errors[0] / errors[1] < 10 and 6 < errors[1] / errors[2] < 10


@pytest.mark.parametrize("timed", [False, True])
def test_both_ends_are_looked_at_at_the_time_of_the_transition(timed: bool) -> None:
    means = normal(6, 2, 4, 3)
    times = torch.tensor([0.1, 0.2, 0.9], dtype=torch.float64) if timed else None

    def fields(z: Tensor, t: Tensor | None) -> Tensor:
        late = 0.0 if t is None else t[:, None]
        return torch.stack([z + late, 2 * z - late], -2)

    found = mean_velocities(fields, means, times)
    assert found.shape == (2, 3, 2, 3)
    for step in range(3):
        late = times[step] if timed else 0.0
        for k, (factor, sign) in enumerate([(1.0, 1.0), (2.0, -1.0)]):
            ends = (factor * means[:, step + end] + sign * late for end in (0, 1))
            assert torch.allclose(found[:, step, k], turned_mean(*ends), atol=1e-5)


def test_the_correction_is_bounded_and_finite() -> None:
    """Fields that turn about, vanish, or are not there at all."""
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    last = torch.tensor([[-1.0, 1e-3], [-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    found = mean_velocities(lambda z, t: torch.stack([first, last], 1).unsqueeze(2), torch.zeros(4, 2, 2), None)
    bound = math.tan(LARGEST_TURN / 2) / (LARGEST_TURN / 2)
    assert torch.allclose(found[0, 0, 0], bound * (first[0] + last[0]) / 2)
    assert (found[1:3] == 0).all() and torch.allclose(found[3, 0, 0], first[3])
    (gradient,) = torch.autograd.grad(found.sum(), first)
    assert gradient.isfinite().all()
    assert torch.allclose(gradient[3], torch.tensor([0.5, 0.5])), "the factor gets no gradient"
