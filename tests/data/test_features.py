"""Names, units and periods of features: statistics against NumPy, angles against all full turns, and what is kept."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import numpy as np
import pytest
import torch

from ffrl.core.errors import UserError
from ffrl.data.features import Feature, Features, interpolated
from ffrl.data.spec import DataSpec

NAN, INF = math.nan, math.inf


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def of(values, *names: str, **options) -> Features:
    return Features.of(torch.as_tensor(np.asarray(values, dtype=np.float64)), names, **options)


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e-13, 1000.0, 1e200])
@pytest.mark.parametrize("offset", [0.0, 4.6e6])
def test_mean_and_scale_are_those_of_numpy(scale: float, offset: float) -> None:
    values = 0.1 * random(50, 9, 2) + offset
    values[3, 4, 1] = NAN
    found = of(values * scale)
    assert found.missing and found.names == ("feature 1", "feature 2")
    assert [one.mean for one in found.each] == pytest.approx(np.nanmean(values, (0, 1)) * scale, rel=1e-12)
    assert [one.scale for one in found.each] == pytest.approx(np.nanstd(values, (0, 1)) * scale, rel=1e-6)


def test_an_angle_keeps_its_unit() -> None:
    x, heading, hour = of(random(9, 3), "x", "heading", "hour", periods={"heading": 360, "hour": np.float32(24)}).each
    assert x.period is None and (heading.mean, heading.period, hour.period) == (0.0, 360.0, 24.0)
    assert heading.scale == pytest.approx(math.degrees(1)) and type(heading.period) is type(hour.period) is float
    assert of(np.full((4, 1), 5.0), "still", periods={"still": 360.0}).each[0].scale > 0, "it may rest"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[1.0, 2], [1, 3]], {"names": ("x", "y")}, "^x: found '1 throughout the training data', expected values that"),
        ([[0.0], [0]], {}, "found '0 throughout"),
        ([[5e5], [5e5 + 1e-9]], {}, "found '500000 throughout"),
        ([[NAN, 2], [NAN, 3]], {"names": ("x", "y")}, "^x: found 'no values in the training data'"),
        ([[INF, 2], [1, 3]], {"names": ("x", "y")}, "^x: found 'infinite values'"),
        (random(4, 2), {"names": ("x",)}, "^features: found .*, expected 2 different names"),
        (random(4, 2), {"names": ("x", "x")}, "^features: found .*, expected 2 different names"),
        (random(4, 2), {"names": ("x", "")}, "^features: found .*, expected 2 different names"),
        (
            random(4, 2),
            {"names": ("x", "y\x1b[31m")},
            "^features: found .*, expected names of signs that can be printed",
        ),
        (
            random(4, 2),
            {"names": ("x", "two\nlines")},
            "^features: found .*, expected names of signs that can be printed",
        ),
        (random(4, 2), {"names": ("x", 3)}, "^features: found .*, expected 2 different names"),
        (random(4, 2), {"periods": {"z": 1}}, "^periodic: found 'z', expected one of feature 1, feature 2"),
        (random(4, 2), {"periods": ["feature 1"]}, "^periodic: found .*, expected periods by name"),
        *(
            (random(4, 1), {"periods": {"feature 1": period}}, "^periodic: feature 1: found .*, expected a positive")
            for period in (0, -360.0, NAN, INF, "360", None, 1j, Decimal(1))
        ),
    ],
)
def test_what_cannot_be_a_feature_is_one_line(values, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        Features.of(torch.as_tensor(values, dtype=torch.float64), **options)
    assert "\n" not in str(raised.value)


def test_differences_are_the_short_way_round() -> None:
    features = Features((Feature("x"), Feature("heading", 0.0, 57.3, 360.0)))
    found, truth = (torch.as_tensor(500 * random(200, 2, seed=seed)) for seed in (0, 1))
    straight, turned = features.difference(found, truth).unbind(1)
    assert torch.equal(straight, (found - truth)[:, 0])
    turns = (found - truth)[:, 1:] + 360 * torch.arange(-20, 21)
    assert torch.allclose(turned.abs(), turns.abs().amin(1))
    shifted = features.difference(found + torch.tensor([0.0, 3 * 360.0]), truth)
    assert torch.allclose(shifted, features.difference(found, truth))
    assert features.difference(torch.tensor([[1.0, NAN]]), torch.zeros(1, 2))[0, 1].isnan()


def test_what_is_written_is_read_back_exactly() -> None:
    made = of([[4.6e6, NAN, 1], [4.6e6 + 0.1, 2, 3], [0, 4, 5]], "x", 'ünicode, "y"', "z", periods={"z": 360})
    assert Features.read(json.loads(json.dumps(made.plain(), allow_nan=False)), "run.json") == made
    assert made.is_like(made) and not made.is_like(of(random(5, 3)))


def test_data_describe_their_features() -> None:
    features = of([[1.0, 2], [3, 5]], "x", "y")
    spec = DataSpec("vectors", "two", (2,), 4, features=features)
    assert DataSpec.read(json.loads(json.dumps(spec.plain())), "run.json: data") == spec
    for change in ({"image_shape": [3]}, {"image_shape": [3, 8, 8]}, {"num_steps": 0}):
        with pytest.raises(UserError, match="^run.json: data: found frames of"):
            DataSpec.read(spec.plain() | change, "run.json: data")
    images = DataSpec("arrays", "some", (1, 8, 8), 4)
    assert "features" not in images.plain() and DataSpec.read(images.plain(), "run.json") == images


@pytest.mark.parametrize(
    "change",
    [
        {"each": []},
        {"each": "x"},
        {"missing": 1},
        {"more": 1},
        *(
            {"each": [{"name": "x", "mean": 0.0, "scale": 1.0, "period": None} | entry]}
            for entry in (
                {"name": 3},
                {"mean": NAN},
                {"mean": "0"},
                {"scale": 0.0},
                {"scale": -1.0},
                {"scale": INF},
                {"period": 0.0},
                {"period": "360"},
                {"further": 1},
            )
        ),
    ],
)
def test_damaged_descriptions_are_one_line(change: dict) -> None:
    with pytest.raises(UserError, match="^run.json: features: found"):
        Features.read(of(random(3, 1)).plain() | change, "run.json")
    with pytest.raises(UserError, match="^run.json: features: found"):
        Features.read(None, "run.json")


def test_features_are_alike_up_to_rounding() -> None:
    one = Features((Feature("x", 5.0, 2.0), Feature("a", 0.0, 57.3, 360.0)))
    assert one.is_like(Features((Feature("x", 5.0 + 1e-9, 2.0), Feature("a", 0.0, 57.3, 360.0))))
    for other in (Feature("y", 5.0, 2.0), Feature("x", 5.1, 2.0), Feature("x", 5.0, 2.1), Feature("x", 5.0, 2.0, 9.0)):
        assert not one.is_like(Features((other, one.each[1])))
    assert not one.is_like(Features(one.each, missing=True)) and not one.is_like(Features(one.each[:1]))


def test_missing_values_are_interpolated_as_numpy_does() -> None:
    values = random(5, 12, 3, seed=1)
    values[np.random.default_rng(2).random(values.shape) < 0.5] = NAN
    values[0, :, 1] = NAN
    found = interpolated(torch.as_tensor(values), torch.full((3,), INF)).numpy()
    time = np.arange(12)
    for sequence, made in zip(values, found, strict=True):
        for column, one in zip(sequence.T, made.T, strict=True):
            known = ~np.isnan(column)
            expected = np.interp(time, time[known], column[known]) if known.any() else column
            np.testing.assert_allclose(one, expected, rtol=1e-12)


def test_known_values_stay_and_angles_take_the_short_way_round() -> None:
    turning = torch.tensor([[NAN], [350.0], [NAN], [NAN], [20.0]], dtype=torch.float64)
    found = interpolated(turning, torch.tensor([360.0])).squeeze(-1)
    assert found.tolist() == pytest.approx([350, 350, 360, 370, 20])
    whole = torch.as_tensor(random(2, 4, 3))
    assert torch.equal(interpolated(whole, torch.full((3,), INF)), whole)
