"""``stf transfer``: what it writes is what the model computes, and what is refused leaves everything as it was."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import complaint
from PIL import Image
from visualize_tools import SIZE

import stf
from cli.main import main
from ffrl.config import DataConfig
from ffrl.data import load
from ffrl.training.checkpoint import TrainingState, save_checkpoint
from ffrl.training.config_io import encode_config, write_config
from stf.plot.drawing import style
from stf.plot.drawing.page import Page
from stf.registry import CONFIGS
from stf.run import build_model
from stf.transfer import run as transfer_run

FILES = ["activity.json", "frames.npy", "transfer.gif", "transfer.png"]
SPEEDS = [[1.0, 0.0, 0.5], [0.0, 1.5, 0.0], [0.0, 0.0, -1.0]]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of its own, and draw coarsely."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "DPI", 40)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return runs with untrained models of digits, by mode."""
    folder = tmp_path_factory.mktemp("runs")
    for mode in ("unsupervised", "supervised", "weak", "poflow", "sta", "vae"):
        plain = CONFIGS[mode]()
        config = replace(plain, model=replace(plain.model, num_fields=3, **SIZE), data=DataConfig(num_steps=2))
        model = build_model(config, (3, 28, 28))
        (folder / mode).mkdir()
        save_checkpoint(folder / mode, model, encode_config(config), TrainingState({}, {"step": 30}), 1)
        write_config(config, folder / mode / "config.json")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the figure and the animation, to save time."""
    monkeypatch.setattr(transfer_run, "draw_transfer", lambda *arguments: Page(1, 1).figure)
    monkeypatch.setattr(transfer_run, "animate", lambda *arguments: [np.zeros((2, 2, 3))])


@pytest.fixture
def files():
    """Write sequences, images and an activity of the right size."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3)).astype(np.uint8)
    np.save("clip.npy", frames)
    np.savez("clip.npz", frames=frames[::-1])
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save("clip.gif", save_all=True, append_images=images[1:])
    Path("folder").mkdir()
    for number, image in enumerate(images):
        image.save(f"folder/frame-{number}.png")
    Image.fromarray(frames[0, ..., 0]).save("grey.png")
    Path("speeds.json").write_text(json.dumps({"speeds": SPEEDS}))
    return frames


def moved(run, images, speeds):
    """Images moved by speeds ``(T, C)`` and decoded, as the model does it."""
    model = stf.load(run)
    with torch.no_grad():
        g = torch.tensor(speeds).expand(len(images), -1, -1)
        return model.decode(model.flow(model.encode(images), g)).numpy()


@pytest.mark.parametrize("mode", ["unsupervised", "weak", "supervised", "poflow", "sta"])
def test_a_run_alone_gives_a_demonstration(capsys, runs, mode):
    run = Path(shutil.copytree(runs[mode], "run"))
    assert main(["transfer", str(run)]) == 0
    output = capsys.readouterr()
    assert output.out == "run/transfer\n"
    assert output.err.startswith("from: MNIST validation image ") and "to: MNIST validation images " in output.err
    out = run / "transfer"
    assert sorted(path.name for path in out.iterdir()) == FILES
    record, frames = json.loads((out / "activity.json").read_text()), np.load(out / "frames.npy")
    numbers = torch.tensor([int(number) for number in record["images"]["about"].split("images ")[1].split(",")])
    images = load(DataConfig()).single("validation", numbers, torch.zeros_like(numbers)).frames[:, 0]
    assert frames.shape == (4, 3, 3, 28, 28) and frames.dtype == np.float32
    assert np.allclose(frames, moved(run, images, record["speeds"]), atol=1e-6)
    assert record["mode"] == mode and [entry["field"] for entry in record["fields"]] == [0, 1, 2]
    with Image.open(out / "transfer.gif") as image:
        assert image.n_frames == 3
    if mode == "supervised":
        assert [entry["transformation"] for entry in record["fields"]] == ["scaling", "rotation", "hue"]
        assert record["speeds"] == record["true_speeds"] and record["images"]["l1_error_per_frame"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(["transfer", str(run)]) == 0  # over the earlier one, and the same
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.usefixtures("undrawn")
def test_every_flag_is_passed_on(runs, files):
    flags = "--from speeds.json --then clip.npy --to folder --scale 0.5 --reverse --without 1 --out out --device cpu"
    assert main(["transfer", str(runs["unsupervised"]), *flags.split()]) == 0
    record = json.loads(Path("out/activity.json").read_text())
    model = stf.load(runs["unsupervised"])
    frames = torch.from_numpy(files).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        inferred = model.infer(frames[None])[0]
    speeds = -0.5 * torch.cat([torch.tensor(SPEEDS), inferred]).flip(0) * torch.tensor([1.0, 0.0, 1.0])
    assert np.allclose(record["speeds"], speeds, atol=1e-6)
    assert np.allclose(np.load("out/frames.npy"), moved(runs["unsupervised"], frames, record["speeds"]), atol=1e-6)
    assert record["join"] == "then" and record["edits"].startswith("without field 1")
    assert main(["transfer", str(runs["unsupervised"]), "--from", "out/activity.json", "--and", "speeds.json"]) == 0
    record = json.loads((runs["unsupervised"] / "transfer" / "activity.json").read_text())
    speeds[:3] += torch.tensor(SPEEDS)
    assert np.allclose(record["speeds"], speeds, atol=1e-6) and record["join"] == "and"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["clip.npy", "clip.npz", "clip.gif", "folder"])
