"""Alignment on activities with known answers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ffrl.evaluation.matching import (
    activity_matrix,
    align,
    alive_fields,
    match,
    speed_agreement,
    spike_scores,
    strongest_part,
    unmatched_fields,
)
from ffrl.evaluation.measures.confusion import confusion
from ffrl.evaluation.registry import criteria_of

NAMES = ("scaling", "rotation", "hue")


def true_activity(seed: int = 0, sequences: int = 40, on: float = 0.3) -> np.ndarray:
    """Speeds on [0.5, 1.5] where on, 0 elsewhere: ``(N, 8, 3)``."""
    generator = np.random.default_rng(seed)
    shape = (sequences, 8, 3)
    return np.where(generator.random(shape) < on, generator.uniform(0.5, 1.5, shape), 0.0)


def verdicts(found: dict) -> list[bool]:
    return [line["reached"] for line in criteria_of({"alignment": found})]


def test_perfect() -> None:
    truth = true_activity()
    found = align(truth, truth, NAMES)
    for k, name in enumerate(NAMES):
        one = found["transformations"][name]
        assert one["field"] == k
        assert one["share"] == one["f1"] == one["precision"] == one["recall"] == 1.0
        assert math.isclose(one["speed_correlation"], 1.0) and math.isclose(one["speed_ratio"], 1.0)
    matrix = np.array(found["matrix"])
    assert np.array_equal(matrix, np.diag(np.diag(matrix)))
    assert found["unmatched"] == [] and found["spikes_right"] == 1.0
    assert found["active_fields"]["inferred"] == found["active_fields"]["true"] == (truth != 0).sum(-1).mean()
    assert verdicts(found) == [True] * 5


def test_permuted_scaled_and_reversed_fields_among_silent_ones() -> None:
    truth = true_activity()
    speeds = np.zeros((*truth.shape[:-1], 6))
    for j, (field, scale) in enumerate([(4, 2.0), (0, -1.0), (3, 0.5)]):
        speeds[..., field] = scale * truth[..., j]
    speeds[0, 0, 1] = 0.05
    found = align(speeds, truth, NAMES)
    assert [found["transformations"][name]["field"] for name in NAMES] == [4, 0, 3]
    assert [found["transformations"][name]["speed_ratio"] for name in NAMES] == pytest.approx([2.0, 1.0, 0.5])
    assert [found["transformations"][name]["direction"] for name in NAMES] == [1.0, -1.0, 1.0]
    assert all(math.isclose(found["transformations"][name]["speed_correlation"], 1.0) for name in NAMES)
    silent = {one["field"]: (one["mean"], one["silent"]) for one in found["unmatched"]}
    assert silent == {1: (pytest.approx(0.05 / 320), True), 2: (0.0, True), 5: (0.0, True)}
    assert found["spikes_right"] == 1.0 and verdicts(found) == [True] * 5


def test_transformations_that_never_act_alone_are_told_apart_by_least_squares() -> None:
    """Two of four at a time: no step on which one acts alone, and six kinds of steps."""
    source = np.random.default_rng(1)
    pairs = np.array([(a, b) for a in range(4) for b in range(a)])[source.integers(6, size=400)]
    truth = np.zeros((400, 4))
    np.put_along_axis(truth, pairs, source.uniform(0.5, 1.5, (400, 2)), axis=1)
    wrong = 0.25 * (truth[:, [1]] != 0)
    found = align(np.hstack([truth[:, [2, 0, 3, 1]], wrong]), truth, ("a", "b", "c", "d"))
    assert [found["transformations"][name]["field"] for name in "abcd"] == [1, 3, 0, 2]
    assert [found["transformations"][name]["share"] for name in "acd"] == pytest.approx([1, 1, 1], abs=0.01)
    mean = truth[:, 1].sum() / (truth[:, 1] != 0).sum()
    assert found["transformations"]["b"]["share"] == pytest.approx(mean / (mean + 0.25), abs=0.02)
    assert found["spikes_right"] == 1.0


def test_transformations_that_always_act_together_are_not_told_apart() -> None:
    truth = true_activity(sequences=60)
    truth[..., 1] = truth[..., 0]
    found = align(truth, truth, NAMES)
    assert found["matrix"][0] is None and found["matrix"][1] is None and found["matrix"][2] is not None
    assert found["transformations"]["scaling"]["share"] is None
    truth[..., 0] = 0
    assert align(truth, truth, NAMES)["matrix"][0] is None


def test_a_transformation_split_over_two_fields() -> None:
    truth = true_activity()
    first = np.arange(8)[:, None] % 2 == 0
    speeds = np.concatenate([truth[..., :2], truth[..., 2:] * first, truth[..., 2:] * ~first], -1)
    found = align(speeds, truth, NAMES)
    hue = found["transformations"]["hue"]
    even = np.abs(activity_matrix(speeds, truth)[2, 2:])
    assert (
        hue["field"] in (2, 3) and hue["share"] == pytest.approx(even.max() / even.sum()) and 0.4 < hue["share"] < 0.6
    )
    (other,) = found["unmatched"]
    assert other["field"] == 5 - hue["field"] and not other["silent"] and other["mean"] > 0.05
    assert hue["precision"] == 1.0 and 0.3 < hue["recall"] < 0.7
    assert hue["f1"] == pytest.approx(2 * hue["recall"] / (1 + hue["recall"]))
    assert verdicts(found) == [False, False, False, True, False]


def test_two_transformations_merged_into_one_field() -> None:
    truth = true_activity()
    speeds = np.zeros_like(truth)
    speeds[..., 0] = truth[..., 0]
    speeds[..., 2] = truth[..., 1] + truth[..., 2]
    found = align(speeds, truth, NAMES)
    assert [found["transformations"][name]["field"] for name in NAMES].count(2) == 1
    loser = next(name for name in NAMES if found["transformations"][name]["field"] is None)
    assert loser in ("rotation", "hue")
    assert found["transformations"][loser] == {
        "field": None,
        "share": 0.0,
        "precision": None,
        "recall": 0.0,
        "f1": 0.0,
        "speed_correlation": None,
        "speed_ratio": None,
        "speed_rmse": None,
        "direction": None,
    }
    assert [one["field"] for one in found["unmatched"]] == [1] and found["unmatched"][0]["silent"]
    assert 0.5 < found["spikes_right"] < 1.0
    assert verdicts(found) == [False, True, False, False, False]


def test_an_always_active_field_is_not_silent_and_halves_the_shares() -> None:
    truth = np.where(true_activity() != 0, 1.0, 0.0)
    speeds = np.concatenate([truth, np.ones_like(truth[..., :1])], -1)
    found = align(speeds, truth, NAMES)
    assert [found["transformations"][name]["share"] for name in NAMES] == [0.5] * 3
    assert found["unmatched"] == [{"field": 3, "mean": 1.0, "silent": False}]
    assert found["alive"] == {"fields": 4, "transformations": 3}
    assert found["active_fields"]["inferred"] == pytest.approx(found["active_fields"]["true"] + 1)


def test_nothing_inferred() -> None:
    truth = true_activity()
    found = align(np.zeros((*truth.shape[:-1], 2)), truth, NAMES)
    assert all(one["field"] is None and one["share"] == one["f1"] == 0.0 for one in found["transformations"].values())
    assert found["spikes_right"] == pytest.approx((truth == 0).mean())
    assert verdicts(found) == [False, True, False, False, False]


def test_fewer_fields_than_transformations() -> None:
    truth = true_activity()
    found = align(truth[..., [2, 0]], truth, NAMES)
    assert [found["transformations"][name]["field"] for name in NAMES] == [1, None, 0]
    assert found["unmatched"] == []
    assert found["spikes_right"] == pytest.approx(1 - (truth[..., 1] != 0).mean() / 3)
    assert verdicts(found) == [False, True, False, False, False]


def test_a_transformation_that_never_acts_is_none_and_not_nan() -> None:
    truth = true_activity()
    truth[..., 1] = 0.0
    found = align(truth, truth, NAMES)
    assert found["matrix"][1] is None and found["matrix"][0] is not None
    assert set(found["transformations"]["rotation"].values()) == {None}
    assert [found["transformations"][name]["field"] for name in NAMES] == [0, None, 2]
    assert [one["field"] for one in found["unmatched"]] == [1]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert verdicts(found) == [False, True, False, False, False]


def test_a_transformation_that_never_acts_is_not_scored() -> None:
    truth = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    found = align(truth, truth, NAMES[:2])
    assert found["matrix"] == [[1.0, 0.0], None]
    assert set(found["transformations"]["rotation"].values()) == {None}


def test_constant_speeds_have_no_correlation() -> None:
    truth = np.where(true_activity() != 0, 1.0, 0.0)
    one = align(truth, truth, NAMES)["transformations"]["hue"]
    assert one["speed_correlation"] is None and one["speed_ratio"] == 1.0 and one["speed_rmse"] is None
    varying = true_activity()
    noisy = np.float32(1.03) * (varying != 0).astype(np.float32) * (1 + 1e-8 * true_activity(seed=1))
    assert align(noisy, varying, NAMES)["transformations"]["hue"]["speed_correlation"] is None


def test_speeds_count_where_both_are_on() -> None:
    truth = np.array([1.0, 2.0, 3.0, 0.0, 5.0])
    speeds = np.array([2.0, 3.0, 1.0, 9.0, 0.0])
    found = speed_agreement(speeds, truth)
    assert found["speed_ratio"] == 1.0
    assert found["speed_correlation"] == pytest.approx(np.corrcoef(speeds[:3], truth[:3])[0, 1])
    assert speed_agreement([0.0, 1.0], [1.0, 0.0])["speed_ratio"] is None


def test_the_speed_error_is_that_of_numpy_in_the_direction_of_the_field() -> None:
    generator = np.random.default_rng(2)
    truth = true_activity()
    speeds = np.where(generator.random(truth.shape) < 0.8, -(truth + generator.normal(0.1, 0.2, truth.shape)), 0.0)
    found = align(speeds[..., [2, 0, 1]], truth, NAMES)
    for j, name in enumerate(NAMES):
        both = (truth[..., j] != 0) & (speeds[..., j] != 0)
        expected = np.sqrt(np.mean((-speeds[..., j] - truth[..., j])[both] ** 2))
        one = found["transformations"][name]
        assert one["speed_rmse"] == pytest.approx(expected) and one["direction"] == -1.0
        assert 0.15 < one["speed_rmse"] < 0.3


@pytest.mark.parametrize(
    ("speeds", "truth", "expected"),
    [
        ([0.0, 1.0], [1.0, 0.0], None),  # never on together
        ([1.5, 2.0, 0.0], [1.0, 1.0, 0.0], None),  # the truth is constant
        ([1.0, 1.0], [2.0, 0.5], 1.25**0.5 / 2**0.5),  # what is inferred may be
        ([1.0, 0.0], [1.5, 2.0], 0.5),  # one step is enough
    ],
)
def test_the_speed_error_is_of_true_speeds_that_vary(speeds: list, truth: list, expected: float | None) -> None:
    assert speed_agreement(speeds, truth)["speed_rmse"] == (None if expected is None else pytest.approx(expected))


def test_alive_is_not_silent_for_matched_fields_too() -> None:
    speeds = np.zeros((100, 4))
    speeds[0], speeds[1, 3] = [1.0, -1.01, 0.0, 0.9], 0.2
    assert alive_fields(speeds) == [1, 3]
    truth = np.zeros((100, 4))
    truth[:2] = (speeds != 0)[:2]
    found = align(speeds, truth, (*NAMES, "none"))
    silent = {one["field"] for one in found["unmatched"] if one["silent"]}
    assert found["alive"] == {"fields": 2, "transformations": 4} and not silent & {1, 3}


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_uncorrelated_speeds_stay_uncorrelated_in_either_direction(scale: float) -> None:
    truth = np.array([1.0, 2.0, 1.0, 2.0])
    found = speed_agreement(scale * np.array([1.0, 1.0, 2.0, 2.0]), truth)
    assert found["speed_correlation"] == pytest.approx(0.0) and found["speed_ratio"] == pytest.approx(1.0)
    against = speed_agreement(scale * np.array([2.0, 1.0, 2.0, 1.0]), truth)
    assert against["speed_correlation"] == pytest.approx(-1.0) and against["direction"] == scale


def test_the_matrix_counts_lone_frames_only() -> None:
    truth = np.array([[1.0, 0.0], [0.7, 0.0], [1.0, 1.0], [0.0, 0.3], [0.0, 0.0]])
    speeds = np.array([[2.0, 0.0, 1.0], [-4.0, 1.0, 0.0], [50.0, 50.0, 50.0], [0.0, 0.5, 0.0], [70.0, 70.0, 70.0]])
    assert activity_matrix(speeds, truth).tolist() == [[3.0, 0.5, 0.5], [0.0, 0.5, 0.0]]


def test_matching_maximises_the_sum_and_not_each_row() -> None:
    assert match([[0.9, 0.8], [0.8, 0.1]]) == [1, 0]
    assert match([[0.0, 1.0, 0.0], [0.3, 0.9, 0.2]]) == [1, 0]
    assert match([[math.nan, math.nan], [0.2, 0.1]]) == [None, 0]
    assert match([[math.nan, math.nan]]) == [None]
    assert match([[0.5], [0.6], [0.4]]) == [None, 0, None]


def test_spike_scores_by_hand() -> None:
    spikes = [True, True, True, False, False, False]
    truth = [True, True, False, True, False, False]
    assert spike_scores(spikes, truth) == {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3}
    assert spike_scores([True, False], [False, False])["f1"] is None
    assert spike_scores([False, False], [True, False]) == {"precision": None, "recall": 0.0, "f1": 0.0}


def test_silence_is_an_average_over_all_frames() -> None:
    speeds = np.zeros((100, 3))
    speeds[0] = [-1.0, 1.01, 5.0]
    found = unmatched_fields(speeds, fields=[2, None])
    assert found == [{"field": 0, "mean": 0.01, "silent": True}, {"field": 1, "mean": 0.0101, "silent": False}]


def test_separate_control_scores_the_stronger_part() -> None:
    truth = true_activity()
    speeds = np.zeros((*truth.shape[:-1], 8))
    speeds[..., 0 + 1] = truth[..., 0]  # potential part of field 1
    speeds[..., 4 + 3] = truth[..., 1]  # rotational part of field 3
    speeds[..., 2], speeds[..., 4 + 2] = -truth[..., 2], 0.5 * truth[..., 2]  # both parts of field 2
    reduced = strongest_part(speeds, 4)
    assert reduced.shape == (*truth.shape[:-1], 4)
    found = align(reduced, truth, NAMES)
    assert [found["transformations"][name]["field"] for name in NAMES] == [1, 3, 2]
    assert [found["transformations"][name]["share"] for name in NAMES] == [1.0] * 3
    assert np.array_equal(reduced[..., 2], -truth[..., 2])
    assert found["unmatched"] == [{"field": 0, "mean": 0.0, "silent": True}]
    assert found["active_fields"]["inferred"] == found["active_fields"]["true"]


def test_single_control_is_left_as_it_is() -> None:
    truth = true_activity()
    assert np.array_equal(strongest_part(truth, 3), truth)


def test_float32_activity_gives_plain_numbers() -> None:
    truth = true_activity().astype(np.float32)
    found = align(truth, truth, NAMES)
    text = json.dumps([found, criteria_of({"alignment": found})], allow_nan=False)
    assert json.loads(text) == [found, criteria_of({"alignment": found})]


def test_criteria_name_the_worst_value() -> None:
    truth = true_activity(sequences=200)
    speeds = np.concatenate([truth, np.zeros_like(truth[..., :2])], -1)
    speeds[..., 3] = 0.02
    generator = np.random.default_rng(0)
    missed = generator.random(truth.shape[:-1]) < 0.2
    speeds[..., 1] *= ~missed
    lines = {line["name"]: line for line in criteria_of({"alignment": align(speeds, truth, NAMES)})}
    assert lines["mean activity of further fields"]["worst"] == pytest.approx(0.02)
    assert not lines["mean activity of further fields"]["reached"]
    f1 = lines["spike F1"]["worst"]
    assert f1 == align(speeds, truth, NAMES)["transformations"]["rotation"]["f1"] and 0.85 < f1 < 0.92
    assert not lines["spike F1"]["reached"]
    assert lines["speed correlation"]["worst"] == pytest.approx(1.0) and lines["speed correlation"]["reached"]
    alive = {"name": "fields alive", "worst": 4, "exactly": 3, "reached": False}
    assert lines["fields alive"] == alive and "pooled calibration error" not in lines


@pytest.mark.parametrize(("error", "reached"), [(0.03, True), (0.031, False), (None, False)])
def test_the_calibration_error_is_a_criterion_where_there_is_one(error: float | None, reached: bool) -> None:
    truth = true_activity()
    last = criteria_of({"alignment": align(truth, truth, NAMES), "calibration": {"pooled": {"ece": error}}})[-1]
    assert last == {"name": "pooled calibration error", "worst": error, "at_most": 0.03, "reached": reached}


def test_confusion_by_hand() -> None:
    which = np.repeat([0, 1, 2], [4, 3, 3])
    inferred = np.array([2, 2, 2, 0, 0, 0, 0, 2, 1, 1])
    found = confusion(inferred, which, 3, NAMES)
    assert found["counts"] == [[1, 0, 3], [3, 0, 0], [0, 2, 1]]
    assert found["fields"] == {
        "scaling": {"field": 2, "accuracy": 0.75},
        "rotation": {"field": 0, "accuracy": 1.0},
        "hue": {"field": 1, "accuracy": 2 / 3},
    }
    assert found["accuracy"] == 0.8
    assert json.loads(json.dumps(found)) == found


def test_confusion_when_everything_is_one_field_or_a_transformation_is_missing() -> None:
    found = confusion([1, 1, 1], [0, 2, 2], 4, NAMES)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["fields"]["hue"] == {"field": 1, "accuracy": 1.0}
    assert found["fields"]["scaling"] == {"field": None, "accuracy": 0.0}
    assert found["fields"]["rotation"] == {"field": None, "accuracy": None}
