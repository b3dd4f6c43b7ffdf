"""What is wrong with three published ways of measuring and training, from first principles (docs/results.md)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from ffrl.config import SupervisedConfig
from ffrl.distributions.pixels import log_likelihood
from ffrl.evaluation.measures.equivariance import frame_errors
from ffrl.evaluation.protocol.published import published
from stf.registry import MODES
from stf.sta.sparsity import SpikeChain

MNIST_PIXELS, SHAPES3D_PIXELS = 3 * 28 * 28, 3 * 64 * 64


def best_gaussian(pixels: int) -> float:
    """The log-density of x under N(x, I): no mean fits better than x itself, so no mixture of means does."""
    return float(np.log(1 / math.sqrt(2 * math.pi))) * pixels


@pytest.mark.parametrize(
    ("pixels", "claims"),
    [(MNIST_PIXELS, [-2112.45, -2119.94, -2145.03]), (SHAPES3D_PIXELS, [-11215.42, -11279.61])],
)
def test_published_log_likelihoods_exceed_what_any_model_can_reach(pixels: int, claims: list[float]) -> None:
    """A unit-variance Gaussian decoder gives log p(x) = log E_z N(x; m(z), I) <= log N(x; x, I) for every model."""
    perfect = torch.full((1, 1, 1, pixels), 0.5)
    reached = log_likelihood(perfect.logit(), perfect, "gaussian", 1.0).item()
    assert reached == pytest.approx(best_gaussian(pixels), rel=1e-6)
    assert all(claim > best_gaussian(pixels) + 10 for claim in claims)


def test_the_wrong_sign_of_the_kl_gives_impossible_likelihoods() -> None:
    """One pixel, z ~ N(0, 1), x ~ N(w z, 1): adding the KL instead of subtracting it passes the exact log-likelihood.

    The exact value comes from quadrature, the posterior is the true one, so that the right sign meets it exactly.
    """
    torch.manual_seed(0)
    weight, x, normal = 3.0, 0.4, torch.distributions.Normal
    density = lambda z: math.exp(-0.5 * z * z - 0.5 * (x - weight * z) ** 2) / (2 * math.pi)  # noqa: E731
    exact = math.log(quad(density, -12, 12)[0])
    variance = 1 / (1 + weight**2)
    q = normal(torch.tensor(weight * x * variance), math.sqrt(variance))
    z = q.sample((200_000,))
    log_p_x = normal(weight * z, 1.0).log_prob(torch.tensor(x))
    log_ratio = q.log_prob(z) - normal(0.0, 1.0).log_prob(z)
    assert (log_p_x - log_ratio).mean().item() == pytest.approx(exact, abs=1e-4)
    wrong = (log_p_x + log_ratio).mean().item()
    assert wrong > exact + 1
    assert wrong > -0.5 * math.log(2 * math.pi), "above what any model of one pixel can reach"


def test_a_kl_between_drawn_spikes_has_no_gradient_and_the_expected_one_has(float64: None) -> None:
    """With the noise fixed, the KL of hard spikes from the chain is flat in the logits; the expected one is not.

    Slopes are finite differences, so that nothing depends on what automatic differentiation lets through.
    """
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 6, 3, generator=source)
    noise = torch.logit(torch.rand(logits.shape, generator=source))
    assert (logits + noise).abs().min() > 1e-3, "no spike is about to flip"
    chain = SpikeChain(3, 0.05, 0.3)

    def of_draws(logits: torch.Tensor) -> torch.Tensor:
        certain = torch.where(logits + noise > 0, 30.0, -30.0)
        return chain.kl(certain).sum()

    def expected(logits: torch.Tensor) -> torch.Tensor:
        return chain.kl(logits).sum()

    flat, sloped = (torch.zeros_like(logits).flatten() for _ in range(2))
    for place in range(logits.numel()):
        step = torch.zeros_like(logits).flatten()
        step[place] = 1e-5
        step = step.view_as(logits)
        flat[place] = (of_draws(logits + step) - of_draws(logits - step)) / 2e-5
        sloped[place] = (expected(logits + step) - expected(logits - step)) / 2e-5
    assert not flat.any() and (sloped.abs() > 1e-4).all()
    (gradient,) = torch.autograd.grad(expected(logits.requires_grad_()), logits)
    torch.testing.assert_close(gradient.flatten(), sloped, rtol=1e-5, atol=1e-8)


def test_decoding_encoded_frames_measures_no_flow() -> None:
    """Re-encoding every frame gives the same error whatever the fields are; moving the first latent does not."""
    torch.manual_seed(0)
    model = MODES["supervised"].build(SupervisedConfig(), (3, 28, 28)).eval()
    frames, g = torch.rand(4, 9, 3, 28, 28), torch.ones(4, 8, 3) / 3
    with torch.no_grad():
        before = frame_errors(model, frames, g)
        for parameter in model.field_model.parameters():
            parameter.mul_(-2.0).add_(torch.randn_like(parameter))
        after = frame_errors(model, frames, g)
    assert torch.equal(before.reconstruction, after.reconstruction)
    assert ((before.flow - after.flow)[:, 1:].abs() > 1e-3).all()


def test_what_is_printed_beside_published_errors_is_not_from_other_data() -> None:
    assert published({"name": "shapes3d", "title": "rendered Shapes3D", "protocol": "ffrl", "num_steps": 7}) is None
