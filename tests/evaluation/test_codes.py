"""Disentanglement of codes: scores with known answers, and which codes and factors a model is measured on."""

from __future__ import annotations

import itertools
import json
import math
import sys

import numpy as np
import pytest
import torch
from engine_tiny import TinyData
from scipy.stats import entropy
from torch import nn

from ffrl.config import DataConfig
from ffrl.core.errors import UserError, require
from ffrl.data.base import SPLITS
from ffrl.data.digits.mnist import MnistSequences
from ffrl.data.digits.moving_mnist import MovingMnistSequences
from ffrl.data.on_device import MovedSequences
from ffrl.data.shapes3d.render import render
from ffrl.data.shapes3d.sequences import RenderedShapes3D
from ffrl.data.synthesis.states import StateSequences
from ffrl.data.synthesis.variation import Factor
from ffrl.evaluation.codes.dci import completeness, dci, disentanglement
from ffrl.evaluation.codes.factors import draw_factors
from ffrl.evaluation.codes.mig import binned, mutual_information, mutual_information_gaps
from ffrl.evaluation.codes.probe import linear_probe, r_squared
from ffrl.evaluation.measures import codes as codes_module
from ffrl.evaluation.measures.codes import measure_codes

ROWS = 1000
HELD_OUT = np.arange(ROWS) % 5 == 4


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# Linear probe


def test_r_squared_of_the_mean_of_the_truth_and_of_several_columns() -> None:
    truth = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 0.0]])
    assert r_squared(truth, truth) == 1.0
    assert r_squared(np.tile(truth.mean(0), (3, 1)), truth) == 0.0
    half = truth.copy()
    half[:, 1] = 2.0
    assert r_squared(half, truth) == 0.5
    assert r_squared(-truth[:, 0], truth[:, 0]) == 1 - (0 + 16 + 64) / 8
    assert math.isnan(r_squared([1.0, 2.0], [3.0, 3.0]))


def test_linear_probe_is_ridge_regression_on_standardised_codes(rng) -> None:
    codes = rng.normal(size=(ROWS, 6)) * [1, 10, 0.1, 1, 1, 0] + [0, 5, 0, -3, 0, 2]
    target = np.stack([codes @ rng.normal(size=6) + rng.normal(size=ROWS), np.sin(codes[:, 0])], axis=1)
    fitted = codes[~HELD_OUT]
    scaled = (codes - fitted.mean(0)) / [*fitted[:, :5].std(0), 1]
    mean = target[~HELD_OUT].mean(0)
    rows = np.vstack([scaled[~HELD_OUT], math.sqrt(1e-3 * len(fitted)) * np.eye(6)])
    weight = np.linalg.lstsq(rows, np.vstack([target[~HELD_OUT] - mean, np.zeros((6, 2))]))[0]
    error = np.square(scaled[HELD_OUT] @ weight + mean - target[HELD_OUT]).sum(0)
    total = HELD_OUT.sum() * target[HELD_OUT].var(0)
    assert linear_probe(codes, [target], HELD_OUT) == pytest.approx([(1 - error / total).mean()], rel=1e-9)


def test_linear_probe_is_scored_on_rows_it_was_not_fitted_to(rng) -> None:
    codes, noise = rng.normal(size=(ROWS, 700)), rng.normal(size=ROWS)
    assert linear_probe(codes, [noise], HELD_OUT)[0] < 0
    turned = np.where(HELD_OUT, -1.0, 1.0) * codes[:, 0]
    assert linear_probe(codes[:, :3], [turned], HELD_OUT)[0] == pytest.approx(-3, abs=0.1)


def test_noise_limits_what_a_probe_reads(rng) -> None:
    factor = rng.normal(size=20 * ROWS)
    codes = (factor + 0.5 * rng.normal(size=20 * ROWS))[:, None]
    assert linear_probe(codes, [factor], np.tile(HELD_OUT, 20))[0] == pytest.approx(1 / 1.25, abs=0.02)


# Mutual information gap


