"""Calibration of a posterior over activity: known answers, and what an evaluation says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_standins import ShiftedPictures, UnknownPictures, small
from lacking import lack
from torch import Tensor

from ffrl.data.base import SequenceBatch
from ffrl.evaluation.evaluate import evaluate
from ffrl.evaluation.matching import align
from ffrl.evaluation.measures.calibration import (
    GAUSSIAN,
    calibrate,
    coverage,
    expected_calibration_error,
    field_posterior,
    reliability,
)
from ffrl.evaluation.protocol.kind import with_posterior
from ffrl.evaluation.protocol.sequences import choose, mixed_batches

NAMES = ("scaling", "rotation", "hue")


def test_bins_are_counted_by_hand() -> None:
    found = reliability([0.0, 0.05, 0.1, 0.55, 0.55, 0.999, 1.0], [0, 1, 0, 1, 0, 1, 1])
    assert found["count"] == [2, 1, 0, 0, 0, 2, 0, 0, 0, 2]
    assert found["probability"] == pytest.approx([0.025, 0.1, None, None, None, 0.55, None, None, None, 0.9995])
    assert found["frequency"] == [0.5, 0.0, None, None, None, 0.5, None, None, None, 1.0]
    error = expected_calibration_error([0.0, 0.05, 0.1, 0.55, 0.55, 0.999, 1.0], [0, 1, 0, 1, 0, 1, 1])
    assert error == pytest.approx((2 * 0.475 + 0.1 + 2 * 0.05 + 2 * 0.0005) / 7)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("draw", ["uniform", "sharp"])
@pytest.mark.parametrize("bins", [5, 10, 20])
def test_right_probabilities_have_no_error_but_that_of_sampling(draw: str, bins: int) -> None:
    generator = np.random.default_rng(0)
    shape = (200, 500)
    probability = generator.random(shape) if draw == "uniform" else generator.beta(0.1, 0.4, shape)
    truth = generator.random(shape) < probability
    found = reliability(probability, truth, bins)
    assert sum(found["count"]) == probability.size
    spread = [np.sqrt(2 * n * p * (1 - p) / np.pi) for n, p in zip(found["count"], found["probability"], strict=True)]
    expected = sum(spread) / probability.size  # the one of the docstring
    error = expected_calibration_error(probability, truth, bins)
    assert 0.3 * expected < error < 2 * expected < 0.01
    assert expected_calibration_error(probability**2, truth, bins) > 10 * error


def test_constant_probabilities_are_off_by_their_distance_from_the_frequency() -> None:
    truth = np.arange(1000) % 2 == 0
    assert expected_calibration_error(np.full(1000, 0.9), truth) == pytest.approx(0.4)
    assert expected_calibration_error(np.full(1000, 0.5), truth) == 0.0
    assert expected_calibration_error(truth.astype(float), truth) == 0.0
    assert expected_calibration_error(1.0 - truth, truth) == 1.0


def test_without_pairs_or_with_what_is_no_number_there_is_no_error() -> None:
    assert expected_calibration_error([], []) is None
    assert reliability([], [], bins=2) == {"count": [0, 0], "probability": [None] * 2, "frequency": [None] * 2}
    assert expected_calibration_error([0.5, np.nan], [1, 1]) is None
    assert reliability([0.5, np.nan], [1, 1], bins=2)["count"] == [0, 1]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("width", "expected"), [(1.0, (0.683, 0.954)), (0.5, (0.383, 0.683)), (2.0, (0.954, 0.9999))])
def test_gaussian_draws_are_covered_as_expected(width: float, expected: tuple[float, float], sign: float) -> None:
    generator = np.random.default_rng(1)
    size = 20_000
    deviation = generator.uniform(0.05, 0.3, size)
    speeds = generator.uniform(0.7, 1.5, size)
    truth = generator.normal(speeds, deviation)
    off = generator.random((2, size)) < 0.3
    found = coverage(np.where(off[0], 0, sign * speeds), width * deviation, np.where(off[1], 0, truth))
    error = 4 * np.sqrt(0.25 / (~off).all(0).sum())
    assert (found["one_deviation"], found["two_deviations"]) == pytest.approx(expected, abs=error)
    assert list(GAUSSIAN.values()) == pytest.approx([0.6827, 0.9545], abs=1e-4)


@pytest.mark.parametrize(
    ("speeds", "truth"), [([0.0, 1.0], [1.0, 0.0]), ([1.0, 1.0], [1.0, 1.0]), ([1.0, 0.0], [0.0, 0.0]), ([], [])]
)
def test_nothing_is_covered_where_nothing_is_on_together_or_true_speeds_do_not_vary(speeds: list, truth: list) -> None:
    assert coverage(speeds, np.ones(len(speeds)), truth) == {"one_deviation": None, "two_deviations": None}


def test_a_deviation_of_zero_covers_what_is_exact_and_divides_nothing() -> None:
    with np.errstate(all="raise"):
        assert coverage([1.0, 2.0], [0.0, 0.0], [1.0, 3.0]) == {"one_deviation": 0.5, "two_deviations": 0.5}


def activities(seed: int = 0) -> tuple[np.ndarray, ...]:
    """P(on), inferred speeds, their deviations, and the truth they are right about: ``(60, 8, 3)`` each."""
    generator = np.random.default_rng(seed)
    shape = (60, 8, 3)
    probability = generator.beta(0.2, 0.4, shape)
    deviation = generator.uniform(0.05, 0.2, shape)
    mean = generator.uniform(0.5, 1.5, shape)
    truth = np.where(generator.random(shape) < probability, generator.normal(mean, deviation), 0.0)
    return probability, np.where(probability > 0.5, mean, 0.0), deviation, truth


def test_all_pairs_are_pooled() -> None:
    probability, speeds, deviation, truth = activities()
    found = calibrate(probability, speeds, deviation, truth, align(speeds, truth, NAMES))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for j, name in enumerate(NAMES):
        one = found["transformations"][name]
        assert one["field"] == j and one["pairs"] == 480
        assert one["ece"] == expected_calibration_error(probability[..., j], truth[..., j] != 0)
        assert one["coverage"] == coverage(speeds[..., j], deviation[..., j], truth[..., j])
    pooled = found["pooled"]
    assert pooled["pairs"] == 3 * 480
    for key, values in reliability(probability, truth != 0).items():
        assert pooled["reliability"][key] == pytest.approx(values)
    assert pooled["ece"] == pytest.approx(expected_calibration_error(probability, truth != 0)) and pooled["ece"] < 0.05
    assert pooled["coverage"] == pytest.approx(coverage(speeds, deviation, truth))
    assert pooled["coverage"] == pytest.approx(GAUSSIAN, abs=0.1)


def test_permuted_fields_among_others_give_equal_results() -> None:
    probability, speeds, deviation, truth = activities()
    expected = calibrate(probability, speeds, deviation, truth, align(speeds, truth, NAMES))
    places = [4, 0, 3]

    def placed(values: np.ndarray, other: float) -> np.ndarray:
        made = np.full((*values.shape[:-1], 6), other)
        made[..., places] = values
        return made

    several = placed(probability, 0.4), placed(speeds, 0.0), placed(deviation, 0.1)
    alignment = align(several[1], truth, NAMES)
    found = calibrate(*several, truth, alignment)
    assert [one["field"] for one in found["transformations"].values()] == places
    for name in NAMES:
        assert found["transformations"][name] | {"field": 0} == expected["transformations"][name] | {"field": 0}
    assert found["pooled"] == expected["pooled"]
    rmse = [one["transformations"]["hue"]["speed_rmse"] for one in (alignment, align(speeds, truth, NAMES))]
    assert rmse[0] == rmse[1]


def test_a_transformation_without_a_field_has_no_pairs() -> None:
    probability, speeds, deviation, truth = activities()
    probability, speeds, deviation = (values[..., :2] for values in (probability, speeds, deviation))
    found = calibrate(probability, speeds, deviation, truth, align(speeds, truth, NAMES))
    lost = [name for name in NAMES if found["transformations"][name]["field"] is None]
    assert len(lost) == 1 and set(found["transformations"][lost[0]].values()) == {None}
    assert found["pooled"]["pairs"] == 2 * 480
    none = calibrate(probability, 0 * speeds, deviation, truth, align(0 * speeds, truth, NAMES))
    assert none["pooled"]["pairs"] == 0 and none["pooled"]["ece"] is None
    assert none["pooled"]["coverage"] == {"one_deviation": None, "two_deviations": None}


def test_a_field_of_two_parts_is_on_with_the_likelier_and_as_sure_as_the_stronger() -> None:
    probability = np.array([[0.3, 0.9, 0.4, 0.6]])
    speeds = np.array([[0.0, 1.0, 0.0, -1.5]])
    found = field_posterior(probability, speeds, np.array([[1.0, 2.0, 3.0, 4.0]]), num_fields=2)
    assert found[0].tolist() == [[0.4, 0.9]] and found[1].tolist() == [[1.0, 4.0]]
    single = field_posterior(probability, speeds, probability, num_fields=4)
    assert np.array_equal(single[0], probability) and np.array_equal(single[1], probability)


class Seeing:
    """A posterior that reads speeds off :class:`ShiftedPictures`, off by 0.1, and says 0.95 where on and 0.2 elsewhere.

    Deviations are 0.11 in even and 0.06 in odd sequences: within one deviation lies half of the true speeds, within two
    all of them.
    """

    def __init__(self, data: ShiftedPictures, order: tuple[int, ...] = (2, 0, 1)) -> None:
        self.shift, self.order, self.calls = data.shift, list(order), 0

    def __call__(self, frames: Tensor) -> SimpleNamespace:
        self.calls += 1
        speeds = frames.flatten(2)[..., : len(self.shift)].diff(dim=1) / self.shift
        on = speeds > 1e-2
        deviation = torch.tensor([0.11, 0.06]).repeat(len(frames))[: len(frames)].view(-1, 1, 1).expand_as(speeds)
        parts = torch.where(on, 0.95, 0.2), torch.where(on, speeds + 0.1, 1.0), deviation
        return SimpleNamespace(
            **dict(zip(("probability", "speed", "deviation"), (part[..., self.order] for part in parts), strict=True))
        )


def seeing(data: ShiftedPictures, **size: Any) -> tuple[Any, Seeing]:
    """An untrained unsupervised model with such a posterior."""
    model, posterior = small("unsupervised", data, **size), Seeing(data)
    model.activity = posterior

    def infer(frames: Tensor) -> Tensor:
        found = posterior(frames)
        return torch.where(found.probability > 0.5, found.speed, 0.0)

    model.infer = infer
    return model, posterior


def test_an_evaluation_holds_the_calibration_of_a_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffrl.evaluation.protocol.sequences.MAX_BATCH", 4)
    data = ShiftedPictures()
    model, _ = seeing(data)
    result = evaluate(model, data, seed=1, sequences=12, samples=1)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    truth = torch.cat(
        [batch.activity for batch in mixed_batches(data, "validation", choose(data, "validation", 12, 1), 1)]
    )
    assert [one["field"] for one in result["alignment"]["transformations"].values()] == [1, 2, 0]
    for name, there in zip(data.transformations, (truth != 0).double().mean((0, 1)).tolist(), strict=True):
        one = result["calibration"]["transformations"][name]
        assert one["ece"] == pytest.approx(0.05 * there + 0.2 * (1 - there), abs=1e-6)
        assert one["reliability"]["count"][9] + one["reliability"]["count"][2] == one["pairs"] == 12 * 8
        assert one["coverage"]["two_deviations"] == 1.0 and 0.2 < one["coverage"]["one_deviation"] < 0.8
        assert result["alignment"]["transformations"][name]["speed_rmse"] == pytest.approx(0.1, abs=1e-4)
    there = (truth != 0).double().mean().item()
    assert result["calibration"]["pooled"]["ece"] == pytest.approx(0.05 * there + 0.2 * (1 - there), abs=1e-6)
    assert result["alignment"]["alive"] == {"fields": 3, "transformations": 3}
    verdicts = {line["name"]: line["reached"] for line in result["criteria"]}
    assert verdicts == {name: name != "pooled calibration error" for name in verdicts} and len(verdicts) == 6
    assert {"speed_rmse", "ece", "coverage", "alive"} <= set(result["units"])


def test_the_posterior_is_inferred_once_per_batch_of_mixed_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffrl.evaluation.protocol.sequences.MAX_BATCH", 5)
    monkeypatch.setattr("ffrl.evaluation.measures.equivariance.Equivariance.sees", None)
    monkeypatch.setattr("ffrl.evaluation.measures.equivariance.Equivariance.result", lambda *arguments: {})
    data = ShiftedPictures()
    model, posterior = seeing(data)
    whole = evaluate(model, data, samples=1)
    assert posterior.calls == 3
    lack(model, "activity")
    usual = evaluate(model, data, samples=1)
    assert posterior.calls == 6 and "calibration" not in usual
    assert usual["alignment"] == whole["alignment"] and usual["prediction"] == whole["prediction"]
    assert usual["criteria"] == whole["criteria"][:-1]


def test_parts_of_separate_control_are_calibrated_as_fields() -> None:
    data = ShiftedPictures()
    model, posterior = seeing(data, control="separate")
    posterior.order = [2, 0, 1, 2, 0, 1]
    single, _ = seeing(data)
    found = [evaluate(one, data, samples=1) for one in (model, single)]
    assert found[0]["calibration"] == found[1]["calibration"]


def test_unknown_transformations_have_no_calibration_but_are_inferred_likewise() -> None:
    data = UnknownPictures()
    model, posterior = seeing(data)
    posterior.shift = ShiftedPictures().shift
    result = evaluate(model, data, samples=1)
    assert "calibration" not in result and sum(one["on"] for one in result["fields"]) > 0


@pytest.mark.parametrize("mode", ["supervised", "weak"])
def test_other_models_have_no_posterior(mode: str) -> None:
    model = small(mode)
    assert not with_posterior(model)
    result = evaluate(model, ShiftedPictures(), sequences=3, samples=1)
    assert not {"calibration", "criteria"} & set(result)


def constant(change: Callable[[Tensor], Tensor]) -> ShiftedPictures:
    """Pictures whose mixed activity is changed."""

    class Changed(ShiftedPictures):
        def mixed(self, split: str, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
            return self._batch(indices, change(super().mixed(split, indices, generator).activity))

    return Changed()


@pytest.mark.parametrize("change", [lambda speeds: (speeds != 0).float(), lambda speeds: 0 * speeds])
def test_speeds_that_do_not_vary_and_transformations_that_never_act_are_none(change: Any) -> None:
    data = constant(change)
    model, _ = seeing(data)
    result = evaluate(model, data, samples=1)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert all(one["speed_rmse"] is None for one in result["alignment"]["transformations"].values())
    assert set(result["calibration"]["pooled"]["coverage"].values()) == {None}
    assert (result["calibration"]["pooled"]["ece"] is None) == (result["calibration"]["pooled"]["pairs"] == 0)


def test_a_posterior_that_went_wrong_is_still_reported() -> None:
    data = ShiftedPictures()
    model, posterior = seeing(data)
    model.activity = lambda frames: SimpleNamespace(
        **{name: values * torch.nan for name, values in vars(posterior(frames)).items()}
    )
    result = evaluate(model, data, samples=1)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["calibration"]["pooled"]["ece"] is None
