from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import SEARCH, TINY, complaint
from pose_tools import NODES, walk, write_csv

import stf
from cli.main import main

ALIGNED = ("--data.poses.align=start", "--data.poses.centre=thorax", "--data.poses.heading=head")
EDGES = "--data.poses.edges=thorax-head,thorax-tail-tip"


def files(folder: Path) -> Path:
    for video in range(4):
        points = walk(40, video)
        points[7, 2] = np.nan
        write_csv(folder / f"video{video}.csv", [points, walk(40, 10 + video)], ("a", "b"))
    return folder


def flags(root: Path, run: Path, *more: str) -> list[str]:
    given = ["train", "--mode=unsupervised", "--data.name=poses", f"--data.root={root}", f"--out={run}"]
    return [*given, *ALIGNED, EDGES, *TINY, *SEARCH, *more]


def test_a_run_draws_skeletons_and_loads_back_without_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root, run = tmp_path / "poses", tmp_path / "run"
    root.mkdir()
    assert main(flags(files(root), run, "--data.poses.nodes=head,thorax,tail-tip")) == 0
    described = json.loads((run / "run.json").read_text())["data"]
    assert described["image_shape"] == [6]
    skeleton = described["features"]["skeleton"]
    assert skeleton == {"nodes": ["head", "thorax", "tail-tip"], "edges": [[1, 0], [1, 2]]}
    assert main(["evaluate", str(run), "--sequences=8", f"--json={run / 'evaluation.json'}"]) == 0
    measured = json.loads((run / "evaluation.json").read_text())
    assert set(measured["features"]) == {f"{axis} of {node}" for node in skeleton["nodes"] for axis in "xy"}
    capsys.readouterr()
    assert main(["data", "--data.name=poses", f"--data.root={root}", "--out", str(tmp_path / "data.png")]) == 0
    assert (tmp_path / "data.png").exists()
    for path in root.iterdir():
        path.unlink()
    model = stf.load(run)
    assert model.infer(torch.randn(2, 3, 6, dtype=torch.float64)).shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data.poses.align=start"], "data.poses.centre: found '', expected the name of a point"),
        (["--data.poses.align=sideways"], "--data.poses.align"),
        ([*ALIGNED[:2], "--data.poses.heading=nose"], "data.poses.heading: found 'nose', expected one of head, thorax"),
        (["--data.poses.nodes=nose"], "data.poses.nodes: found 'nose'"),
        (["--data.poses.confidence=-1"], "data.poses.confidence: found -1.0"),
        (["--data.root=nowhere"], "data.root: found nothing at nowhere"),
        (["--objective.likelihood=laplace"], "objective.likelihood: found 'laplace', expected gaussian for vectors"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str):
    root = tmp_path / "poses"
    root.mkdir()
    given = ["train", "--mode=unsupervised", "--data.name=poses", f"--data.root={files(root)}", *TINY, *SEARCH]
    given = [flag for flag in given if flag.split("=")[0] not in {one.split("=")[0] for one in more}]
    assert said in complaint(capsys, *given, *more, f"--out={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_files_of_sleap_without_its_package_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    (tmp_path / "a.slp").touch()
    given = [
        "train",
        "--mode=unsupervised",
        "--data.name=poses",
        f"--data.root={tmp_path}",
        f"--out={tmp_path / 'run'}",
    ]
    assert "pip install 'sparse-transformation-flow[poses]'" in complaint(capsys, *given, *TINY, *SEARCH)


def test_the_flags_are_in_the_help(capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--mode", "unsupervised", "--help-all"]) == 0
    shown = capsys.readouterr().out
    assert all(f"--data.poses.{key}" in shown for key in ("nodes", "edges", "align", "centre", "heading", "confidence"))


def test_every_mode_trains_on_poses(tmp_path: Path):
    clips = np.stack([walk(4, seed) for seed in range(16)])
    options = dict(nodes=NODES, align="start", centre="thorax", heading="head", validation=0.5)
    data = stf.data.poses(clips, np.eye(3)[np.arange(48) % 3].reshape(16, 3, 3), **options)
    for mode in ("supervised", "weak"):
        settings = {"model.latent-dim": 4, "model.width": 8, "model.depth": 1, "batch-size": 4, "device": "cpu"}
        run = stf.fit(data, mode=mode, steps=2, out=tmp_path / mode, **settings)
        assert "x of head" in run.evaluate(sequences=4)["features"]
