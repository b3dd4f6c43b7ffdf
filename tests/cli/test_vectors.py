"""``--data.name vectors``: looked at, trained, measured and resumed from the command line, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import SEARCH, TINY, complaint, plain
from vector_systems import arm, save
from vector_tools import walks

import stf
from cli.main import main
from stf.plot.drawing import style

VECTORS = ["--data.name=vectors"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of its own, and draw coarsely."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "DPI", 40)


def table(path: Path, values: np.ndarray, names: str = "x,y,heading") -> Path:
    rows = (",".join("" if value != value else repr(float(value)) for value in row) for row in values)
    path.write_text("\n".join([names, *rows]) + "\n")
    return path


@pytest.fixture
def walk() -> Path:
    return table(Path("walk.csv"), walks(1, 60, missing=0.05)[0])


def test_data_are_described_in_their_own_units(capsys, walk) -> None:
    assert main(["data", *VECTORS, f"--data.root={walk}", "--data.vectors.periodic=heading=360", "--out=shown"]) == 0
    output = plain(capsys.readouterr().out)
    assert "one vector" in output and "3 features" in output and "period 360" in output and "missing" in output
    assert "pixel" not in output and "image" not in output
    summary = json.loads(Path("shown/summary.json").read_text())
    assert set(summary["features"]) == {"x", "y", "heading"} and "pixels" not in summary
    assert Path("shown/samples.png").exists()


def test_a_run_from_files(capsys) -> None:
    save("arm", Path("arm.npz"), count=48)
    root = ["--data.root=arm.npz", "--data.num-steps=8"]
    tiny = [flag for flag in TINY if not flag.startswith("--data.num-steps")]
    assert main(["train", "--mode=unsupervised", *VECTORS, *root, *tiny, *SEARCH, "--out=run"]) == 0
    assert main(["evaluate", "run", "--json=found.json"]) == 0
    output = plain(capsys.readouterr().out)
    assert "Error of each feature" in output and "x of link 1" in output
    found = json.loads(Path("found.json").read_text())
    made = arm(2)
    assert set(found["features"]) == set(made.features) == set(found["data"]["features"])
    assert set(found["alignment"]["transformations"]) == set(made.transformations)
    Path("arm.npz").unlink()
    model = stf.load("run")
    assert model.infer(torch.as_tensor(made.values)).shape == (2, 8, 3)
    assert complaint(capsys, "evaluate", "run").startswith("data.root: found nothing at arm.npz")


def test_a_supervised_run_is_told_the_activity(capsys, walk) -> None:
    save("rotations", Path("known.npz"), count=24)
    flags = ["train", "--mode=supervised", *VECTORS, *TINY, "--out=run"]
    several = [flag for flag in flags if not flag.startswith("--model.num-fields")]
    assert main([*several, "--data.root=known.npz"]) == 0
    assert stf.load("run").num_fields == 4
    assert "supervised" in complaint(capsys, *flags[:-1], "--out=other", f"--data.root={walk}")


def test_columns_decide_on_the_defaults(walk) -> None:
    from cli.train import configure

    flags = ["--mode=unsupervised", *VECTORS, f"--data.root={walk}"]
    config = configure([*flags, "--data.vectors.columns=x"])
    assert config.objective.likelihood == "gaussian" and config.data.vectors.columns == "x"


WRONG = {
    "no root": ([], "data.root: found none, expected a file of vectors or a folder of them"),
    "nothing there": (["--data.root=nowhere.csv"], "data.root: found nothing at nowhere.csv, expected a file of vect"),
    "another kind": (["--data.root=notes.txt"], "data.root: found 'no vectors in notes.txt', expected a file of vec"),
    "no numbers": (["--data.root=text.csv"], "text.csv: line 2: found 'left', expected a number, nothing if it is mis"),
    "an empty file": (["--data.root=empty.csv"], "empty.csv: found no lines, expected a table of numbers"),
    "constant": (["--data.root=constant.csv"], "still: found '1 throughout the training data', expected values that v"),
    "infinite": (["--data.root=infinite.csv"], "infinite.csv: found 'infinite values in vector 3', expected numbers"),
    "short": (["--data.root=walk.csv", "--data.num-steps=60"], "walk.csv: found '60 vectors', expected at least 61"),
    "an unknown column": (["--data.root=walk.csv", "--data.vectors.columns=z"], "data.vectors.columns: found 'z', exp"),
    "an unknown angle": (["--data.root=walk.csv", "--data.vectors.periodic=z"], "data.vectors.periodic: found 'z', ex"),
    "a negative period": (
        ["--data.root=walk.csv", "--data.vectors.periodic=x=-3"],
        "data.vectors.periodic: found 'x=-3', expected NAME, or NAME=PERIOD with a positive period",
    ),
    "a stride of none": (["--data.root=walk.csv", "--data.vectors.stride=0"], "data.vectors.stride: found 0, expected"),
    "a long stride": (["--data.root=walk.csv", "--data.vectors.stride=40"], "walk.csv: found '2 vectors', expected"),
    "a hop of less": (["--data.root=walk.csv", "--data.vectors.hop=-1"], "data.vectors.hop: found -1, expected an int"),
    "all held out": (["--data.root=walk.csv", "--data.vectors.validation=1"], "data.vectors.validation: found 1.0, ex"),
    "another likelihood": (
        ["--data.root=walk.csv", "--objective.likelihood=laplace"],
        "objective.likelihood: found 'laplace', expected gaussian for vectors",
    ),
    "an architecture of images": (
        ["--data.root=walk.csv", "--model.architecture=conv"],
        "model.architecture: found 'conv', expected mlp for vectors",
    ),
}


@pytest.mark.parametrize("flags, message", WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(capsys, walk, flags: list[str], message: str) -> None:
    table(Path("text.csv"), np.zeros((0, 2)), "x,y\nleft,2")
    table(Path("constant.csv"), np.column_stack([np.arange(60), np.ones(60)]), "x,still")
    table(Path("infinite.csv"), np.where(np.arange(60) == 2, np.inf, np.arange(60))[:, None], "x")
    Path("empty.csv").touch()
    Path("notes.txt").write_text("x\n")
    before = sorted(Path().rglob("*"))
    tiny = [flag for flag in TINY if not any(flag.split("=")[0] in one for one in flags)]
    train = ["train", "--mode=unsupervised", *VECTORS, *tiny, *SEARCH, *flags, "--out=run"]
    assert complaint(capsys, *train).startswith(message)
    if not any(flag.startswith(("--objective", "--model")) for flag in flags):
        assert complaint(capsys, "data", *VECTORS, *flags).startswith(message)
    assert sorted(Path().rglob("*")) == before


def test_help_has_the_settings(capsys) -> None:
    assert main(["train", "--help-all"]) == 0
    output = plain(capsys.readouterr().out)
    for key in ("columns", "periodic", "stride", "hop", "validation"):
        assert f"--data.vectors.{key}" in output
