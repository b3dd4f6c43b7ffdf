"""Machines that are set up in other ways: commands work there, or say why in one line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from cli_tools import environment, only_line

from cli.main import main

STYLE = "text.usetex: True\nbackend: Qt5Agg\nfont.family: Nowhere\nsavefig.format: pdf\nsavefig.dpi: 7\nfigure.dpi: 7\n"
SHOW = "data --data.name=sequences --data.root=clips --data.sequences.size=16 --data.sequences.cache=cache"
NOTEBOOK = "module://matplotlib_inline.backend_inline"
MACHINES = {
    "few files": ({}, "ulimit -n 40"),
    "C locale": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "true"),
    "GBK": ({"PYTHONIOENCODING": "gbk"}, "true"),
    "settings of matplotlib": (
        {"MATPLOTLIBRC": "rc", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        "true",
    ),
    "nowhere to write": ({"HOME": "/proc/none", "TMPDIR": "/proc/none", "MPLCONFIGDIR": "/proc/none"}, "true"),
}


@pytest.fixture(autouse=True)
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    for number in range(60):
        frames = np.random.default_rng(number).integers(0, 255, (12, 16, 16, 3), dtype=np.uint8)
        np.save(f"clips/{number}°.npy", frames)
    Path("rc").write_text(STYLE)


def run(command: str, change: dict[str, str], before: str) -> subprocess.CompletedProcess[str]:
    line = f"{before}; exec {shlex.quote(sys.executable)} -m cli.main {command}"
    return subprocess.run(
        ["sh", "-c", line], env=environment() | change, capture_output=True, text=True, errors="replace"
    )


@pytest.mark.skipif(os.name == "nt", reason="a shell sets limits")
@pytest.mark.parametrize("name", MACHINES)
def test_data_are_shown(name: str) -> None:
    done = run(SHOW, *MACHINES[name])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and Path("data-sequences/samples.png").stat().st_size > 5000
    assert "60 recordings with 720 frames" in " ".join(done.stdout.split())


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows always has a home")
def test_no_home_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory."))
    )
    assert main(SHOW.replace("--data.sequences.cache=cache", "").split()) == 2
    line = only_line(capsys.readouterr().err)
    assert line == "data.sequences.cache: found no home folder, expected a folder for the frames"


def test_settings_of_matplotlib_change_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "data --data.name=moving-mnist --data.num-steps=2".split()
    assert main([*flags, "--out=usual"]) == 0
    with matplotlib.rc_context({"axes.facecolor": "red", "savefig.dpi": 7, "lines.linewidth": 9, "font.size": 3}):
        assert main([*flags, "--out=other"]) == 0
    assert Path("usual/samples.png").read_bytes() == Path("other/samples.png").read_bytes()
