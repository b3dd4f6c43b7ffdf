"""The type that networks compute in: asked for, or the faster one by a measurement, which leaves no trace."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine_tiny import StopAt, TinyModel, run_tiny, same, tiny_config, weights
from small_models import supervised
from torch import nn

from ffrl.core.errors import UserError
from ffrl.training import precision
from ffrl.training.precision import WORTH, Precision, choose, measured

CPU, NOWHERE = torch.device("cpu"), Path("no such folder") / "environment.json"


def says(monkeypatch: pytest.MonkeyPatch, *speedups: float) -> None:
    """Let the measurements have these results, one after the other."""
    results = iter(speedups)
    monkeypatch.setattr(precision, "measured", lambda *_: next(results))


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_what_is_asked_for_is_not_measured(monkeypatch: pytest.MonkeyPatch, name: str, dtype: torch.dtype) -> None:
    says(monkeypatch)
    assert choose(tiny_config(precision=name), TinyModel(), CPU, NOWHERE) == Precision(dtype)


@pytest.mark.parametrize(("speedup", "dtype"), [(WORTH, torch.bfloat16), (WORTH - 0.01, torch.float32)])
def test_auto_is_what_is_clearly_faster(monkeypatch: pytest.MonkeyPatch, speedup: float, dtype: torch.dtype) -> None:
    says(monkeypatch, speedup)
    found = choose(tiny_config(precision="auto"), TinyModel(), CPU, NOWHERE)
    assert found == Precision(dtype, speedup)
    assert "times as fast" in str(found)


def test_a_run_goes_on_in_its_own_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    says(monkeypatch, 3.0)
    recorded, config = tmp_path / "environment.json", tiny_config(precision="auto")
    recorded.write_text(json.dumps({"device_type": "cpu", "precision": "float32"}))
    assert choose(config, TinyModel(), CPU, recorded) == Precision(torch.float32)
    assert choose(replace(config, precision="bfloat16"), TinyModel(), CPU, recorded).dtype == torch.bfloat16
    recorded.write_text(json.dumps({"device_type": "cuda", "precision": "float32"}))
    assert choose(config, TinyModel(), CPU, recorded) == Precision(torch.bfloat16, 3.0), "on another kind of device"
    recorded.write_text("[]")
    with pytest.raises(UserError, match="environment.json"):
        choose(config, TinyModel(), CPU, recorded)


@pytest.mark.parametrize("slow", [torch.float32, torch.bfloat16])
def test_the_faster_type_is_found(monkeypatch: pytest.MonkeyPatch, slow: torch.dtype) -> None:
    monkeypatch.setattr(precision, "SECONDS", 0.02)

    @contextmanager
    def waiting(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
        end = time.thread_time() + (0.01 if dtype == slow else 0)
        while time.thread_time() < end:
            pass
        yield

    monkeypatch.setattr(precision, "autocast", waiting)
    speedup = measured(supervised(), 4, CPU)
    assert (speedup > 2) == (slow == torch.float32) and (speedup < 0.5) == (slow == torch.bfloat16)


def test_a_measurement_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on layers that draw, or that keep running means."""
    monkeypatch.setattr(precision, "SECONDS", 0.0)
    model = supervised()
    model.encoder = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(), model.encoder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert measured(model.train(), 4, CPU) > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_the_choice_is_recorded_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A resumed run equals one that was not interrupted, whatever a second measurement would say."""
    says(monkeypatch, 2.0, 2.0, 0.5)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    config = tiny_config(precision="auto")
    run_tiny(whole, config)
    run_tiny(cut, config, data=StopAt(12, "signal"))
    run_tiny(cut, config, resume=True)
    assert same(weights(whole), weights(cut))
    record = json.loads((cut / "environment.json").read_text())
    assert (record["precision"], record["bfloat16_speedup"]) == ("bfloat16", 2.0)
    run_tiny(tmp_path / "plain", tiny_config(precision="float32"))
    assert not same(weights(whole), weights(tmp_path / "plain"))