def test_bins_are_of_equal_width() -> None:
    values = np.array([[0.0, 7.0], [0.049, 7.0], [0.051, 7.0], [0.999, 7.0], [1.0, 7.0]])
    assert binned(values).T.tolist() == [[0, 0, 1, 19, 19], [0] * 5]
    assert np.array_equal(binned(5 * values - 3), binned(values))


def test_mutual_information_is_that_of_the_definition(rng) -> None:
    first, second = rng.integers(0, 4, (60, 2)), rng.integers(0, 3, (60, 3))
    second[:, 2] = (first[:, 0] + (rng.random(60) < 0.2)) % 3
    expected = np.zeros((2, 3))
    for i, j, x, y in itertools.product(range(2), range(3), range(4), range(3)):
        joint = np.mean((first[:, i] == x) & (second[:, j] == y))
        if joint:
            expected[i, j] += joint * math.log(joint / np.mean(first[:, i] == x) / np.mean(second[:, j] == y))
    assert mutual_information(first, second) == pytest.approx(expected, abs=1e-12)
    assert expected[0, 2] > 0.3


def test_gaps_of_known_codes() -> None:
    four, three = (np.repeat(value, 5) for value in np.unravel_index(np.arange(12), (4, 3)))
    factors = np.stack([four, three], axis=1)
    constant, half = np.ones(60), four // 2
    assert mutual_information_gaps(np.stack([-2.5 * three, four**2], 1), factors) == pytest.approx([1, 1])
    assert mutual_information_gaps(np.stack([half, constant], 1), factors) == pytest.approx([0.5, 0])
    assert mutual_information_gaps(np.stack([four, half], 1), factors) == pytest.approx([0.5, 0])
    assert mutual_information_gaps(np.stack([four, three, four], 1), factors) == pytest.approx([0, 1])
    assert mutual_information_gaps(four[:, None], factors) == pytest.approx([1, 0])
    assert np.isnan(mutual_information_gaps(factors, np.stack([four, constant], 1))).tolist() == [False, True]


def test_a_factor_of_many_values_is_binned() -> None:
    factor = np.arange(400.0)
    assert mutual_information_gaps(factor[:, None], factor[:, None]) == pytest.approx([1])
    assert mutual_information_gaps(factor[:, None] >= 200, factor[:, None]) == pytest.approx(
        [math.log(2) / math.log(20)]
    )


# Disentanglement, completeness, informativeness


