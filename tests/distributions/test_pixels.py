"""Pixel likelihoods against torch.distributions, and the bound that no model can exceed."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Laplace, Normal

from ffrl.distributions.pixels import LIKELIHOODS, gaussian_upper_bound, log_likelihood

pytestmark = pytest.mark.usefixtures("float64")
SHAPE = (2, 3, 1, 4, 5)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return 3 * torch.randn(SHAPE), torch.rand(SHAPE)


@pytest.mark.parametrize("scale", [0.1, 1.0, 2.5])
@pytest.mark.parametrize(("kind", "law"), [("gaussian", Normal), ("laplace", Laplace)])
def test_gaussian_and_laplace(kind: str, law: type, scale: float) -> None:
    logits, frames = inputs()
    expected = law(logits.sigmoid(), scale).log_prob(frames).sum((-3, -2, -1))
    torch.testing.assert_close(log_likelihood(logits, frames, kind, scale), expected, rtol=1e-12, atol=0.0)


def test_bernoulli_of_black_and_white_pixels() -> None:
    logits, frames = inputs()
    frames = frames.round()
    expected = Bernoulli(logits=logits).log_prob(frames).sum((-3, -2, -1))
    torch.testing.assert_close(log_likelihood(logits, frames, "bernoulli"), expected, rtol=1e-12, atol=0.0)


def test_bernoulli_of_grey_pixels_is_the_expectation_under_stochastic_binarisation() -> None:
    logits, frames = inputs()
    law = Bernoulli(logits=logits)
    expected = frames * law.log_prob(torch.ones(SHAPE)) + (1 - frames) * law.log_prob(torch.zeros(SHAPE))
    found = log_likelihood(logits, frames, "bernoulli")
    torch.testing.assert_close(found, expected.sum((-3, -2, -1)), rtol=1e-12, atol=0.0)


def test_no_image_beats_the_gaussian_upper_bound() -> None:
    logits, frames = inputs()
    for scale in (0.1, 1.0, 2.0):
        bound = gaussian_upper_bound(20, scale)
        assert (log_likelihood(logits, frames, "gaussian", scale) < bound).all()
        perfect = log_likelihood(torch.logit(frames), frames, "gaussian", scale)
        torch.testing.assert_close(perfect, torch.full((2, 3), bound), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(("pixels", "bound"), [(2352, -2161.34), (12288, -11291.92), (49152, -45167.67)])
def test_upper_bound_of_unit_variance(pixels: int, bound: float) -> None:
    assert gaussian_upper_bound(pixels) == pytest.approx(bound, abs=0.005)


@pytest.mark.parametrize("kind", LIKELIHOODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_stay_finite(kind: str, dtype: torch.dtype) -> None:
    logits = torch.tensor([-1e4, -100.0, 100.0, 1e4], dtype=dtype).reshape(1, 1, 4).requires_grad_()
    found = log_likelihood(logits, torch.tensor([0.0, 1.0, 0.3, 1.0], dtype=dtype).reshape(1, 1, 4), kind, 0.1)
    found.sum().backward()
    assert found.isfinite().all() and logits.grad.isfinite().all()


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="found 'poisson', expected one of bernoulli, gaussian, laplace"):
        log_likelihood(*inputs(), "poisson")
