"""Prediction errors and what single fields contribute, on values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ffrl.data.base import SequenceBatch
from ffrl.evaluation.measures.prediction import Prediction, psnr
from ffrl.evaluation.measures.usage import describe_fields, growth_without, usage
from ffrl.evaluation.protocol.measure import Seen, Task
from ffrl.models.activity import ActivityKind
from ffrl.models.frame_kind import PIXELS


class Adding:
    """Codes are pixels; field k adds ``0.1 (k + 1)`` per step at speed 1, and decoding adds ``bias``."""

    num_fields, activity_kind = 2, ActivityKind.GIVEN
    frame_kind = PIXELS

    def __init__(self, bias: float = 0.0) -> None:
        self.bias = bias

    def encode(self, frames: Tensor) -> Tensor:
        return frames.flatten(-3)

    def flow(self, z: Tensor, g: Tensor) -> Tensor:
        steps = (g * torch.tensor([0.1, 0.2] * (g.shape[-1] // 2))).sum(-1).cumsum(1)
        return z[:, None] + torch.cat([torch.zeros(len(z), 1), steps], 1)[..., None]

    def decode(self, z: Tensor) -> Tensor:
        return (z + self.bias).unflatten(-1, (1, 2, 2))


def rising(*rates: float) -> Tensor:
    """Sequences of T = 3 in which every pixel rises by a rate per frame."""
    return (torch.tensor(rates)[:, None] * torch.arange(4)).view(-1, 4, 1, 1, 1).expand(-1, -1, 1, 2, 2)


def test_prediction_errors_by_hand() -> None:
    task = Task(Adding(bias=0.5), None, "validation", 0, torch.arange(2))
    prediction, g = Prediction(task), torch.zeros(1, 3, 2)
    g[..., 0] = 1.0
    for frames in (rising(0.1), rising(0.2)):  # the first is predicted exactly but for the bias
        seen = Seen(task, SequenceBatch(frames, g), 0)
        seen.activity = g
        prediction.see(seen)
    found = prediction.result({})["prediction"]
    assert found.pop("activity") == "given"
    per_frame = {kind: found[kind]["per_frame"]["mean"] for kind in found}
    assert per_frame["reconstruction"] == pytest.approx([2.0] * 4)
    assert per_frame["flow"] == pytest.approx([2.0, 1.8, 1.6, 1.4])  # 4 pixels, bias 0.5, half of them off by -0.1 t
    assert per_frame["copy"] == pytest.approx([2.0, 1.4, 0.8, 0.6])  # |0.5 - 0.1 t| and |0.5 - 0.2 t|
    assert per_frame["raw_copy"] == pytest.approx([0.0, 0.6, 1.2, 1.8])
    assert found["raw_copy"]["full_sum"]["mean"] == pytest.approx(3.6)
    assert found["raw_copy"]["seven_step_sum"] is None
    squares = [np.mean([(rate * t) ** 2 for t in (1, 2, 3)]) for rate in (0.1, 0.2)]
    assert found["raw_copy"]["psnr"]["mean"] == pytest.approx(-10 * math.log10(np.mean(squares)))
    slope = 10 / math.log(10) / np.mean(squares)
    error = slope * np.std(squares, ddof=1) / math.sqrt(2)
    assert found["raw_copy"]["psnr"]["standard_error"] == pytest.approx(error)
    assert found["reconstruction"]["psnr"]["mean"] == pytest.approx(-10 * math.log10(0.25))


def test_exact_frames_have_no_finite_psnr() -> None:
    assert psnr(torch.zeros(3)) == {"mean": math.inf, "standard_error": None}


def test_growth_is_the_error_that_a_field_takes_away() -> None:
    g = torch.zeros(2, 3, 2)
    g[0, :, 0] = g[1, 0, 1] = 1.0
    growth = growth_without(Adding(), rising(0.1, 0.0), g)
    # sequence 0 is exact, and without field 0 off by 0.1 t; sequence 1 is off by 0.2 until field 1 is left out
    assert growth.flatten().tolist() == pytest.approx([4 * 0.2, 0.0, 0.0, -4 * 0.2])


def test_both_parts_of_a_field_are_switched_off() -> None:
    g = torch.zeros(1, 3, 4)
    g[..., 0], g[..., 2] = 0.25, 0.75
    assert growth_without(Adding(), rising(0.1), g).flatten().tolist() == pytest.approx([4 * 0.2, 0.0])


def test_usage_by_hand() -> None:
    speeds = np.zeros((2, 4, 3))
    speeds[0, :, 0] = [1.0, 3.0, 0.0, -2.0]
    speeds[1, 2, 1] = 0.05
    first, second, third = usage(speeds)
    assert first == {
        "field": 0, "mean": 0.75, "on": 3 / 8, "speed": 2.0, "persistence": 0.5, "silent": False,
    }  # fmt: skip
    assert second["silent"] and second["on"] == 1 / 8 and second["persistence"] == 0.0
    assert third["speed"] is None and third["persistence"] is None and third["silent"]
    described = describe_fields(speeds, torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]]))
    assert described[0] == first | {"growth": {"mean": 2.0, "standard_error": 1.0}}
