"""Ridge units: those of potentials against the potentials, and the features of time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import jacfwd, vmap

from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.potential import Potentials
from ffrl.fields.ridge import time_features, time_features_slope

FIELDS, DIM, BATCH = 3, 4, 5
TOLERANCE = 1e-11


def distance(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return ((found - expected).norm() / expected.norm()).item()


def inputs(controls: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, signed activity and times."""
    return torch.randn(BATCH, DIM), torch.randn(BATCH, controls), torch.rand(BATCH)


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


def test_time_features_and_their_slope(float64: None) -> None:
    t = torch.linspace(0, 1, 11)
    features = time_features(t)
    assert torch.equal(features[:, 0], t)
    torch.testing.assert_close(features[:, 1] ** 2 + features[:, 2] ** 2, torch.ones(11), rtol=1e-14, atol=0.0)
    torch.testing.assert_close(features[0], torch.tensor([0.0, 0.0, 1.0]), rtol=0.0, atol=1e-15)
    torch.testing.assert_close(features[-1], torch.tensor([1.0, 0.0, -1.0]), rtol=0.0, atol=1e-15)
    torch.testing.assert_close(time_features_slope(t), vmap(jacfwd(time_features))(t), rtol=1e-13, atol=1e-14)
