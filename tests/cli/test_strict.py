"""What looks wrong is a warning before training and in ``stf data``, and an error with ``--strict``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import SEARCH, TINY, only_line

import stf
import stf.precheck
from cli.main import main
from ffrl.core.errors import UserError
from ffrl.storage import machine
from ffrl.training.run_folder import Description

DATA = ["--data.name=vectors", "--data.root=walks.npz"]


@pytest.fixture(autouse=True)
def walks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with vectors, one of whose features has a value out of all proportion."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(60, 9, 2)).cumsum(1)
    values[3, 4, 1] = 1e6
    np.savez("walks.npz", values=values, features=["x", "y"])


def train(*flags: str) -> int:
    return main(["train", "--mode=unsupervised", *DATA, *TINY, *SEARCH, *flags])


def test_training_warns_and_the_run_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--out=run") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert line.startswith("warning: y: found a value out of all proportion (1e+06, while 99% are within ")
    (finding,) = Description.read(Path("run")).findings
    assert str(finding) == line.removeprefix("warning: ")
    assert main(["train", "--resume", "run", "--steps=3"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["visualize-fields", "run", "--motion=none"]) == 0
    page = Path("run/figures/report.html").read_text()
    assert "What looked wrong before training" in page and "y: found a value out of all proportion" in page


def test_strict_training_ends_before_anything_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--strict") == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: y: found a value out of all proportion")
    expected = "strict: found 1 thing that looks wrong (outlier), expected none"
    assert only_line(error + "\n") == expected
    assert not Path("runs").exists()
    assert train("--strict", "--out=run") == 2 and not Path("run").exists()
    assert train("--strict", "--no-strict", "--out=run") == 0


def test_strict_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *DATA, "--strict", "--out=shown"]) == 2 and not Path("shown").exists()
    assert main(["data", *DATA, "--out=shown"]) == 0
    assert "1 warning" in capsys.readouterr().out
    summary = json.loads(Path("shown/summary.json").read_text())
    assert [one["kind"] for one in summary["findings"]] == ["outlier"]
    assert summary["looked_at"] == "all 540 frames of 60 recordings"


def test_strict_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    data = stf.data.vectors(np.load("walks.npz")["values"])
    with pytest.raises(UserError, match="strict: found 1 thing that looks wrong"):
        stf.fit(data, out="run", strict=True, steps=2)
    assert not Path("run").exists() and "found a value out of all proportion" in capsys.readouterr().err
    assert [one.kind for one in stf.data.inspect(data).findings] == ["outlier"]


def test_sizes_that_are_absurd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told of before memory for them is asked for."""
    monkeypatch.setattr(stf.precheck, "memory", lambda device: 2**30)
    assert main(["train", "--mode=unsupervised", *TINY, "--model.num-fields=100000", "--strict", "--out=run"]) == 2
    assert "found 100,000 fields and 8,000 sequences to train on" in capsys.readouterr().err
    long = ["--mode=unsupervised", "--data.num-steps=1000000", "--strict", "--out=run"]
    assert main(["train", *long]) == 2
    assert "T 1,000,000, 6 fields: found 1,1" in capsys.readouterr().err
    assert main(["train", "--mode=vae", *TINY, "--model.width=100000", "--strict", "--out=run"]) == 2
    line = capsys.readouterr().err
    assert "model: found 20,0" in line and "of 1.0 GiB there are; take smaller model.latent-dim" in line
    assert not Path("run").exists()


def test_memory_of_other_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    monkeypatch.setattr(machine, "LIMITS", (limit, tmp_path / "none"))
    monkeypatch.setattr(machine, "_limit", lambda name: None)
    whole = machine.memory(cpu)
    assert whole is None or whole > 2**28
    limit.write_text("1048576\n")
    assert machine.memory(cpu) == 2**20
    monkeypatch.delattr("os.sysconf")
    limit.write_text("max\n")
    assert machine.memory(cpu) is None
    monkeypatch.setattr("sys.platform", "win32")
    assert machine.memory(cpu) is None
    monkeypatch.setattr("ctypes.windll", Windows(), raising=False)
    assert machine.memory(cpu) == 3 * 2**30


class Windows:
    """What Windows is asked for its memory."""

    @property
    def kernel32(self) -> Windows:
        return self

    def GlobalMemoryStatusEx(self, status: object) -> int:
        status._obj.total = 3 * 2**30
        return 1
