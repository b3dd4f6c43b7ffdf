"""The check of a GPU, tried on the CPU: it compares, times and trains, and what differs from the CPU is an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

PARTS = ["Equal to the CPU", "Speed and memory of every phase", "Whole trainings on MNIST, unsupervised"]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, with small models."""
    folder = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    import gpu
    import phases

    def small(default: Any) -> Any:
        return lambda mode, data: gpu.smaller(default(mode, data))

    for module in (gpu, phases):
        monkeypatch.setattr(module, "default_config", small(module.default_config))
    yield gpu


def test_the_page_has_every_part(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.md"
    assert gpu.main(["--device", "cpu", "--quick", "--seeds", "0", "--out", str(out)]) == 0
    page = out.read_text()
    assert [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")] == PARTS
    for mode in gpu.MODES:
        assert page.count(f"| {mode} | cpu | ") == 2
    for precision in ("float32", "bfloat16"):
        for phase in ("still", "discovery", "joint", "refine", "memory, joint"):
            assert page.count(f"| {precision} | {phase} | ") == 1
    assert "they are." in page and "is known on a GPU alone" in page
    trained = [line.split(" | ") for line in page.splitlines()[-1:]]
    assert [len(cells) for cells in trained] == [7] and trained[0][0] == "| 0"


def test_what_differs_from_the_cpu_is_an_error(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = gpu.Model("unsupervised", 2, 0)
    reference = model.on(torch.device("cpu"), torch.float64)
    same = gpu.differences(reference, reference)
    assert set(same.values()) == {0.0} and len(same) == 3
    terms = dict(reference.terms, loss=reference.terms["loss"] * (1 + 1e-3))
    assert gpu.differences(reference._replace(terms=terms), reference)["terms"] == pytest.approx(1e-3)
    gradients = {name: value * 1.01 for name, value in reference.gradients.items()}
    assert gpu.differences(reference._replace(gradients=gradients), reference)["gradients"] == pytest.approx(0.01)
    monkeypatch.setattr(gpu, "TOLERANCE", 0.0)
    text, good = gpu.correctness(torch.device("cpu"), 2, 0)
    assert not good and "they are NOT." in text


def test_without_a_gpu_nothing_is_written(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "gpu.md"
    for flags in ([], ["--device", "gpu"], ["--device", "cpu", "--seeds", "a"]):
        assert gpu.main([*flags, "--out", str(out)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[0].startswith("gpu-check: error: device: found 'cuda', expected 'cpu' or 'auto'")
    assert lines[2] == "gpu-check: error: seeds: found 'a', expected whole numbers separated by commas"
    assert not out.exists()