def test_scores_of_importances_computed_by_hand() -> None:
    importance = np.array([[3.0, 1.0, 0.0], [0.0, 4.0, 0.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    rows = [1 - entropy([3, 1], base=3), 1.0, 0.0]
    assert disentanglement(importance) == pytest.approx((4 * rows[0] + 4 * rows[1] + 6 * rows[2]) / 14)
    columns = [1 - entropy([3, 2], base=4), 1 - entropy([1, 4, 2], base=4), 1.0]
    assert completeness(importance) == pytest.approx(np.mean(columns))


def test_scores_at_their_limits() -> None:
    assert disentanglement(np.eye(5)[:, [3, 1, 2, 0, 4]] * 7) == completeness(np.eye(5) * 7) == 1.0
    assert disentanglement(np.ones((6, 3))) == pytest.approx(0, abs=1e-12) == completeness(np.ones((6, 3)))
    assert disentanglement(np.zeros((4, 2))) == completeness(np.zeros((4, 2))) == 0.0
    split = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert disentanglement(split) == 1.0 and completeness(split) == pytest.approx(0.5)
    assert disentanglement(split.T) == pytest.approx(0.5) and completeness(split.T) == 1.0
    assert math.isnan(disentanglement(np.ones((4, 1)))) and math.isnan(completeness(np.ones((1, 4))))


def test_dci_of_one_code_per_factor_among_noise(rng) -> None:
    factors, codes = rng.integers(0, 9, (ROWS, 3)), rng.normal(size=(ROWS, 8))
    codes[:, [5, 0, 3]] = np.cbrt(factors - 4) + 0.01 * rng.normal(size=(ROWS, 3))
    found = dci(codes, list(factors.T), HELD_OUT)
    assert found.importance.shape == (8, 3) and found.importance.argmax(0).tolist() == [5, 0, 3]
    assert found.disentanglement > 0.98 and found.completeness > 0.98 and min(found.informativeness) > 0.98


def test_dci_of_a_turned_plane_of_a_shared_factor_and_of_noise(rng) -> None:
    a, b = rng.integers(0, 9, (2, ROWS)).astype(float)
    turned = dci(np.stack([a + b, a - b], axis=1), [a, b], HELD_OUT)
    assert turned.disentanglement < 0.1 and turned.completeness < 0.1 and min(turned.informativeness) > 0.8
    parts = rng.integers(0, 9, (ROWS, 2))
    shared = dci(np.column_stack([parts, b]), [parts.sum(1), b], HELD_OUT)
    assert shared.disentanglement > 0.95 and shared.completeness == pytest.approx(1 - math.log(2, 3) / 2, abs=0.1)
    assert max(dci(rng.normal(size=(ROWS, 3)), [a, b], HELD_OUT).informativeness) < 0.05


def test_dci_takes_targets_of_several_columns_and_depends_on_its_seed_alone(rng) -> None:
    shape, noise = rng.integers(0, 4, ROWS), rng.normal(size=ROWS)
    codes = np.stack([np.array([2.0, 0.0, 3.0, 1.0])[shape] + 0.3 * noise, noise], axis=1)
    target = Factor("shape", 0, 4, category=True).target(shape)
    first, again, other = (dci(codes, [target, noise], HELD_OUT, seed) for seed in (1, 1, 2))
    assert 0.7 < first.informativeness[0] < 1 and first.importance[0, 0] > 0.6
    assert first.informativeness == again.informativeness != other.informativeness
    assert np.array_equal(first.importance, again.importance)


def test_without_scikit_learn(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(UserError, match=r"pip install 'sparse-transformation-flow\[metrics\]'$"):
        measure_codes(nn.Identity(), Painted(), "validation", torch.arange(10))


# Factors


def test_targets_of_factors() -> None:
    circle = Factor("hue", 0, 10, period=10)
    assert circle.target([0, 10, 5]) == pytest.approx(np.array([[1, 0], [1, 0], [-1, 0]]))
    assert Factor("hue", 0, 9, period=18).target([3, 8]).tolist() == [[3.0], [8.0]]
    assert Factor("x", -1, 3, category=True).target([1, -1]).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_factors_of_digits_come_round_once_at_most() -> None:
    short = MnistSequences(DataConfig()).moved_factors()
    assert [(one.name, one.low, one.count, one.circle) for one in short] == [
        ("scaling", 0, 9, False),
        ("rotation", 0, 9, False),
        ("hue", 0, 9, False),
    ]
    for protocol, rotation in (("ffrl", (25, False)), ("sta", (18, True))):
        data = MnistSequences(DataConfig(num_steps=24, protocol=protocol))
        long = data.moved_factors()
        assert [(one.count, one.circle) for one in long] == [(25, False), rotation, (18, True)]
        whole_turns = torch.tensor([[0.0, one.period or 0.0, 0.0] for one in long[1:2]])
        hue = torch.tensor([[0.0, 0.0, long[2].period]])
        frames = data.in_states("train", torch.zeros(1, dtype=torch.long), torch.cat([whole_turns, hue])[None])
        assert torch.allclose(frames, data.images("train", torch.zeros(1, dtype=torch.long))[:, None], atol=1e-3)


def test_drawn_values_are_uniform_and_independent() -> None:
    data = MnistSequences(DataConfig())
    indices = torch.arange(2000)
    factors, states, values = draw_factors(data, "validation", indices, 2, torch.Generator().manual_seed(0))
    assert states.shape == values.shape == (2000, 2, 3) and torch.equal(states, values.float())
    counts = torch.stack([column.bincount(minlength=9) for column in values.flatten(0, 1).T])
    assert counts.shape == (3, 9) and (counts - 4000 / 9).abs().max() < 5 * math.sqrt(4000 / 9)
    correlation = np.corrcoef(values.reshape(2000, 6).T) - np.eye(6)
    assert np.abs(correlation).max() < 0.1
    again = draw_factors(data, "validation", indices, 2, torch.Generator().manual_seed(0))
    assert torch.equal(again.values, values)


def test_factors_of_a_grid_are_those_of_the_frames() -> None:
    data = RenderedShapes3D(DataConfig(name="shapes3d", num_steps=7))
    indices = torch.arange(40, 46)
    factors, states, values = draw_factors(data, "validation", indices, 2, torch.Generator().manual_seed(3))
    assert [factor.name for factor in factors] == [*data.transformations, "shape"]
    assert [factor.count for factor in factors] == [10, 10, 10, 8, 15, 4]
    assert [factor.circle for factor in factors] == [True, True, True, False, False, False]
    assert [factor.category for factor in factors] == [False] * 5 + [True]
    rendered = render(values[..., [0, 1, 2, 3, 5, 4]].flatten(0, 1).float())
    assert torch.equal(data.in_states("validation", indices, states).flatten(0, 1), rendered)
    same = (torch.arange(300))[draw_factors(data, "train", torch.arange(300), 1, torch.Generator())[2][:, 0, 5] == 2]
    assert "shape" not in [factor.name for factor in draw_factors(data, "train", same, 1, torch.Generator())[0]]
    with pytest.raises(UserError, match="no test split"):
        draw_factors(data, "test", indices, 1, torch.Generator())


def test_factors_of_moving_digits_are_their_offsets() -> None:
    data = MovingMnistSequences(DataConfig(name="moving-mnist"))
    indices = torch.arange(50)
    factors, states, values = draw_factors(data, "validation", indices, 3, torch.Generator().manual_seed(0))
    assert [factor.name for factor in factors] == ["horizontal", "vertical"]
    assert (values.amin((0, 1)).tolist(), values.amax((0, 1)).tolist()) == ([-6, -6], [6, 6])
    frames, still = data.in_states("validation", indices, states)[:, :, 0], data.images("validation", indices)[:, 0]
    pixels = torch.arange(64.0)

    def centroid(images: torch.Tensor) -> torch.Tensor:
        places = torch.stack([images.sum(-2) @ pixels, images.sum(-1) @ pixels], dim=-1)
        return places / images.sum((-1, -2))[..., None]

    assert torch.allclose(centroid(frames) - centroid(still)[:, None], 3.0 * values, atol=1e-3)
    with pytest.raises(UserError, match="data.digits: found 2, expected 1"):
        MovingMnistSequences(DataConfig(name="moving-mnist", digits=2)).moved_factors()


# Codes of models


class Painted(StateSequences):
    """Images of six pixels: three show the states, in units of ten steps, the others the number of the image."""

    name, title, limits = "painted", "painted pixels", "states from 0 to 8"
    image_shape, transformations, unit_steps = (1, 2, 3), ("first", "second", "third"), ("one step",) * 3
    num_steps, device, config = 8, torch.device("cpu"), DataConfig()
    most = 8

    def size(self, split):
        require(split in SPLITS[:2], "split", split, "train or validation")
        return 4000

    def origin(self, split, indices):
        return torch.zeros(len(indices), 3)

    def showable(self, visited):
        return ((visited >= 0) & (visited <= self.most)).all(-1)

    def placed(self, split, indices, activity, generator):
        raise AssertionError("states are drawn, not placed")

    def in_states(self, split, indices, visited):
        number = (indices / 4000)[:, None, None] * torch.tensor([1.0, -1.0, 0.5])
        return torch.cat([visited / 10, number.expand(*visited.shape[:2], 3)], -1).unflatten(-1, self.image_shape)


class Linear(nn.Module):
    """Codes that are a linear map of the pixels."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        assert not self.training and not torch.is_grad_enabled()
        return frames.flatten(-3) @ self.matrix


def test_codes_that_are_the_factors(monkeypatch) -> None:
    monkeypatch.setattr(codes_module, "batch_size", lambda data: 7)
    model, state = Linear(torch.eye(6)[:, [4, 2, 0, 3, 1, 5]]).train(), torch.get_rng_state()
    found = measure_codes(model, Painted(), "validation", torch.arange(400), seed=1)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert found["factors"] == ["first", "second", "third"] and found["images"] == 400 and found["frames"] == 2000
    assert found["dci"]["disentanglement"] > 0.99 and found["dci"]["completeness"] > 0.99
    assert min(found["dci"]["informativeness"].values()) > 0.99
    assert found["mig"]["score"] == pytest.approx(np.mean(list(found["mig"]["per_factor"].values())))
    assert 0.95 < found["mig"]["score"] < 1
    assert list(found["linear_probe"]) == ["first", "second", "third", "mean"]
    assert min(found["linear_probe"].values()) > 0.9999
    json.dumps(found, allow_nan=False)


def test_codes_that_mix_or_lack_factors() -> None:
    mixed = torch.zeros(6, 3)
    mixed[:2, :2] = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    mixed[3, 2] = 1.0
    found = measure_codes(Linear(mixed), Painted(), "validation", torch.arange(2500))
    assert found["frames"] == 2500
    assert found["mig"]["score"] < 0.05
    assert found["linear_probe"]["first"] > 0.9999 and found["linear_probe"]["second"] > 0.9999
    assert abs(found["linear_probe"]["third"]) < 0.05 and found["dci"]["informativeness"]["third"] < 0.05
    assert found["linear_probe"]["mean"] == pytest.approx(2 / 3, abs=0.02)


def test_all_states_of_an_image_are_on_the_same_side(monkeypatch) -> None:
    seen, seeds = {}, set()

    def caught(codes, targets, held_out, seed):
        seen.update(codes=codes, held_out=held_out)
        seeds.add(seed)
        return dci(codes, targets, held_out, seed)

    monkeypatch.setattr(codes_module, "dci", caught)
    for seed in (0, 1):
        measure_codes(Linear(torch.eye(6)), Painted(), "train", torch.arange(60), seed)
    assert len(seeds) == 2
    held_out = np.unique(seen["codes"][seen["held_out"], 3])
    fitted = np.unique(seen["codes"][~seen["held_out"], 3])
    assert (len(held_out), len(fitted)) == (12, 48) and not set(held_out) & set(fitted)


def test_measurements_depend_on_the_seed_alone() -> None:
    noisy = torch.eye(6) + 0.3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    model, data, indices = Linear(noisy), Painted(), torch.arange(500)
    first = measure_codes(model, data, "validation", indices, seed=3)
    assert measure_codes(model, MovedSequences(data, torch.device("cpu")), "validation", indices, seed=3) == first
    other = measure_codes(model, data, "validation", indices, seed=4)
    assert other["mig"] != first["mig"] and other["dci"] != first["dci"]


def test_what_cannot_be_measured() -> None:
    model, indices = Linear(torch.eye(6)), torch.arange(50)
    with pytest.raises(UserError, match="data.name: found 'tiny', expected data whose frames are made from states"):
        measure_codes(model, TinyData(), "validation", indices)
    with pytest.raises(UserError, match="sequences: found 4, expected at least 5"):
        measure_codes(model, Painted(), "validation", indices[:4])
    with pytest.raises(UserError, match="split: found 'test'"):
        measure_codes(model, Painted(), "test", indices)
    with pytest.raises(UserError, match="not finite"):
        measure_codes(Linear(torch.full((6, 6), math.inf)), Painted(), "validation", indices)
    narrow = Painted()
    narrow.most = 7
    with pytest.raises(UserError, match="codes: found states that painted pixels does not show, expected states from"):
        measure_codes(model, narrow, "validation", indices)
