"""What networks see of vectors and how likely these are, against densities of torch, with missing values and angles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, VonMises

from ffrl.config import ObjectiveConfig
from ffrl.core.errors import UserError
from ffrl.data.features import Feature, Features
from ffrl.models.frame_kind import LEAST_NOISE, PIXELS, FeatureValues, frame_kind

FEATURES = Features(
    (
        Feature("x", 1000.0, 5.0),
        Feature("heading", 0.0, 360 / (2 * math.pi), 360.0),
        Feature("y", -2.0, 0.1),
        Feature("phase", 0.0, 1.0, 2 * math.pi),
    ),
    missing=True,
)
NAN = math.nan


def made(features: Features = FEATURES, noise: float = 0.3) -> FeatureValues:
    kind = FeatureValues(features, noise).double()
    with torch.no_grad():
        kind.log_noise += 0.1 * torch.arange(len(features))
    return kind


def vectors(count: int = 20, missing: float = 0.0, seed: int = 0) -> Tensor:
    source = np.random.default_rng(seed)
    values = source.normal(size=(count, 4)) * [5, 200, 0.1, 9] + [1000, 0, -2, 0]
    values[source.random(values.shape) < missing] = NAN
    return torch.as_tensor(values)


def outputs(count: int = 20, seed: int = 1) -> Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=(count, 6)))


def test_an_encoder_sees_standardised_values_cosines_sines_and_what_is_there() -> None:
    frames = vectors(missing=0.3)
    x, heading, y, phase = frames.numpy().T
    radians = np.deg2rad(heading), phase
    parts = [(x - 1000) / 5, (y + 2) / 0.1, *map(np.cos, radians), *map(np.sin, radians)]
    expected = [*(np.nan_to_num(part) for part in parts), *(~np.isnan(frames.numpy()).T)]
    seen = made().enter(frames)
    assert seen.shape == (20, *made().entered((4,))) and not seen.isnan().any()
    assert torch.allclose(seen, torch.as_tensor(np.stack(expected, 1).astype(float)), atol=1e-12)
    whole = FeatureValues(Features(FEATURES.each)).double()
    assert torch.equal(whole.enter(frames), seen[:, :6]) and whole.entered((4,)) == whole.outputs((4,)) == (6,)


def test_the_likelihood_is_the_product_of_densities_of_what_is_there() -> None:
    kind, frames, said = made(), vectors(missing=0.3), outputs()
    noise = (kind.log_noise.exp() ** 2 + LEAST_NOISE**2).sqrt().detach()
    means = kind.mean(said)
    standard = (frames - kind.centre) / kind.unit
    straight = Normal(said[:, [0, 1]], noise[[0, 2]]).log_prob(standard.nan_to_num()[:, [0, 2]])
    angles = torch.atan2(said[:, 4:6], said[:, 2:4])
    turning = VonMises(angles, noise[[1, 3]] ** -2).log_prob(standard.nan_to_num()[:, [1, 3]])
    each = torch.stack([straight[:, 0], turning[:, 0], straight[:, 1], turning[:, 1]], 1)
    expected = torch.where(frames.isnan(), 0.0, each).sum(1)
    assert torch.allclose(kind.log_prob(said, frames), expected, atol=1e-6)
    assert torch.allclose(means[:, 0], 1000 + 5 * said[:, 0]) and torch.allclose(means[:, 2], -2 + 0.1 * said[:, 1])
    turn = torch.remainder(torch.rad2deg(angles[:, 0]), 360)
    assert torch.allclose(means[:, 1], turn) and bool(((means[:, 1] >= 0) & (means[:, 1] < 360)).all())


def test_gradients_of_the_likelihood() -> None:
    kind, frames, said = made(), vectors(6, missing=0.3), outputs(6).requires_grad_()
    assert torch.autograd.gradcheck(lambda said: kind.log_prob(said, frames), (said,))
    learned = kind.log_noise.detach().clone().requires_grad_()

    def likelihood(noise: Tensor) -> Tensor:
        return torch.func.functional_call(kind, {"log_noise": noise}, (said.detach(), frames))

    kind.forward = kind.log_prob
    assert torch.autograd.gradcheck(likelihood, (learned,))


@pytest.mark.parametrize("place", range(4))
def test_what_stands_for_a_missing_value_changes_nothing(place: int) -> None:
    kind, frames = made(), vectors(6)
    frames[:, place] = NAN
    others = frames.clone().numpy()
    others[:, place] = np.frombuffer(np.uint64(0xFFF8000000001234).tobytes())[0]  # another NaN
    said = outputs(6).requires_grad_()
    value = kind.log_prob(said, frames)
    gradient, noise = torch.autograd.grad(value.sum(), (said, kind.log_noise))
    of_it = {0: [0], 1: [2, 4], 2: [1], 3: [3, 5]}[place]
    assert bool((gradient[:, of_it] == 0).all()) and noise[place] == 0
    assert gradient.isfinite().all() and (noise != 0).sum() == 3
    elsewhere = said.detach().clone()
    elsewhere[:, of_it] += 7
    assert torch.equal(kind.log_prob(elsewhere, torch.as_tensor(others)), value)
    assert torch.equal(kind.enter(torch.as_tensor(others)), kind.enter(frames))
    assert bool((kind.error(elsewhere, frames)[:, place] == 0).all())


def test_a_frame_of_which_all_is_missing_says_nothing() -> None:
    kind, frames, said = made(), torch.full((2, 4), NAN, dtype=torch.float64), outputs(2).requires_grad_()
    value = kind.log_prob(said, frames)
    value.sum().backward()
    assert bool((value == 0).all()) and bool((said.grad == 0).all()) and bool((kind.log_noise.grad == 0).all())
    assert bool((kind.enter(frames) == 0).all()) and torch.equal(kind.filled(frames), kind.centre.expand(2, 4))


def test_a_full_turn_changes_nothing() -> None:
    kind, frames, said = made(), vectors(), outputs()
    turned = frames + torch.tensor([0, 3 * 360, 0, -2 * math.tau], dtype=torch.float64)
    assert torch.allclose(kind.enter(turned), kind.enter(frames), atol=1e-12)
    assert torch.allclose(kind.log_prob(said, turned), kind.log_prob(said, frames), atol=1e-9)
    assert torch.allclose(kind.error(said, turned), kind.error(said, frames), atol=1e-6)
    one, other = torch.tensor([[0.0, 350, 0, 0.1], [0.0, 10, 0, math.tau - 0.1]], dtype=torch.float64).split(1)
    error = kind.difference(one, other)
    assert error[0, 1].item() == pytest.approx(-math.radians(20)) and error[0, 3].item() == pytest.approx(0.2)


def test_what_is_seen_of_a_frame_is_that_frame_when_said() -> None:
    kind, frames = made(Features(FEATURES.each)), vectors()
    expected = torch.where(torch.tensor([False, True, False, True]), torch.remainder(frames, kind_periods()), frames)
    assert torch.allclose(kind.mean(kind.enter(frames)), expected, rtol=0, atol=1e-9)
    assert bool((kind.error(kind.enter(frames), frames).abs() < 1e-6).all())


def kind_periods() -> Tensor:
    return torch.tensor([1, 360, 1, math.tau], dtype=torch.float64)


def test_coordinates_far_from_zero_keep_their_precision() -> None:
    values = 4.6e6 + 0.1 * torch.randn(500, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kind = FeatureValues(Features.of(values))
    seen = kind.enter(values)
    assert seen.dtype == torch.float32 and kind.centre.dtype == torch.float64
    exact = (values.numpy() - values.numpy().mean()) / values.numpy().std()
    assert np.abs(seen.detach().numpy() - exact).max() < 1e-6
    assert (kind.mean(seen) - values).abs().max() < 1e-7
    assert kind.difference(values + 1e-4, values).mean().item() * kind.features.each[0].scale == pytest.approx(
        1e-4, rel=1e-4
    )


def test_noise_grows_again_from_the_least_one() -> None:
    kind = FeatureValues(Features((Feature("x"),)), scale=1e-4)
    assert kind.log_scale().exp().item() == pytest.approx(LEAST_NOISE, rel=1e-3)
    optimizer = torch.optim.Rprop(kind.parameters())
    for _ in range(150):
        optimizer.zero_grad()
        (-kind.log_prob(torch.ones(64, 1), torch.zeros(64, 1)).mean()).backward()
        optimizer.step()
    assert kind.log_scale().exp().item() == pytest.approx(1.0, rel=0.05), "the error is 1 throughout"


def test_no_frame_is_likelier_than_the_bound() -> None:
    kind, frames = made(Features(FEATURES.each)), vectors()
    best = kind.log_prob(kind.enter(frames), frames)
    assert best.tolist() == pytest.approx([kind.most()] * 20)
    assert bool((kind.log_prob(outputs(), frames) < kind.most()).all())


def test_a_file_of_weights_has_the_noise_alone() -> None:
    assert list(made().state_dict()) == ["log_noise"] and not PIXELS.state_dict()


def test_frames_are_images_or_vectors() -> None:
    assert frame_kind(None, ObjectiveConfig()) is PIXELS
    assert isinstance(frame_kind(FEATURES, ObjectiveConfig(likelihood="gaussian")), FeatureValues)
    for other in ("laplace", "bernoulli"):
        with pytest.raises(UserError, match=f"^objective.likelihood: found '{other}', expected gaussian for vectors"):
            frame_kind(FEATURES, ObjectiveConfig(likelihood=other))
