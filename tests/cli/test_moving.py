"""Recordings as what moves in them, on the command line: trained, measured, drawn, transferred, exported, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import SEARCH, TINY, complaint
from PIL import Image
from recording_tools import save_pictures

import stf
from cli.main import main
from ffrl.config import ClipsConfig, DataConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.training.checkpoint import checkpoints
from stf.plot.drawing import style

DATA = "--data.name=sequences --data.sequences.size=16 --data.sequences.cache=cache".split()


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of its own, and draw coarsely."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "DPI", 40)


def walks(count: int) -> None:
    """Recordings of a square that walks over noise, each over another one."""
    Path("walks").mkdir()
    for number in range(count):
        behind = np.random.default_rng(number).integers(0, 150, (24, 24, 3), dtype=np.uint8)
        frames = np.repeat(behind[None], 40, 0)
        for t, frame in enumerate(frames):
            frame[6:12, (t + number) % 19 : (t + number) % 19 + 6] = 250
        np.save(f"walks/{number}.npy", frames)


@pytest.mark.parametrize(("count", "flags"), [(1, ["static=median"]), (4, ["static=median", "follow=16", "stride=2"])])
def test_a_run_on_what_moves(capsys, count: int, flags: list[str]) -> None:
    walks(count)
    chosen = [f"--data.sequences.{flag}" for flag in flags]
    command = ["train", *TINY, *SEARCH, *DATA, *chosen, "--mode=weak", "--steps=4", "--data.root=walks", "--out=run"]
    assert main([*command, "--data.sequences.hop=1"]) == 0
    assert main(["evaluate", "run", "--json", "e.json"]) == 0
    found = json.loads(Path("e.json").read_text())
    errors = {kind: one["mean_per_frame"]["mean"] for kind, one in found["prediction"].items() if kind != "activity"}
    data = stf.Run.open("run").data
    frames = data.mixed("validation", torch.arange(data.size("validation"))).frames.double()
    still = (2 * (frames[:, 1:] - frames[:, :1])).abs().sum((2, 3, 4)).mean().item()
    empty = (2 * frames[:, 1:] - 1).abs().sum((2, 3, 4)).mean().item()
    assert errors["raw_copy"] == pytest.approx(still, rel=1e-5)
    assert errors["background"] == pytest.approx(empty, rel=1e-5)
    assert found["likelihood"]["trained_with"] == "laplace-0.3-spread"
    assert main(["visualize-fields", "run", "--motion", "none"]) == 0
    assert "The background alone" in Path("run/figures/report.html").read_text()
    assert main(["data", *DATA, *chosen, "--data.root=walks"]) == 0
    assert main(["train", "--resume", "run", "--steps", "6"]) == 0 and max(checkpoints(Path("run"))) == 6
    clips = ClipsConfig(size=16, cache=Path("cache"))
    plain = load(DataConfig(name="sequences", root=Path("walks"), sequences=clips, num_steps=data.num_steps))
    with pytest.raises(UserError, match="^data: found 'frames as they are', expected changes from a background, which"):
        stf.Run.open("run").evaluate(plain)
    assert "legacy_score" not in found["likelihood"] and "changes from static backgrounds" in data.about
    model = stf.load("run")
    assert torch.equal(model.frame_kind.spread, stf.load("run", 4).frame_kind.spread)
    stf.Run.open("run").export("made")
    program = torch.export.load("made/decoder.pt2").module()
    z = torch.randn(2, model.latent_dim)
    assert torch.allclose(program(z), model.decode(z), atol=1e-5)
    capsys.readouterr()
    assert main(["transfer", "run", "--from", "sequences:0", "--to", "sequences:0,1"]) == 0
    assert main(["transfer", "run", "--from", "walks/0.npy", "--to", "walks/0.npy"]) == 0
    said = capsys.readouterr().err
    assert "from: walks/0.npy, 40 frames, changes from its own median" in said
    assert ("a window of 16 pixels that follows what moves" in said) is (count == 4)


def test_transfer_to_what_has_no_background_is_one_line(capsys) -> None:
    walks(1)
    flags = ["--data.sequences.static=median", "--mode=weak", "--steps=4", "--data.root=walks", "--out=run"]
    assert main(["train", *TINY, *SEARCH, *DATA, *flags]) == 0
    Image.new("RGB", (24, 24)).save("photo.png")
    Image.new("RGB", (24, 24)).save("photo.jpg")
    np.save("several.npy", np.zeros((2, 5, 24, 24, 3), np.uint8))
    for name in ("photo.png", "photo.jpg"):
        line = complaint(capsys, "transfer", "run", "--to", name)
        assert line.startswith(f"{name}: found a single picture, expected a recording: ")
    assert complaint(capsys, "transfer", "run", "--to", "several.npy") == (
        "several.npy: found 2 recordings, expected one"
    )
    save_pictures(Path("folder"), np.load("walks/0.npy")[:6])
    assert main(["transfer", "run", "--to", "folder"]) == 0


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["static=mean"], "--data.sequences.static: "),
        (["fps=-1"], "data.sequences.fps: found -1.0, expected a number of at least 0"),
        (["fps=5", "stride=2"], "data.sequences.fps: found 5.0, expected none beside data.sequences.stride 2"),
        (["dense"], "data.sequences.dense: found True, expected a data.sequences.stride above 1"),
        (["follow=-3"], "data.sequences.follow: found -3, expected an integer of at least 0"),
        (["follow=30"], "walks/0.npy: found a window of 30 pixels, expected at most 24, the smaller side of 24 x 24"),
        (["fps=5"], "walks/0.npy: found a file of type '.npy', which has no times, expected a video"),
        (["static=median", "x"], "objective.likelihood: found 'bernoulli', expected laplace or gaussian for changes"),
    ],
)
def test_bad_settings_are_one_line(capsys, flags: list[str], line: str) -> None:
    walks(1)
    own = ["--objective.likelihood=bernoulli"] if "x" in flags else []
    chosen = [f"--data.sequences.{flag}" for flag in flags if flag != "x"]
    assert main(["train", *TINY, *DATA, *chosen, *own, "--mode=weak", "--data.root=walks", "--out=run"]) != 0
    *before, said = capsys.readouterr().err.splitlines()
    assert said.startswith(f"stf: error: {line}") and not Path("run").exists()
    assert all(other.startswith(("preparing ", "prepared frames")) for other in before)


def test_dense_clips_begin_at_every_frame(capsys) -> None:
    walks(1)
    frames = np.load("walks/0.npy")
    clips = ClipsConfig(size=24, stride=3, dense=True, hop=1, cache=Path("cache"))
    data = load(DataConfig(name="sequences", root=Path("walks"), num_steps=2, sequences=clips))
    found = data.mixed("train", torch.arange(data.size("train"))).frames
    assert data.size("train") + data.size("validation") == 40 - 2 * 6
    for first, clip in enumerate(found):
        wanted = torch.from_numpy(frames[[first, first + 3, first + 6]]).movedim(-1, 1) / 255
        assert torch.equal(clip, wanted)
    np.savez("walks/0.npz", frames=frames, activity=np.ones((39, 1)))
    Path("walks/0.npy").unlink()
    flags = ["--data.sequences.stride=3", "--data.sequences.dense", "--data.root=walks"]
    assert main(["data", *DATA, *flags]) != 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("stf: error: data.sequences.dense: found recordings with activity, expected none")
