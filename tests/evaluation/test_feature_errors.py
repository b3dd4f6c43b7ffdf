"""Errors of features in their own units, against NumPy, with angles the short way round and missing values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluation_standins import small
from vector_tools import NAMES, vector_data

from ffrl.data.features import Feature, Features
from ffrl.evaluation.evaluate import evaluate
from ffrl.evaluation.measures.equivariance import l1_error
from ffrl.evaluation.measures.features import FeatureErrors, squares
from ffrl.evaluation.protocol.data_summary import feature_statistics
from ffrl.evaluation.protocol.predicted import predicted_frames

FEATURES = Features((Feature("x", 10.0, 2.0), Feature("heading", 0.0, 57.3, 360.0)))


def by_hand(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Differences, the second feature's as the smallest of those of all turns."""
    apart = found - truth
    turns = apart[..., 1, None] + 360 * np.arange(-9, 10)
    apart[..., 1] = np.take_along_axis(turns, np.abs(turns).argmin(-1)[..., None], -1)[..., 0]
    return apart


def some(missing: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(0)
    found, truth = source.normal(size=(2, 6, 5, 2)) * [3, 500]
    truth[source.random(truth.shape) < missing] = np.nan
    return found, truth


def test_squares_are_summed_over_what_is_there_after_the_first_vector() -> None:
    found, truth = some()
    expected = np.nansum(by_hand(found, truth)[:, 1:] ** 2, 1)
    assert np.allclose(squares(torch.as_tensor(found), torch.as_tensor(truth), FEATURES), expected)


def test_summed_errors_are_in_standard_deviations_and_radians() -> None:
    from ffrl.models.frame_kind import FeatureValues

    found, truth = some()
    expected = np.nansum(np.abs(by_hand(found, truth)) / [2.0, 57.3], -1)
    error = l1_error(torch.as_tensor(found), torch.as_tensor(truth), FeatureValues(FEATURES))
    assert np.allclose(error, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def measured():
    data = vector_data(missing=0.2, count=24)
    model = small("supervised", data).eval()
    return data, model, evaluate(model, data, sequences=data.size("validation"))


def test_root_mean_square_errors_are_those_of_numpy(measured) -> None:
    data, model, found = measured
    batch = data.mixed("validation", torch.arange(data.size("validation")))
    truth = batch.frames.numpy()
    with torch.no_grad():
        flow, reconstruction, _ = predicted_frames(model, batch.frames, batch.activity)
    first = np.where(np.isnan(truth[:, :1]), [one.mean for one in data.features.each], truth[:, :1])
    for kind, predicted in (("flow", flow), ("reconstruction", reconstruction), ("raw_copy", first.repeat(5, 1))):
        apart = np.asarray(predicted, dtype=np.float64) - truth
        apart[..., 2] = (apart[..., 2] + 180) % 360 - 180
        expected = np.sqrt(np.nanmean(apart[:, 1:] ** 2, (0, 1)))
        assert [found["features"][name][kind] for name in NAMES] == pytest.approx(expected.tolist(), rel=1e-5)
    assert [found["features"][name]["scale"] for name in NAMES] == [one.scale for one in data.features.each]


def test_a_share_of_the_variance_is_explained(measured) -> None:
    data, model, found = measured
    batch = data.mixed("validation", torch.arange(data.size("validation")))
    with torch.no_grad():
        flow, _, _ = predicted_frames(model, batch.frames, batch.activity)
    apart = model.frame_kind.difference(flow, batch.frames)[:, 1:].double().numpy()
    explained = found["prediction"]["flow"]["explained"]["mean"]
    there = ~batch.frames[:, 1:].isnan().numpy()
    assert explained == pytest.approx(1 - (apart**2).sum() / there.sum(), rel=1e-6)


def test_what_is_said_of_them(measured) -> None:
    _, _, found = measured
    (table,) = FeatureErrors.tables(found)
    assert [row.title for row in table.rows] == list(NAMES) and len(table.columns) == 4
    assert FeatureErrors.summary(found).startswith("features are predicted to within ")


def test_statistics_of_data_are_those_of_numpy() -> None:
    _, truth = some()
    truth[..., 1] = np.nan
    found = feature_statistics(torch.as_tensor(truth), FEATURES)
    x, heading = found["x"], found["heading"]
    values = truth[..., 0]
    assert (x["least"], x["largest"]) == (np.nanmin(values), np.nanmax(values)) and x["period"] is None
    assert x["mean"] == pytest.approx(np.nanmean(values)) and x["standard_deviation"] == pytest.approx(
        np.nanstd(values)
    )
    assert x["missing"] == pytest.approx(np.isnan(values).mean())
    assert heading == {"period": 360.0, "missing": 1.0} | dict.fromkeys(
        ("mean", "standard_deviation", "least", "largest")
    )
