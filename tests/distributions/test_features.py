"""Densities of features against those of torch and SciPy, their integrals, and automatic differentiation."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch.distributions import Normal, VonMises

from ffrl.distributions.features import gaussian_log_density, von_mises_log_density

SCALES = [0.01, 0.1, 0.3, 1.0, 3.0]

every_scale = pytest.mark.parametrize("scale", SCALES)


def log(scale: float) -> torch.Tensor:
    return torch.tensor(scale, dtype=torch.float64).log()


@every_scale
def test_gaussian_density_is_that_of_torch(scale: float) -> None:
    error = torch.linspace(-4, 4, 101, dtype=torch.float64)
    expected = Normal(torch.zeros(1, dtype=torch.float64), scale).log_prob(error)
    assert torch.allclose(gaussian_log_density(error, log(scale)), expected, rtol=1e-12)


@every_scale
def test_von_mises_density_is_that_of_torch_and_of_scipy(scale: float) -> None:
    angle = torch.linspace(-math.pi, math.pi, 101, dtype=torch.float64)
    found = von_mises_log_density(angle.cos(), log(scale))
    concentration = torch.tensor([scale**-2], dtype=torch.float64)
    assert torch.allclose(found, VonMises(torch.zeros_like(concentration), concentration).log_prob(angle), atol=1e-6)
    reference = torch.as_tensor(scipy.stats.vonmises(scale**-2).logpdf(angle.numpy()))
    assert torch.allclose(found, reference, rtol=1e-10, atol=1e-10)


@every_scale
def test_both_integrate_to_one(scale: float) -> None:
    line = torch.linspace(-12 * scale, 12 * scale, 20001, dtype=torch.float64)
    assert torch.trapezoid(gaussian_log_density(line, log(scale)).exp(), line).item() == pytest.approx(1, abs=1e-12)
    circle = torch.linspace(-math.pi, math.pi, 20001, dtype=torch.float64)
    found = torch.trapezoid(von_mises_log_density(circle.cos(), log(scale)).exp(), circle)
    assert found.item() == pytest.approx(1, abs=1e-12)


@every_scale
def test_gradients(scale: float) -> None:
    error = torch.tensor([-0.3, 0.0, 0.7], dtype=torch.float64, requires_grad=True)
    own = log(scale).repeat(3).requires_grad_()
    assert torch.autograd.gradcheck(gaussian_log_density, (error, own))
    assert torch.autograd.gradcheck(lambda angle, scale: von_mises_log_density(angle.cos(), scale), (error, own))


def test_a_narrow_von_mises_is_a_gaussian() -> None:
    angle = torch.linspace(-0.03, 0.03, 13, dtype=torch.float64)
    found = von_mises_log_density(angle.cos(), log(0.01))
    assert torch.allclose(found, gaussian_log_density(angle, log(0.01)), atol=2e-3)


def test_single_precision_is_enough_at_the_least_noise() -> None:
    cosine = torch.tensor([1.0, 0.9995, -1.0])
    scale = torch.full((3,), math.log(0.01), requires_grad=True)
    found = von_mises_log_density(cosine, scale)
    found.sum().backward()
    expected = von_mises_log_density(cosine.double(), log(0.01).repeat(3))
    assert torch.allclose(found.double(), expected, rtol=1e-4) and bool(scale.grad.isfinite().all())
