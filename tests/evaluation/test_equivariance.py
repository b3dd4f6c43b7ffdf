"""Equivariance errors of stand-ins whose flow is exact, biased or missing."""

from __future__ import annotations

import math

import pytest
import torch
from evaluation_standins import Oracle, ShiftedPictures

from ffrl.evaluation.measures.equivariance import FrameErrors, frame_errors, summarise


def errors(oracle: Oracle, data: ShiftedPictures, which: int) -> FrameErrors:
    batch = data.single("validation", torch.arange(6), torch.full((6,), which))
    return frame_errors(oracle, batch.frames.double(), batch.activity)


@pytest.mark.parametrize("which", range(3))
def test_an_exact_flow_has_no_error(which: int) -> None:
    data = ShiftedPictures()
    found = errors(Oracle(data.shift), data, which)
    assert all(kind.shape == (6, 9) and kind.dtype == torch.float64 for kind in found)
    assert found.flow.max() < 1e-6 and found.reconstruction.max() == 0.0
    # standing still is wrong by t shifts in one pixel
    expected = data.shift[which] * torch.arange(9)
    assert torch.allclose(found.copy, expected.double().expand(6, 9), atol=1e-6)


def test_a_biased_flow_by_hand() -> None:
    """A bias e per pixel and step over 16 pixels: 16 e t at frame t, 16 e (1 + .. + 7) = 448 e in seven steps."""
    data = ShiftedPictures()
    found = summarise(errors(Oracle(data.shift, flow_bias=0.001), data, 1).flow)
    assert math.isclose(found["seven_step_sum"]["mean"], 0.448, rel_tol=1e-5)
    assert math.isclose(found["full_sum"]["mean"], 16 * 0.001 * 36, rel_tol=1e-5)
    assert math.isclose(found["mean_per_frame"]["mean"], 16 * 0.001 * 36 / 8, rel_tol=1e-5)
    assert found["per_frame"]["mean"] == pytest.approx([0.016 * t for t in range(9)], abs=1e-6)
    assert found["seven_step_sum"]["standard_error"] < 1e-6


def test_a_biased_decoder_is_seen_in_the_reconstruction_and_in_all_at_the_start() -> None:
    data = ShiftedPictures()
    found = errors(Oracle(data.shift, decoder_bias=0.01), data, 0)
    assert torch.allclose(found.reconstruction, torch.full((6, 9), 0.16).double())
    assert torch.allclose(found.flow, found.reconstruction, atol=1e-5)
    assert torch.allclose(found.copy[:, 0], found.reconstruction[:, 0])


def test_the_given_activity_moves_the_latent() -> None:
    """Under the activity of another transformation two pixels are wrong."""
    data = ShiftedPictures()
    batch = data.single("validation", torch.arange(3), torch.zeros(3, dtype=torch.long))
    other = data.single("validation", torch.arange(3), torch.ones(3, dtype=torch.long)).activity
    found = frame_errors(Oracle(data.shift), batch.frames.double(), other).flow
    expected = (data.shift[0] + data.shift[1]).double() * torch.arange(9)
    assert torch.allclose(found, expected.expand(3, 9), atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 6, 7, 8, 12])
def test_sums_run_over_the_steps_there_are(steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    values = torch.rand(5, steps + 1, generator=generator, dtype=torch.float64)
    found = summarise(values)
    assert found["full_sum"]["mean"] == pytest.approx(values[:, 1:].sum(1).mean().item())
    assert found["mean_per_frame"]["mean"] == pytest.approx(values[:, 1:].mean().item())
    assert len(found["per_frame"]["mean"]) == len(found["per_frame"]["standard_error"]) == steps + 1
    if steps < 7:
        assert found["seven_step_sum"] is None
    else:
        sums = values[:, 1:8].sum(1)
        assert found["seven_step_sum"]["mean"] == pytest.approx(sums.mean().item())
        assert found["seven_step_sum"]["standard_error"] == pytest.approx(sums.std().item() / math.sqrt(5))


def test_one_sequence_has_no_standard_error() -> None:
    found = summarise(torch.ones(1, 9))
    assert found["seven_step_sum"] == {"mean": 7.0, "standard_error": None}
