"""A package of one file, installed beside STF, adds what it has to the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import only_line, plain
from plugin_source import install, path_with

SMALL = "--steps=4 --batch-size=8 --device=cpu --model.latent-dim=4 --model.width=8 --model.depth=1".split()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    return install(tmp_path_factory.mktemp("trial"))


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``stf`` with the package on its path."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, cwd=folder, env=path_with(site), capture_output=True, text=True, timeout=120)


def stf(site: Path, folder: Path, *arguments: str) -> str:
    """Run ``stf`` with the package on its path, and return what it prints."""
    process = run(site, folder, *arguments)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def trained(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the data set of the package, in a folder of its own."""
    folder = tmp_path_factory.mktemp("trained")
    assert stf(site, folder, "train", "--mode=supervised", "--data.name=bars", "--out=run", *SMALL) == "run\n"
    return folder / "run"


def test_help_names_the_data_set_and_its_package_without_importing_it(site: Path, tmp_path: Path) -> None:
    code = "import sys; from cli.main import main; main(['train', '--help']); print('stf_trial' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], env=path_with(site), capture_output=True, text=True)
    text = plain(process.stdout)
    assert "vectors, bars (from stf-trial)." in text and text.endswith("False"), process.stderr
    shown = plain(stf(site, tmp_path, "train", "--data.name=bars", "--help"))
    assert "frames. (default: 4)" in shown and "--data.name bars;" in shown


def test_a_name_that_is_nearly_right_is_one_line(site: Path, tmp_path: Path) -> None:
    process = run(site, tmp_path, "train", "--mode=weak", "--data.name=barz")
    assert process.returncode == 2
    assert only_line(process.stderr).endswith("vectors, bars (did you mean bars?)")


def test_the_data_set_is_shown_trained_on_and_measured(site: Path, tmp_path: Path, trained: Path) -> None:
    stf(site, tmp_path, "data", "--data.name", "bars", "--data.num-steps=3", "--out=shown")
    summary = json.loads((tmp_path / "shown/summary.json").read_text())
    assert summary["title"] == "Bars" and summary["num_steps"] == 3
    assert list(summary["unit_steps"]) == ["right", "brighter"]
    assert "stf-trial" in stf(site, tmp_path, "data", "fetch", "bars")
    config = json.loads((trained / "config.json").read_text())
    assert config["data"]["name"] == "bars" and config["data"]["num_steps"] == 4 and config["model"]["num_fields"] == 2
    assert "Bars" in stf(site, tmp_path, "evaluate", str(trained), "--device=cpu", "--json=found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["sequences"] == 16
    assert 0 < found["brightness"] < 1


def test_a_run_opens_without_the_package_and_says_what_its_data_need(tmp_path: Path, trained: Path) -> None:
    code = f"import stf; print(stf.load({str(trained)!r}).num_controls)"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=path_with(tmp_path), capture_output=True, text=True
    )
    assert process.stdout == "2\n", process.stderr
    process = run(tmp_path, tmp_path, "evaluate", str(trained))
    assert only_line(process.stderr).startswith("data.name: found 'bars', expected one of falcor3d, ")


def test_the_mode_is_trained_and_measured(site: Path, tmp_path: Path) -> None:
    text = plain(stf(site, tmp_path, "train", "--help"))
    assert "sta, hasty (from stf-trial)." in text
    text = plain(stf(site, tmp_path, "train", "--mode=hasty", "--data.name=bars", "--help-all"))
    assert "--haste FLOAT How hasty it is. (default: 2.0)" in text
    stf(site, tmp_path, "train", "--mode=hasty", "--data.name=bars", "--haste=3", "--out=run", *SMALL)
    assert json.loads((tmp_path / "run/config.json").read_text())["haste"] == 3.0
    stf(site, tmp_path, "evaluate", "run", "--device=cpu")


def test_the_fields_are_trained(site: Path, tmp_path: Path) -> None:
    flags = ["--mode=supervised", "--data.name=bars", "--model.fields=turn", "--model.no-time-dependent"]
    stf(site, tmp_path, "train", *flags, "--out=run", *SMALL)
    assert json.loads((tmp_path / "run/config.json").read_text())["model"]["fields"] == "turn"
    stf(site, tmp_path, "evaluate", "run", "--device=cpu")
