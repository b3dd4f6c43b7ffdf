"""Gaussian and diffused priors against integration and distributions."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence
from torch.func import grad, jacrev

from ffrl.distributions.priors import diffused_sigma, gaussian_kl, gaussian_log_prob

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.3, -2.0), (-0.4, 1.1), (5.0, 0.3)])
def test_gaussian_kl_is_the_integral(mean: float, log_variance: float) -> None:
    q, p = Normal(mean, math.exp(0.5 * log_variance)), Normal(0.0, 1.0)

    def integrand(x: float) -> float:
        at = torch.tensor(x)
        return (q.log_prob(at).exp() * (q.log_prob(at) - p.log_prob(at))).item()

    width = 12 * math.exp(0.5 * log_variance)
    expected, _ = quad(integrand, mean - width, mean + width, epsabs=1e-12, epsrel=1e-12, limit=200)
    found = gaussian_kl(torch.tensor([mean]), torch.tensor([log_variance])).item()
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_gaussian_kl_over_dimensions() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(4, 3, 6), torch.randn(4, 3, 6)
    q = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    p = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), kl_divergence(q, p), rtol=1e-13, atol=0.0)


def test_gaussian_log_prob() -> None:
    torch.manual_seed(0)
    z, sigma = torch.randn(4, 3, 6), torch.rand(4, 3) + 0.1
    expected = Normal(0.0, sigma.unsqueeze(-1)).log_prob(z).sum(-1)
    torch.testing.assert_close(gaussian_log_prob(z, sigma), expected, rtol=1e-13, atol=0.0)
    torch.testing.assert_close(gaussian_log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1), rtol=1e-13, atol=0.0)


def test_diffused_prior_is_the_density_carried_by_its_own_flow() -> None:
    """z + grad psi with psi = -d log p_{t-1}, differentiated automatically; it is linear, so a Gaussian stays one."""
    torch.manual_seed(0)
    batch, steps, controls, dim = 3, 5, 2, 4
    g, kappa = torch.randn(batch, steps, controls), torch.tensor([0.3, 0.8])
    sigmas = diffused_sigma(g, kappa)
    assert sigmas.shape == (batch, steps)
    for sample in range(batch):
        covariance = torch.eye(dim)
        for step in range(steps):
            p, d = MultivariateNormal(torch.zeros(dim), covariance), (g[sample, step].abs() * kappa).sum()

            def moved(z: Tensor, p: MultivariateNormal = p, d: Tensor = d) -> Tensor:
                return z + grad(lambda z: -d * p.log_prob(z))(z)

            jacobian = jacrev(moved)(torch.randn(dim))
            torch.testing.assert_close(jacobian, jacrev(moved)(torch.randn(dim)), rtol=1e-12, atol=1e-12)
            covariance = jacobian @ covariance @ jacobian.mT
            expected = sigmas[sample, step].square() * torch.eye(dim)
            torch.testing.assert_close(covariance, expected, rtol=1e-11, atol=1e-11)


def test_diffusion_only_widens_and_only_where_something_acts() -> None:
    g = torch.tensor([[[0.0, 0.0], [0.0, -2.0], [0.0, 0.0], [1.0, 1.0]]])
    sigmas = torch.cat([torch.ones(1), diffused_sigma(g, torch.tensor([0.1, 0.2]))[0]])
    assert [bool(step) for step in (sigmas.diff() > 0)] == [False, True, False, True]
    assert (sigmas.diff() >= 0).all()
