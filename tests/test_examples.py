"""Trained models that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cli_tools import complaint

import stf
from cli.main import main
from ffrl.core.errors import UserError
from ffrl.data.digits.assets import asset
from ffrl.training.checkpoint import MODEL, find_checkpoint, read_tensors
from stf.examples import STEM, SUFFIX, load_example, names, pack

every_example = pytest.mark.parametrize("name", names())


def test_there_are_examples_of_images_and_of_vectors_and_they_are_small() -> None:
    assert {"mnist", "shapes3d", "arm"} <= set(names())
    assert sum(Path(str(asset(f"{STEM}{name}{SUFFIX}"))).stat().st_size for name in names()) <= 3_000_000


@every_example
def test_an_example_has_a_field_for_each_transformation(name: str, tmp_path: Path) -> None:
    run = stf.Run.open(load_example(name, tmp_path / "run"))
    found = run.evaluate(sequences=40)["alignment"]
    assert found["alive"]["fields"] == found["alive"]["transformations"]
    assert all(one["f1"] > 0.95 for one in found["transformations"].values())
    assert run.finished and any("search" in entry for entry in run.metrics)


@every_example
def test_an_example_is_loaded_by_its_name_without_a_folder(name: str, tmp_path: Path) -> None:
    model = stf.load(f"example:{name}")
    stored = stf.load(load_example(name, tmp_path / "run")).state_dict()
    assert not model.training
    assert all(torch.equal(stored[key], tensor) for key, tensor in model.state_dict().items())


def test_packing_a_run_keeps_its_weights_to_half_precision(tmp_path: Path) -> None:
    name = names()[0]
    run = load_example(name, tmp_path / "run")
    path = pack(run, "again", tmp_path)
    before = read_tensors(find_checkpoint(run) / MODEL)
    after = read_tensors(path)
    assert set(after) <= set(before) and all(torch.equal(before[key], after[key].to(before[key])) for key in after)


def test_an_unknown_example_and_a_folder_in_use_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="^example: found 'mnits', expected one of "):
        stf.load("example:mnits")
    assert "found no name, expected one of" in complaint(capsys, "load-example")
    (tmp_path / "note.txt").touch()
    said = complaint(capsys, "load-example", names()[0], "--out", tmp_path)
    assert "found 'files in it', expected a new or empty folder" in said
    assert sorted(tmp_path.iterdir()) == [tmp_path / "note.txt"]


def test_the_command_prints_the_folder_and_names_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["load-example", names()[0], "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'run'}\n" and "stf visualize-fields" in printed.err


def test_the_checkpoint_of_an_example_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = load_example(names()[0], tmp_path / "run")
    said = complaint(capsys, "train", "--resume", find_checkpoint(run))
    assert f"found a checkpoint, expected its run folder {run}" in said
