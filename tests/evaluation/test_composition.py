"""Composition and switching errors of stand-ins: what they are is known by hand."""

from __future__ import annotations

import math

import pytest
import torch
from evaluation_standins import Given, Inferring, ShiftedStates
from torch import Tensor

from ffrl.data.on_device import MovedSequences
from ffrl.evaluation.measures import composition as module
from ffrl.evaluation.measures.composition import affordable, composition, in_turn, switched, together

PAIRS = [(0, 1), (0, 2), (1, 2)]


class Composing(Given):
    """Adds two activities."""

    def compose(self, g: Tensor, other: Tensor) -> Tensor:
        return g + other


class Deaf(Given):
    """Hears the first activity alone."""

    def compose(self, g: Tensor, other: Tensor) -> Tensor:
        return g


class Interacting(Composing):
    """While two act at once, the last pixel changes by 0.01 per step."""

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        latents = super().flow(z0, g)
        latents[:, 1:, -1] += 0.01 * ((g != 0).sum(-1) > 1).double().cumsum(1)
        return latents


class Drifting(Composing):
    """While the last transformation acts, every pixel is 0.001 too bright per step."""

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        latents = super().flow(z0, g)
        latents[:, 1:] += 0.001 * (g[..., -1:] != 0).double().cumsum(1)
        return latents


class TooFast(Inferring):
    """Infers speeds that exceed the true ones by the brightness of the image."""

    def __init__(self, shift: Tensor) -> None:
        super().__init__(shift, [1.0] * 8)

    def infer(self, frames: Tensor) -> Tensor:
        return super().infer(frames) * (1 + frames[:, :1, 0, 3, 3:])

    def compose(self, g: Tensor, other: Tensor) -> Tensor:
        return g + other


def found(model: Given, data: ShiftedStates, count: int = 6) -> dict:
    return composition(model, data, "validation", torch.arange(count), lambda: None)


def curve(result: dict, pair: str, kind: str = "flow") -> list[float]:
    return result["pairs"][pair][kind]["per_frame"]["mean"]


def test_what_composes_exactly_has_no_error() -> None:
    data = ShiftedStates()
    result = found(Composing(data.shift), data)
    both, turns = result["composition"], result["switching"]
    assert both["sequences"] == turns["sequences"] == 6 and turns["half"] == 4
    assert both["activity"] == turns["activity"] == "given" and both["not_shown"] == turns["not_shown"] == {}
    assert list(both["pairs"]) == [f"change {i} + change {j}" for i, j in PAIRS]
    assert len(turns["pairs"]) == 6
    for name in both["pairs"]:
        for kind in ("flow", "reconstruction", "additive"):
            assert curve(both, name, kind) == pytest.approx([0.0] * 9, abs=1e-6)
    for i, j in PAIRS:
        total = (data.shift[i] + data.shift[j]).item()
        expected = [total * t for t in range(9)]
        assert curve(both, f"change {i} + change {j}", "copy") == pytest.approx(expected, abs=1e-5)
        for first, second in ((i, j), (j, i)):
            name = f"change {first} then change {second}"
            assert curve(turns, name) == pytest.approx([0.0] * 9, abs=1e-6)
            way = [data.shift[first].item() * min(t, 4) + data.shift[second].item() * max(t - 4, 0) for t in range(9)]
            assert curve(turns, name, "copy") == pytest.approx(way, abs=1e-5)
    assert "additive" not in turns["pairs"]["change 0 then change 1"]


def test_what_does_not_compose_misses_the_second_transformation() -> None:
    data = ShiftedStates()
    both = found(Deaf(data.shift), data)["composition"]
    for i, j in PAIRS:
        expected = [data.shift[j].item() * t for t in range(9)]
        name = f"change {i} + change {j}"
        assert curve(both, name) == pytest.approx(expected, abs=1e-5)
        assert both["pairs"][name]["flow"]["full_sum"]["mean"] == pytest.approx(36 * data.shift[j].item(), rel=1e-4)
        assert curve(both, name, "additive") == pytest.approx([0.0] * 9, abs=1e-6)
    mean = both["mean"]["flow"]["full_sum"]["mean"]
    assert mean == pytest.approx(36 * (0.03 + 0.02 + 0.02) / 3, rel=1e-4)


