"""The profile of training measures every phase and every part, and counts the operations of known products."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stf.config import UnsupervisedConfig


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, with a small model."""
    folder = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    import phases

    def small(mode: str, data: Any) -> UnsupervisedConfig:
        config = UnsupervisedConfig(data=data, steps=400, batch_size=4)
        search = replace(config.discovery, sequences=20, held_out=8, batch_size=4, trial_batch_size=4)
        return replace(config, model=replace(config.model, width=16, latent_dim=6), discovery=search)

    monkeypatch.setattr(phases, "default_config", small)
    threads = torch.get_num_threads()
    yield phases
    torch.set_num_threads(threads)


def test_operations_are_those_of_the_products(phases: Any) -> None:
    left, right = torch.rand(3, 5), torch.rand(5, 7)
    assert phases.operations(lambda: left @ right) == 2 * 3 * 5 * 7


def test_every_phase_and_part_is_measured(phases: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "phases.json"
    monkeypatch.setattr(sys, "argv", ["phases.py", "--repeats", "1", "--json", str(out)])
    phases.main()
    report = json.loads(out.read_text())
    assert set(report["precisions"]) == {"float32", "bfloat16"}
    for found in report["precisions"].values():
        phases = ["still", "discovery", "first-joint", "rediscovery", "joint", "refine"]
        assert [row["phase"] for row in found["phases"]] == phases
        assert all(row["seconds"] > 0 and row["operations"] > 0 for row in found["phases"])
        assert found["phases"][2]["frames"] == found["phases"][4]["frames"] == 4 * (9 + 3)
        assert {"encoder", "activity", "flow", "decoder"} <= set(found["joint parts"])
