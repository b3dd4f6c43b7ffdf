"""Extrapolation of stand-ins whose errors beyond the trained length are known."""

from __future__ import annotations

import math

import pytest
import torch
from evaluation_standins import Given, Inferring, Oracle, ShiftedStates

from ffrl.data.on_device import MovedSequences
from ffrl.evaluation.measures.extrapolation import GIVEN, INFERRED, TIMED, curves, extrapolation, squared_error

FURTHER = range(9, 17)


def found(model: Oracle, data: ShiftedStates, count: int = 6) -> dict:
    ticks: list[None] = []
    result = extrapolation(model, data, "validation", torch.arange(count), lambda: ticks.append(None))
    assert len(ticks) == len(data.transformations) and result["sequences"] == count
    return result


def test_an_exact_flow_goes_on_without_error_for_twice_the_length() -> None:
    data = ShiftedStates()
    result = found(Given(data.shift), data)
    assert result["activity"] == GIVEN and result["not_shown"] == {} and "note" not in result
    for shift, entry in zip(data.shift.tolist(), result["transformations"].values(), strict=True):
        assert entry["steps"] == 16
        for kind in ("flow", "reconstruction"):
            assert entry[kind]["l1"]["per_frame"]["mean"] == pytest.approx([0.0] * 17, abs=1e-6)
        copied = entry["copy"]
        assert copied["l1"]["per_frame"]["mean"] == pytest.approx([shift * t for t in range(17)], abs=1e-5)
        assert copied["l1"]["further_sum"]["mean"] == pytest.approx(shift * sum(FURTHER), rel=1e-5)
        assert copied["l1"]["further_mean"]["mean"] == pytest.approx(shift * 12.5, rel=1e-5)
        squares = [(shift * t) ** 2 / 16 for t in range(17)]
        assert copied["mse"]["per_frame"]["mean"] == pytest.approx(squares, abs=1e-6)
        assert copied["mse"]["further_sum"]["mean"] == pytest.approx(sum(squares[9:]), rel=1e-4)


def test_a_biased_flow_by_hand() -> None:
    """A bias e per pixel and step: 16 e t at frame t, and e^2 t^2 per pixel."""
    data = ShiftedStates()
    entry = found(Given(data.shift, flow_bias=0.001), data)["transformations"]["change 1"]["flow"]
    assert entry["l1"]["further_sum"]["mean"] == pytest.approx(0.016 * sum(FURTHER), rel=1e-4)
    assert entry["mse"]["per_frame"]["mean"][16] == pytest.approx(1e-6 * 256, rel=1e-3)
    assert len(entry["mse"]["per_frame"]["standard_error"]) == 17


def test_inferred_activity_comes_from_the_trained_length_and_goes_on_with_its_mean() -> None:
    data = ShiftedStates()
    factors = [1.0, 2.0, 0.5, 1.0, 1.5, 1.0, 0.0, 2.2]
    model = Inferring(data.shift, factors)
    result = found(model, data)
    assert model.seen == {9} and result["activity"] == INFERRED
    gone = [0.0]
    for t in range(16):
        gone.append(gone[-1] + (factors[t] if t < 8 else sum(factors) / 8))
    for shift, entry in zip(data.shift.tolist(), result["transformations"].values(), strict=True):
        expected = [shift * abs(where - t) for t, where in enumerate(gone)]
        assert entry["flow"]["l1"]["per_frame"]["mean"] == pytest.approx(expected, abs=1e-5)
        assert entry["flow"]["l1"]["further_sum"]["mean"] == pytest.approx(sum(expected[9:]), rel=1e-4)


def test_as_many_steps_as_the_data_show() -> None:
    data = ShiftedStates(limit=(math.inf, 10.0, 8.0))
    result = found(Given(data.shift), data)
    entries = result["transformations"]
    assert [entry and entry["steps"] for entry in entries.values()] == [16, 10, None]
    assert result["not_shown"] == {"change 2": "shifted states shows few states"}
    assert len(entries["change 1"]["flow"]["l1"]["per_frame"]["mean"]) == 11
    copied = entries["change 1"]["copy"]["l1"]
    assert copied["further_sum"]["mean"] == pytest.approx(0.03 * 19, rel=1e-5)
    assert copied["further_mean"]["mean"] == pytest.approx(0.03 * 9.5, rel=1e-5)


def test_fields_that_depend_on_time_are_noted() -> None:
    data = ShiftedStates()
    assert found(Given(data.shift, timed=True), data)["note"] == TIMED


def test_batches_and_devices_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ShiftedStates(size=7)
    model = Given(data.shift, flow_bias=0.01)
    whole = found(model, data, 7)
    assert found(model, MovedSequences(data, torch.device("cpu")), 7) == whole
    monkeypatch.setattr("ffrl.evaluation.protocol.sequences.MAX_BATCH", 3)
    parts = found(model, data, 7)
    for name in data.transformations:
        expected, got = (x["transformations"][name]["flow"]["l1"]["per_frame"]["mean"] for x in (whole, parts))
        assert got == pytest.approx(expected, rel=1e-6)


def test_curves_have_standard_errors_over_sequences() -> None:
    errors = torch.rand(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    further = curves(errors, trained=4)["further_sum"]
    sums = errors[:, 5] + errors[:, 6]
    assert further["mean"] == pytest.approx(sums.mean().item())
    assert further["standard_error"] == pytest.approx(sums.std().item() / math.sqrt(5))


def test_the_squared_error_is_a_mean_over_pixels() -> None:
    images, frames = torch.rand(2, 3, 2, 4, 5, generator=torch.Generator().manual_seed(1)).split(1)
    expected = ((images - frames) ** 2).double().flatten(-3).mean(-1)
    assert torch.allclose(squared_error(images, frames), expected)