def test_added_displacements_know_of_no_interaction() -> None:
    data = ShiftedStates()
    result = found(Interacting(data.shift), data)
    for name in result["composition"]["pairs"]:
        assert curve(result["composition"], name) == pytest.approx([0.01 * t for t in range(9)], abs=1e-5)
        assert curve(result["composition"], name, "additive") == pytest.approx([0.0] * 9, abs=1e-6)
    assert result["switching"]["mean"]["flow"]["full_sum"]["mean"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("steps", [2, 7, 8])
def test_the_switch_is_after_half_of_the_steps(steps: int) -> None:
    data = ShiftedStates(steps)
    turns = found(Drifting(data.shift), data)["switching"]
    half = steps // 2
    assert turns["half"] == half
    before = [0.016 * min(t, half) for t in range(steps + 1)]
    after = [0.016 * max(t - half, 0) for t in range(steps + 1)]
    assert curve(turns, "change 2 then change 0") == pytest.approx(before, abs=1e-5)
    assert curve(turns, "change 1 then change 2") == pytest.approx(after, abs=1e-5)
    assert curve(turns, "change 0 then change 1") == pytest.approx([0.0] * (steps + 1), abs=1e-6)
    assert (turns["mean"]["flow"]["seven_step_sum"] is None) == (steps < 7)


@pytest.mark.parametrize("batch", [128, 5])
def test_inferred_activity_is_that_of_the_same_images_alone(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr("ffrl.evaluation.protocol.sequences.MAX_BATCH", batch)
    data = ShiftedStates()
    model = TooFast(data.shift)
    result = found(model, data, 12)
    assert model.seen == {9} and result["composition"]["activity"] == "inferred"
    brightness = data.brightness(torch.arange(12)).double()
    for i, j in PAIRS:
        errors = 36 * (data.shift[i] + data.shift[j]).item() * brightness
        full = result["composition"]["pairs"][f"change {i} + change {j}"]["flow"]["full_sum"]
        assert full["mean"] == pytest.approx(errors.mean().item(), rel=1e-4)
        assert full["standard_error"] == pytest.approx(errors.std().item() / math.sqrt(12), rel=1e-3)
    expected = (36 * brightness * 2 * 0.09 / 3).std().item() / math.sqrt(12)
    pooled = result["composition"]["mean"]["flow"]["full_sum"]["standard_error"]
    assert pooled == pytest.approx(expected, rel=1e-3), "over images, of the mean over pairs"


def test_inference_is_shared_by_all_pairs() -> None:
    data = ShiftedStates()
    calls = []

    class Counting(TooFast):
        def infer(self, frames: Tensor) -> Tensor:
            calls.append(len(frames))
            return super().infer(frames)

    found(Counting(data.shift), data)
    assert calls == [6, 6, 6]


def test_pairs_that_the_data_cannot_show() -> None:
    data = ShiftedStates(total=12.0)
    result = found(Composing(data.shift), data)
    both, turns = result["composition"], result["switching"]
    assert set(both["pairs"].values()) == {None} and both["mean"] is None
    assert both["not_shown"] == dict.fromkeys(both["pairs"], "shifted states shows few states")
    assert None not in turns["pairs"].values() and turns["not_shown"] == {}
    some = found(Composing(data.shift), ShiftedStates(limit=(3.0, 9.0, 9.0)))["composition"]
    assert [entry is None for entry in some["pairs"].values()] == [True, True, False]
    assert some["mean"] == some["pairs"]["change 1 + change 2"]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_all_orders_of_few_and_a_circle_of_many(count: int) -> None:
    data = ShiftedStates(shift=(0.01,) * count, limit=(math.inf,) * count)
    orders = [(pair.first, pair.second) for pair in in_turn(data)]
    if count <= 3:
        assert sorted(orders) == [(i, j) for i in range(count) for j in range(count) if i != j]
    else:
        assert orders == [(i, (i + 1) % count) for i in range(count)]
    pairs = together(data)
    assert len({(pair.first, pair.second) for pair in pairs}) == math.comb(count, 2)
    assert all(pair.activity.sum(1).tolist() == [2.0] * 8 for pair in pairs)
    paths = count + math.comb(count, 2) + len(orders)
    assert affordable(data) == min(250, 3000 // paths)


def test_one_step_leaves_nothing_to_switch() -> None:
    data = ShiftedStates(1)
    result = found(Composing(data.shift), data)
    assert list(result) == ["composition"]


def test_devices_do_not_matter() -> None:
    data = ShiftedStates()
    model = Deaf(data.shift, flow_bias=0.01)
    assert found(model, MovedSequences(data, torch.device("cpu"))) == found(model, data)


def test_the_bound_on_sequences_holds_for_many_transformations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SEQUENCES", 5)
    assert affordable(ShiftedStates()) == 1


def test_every_step_keeps_its_place_at_a_switch() -> None:
    g = torch.arange(7.0).view(1, 7, 1)
    assert switched(g, g + 10, 3).flatten().tolist() == [0, 1, 2, 13, 14, 15, 16]
