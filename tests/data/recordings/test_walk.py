"""What is among recordings and is none: results of this package, the system's folders, links to nowhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording_tools import moving, save_pictures, settings

from ffrl.core.errors import UserError
from ffrl.core.files import PACKAGE
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.find import find_recordings
from ffrl.data.recordings.walk import SYSTEM


def recordings(root: Path, count: int = 3) -> None:
    root.mkdir()
    for number in range(count):
        np.save(root / f"rec{number}.npy", moving(30, 20, 20, seed=number))


@pytest.mark.parametrize("name", ["config.json", "activity.json", "suite.json", "report.html", "summary.json"])
def test_results_of_this_package_are_no_recordings(tmp_path: Path, name: str) -> None:
    recordings(tmp_path / "r")
    out = tmp_path / "r" / "out"
    save_pictures(out / "figures", moving(12))
    save_pictures(out / "deep", moving(12))
    (out / "frames.npy").write_bytes((tmp_path / "r" / "rec0.npy").read_bytes())
    assert len(find_recordings(tmp_path / "r").paths) == 6
    if name == "report.html":
        (out / name).write_text(f'<head>\n<meta name="generator" content="{PACKAGE}">')
    else:
        (out / name).write_text(json.dumps({"package": PACKAGE}))
    (out / "samples.png").touch()
    found = find_recordings(tmp_path / "r")
    assert len(found.paths) == 3 and found.results == 1
    assert "1 folder of results left out" in ClipSequences(settings(tmp_path / "r")).about


def test_a_configuration_of_another_program_hides_nothing(tmp_path: Path) -> None:
    recordings(tmp_path / "r")
    save_pictures(tmp_path / "r" / "camera", moving(12))
    for text in ('{"package": "camera"}', "[" * 100_000, "\xff", "[1]"):
        (tmp_path / "r" / "camera" / "config.json").write_text(text)
        assert len(find_recordings(tmp_path / "r").paths) == 4


def test_another_cache_is_no_recording(tmp_path: Path) -> None:
    root = tmp_path / "r"
    recordings(root)
    before = ClipSequences(settings(root, cache=root / "prepared")).about
    assert (root / "prepared" / "CACHEDIR.TAG").is_file()
    assert ClipSequences(settings(root)).about.startswith(before)


def test_folders_of_the_system_are_left_out(tmp_path: Path) -> None:
    recordings(tmp_path / "r")
    for name in (*SYSTEM, "@eaDir", "$RECYCLE.BIN"):
        save_pictures(tmp_path / "r" / name / "rec0.npy", moving(1))
    assert len(find_recordings(tmp_path / "r").paths) == 3


def test_frames_that_are_links_to_nowhere_are_named(tmp_path: Path) -> None:
    root = tmp_path / "r"
    recordings(root)
    save_pictures(root / "walk", moving(40, 20, 20))
    for number in (7, 8, 9):
        (root / "walk" / f"{number}.png").unlink()
        (root / "walk" / f"{number}.png").symlink_to("/nowhere/annex")
    with pytest.raises(
        UserError, match="walk: found 3 of 40 pictures that are links to files that are not there, 7.png"
    ):
        ClipSequences(settings(root))
    assert ClipSequences(settings(root, broken="skip")).about.startswith("3 recordings")


@pytest.mark.parametrize("name", ["gone.mp4", "gone.npy", "gone.gif", "gone"])
def test_recordings_that_are_links_to_nowhere_are_named(tmp_path: Path, name: str, capsys) -> None:
    root = tmp_path / "r"
    recordings(root)
    (root / name).symlink_to("/nowhere/annex")
    with pytest.raises(UserError, match=f"{name}") as error:
        ClipSequences(settings(root))
    assert "\n" not in str(error.value) and "broken skip" in str(error.value)
    data = ClipSequences(settings(root, broken="skip"))
    assert data.about.startswith("3 recordings") and name in capsys.readouterr().err


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    root, real = tmp_path / "r", os.scandir
    recordings(root)
    (root / "private").mkdir()

    def scandir(path):
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        UserError, match="cannot read .*private: Permission denied; --data.sequences.broken skip goes on"
    ):
        ClipSequences(settings(root))
    assert ClipSequences(settings(root, broken="skip")).about.startswith("3 recordings")
    assert f"warning: cannot read {root / 'private'}: Permission denied" in capsys.readouterr().err


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = tmp_path / "r"
    recordings(root)
    os.rename(os.fsencode(root / "rec0.npy"), os.fsencode(root) + b"/caf\xe9.npy")
    data = ClipSequences(settings(root))
    assert data.inventory is not None and "caf\udce9.npy" in data.inventory.sizes


def test_a_poster_beside_recordings_is_named(tmp_path: Path) -> None:
    recordings(tmp_path / "r")
    Image.fromarray(moving(1)[0]).save(tmp_path / "r" / "poster.jpg")
    with pytest.raises(UserError, match=r"found 1 picture \(poster.jpg\) as a recording, .* --data.sequences.exclude"):
        ClipSequences(settings(tmp_path / "r"))
    assert ClipSequences(settings(tmp_path / "r", exclude="poster.jpg")).about.startswith("3 recordings")
