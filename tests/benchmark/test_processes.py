"""The measurement of several processes trains alone and together, and compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script."""
    root = Path(__file__).parents[2]
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", str(root))
    import processes

    monkeypatch.setattr(processes, "MAIN", "cli.main")
    return processes


def test_two_processes_are_compared_with_one(processes: Any, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--mode=supervised", "--steps=4", "--batch-size=4", "--model.width=16", "--model.latent-dim=6"]
    processes.main(["--repeats", "1", "--", *flags])
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith("│ "))
    _, alone, together, share, loss, other = (cell.strip(" ,") for cell in row.strip("│").split("│"))
    rates = [float(rate.replace(",", "")) for rate in (alone, together)]
    assert float(share) == pytest.approx(rates[1] / rates[0] / 2, abs=0.02)
    assert float(loss) == pytest.approx(float(other), rel=1e-4)
    assert f"median {share}" in said


def test_a_training_that_fails_says_why(processes: Any) -> None:
    with pytest.raises(RuntimeError, match=r"exited with 2: .*--mode"):
        processes.throughput(1, ["--mode=nothing"])
