"""The scripts on sizes and unfamiliar machines: what they run is what they say, and a failure has its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_tools import ROOT


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_an_array_takes_no_disk_and_its_clips_move(tmp_path: Path) -> None:
    from sizes import array_of

    array_of(tmp_path / "a.npy", (2000, 20, 32, 32, 3))
    stat = (tmp_path / "a.npy").stat()
    assert stat.st_size > 120e6 and stat.st_blocks * 512 < 30e6
    frames = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert frames.shape == (2000, 20, 32, 32, 3) and frames[0, 0].any() and (frames[0, 0] != frames[0, 1]).any()


def test_clips_are_as_many_files(tmp_path: Path) -> None:
    from sizes import tiny_clips

    tiny_clips(tmp_path / "clips", 5)
    clips = [np.load(path) for path in sorted((tmp_path / "clips").iterdir())]
    assert [clip.shape for clip in clips] == [(9, 16, 16, 3)] * 5 and (clips[0][0] != clips[0][-1]).any()


def test_time_and_memory_are_those_of_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sizes

    (tmp_path / "takes.py").write_text(
        "import sys, time\nroom = bytearray(80_000_000)\nend = time.process_time() + 0.5\n"
        "while time.process_time() < end: pass\nprint('stf: error: a line\\n')\nsys.exit(2)"
    )
    monkeypatch.setattr(sizes, "MAIN", "takes")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = sizes.measured([], 60)
    assert 0.5 <= done.seconds < 5 and 80e6 < done.peak < 300e6
    assert (done.code, done.said) == (2, "stf: error: a line")
    assert sizes.cell(done).endswith(" MiB; exit 2: stf: error: a line")
    (tmp_path / "takes.py").write_text("while True: pass")
    assert sizes.cell(sizes.measured([], 0.5)).startswith("stopped after")


def test_how_a_command_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import unfamiliar

    monkeypatch.setattr(unfamiliar, "MAIN", "cli.main")
    usual, few = unfamiliar.MACHINES["usual"], unfamiliar.Machine("none", shell="exit 3")
    assert unfamiliar.ended(usual, "--version", tmp_path) == "works"
    assert unfamiliar.ended(usual, "dato", tmp_path).startswith("error: found unknown command 'dato'")
    assert unfamiliar.ended(few, "--version", tmp_path).startswith("**exit 3**")
