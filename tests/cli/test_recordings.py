"""Own recordings on the command line: runs know what they were trained on, go on elsewhere and longer, and transfer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import ROOT, SEARCH, TINY, complaint, environment
from PIL import Image
from recording_tools import flat, moving, save_video

import stf
from cli.main import main
from ffrl.training.checkpoint import checkpoints
from stf.plot.drawing import style

DATA = "--data.name=sequences --data.sequences.size=16 --data.sequences.cache=cache".split()
TRAIN = ["train", *TINY, *DATA]
BASELINES = ("vae", "beta-vae", "factor-vae", "slow-vae", "tvae", "poflow", "msp", "sta")
SMALL = {"tvae": ["--model.latent-dim=36"], "msp": ["--model.latent-dim=16", "--model.rows=4"]}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of its own, and draw coarsely."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "DPI", 40)


def recordings(folder: str = "walks", count: int = 6) -> Path:
    Path(folder).mkdir()
    for number in range(count):
        np.save(Path(folder, f"rec{number}.npy"), moving(24, 16, 16, seed=number))
    return Path(folder)


@pytest.fixture
def trained() -> Path:
    """A short run on six recordings."""
    recordings()
    assert main([*TRAIN, *SEARCH, "--mode=weak", "--steps=4", "--data.root=walks", "--out=run"]) == 0
    return Path("run")


def held_out(run: Path) -> list[str]:
    return json.loads((run / "run.json").read_text())["recordings"]["held_out"]


def test_a_run_records_its_recordings(trained: Path) -> None:
    found = json.loads((trained / "run.json").read_text())["recordings"]
    assert list(found["sizes"]) == [f"rec{number}.npy" for number in range(6)]
    assert found["sizes"]["rec0.npy"] == [24, Path("walks/rec0.npy").stat().st_size]
    assert found["held_out"] == held_out(trained) != []
    assert stf.Run.open(trained).recordings.plain() == found


def test_what_was_trained_on_is_never_validated_on(trained: Path, capsys) -> None:
    (held,) = held_out(trained)
    others = [f"rec{number}.npy" for number in range(6) if f"rec{number}.npy" != held]
    for number in range(6, 12):
        np.save(f"walks/rec{number}.npy", moving(24, 16, 16, seed=number))
    Path("walks", others[0]).unlink()
    for _ in range(2):
        capsys.readouterr()
        assert main(["evaluate", str(trained), "--json", "e.json"]) == 0
        assert f"gone: {others[0]}; new: rec10.npy, rec11.npy, rec6.npy and 3 others" in capsys.readouterr().err
    data = stf.Run.open(trained).data
    assert data.inventory.held_out == (held,)
    wanted = torch.from_numpy(moving(24, 16, 16, seed=int(held[3]))).movedim(-1, 1) / 255
    assert torch.equal(data.images("validation", torch.tensor([0]))[0], wanted[0])
    line = complaint(capsys, "train", "--resume", trained, "--steps", 6)
    assert "found other recordings (gone: " in line and "expected those that the run was started with; --init" in line


def test_evaluation_without_what_was_held_out_is_one_line(trained: Path, capsys) -> None:
    (held,) = held_out(trained)
    Path("walks", held).unlink()
    for command in (["evaluate"], ["visualize-fields"]):
        line = complaint(capsys, *command, trained)
        assert f"gone: {held}" in line and f"expected the recordings that were held out: {held}" in line


def test_a_changed_recording_is_noticed(trained: Path, capsys) -> None:
    (held,) = held_out(trained)
    other = next(f"rec{number}.npy" for number in range(6) if f"rec{number}.npy" != held)
    np.save(Path("walks", other), moving(30, 16, 16))
    assert f"found other recordings (changed: {other}" in complaint(capsys, "train", "--resume", trained)
    assert main(["evaluate", str(trained)]) == 0
    assert f"(changed: {other}); what was held out then is measured" in capsys.readouterr().err


def test_data_that_have_moved(trained: Path, capsys) -> None:
    before = stf.Run.open(trained).evaluate()
    os.rename("walks", "moved")
    assert "found no file or folder walks" in complaint(capsys, "train", "--resume", trained)
    assert main(["train", "--resume", str(trained), "--data.root", "moved"]) == 0
    assert "is finished: 4 steps" in capsys.readouterr().err
    assert main(["evaluate", str(trained), "--data.root", "moved", "--json", "e.json"]) == 0
    after = json.loads(Path("e.json").read_text())
    assert after["likelihood"] == before["likelihood"] and "warning" not in capsys.readouterr().err
    assert stf.evaluate(trained, data_root=Path("moved"), device="cpu")["likelihood"] == before["likelihood"]


def test_training_goes_on_past_the_last_step(trained: Path, capsys) -> None:
    assert main(["train", "--resume", str(trained), "--steps", "7"]) == 0
    assert "resuming run at step 4 of 7" in capsys.readouterr().err and max(checkpoints(trained)) == 7
    config = json.loads((trained / "config.json").read_text())
    assert (config["steps"], config["planned_steps"]) == (7, 4)
    assert stf.Run.open(trained).finished
    assert main(["train", "--resume", str(trained)]) == 0
    assert main(["train", "--resume", str(trained), "--steps", "8"]) == 0 and max(checkpoints(trained)) == 8
    line = complaint(capsys, "train", "--resume", trained, "--steps", 5)
    assert line == "--steps: found 5, expected at least 8, the steps that the run has"


def test_training_goes_on_past_the_last_step_from_python() -> None:
    frames = np.random.default_rng(0).random((10, 3, 8, 8), dtype=np.float32)
    small = {"mode": "msp", "batch_size": 4, "device": "cpu", "quiet": True, "out": "run"}
    small |= {"model": {"width": 8, "depth": 1, "latent_dim": 16, "rows": 4}}
    assert stf.fit(frames, steps=3, **small).step == 3
    assert stf.fit(frames, steps=5, resume=True, **small).step == 5
    assert stf.fit(frames, steps=5, resume=True, **small).config.planned_steps == 3


@pytest.mark.parametrize("command", ["train --resume", "evaluate", "visualize-fields", "transfer", "train --init"])
def test_a_checkpoint_is_no_run(trained: Path, capsys, command: str) -> None:
    before = sorted(trained.rglob("*"))
    more = [*TRAIN[1:], "--mode=weak", "--data.root=walks", "--out=other"] if command.endswith("--init") else []
    line = complaint(capsys, *command.split(), trained / "checkpoints" / "step-00000004", *more)
    assert line == "run/checkpoints/step-00000004: found a checkpoint, expected its run folder run"
    assert sorted(trained.rglob("*")) == before


def test_what_is_written_among_recordings_is_none(capsys) -> None:
    recordings()
    os.chdir("walks")
    assert main([*TRAIN, *SEARCH, "--mode=weak", "--data.root=.", "--out=runs/a"]) == 0
    for command in (
        ["data", *DATA, "--data.root=."],
        ["visualize-fields", "runs/a", "--out", "drawn", "--motion=none"],
    ):
        assert main(command) == 0
    before = held_out(Path("runs/a"))
    capsys.readouterr()
    assert main(["evaluate", "runs/a"]) == 0 and "warning" not in capsys.readouterr().err
    assert stf.Run.open("runs/a").data.inventory.held_out == tuple(before)


@pytest.mark.parametrize("mode", BASELINES)
def test_every_baseline_learns_from_own_sequences(mode: str) -> None:
    Path("walks").mkdir()
    speeds = np.random.default_rng(0).uniform(0, 1, (23, 3)) * (np.arange(23)[:, None] % 3 == np.arange(3))
    for number in range(3):
        np.savez(f"walks/{number}.npz", frames=moving(24, 16, 16, seed=number), activity=speeds)
    flags = [*TRAIN, f"--mode={mode}", "--data.root=walks", "--out=run", *SMALL.get(mode, [])]
    if mode in SMALL:
        flags = [flag for flag in flags if flag != "--model.latent-dim=4"]
    assert main(flags) == 0 and main(["evaluate", "run", "--json", "e.json"]) == 0
    assert json.loads(Path("e.json").read_text())["step"] == 2


def test_transfer_of_videos_and_of_images_of_other_sizes(trained: Path, capsys) -> None:
    save_video(Path("v.mp4"), flat([(200, 30, 30)] * 5, 48, 64))
    Image.new("RGB", (640, 480), (9, 200, 9)).save(
        "photo.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))]
    )
    Image.new("RGBA", (40, 40)).save("clear.webp")
    assert main(["transfer", str(trained), "--from", "v.mp4", "--to", "photo.jpg"]) == 0
    said = capsys.readouterr().err
    assert "from: v.mp4, 5 frames, cropped to the middle and resized from 64 x 48 to 16 x 16 pixels" in said
    assert "to: photo.jpg, 1 image, cropped to the middle and resized from 640 x 480 to 16 x 16 pixels" in said
    assert np.load(trained / "transfer" / "frames.npy").shape == (1, 5, 3, 16, 16)
    assert "--data.sequences.background COLOUR" in complaint(capsys, "transfer", trained, "--to", "clear.webp")
    flags = ["--data.sequences.background=white", "--data.sequences.stride=2", "--data.sequences.crop=none"]
    assert main(["transfer", str(trained), "--from", "v.mp4", "--to", "clear.webp", *flags]) == 0
    said = capsys.readouterr().err
    assert "v.mp4, 3 frames, resized from 64 x 48 to 16 x 16 pixels, one frame of 2 taken" in said


def test_names_that_are_no_text_and_styles_of_users(tmp_path: Path) -> None:
    recordings()
    os.rename("walks", os.fsencode("walks-") + b"\xe9")
    Path("matplotlibrc").write_text("text.usetex: True\nimage.origin: lower\n")
    command = [sys.executable, "-m", "cli.main", "data", *DATA, b"--data.root=walks-\xe9"]
    variables = environment() | {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=variables, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert Path("data-sequences/samples.png").is_file() and ROOT.is_dir()


@pytest.mark.parametrize("encoding", ["gbk", "latin-1", "ascii"])
def test_evaluation_on_consoles_of_any_encoding(trained: Path, encoding: str) -> None:
    command = [sys.executable, "-m", "cli.main", "evaluate", str(trained), "--json", "e.json"]
    variables = environment() | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=variables, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0 and b"Traceback" not in done.stderr and Path("e.json").is_file()


def test_a_home_folder_is_found_behind_an_equals_sign(capsys, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    recordings()
    assert main(["data", *DATA, "--data.root=~/walks"]) == 0
    assert "'--optimizer.learning-rate'" in complaint(capsys, "train", "--mode=weak", "--lr", "0.1")


def test_a_file_with_a_byte_order_mark(capsys) -> None:
    Path("bom.toml").write_bytes(b'\xef\xbb\xbfmode = "weak"\nsteps = 0\n')
    assert (
        complaint(capsys, "train", "--config", "bom.toml")
        == "bom.toml: steps: found 0, expected an integer of at least 1"
    )


def test_other_frames_of_the_same_size_are_noticed(trained: Path, capsys) -> None:
    (held,) = held_out(trained)
    other = next(f"rec{number}.npy" for number in range(6) if f"rec{number}.npy" != held)
    np.save(Path("walks", other), moving(24, 16, 16, seed=99))
    line = complaint(capsys, "train", "--resume", trained, "--steps", 6)
    assert line.startswith(f"run: found other data (changed: {other}), expected those that the run was started with")
    assert main(["evaluate", str(trained)]) == 0
    assert f"run: found other data than in training (changed: {other}); these are measured" in capsys.readouterr().err
