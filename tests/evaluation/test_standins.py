"""The stand-ins of the evaluation's tests are what they say."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from evaluation_standins import (
    Enumeration,
    Inferred,
    LinearGaussian,
    enumerate_fields,
    enumerate_spikes,
    enumerate_states,
    sample_frames,
    spiking,
)

from ffrl.models.activity import Activity, GivenActivity


@pytest.mark.parametrize("seed", range(3))
def test_the_closed_form_of_the_linear_gaussian_is_the_integral_over_the_latent(seed: int) -> None:
    model = LinearGaussian(GivenActivity(2), seed, num_steps=2, dim=1)
    g = torch.tensor([[[1.0, 0.0], [0.5, -1.0]], [[0.0, 1.2], [0.0, 0.0]]], dtype=torch.float64)
    frames = sample_frames(model, g, seed)
    z0 = torch.linspace(-9, 9, 6001, dtype=torch.float64).unsqueeze(-1)
    for n in range(2):
        images = model.decode_logits(model.flow(z0, g[n].expand(len(z0), -1, -1)))
        joint = torch.distributions.Normal(0.0, 1.0).log_prob(z0[:, 0])
        joint = joint + model.log_prob(images, frames[n].expand_as(images)).sum(-1)
        integral = joint.logsumexp(0) + math.log(18 / 6000)
        assert torch.isclose(model.exact(frames, g)[n, n], integral, atol=1e-9)


@pytest.mark.parametrize(("slab", "fields", "steps"), [("unit", 2, 3), ("positive", 1, 2), ("signed", 1, 1)])
def test_enumerated_probabilities_sum_to_one(slab: str, fields: int, steps: int) -> None:
    means = torch.randn(3, steps + 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact, constant = Inferred(slab, fields), Inferred("unit", 3, constant=True)
    for activity in (exact, constant):
        LinearGaussian(activity, 0, steps)
    for every in (
        enumerate_spikes(spiking(slab, fields), means),
        enumerate_states(exact, means),
        enumerate_fields(constant, means),
    ):
        assert torch.allclose(every.log_p.logsumexp(0).exp(), torch.ones(()).double(), atol=1e-6)
        assert torch.allclose(every.log_q.logsumexp(0).exp(), torch.ones(3).double(), atol=1e-6)


@pytest.mark.parametrize(
    ("activity", "enumerate_all"), [(spiking("signed", 1), enumerate_spikes), (Inferred("signed", 1), enumerate_states)]
)
def test_the_slab_grid_is_fine_enough(activity: Activity, enumerate_all: Callable[..., Enumeration]) -> None:
    model = LinearGaussian(activity, seed=0, num_steps=1)
    frames = sample_frames(model, torch.tensor([[[-1.1]], [[0.9]]], dtype=torch.float64), seed=0)
    coarse, fine = (enumerate_all(activity, model.encode(frames), points) for points in (301, 4001))
    found = [(x.log_p.unsqueeze(1) + model.exact(frames, x.g)).logsumexp(0) for x in (coarse, fine)]
    assert torch.allclose(*found, atol=3e-4)