def test_sequences_of_every_kind_are_read(capsys, runs, files, name):
    assert main(["transfer", str(runs["weak"]), "--from", name, "--to", "mnist:3", "--out", "out"]) == 0
    assert f"from: {name}, 4 frames, 3 steps" in capsys.readouterr().err
    record = json.loads(Path("out/activity.json").read_text())
    assert len(record["speeds"]) == 3 and np.load("out/frames.npy").shape == (1, 4, 3, 28, 28)


@pytest.mark.usefixtures("undrawn")
def test_grey_images_are_coloured_on_request(runs, files):
    command = ["transfer", str(runs["supervised"]), "--from", "mnist:17 rotation 2", "--to", "grey.png", "--out", "out"]
    assert main([*command, "--grey-as", "red"]) == 0
    red = torch.zeros(1, 3, 28, 28)
    red[0, 0] = torch.from_numpy(files[0, ..., 0]) / 255
    speeds = [[0.0, 1.0, 0.0]] * 2
    assert np.allclose(np.load("out/frames.npy"), moved(runs["supervised"], red, speeds), atol=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_the_newest_run_is_the_default(runs, files):
    shutil.copytree(runs["supervised"], "runs/a")
    assert main(["transfer", "--from", "mnist:17 hue 1"]) == 0
    assert sorted(path.name for path in Path("runs/a/transfer").iterdir()) == FILES


WRONG = [
    (["--from", "no.npy"], ["--from", "'no.npy'"]),
    (["--to", "no.npy"], ["--to", "'no.npy'"]),
    (["--from", "notes.txt"], ["notes.txt", "'.txt'"]),
    (["--from", "small.gif"], ["small.gif", "one frame", "at least two"]),
    (["--from", "nan.npy"], ["nan.npy", "NaN"]),
    (["--from", "one.npy"], ["one.npy", "one frame"]),
    (["--from", "cut.gif"], ["cut.gif"]),
    (["--from", "empty"], ["empty", "no pictures"]),
    (["--to", "grey.png"], ["grey.png", "--grey-as"]),
    (["--from", "notes.json"], ["notes.json", "JSON"]),
    (["--from", "mnist:2000"], ["--from", "'2000'", "0 to 1999"]),
    (["--from", "mnist:17 spin 3"], ["--from", "'spin'"]),
    (["--to", "mnist:17 scaling 20 at -1"], ["scale factors of at least 0.05"]),
    (["--then", "mnist:x"], ["--then", "'x'"]),
    (["--and", "mnist:x"], ["--and", "'x'"]),
    (["--then", "mnist", "--and", "mnist"], ["--and", "--then"]),
    (["--without", "7"], ["--without", "'7'", "0 to 2"]),
    (["--without", ""], ["--without"]),
    (["--scale", "nan"], ["--scale"]),
    (["--scale", "1e9"], ["--scale"]),
    (["--scale", "fast"], ["--scale", "'fast'", "a number"]),
    (["--seed", "-1"], ["--seed"]),
    (["--grey-as", "blue"], ["--grey-as", "red or grey"]),
    (["--frm", "clip.npy"], ["'--frm'", "did you mean '--from'?"]),
    (["--source", "clip.npy"], ["'--source'", "did you mean"]),
    (["--split", "test"], ["test", "--data.root"]),
    (["--data.root", "nowhere"], ["nowhere"]),
    (["--data.root", "nowhere", "--from", "clip.npy", "--to", "clip.npy"], ["nowhere"]),
    (["--out", "folder"], ["--out", "folder", "new or empty"]),
    (["--out", "clip.npy"], ["cannot write", "clip.npy"]),
    (["--out", "/dev/null/out"], ["cannot write", "/dev/null/out"]),
    (["--out", "/proc/out"], ["cannot write", "/proc/out"]),
    (["--to", "clip.npy", "--out", "."], ["--to", "clip.npy", "--out"]),
    (["extra"], ["'extra'", "RUN"]),
]


@pytest.mark.parametrize(("arguments", "parts"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_what_cannot_be_used_is_one_line_and_nothing_is_written(capsys, runs, files, arguments, parts):
    Image.fromarray(files[0, :9, :9]).save("small.gif")
    np.save("nan.npy", np.full((3, 3, 28, 28), np.nan))
    np.save("one.npy", files[:1])
    Path("cut.gif").write_bytes(Path("clip.gif").read_bytes()[:-200])
    Path("notes.txt").write_text("x")
    Path("notes.json").write_text("x")
    Path("empty").mkdir()
    before = sorted(Path().rglob("*"))
    out = [] if "--out" in arguments else ["--out", "out"]
    line = complaint(capsys, "transfer", runs["unsupervised"], *arguments, *out)
    assert all(part in line for part in parts), line
    assert sorted(Path().rglob("*")) == before


def test_a_supervised_model_is_given_its_activity(capsys, runs, files):
    line = complaint(capsys, "transfer", runs["supervised"], "--from", "clip.gif", "--out", "out")
    assert "'clip.gif'" in line and "infers no activity" in line and "'mnist hue 2'" in line


def test_a_model_without_fields_is_refused(capsys, runs):
    for command in ("transfer", "visualize-fields"):
        line = complaint(capsys, command, runs["vae"], "--out", "out")
        assert "'mode vae, without vector fields', expected one whose activity drives vector fields" in line
    assert not Path("out").exists()


def test_runs_that_cannot_be_used_are_one_line(capsys):
    assert "runs" in complaint(capsys, "transfer")
    assert "nowhere" in complaint(capsys, "transfer", "nowhere")
    assert not Path("nowhere").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_failure_leaves_the_earlier_transfer_as_it_was(capsys, monkeypatch, runs):
    command = ["transfer", str(runs["supervised"]), "--from", "mnist:17 hue 1", "--to", "mnist:3", "--out", "out"]
    assert main(command) == 0
    Path("out/mine.txt").write_text("kept")
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}

    def full(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("ffrl.core.files.replacing", full)
        for out in ("out", "new"):
            line = complaint(capsys, *command[:-1], out, "--scale", "2")
            assert "No space left" in line and line.startswith(f"cannot write {out}/")
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    assert not Path("new").exists()
    assert main([*command, "--scale", "2"]) == 0
    assert json.loads(Path("out/activity.json").read_text())["speeds"] == [[0.0, 0.0, 2.0]]
    assert Path("out/mine.txt").read_text() == "kept"


def test_a_transfer_is_not_written_through_a_link_out_of_the_run(capsys, runs, tmp_path):
    shutil.copytree(runs["supervised"], "run")
    Path("other").mkdir()
    Path("run", "transfer").symlink_to(tmp_path / "other")
    line = complaint(capsys, "transfer", "run")
    assert line == f"run/transfer: found a link out of the run to {tmp_path / 'other'}, expected a folder in it"
    assert list(Path("other").iterdir()) == []
