"""The files of CONTRIBUTING.md are whole, and run as they stand there: in their folders, and as a package."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_tools import ROOT
from plugin_source import install_files, path_with

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCK = r"^```{}\n(?:# (\S+)\n)?(.*?)^```$"
FOLDERS = ("ffrl", "stf", "cli", "configs", "assets")
RUN = "import json, sys; from cli.main import main; print('codes', [main(line) for line in json.load(sys.stdin)])"
"""Runs commands in one process, which prints their exit codes last."""


def blocks(kind: str) -> list[tuple[str, str]]:
    """Blocks of code of a kind: the file that the first line names, if it does, and the text."""
    return re.findall(BLOCK.format(kind), PAGE, flags=re.MULTILINE | re.DOTALL)


PYTHON = dict(blocks("python"))
ADDED = {path: text for path, text in PYTHON.items() if "/" in path}
SCRIPTS = {path: text for path, text in PYTHON.items() if "/" not in path}
SETTINGS = {path: text for path, text in blocks("toml") if path}
ENTRIES = [tomllib.loads(text)["project"]["entry-points"] for path, text in blocks("toml") if not path]
COMMANDS = [
    shlex.split(line)[1:]
    for _, text in blocks("sh")
    for line in text.replace("\\\n", "").splitlines()
    if line.startswith("stf ")
]


def in_folders(folder: Path) -> dict[str, str]:
    """A copy of the project with every file in its folder."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in ADDED.items():
        assert (folder / path).parent.is_dir() and not (folder / path).exists()
        (folder / path).write_text(text)
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def in_a_package(folder: Path) -> dict[str, str]:
    """This checkout, and a package with all files."""
    groups: dict[str, dict[str, str]] = {}
    for entry in ENTRIES:
        for group, names in entry.items():
            groups.setdefault(group, {}).update(names)
    files = {Path(path).name: text for path, text in ADDED.items()}
    return path_with(install_files(folder, "stf-recipes", files, groups))


def codes(folder: Path, environment: dict[str, str]) -> list[int]:
    """Exit codes of all commands of the page, run in a folder."""
    for name, text in SETTINGS.items():
        (folder / name).write_text(text)
    process = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=folder,
        env=environment,
        input=json.dumps(COMMANDS),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1].removeprefix("codes "))


@pytest.mark.parametrize("place", [in_folders, in_a_package])
def test_recipes_run(place: object, tmp_path: Path) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    assert codes(work, place(home)) == [0] * len(COMMANDS)
    configs = {path.parent.name: json.loads(path.read_text()) for path in work.glob("runs/*/config.json")}
    assert configs["turning"]["model"]["fields"] == "turning"
    assert configs["rare"]["share"] == 0.2 and configs["sharp"]["weight"] == 0.5
    assert {config["data"]["name"] for config in configs.values()} == {"bars"}
    assert json.loads((work / "weak.json").read_text())["fields_on"] == 1.0  # one field acts throughout
    report = (work / "drawn/report.html").read_text()
    assert (work / "drawn/at-once.png").stat().st_size > 1000 and "Most often 1 of the fields act at once." in report
    assert configs.keys() == {"bars", "turning", "rare", "sharp", "weak", "phases"}


def test_without_the_files_no_command_runs(tmp_path: Path) -> None:
    assert 0 not in codes(tmp_path, path_with(tmp_path))


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, text in SCRIPTS.items():
        (tmp_path / path).write_text(text)
    process = subprocess.run(
        [sys.executable, name], cwd=tmp_path, env=path_with(tmp_path), capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr


def test_every_extension_has_a_recipe_and_a_row() -> None:
    named = ["Data set", "Field", "Prior", "Baseline", "Measure", "Training phase", "Encoder and decoder"]
    named += ["Figure of the report", "Figure of one's own"]
    sections = dict(re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
    assert list(sections) == named
    for name, text in sections.items():
        added = re.findall(r"^# (\S+/)\w+\.py$", text, flags=re.MULTILINE)
        assert len(added) <= 1, name
        for folder in added:
            assert f"`{folder}NAME.py`" in PAGE
            assert len(re.findall(r"^\[project\.entry-points", text, flags=re.MULTILINE)) == 1
    assert len(ADDED) == len(ENTRIES) == 7
