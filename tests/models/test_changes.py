"""Frames as changes from a background: an exact density of the image with a known scale, by distributions of torch."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Laplace, Normal

from ffrl.config import DataConfig, ObjectiveConfig, SupervisedConfig
from ffrl.config.data import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.static import Static, changes, restored
from ffrl.evaluation.likelihood.pixels import scores, trained_score
from ffrl.models.frame_kind import LEAST_CHANGE, Changes, frame_kind
from ffrl.models.supervised import MODE

SHAPE = (3, 4, 5)


@pytest.fixture
def kind() -> Changes:
    """Changes whose pixels have spreads from 0 to 0.3."""
    made = Changes(SHAPE)
    made.measured(Static(torch.linspace(0, 0.3, 60).reshape(SHAPE)))
    return made


@pytest.mark.parametrize(("name", "density"), [("laplace", Laplace), ("gaussian", Normal)])
def test_the_likelihood_is_a_density_of_the_image(kind: Changes, name: str, density: type) -> None:
    generator = torch.Generator().manual_seed(0)
    images, background = torch.rand(2, 7, *SHAPE, generator=generator)
    outputs = torch.randn(7, *SHAPE, generator=generator)
    spread = (torch.linspace(0, 0.3, 60).reshape(SHAPE).square() + LEAST_CHANGE**2).sqrt()
    wanted = density(background + torch.tanh(spread * outputs), 0.4 * spread).log_prob(images).sum((1, 2, 3))
    config = ObjectiveConfig(likelihood=name, likelihood_scale=0.4)
    found = kind.log_prob(outputs, changes(images, background), config)
    assert torch.allclose(found, wanted, rtol=1e-4)
    exact = changes(background + torch.tanh(spread * outputs), background)
    assert torch.allclose(kind.log_prob(outputs, exact, config), kind.most(config).expand(7), rtol=1e-4)


def test_errors_are_those_of_images(kind: Changes) -> None:
    images, background = torch.rand(2, 7, *SHAPE, generator=torch.Generator().manual_seed(1))
    frames = changes(images, background)
    found = kind.difference(changes(images.flip(0), background), frames)
    assert torch.allclose(found, images.flip(0) - images, atol=1e-6)
    empty = kind.empty(frames)
    assert empty is not None and torch.allclose(kind.difference(empty, frames), background - images, atol=1e-6)
    assert torch.allclose(restored(frames, background), images, atol=1e-6)


def test_a_rare_change_weighs_more_than_a_common_one_of_its_size() -> None:
    kind, config = Changes((1, 1, 2)), ObjectiveConfig()
    kind.measured(Static(torch.tensor([[[0.3, 0.03]]])))
    frames, nothing = torch.full((2, 1, 1, 2), 0.5), torch.zeros(2, 1, 1, 2)
    frames[0, ..., 0], frames[1, ..., 1] = 0.65, 0.65
    common, rare = (kind.most(config) - kind.log_prob(nothing, frames, config)).tolist()
    assert common == pytest.approx(0.3 / (0.3 * 0.3007), rel=1e-3) and rare > 8 * common


def test_changes_are_drawn_on_the_only_background_or_on_grey() -> None:
    kind, frames = Changes(SHAPE), torch.full((2, *SHAPE), 0.6)
    assert torch.equal(kind.pictured(frames), frames)
    kind.measured(Static(torch.ones(SHAPE), torch.full(SHAPE, 0.25)))
    assert torch.allclose(kind.pictured(frames), torch.tensor(0.45))
    kind.measured(Static(torch.ones(SHAPE)))
    assert torch.equal(kind.pictured(frames), frames)


def test_a_model_of_changes_keeps_what_is_static_with_its_weights() -> None:
    clips = ClipsConfig(size=8, static="median")
    config = SupervisedConfig(data=DataConfig(name="sequences", sequences=clips))
    model, other = (MODE.build(config, (3, 8, 8)) for _ in range(2))
    assert isinstance(model.frame_kind, Changes) and isinstance(other.frame_kind, Changes)
    model.frame_kind.measured(Static(torch.rand(3, 8, 8), torch.rand(3, 8, 8)))
    other.load_state_dict(model.state_dict())
    frames = torch.rand(2, 3, 8, 8)
    assert torch.equal(other.frame_kind.pictured(frames), model.frame_kind.pictured(frames))
    assert torch.equal(other.frame_kind.mean(frames), model.frame_kind.mean(frames))
    assert [score.name for score in scores(model)] == [trained_score(model).name] == ["laplace-0.3-spread"]
    bound = trained_score(model).upper_bound(3 * 64)
    assert (trained_score(model)(torch.randn(2, 3, 8, 8), frames) <= bound).all()


def test_binarised_changes_are_refused() -> None:
    with pytest.raises(
        UserError, match="^objective.likelihood: found 'bernoulli', expected laplace or gaussian for ch"
    ):
        frame_kind(None, ObjectiveConfig(likelihood="bernoulli"), SHAPE)
