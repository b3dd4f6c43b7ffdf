"""``stf data``: the numbers are those of the sequences, and the flags are those of training."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import complaint, plain
from PIL import Image

import ffrl.evaluation.protocol.data_summary
from cli import data
from cli.flags import flags_of
from cli.main import main
from ffrl.config import DataConfig
from ffrl.data import load
from ffrl.data.digits.assets import asset
from ffrl.data.digits.mnist import UNIT_STEPS
from ffrl.data.digits.render import parameters
from ffrl.data.fetch import recipes as fetch
from ffrl.evaluation.protocol.data_summary import activity_statistics, pixel_statistics
from stf.plot import samples
from stf.plot.drawing import page, style


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of its own, and draw coarsely."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "DPI", 40)


def test_statistics_of_activity_are_counted_right():
    hue = [[1.0, 3.0, 0.0, 2.0], [0.0, 0.0, 1.0, 1.0]]
    rotation = [[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    found = activity_statistics(
        torch.tensor([hue, rotation, torch.zeros(2, 4).tolist()]).permute(1, 2, 0), ("a", "b", "c")
    )
    assert found["active"] == pytest.approx([3 / 8, 4 / 8, 1 / 8, 0])
    described = found["transformations"]
    assert described["a"] == pytest.approx({"on": 5 / 8, "persistence": 2 / 3, "mean": 1.6, "least": 1, "largest": 3})
    assert described["b"] == pytest.approx({"on": 1 / 8, "persistence": 0, "mean": 2, "least": 2, "largest": 2})
    assert described["c"] == {"on": 0, "persistence": None, "mean": None, "least": None, "largest": None}


def test_statistics_of_pixels_are_those_of_numpy():
    frames = torch.rand(3, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    frames[0] = 0
    found, array = pixel_statistics(frames.split(2)), frames.double().numpy()
    assert found["mean"] == pytest.approx(array.mean((0, 1, 3, 4)))
    assert found["standard_deviation"] == pytest.approx(array.std((0, 1, 3, 4)))
    assert found["black"] == pytest.approx((array == 0).all(2).mean())
    assert found["sum"] == pytest.approx(array.sum((2, 3, 4)).mean())


@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_unit_steps_in_words_are_what_a_unit_step_does(protocol):
    before, after = (parameters(torch.full((3,), state), protocol) for state in (2.0, 3.0))
    scaling, rotation, hue = UNIT_STEPS[protocol]
    sign, factor = scaling.removeprefix("scale ").split()
    change = after.scale / before.scale if sign == "×" else after.scale - before.scale
    assert change.item() == pytest.approx(float(factor))
    assert (
        rotation == f"{after.angle - before.angle:.0f}° to the left" and hue == f"hue + {after.hue - before.hue:.0f}°"
    )


def test_tables_and_samples_are_made(capsys):
    assert main(["data"]) == 0
    output = capsys.readouterr().out
    assert output.endswith("\ndata-mnist\n") and max(map(len, output.splitlines())) <= 80
    assert sorted(path.name for path in Path("data-mnist").iterdir()) == ["samples.png", "summary.json"]
    summary = json.loads(Path("data-mnist/summary.json").read_text())
    assert summary["splits"] == {"train": 8000, "validation": 2000, "test": None}
    active, described = summary["activity"]["active"], summary["activity"]["transformations"]
    assert sum(active) == pytest.approx(1) and active[0] == 0 and active[1] > 0.9
    assert set(described) == {"scaling", "rotation", "hue"}
    for name, entry in described.items():
        assert entry["persistence"] == pytest.approx(0.85, abs=0.04)  # stay 0.85, plus drawn anew, minus overlaps
        assert entry["mean"] == pytest.approx(1, abs=0.02) and 0.3 <= entry["least"] < entry["largest"] <= 1.7
        assert f"{entry['on']:.1%}" in output and name in output
    assert "8,000" in output and "28 x 28" in output and "not there" in output and "10° to the left" in output
    with Image.open("data-mnist/samples.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] > 300 and 10 < pixels.std()


def test_flags_choose_the_data(capsys, monkeypatch):
    monkeypatch.setattr(samples, "draw_samples", lambda *arguments: page.Page(1, 1).figure)
    flags = "--data.protocol sta --data.num-steps 3 --data.on-rate 0.3 --data.off-rate 0.7 --seed 5 --split train"
    assert main(["data", *flags.split(), "--out", "new/folder"]) == 0
    assert capsys.readouterr().out.endswith("\nnew/folder\n")
    summary = json.loads(Path("new/folder/summary.json").read_text())
    assert (summary["protocol"], summary["num_steps"], summary["split"], summary["seed"]) == ("sta", 3, "train", 5)
    for entry in summary["activity"]["transformations"].values():
        assert entry["on"] == pytest.approx(0.3, abs=0.03) and entry["persistence"] == pytest.approx(0.3, abs=0.05)
    first = Path("new/folder/summary.json").read_bytes()
    Path("new/folder/mine.txt").write_text("kept")
    assert main(["data", *flags.split(), "--out", "new/folder"]) == 0
    assert Path("new/folder/summary.json").read_bytes() == first
    assert Path("new/folder/mine.txt").read_text() == "kept"


def test_the_flags_of_the_data_are_those_of_training():
    from cli.data import Data
    from stf.config import UnsupervisedConfig

    own = {name: flag for name, flag in flags_of(Data).items() if name.startswith("--data.")}
    assert own == {name: flag for name, flag in flags_of(UnsupervisedConfig).items() if name.startswith("--data.")}
    assert len(own) >= 10


def idx(folder, name, array):
    head = (0x0800 + array.ndim).to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in array.shape)
    (folder / name).write_bytes(head + array.tobytes())


def test_the_full_data_have_a_test_split(capsys, monkeypatch):
    monkeypatch.setattr(samples, "draw_samples", lambda *arguments: page.Page(1, 1).figure)
    root = Path("root")
    root.mkdir()
    for part, name in (("train", "images-idx3-ubyte"), ("train", "labels-idx1-ubyte")):
        with asset(f"mnist-10k-{name}.gz").open("rb") as file:
            (root / f"{part}-{name}").write_bytes(gzip.decompress(file.read()))
    idx(root, "t10k-images-idx3-ubyte", np.full((7, 28, 28), 9, dtype=np.uint8))
    idx(root, "t10k-labels-idx1-ubyte", np.zeros(7, dtype=np.uint8))
    assert main(["data", "--data.root", "root", "--split", "test"]) == 0
    summary = json.loads(Path("data-mnist/summary.json").read_text())
    assert summary["splits"] == {"train": 8000, "validation": 2000, "test": 7} and summary["sequences"] == 7
    assert "test images" in capsys.readouterr().out
    assert len(load(DataConfig(root=root)).mixed("test", torch.arange(7), torch.Generator()).frames) == 7
    shutil.rmtree(root)
    assert "root" in complaint(capsys, "data", "--data.root", "root")


def test_the_defaults_are_those_of_the_data_set(capsys, monkeypatch):
    monkeypatch.setattr(samples, "draw_samples", lambda *arguments: page.Page(1, 1).figure)
    monkeypatch.setattr(ffrl.evaluation.protocol.data_summary, "SEQUENCES", 20)
    assert main(["data", "--data.name", "shapes3d"]) == 0
    summary = json.loads(Path("data-shapes3d/summary.json").read_text())
    assert (summary["title"], summary["num_steps"]) == ("rendered Shapes3D", 7)
    assert summary["splits"] == {"train": 384000, "validation": 96000, "test": None}
    assert list(summary["unit_steps"].values()) == [*3 * ["hue + 36°"], "scale + 0.071", "orientation + 4.3°"]
    assert "rendered Shapes3D" in capsys.readouterr().out
    assert data.main(["--data.name=falcor3d", "--help"]) == 0
    text = plain(capsys.readouterr().out)
    assert "defaults of --data.name falcor3d" in text and "stf data fetch --help" in text and "(default: 8)" in text
    assert data.main(["--data.name=shapes3d", "--help"]) == 0 and "(default: 7)" in plain(capsys.readouterr().out)


def test_fetching_explains_or_fetches_or_verifies(capsys, monkeypatch):
    assert main(["data", "fetch", "falcor3d"]) == 0
    assert "Falcor3D_128x128" in capsys.readouterr().out
    assert main(["data", "fetch", "isaac3d", "--root", "there"]) == 0
    assert "--data.root there" in capsys.readouterr().out
    monkeypatch.setattr(fetch, "fetch", lambda *arguments: f"fetched {arguments}")
    monkeypatch.setattr(fetch, "verify", lambda *arguments: f"verified {arguments}")
    assert main(["data", "fetch", "shapes3d", "--root=there", "--unpack"]) == 0
    assert main(["data", "fetch", "--root", "there", "--verify", "mnist"]) == 0
    output = capsys.readouterr().out
    assert output == f"fetched {('shapes3d', Path('there'), True)}\nverified {('mnist', Path('there'))}\n"
    assert data.main(["fetch", "--help"]) == 0
    assert "--unpack" in capsys.readouterr().out and not list(Path().iterdir())


WRONG = [
    (["extra"], ["'extra'", "only flags"]),
    (["--split", "test"], ["test", "--data.root"]),
    (["fetch"], ["no data set", "falcor3d"]),
    (["fetch", "cifar"], ["'cifar'", "falcor3d"]),
    (["fetch", "mnist", "more"], ["'more'", "only NAME and flags"]),
    (["fetch", "shapes3d", "--verify"], ["--verify", "--root"]),
    (["fetch", "shapes3d", "--unpack"], ["--unpack", "--root"]),
    (["fetch", "shapes3d", "--unpack", "--verify", "--root", "x"], ["--unpack", "--verify", "one of the two"]),
    (["fetch", "mnist", "--unpack", "--root", "x"], ["--unpack", "'mnist'", "shapes3d"]),
    (["fetch", "falcor3d", "--verify", "--root", "x"], ["data.root", "x", "images"]),
    (["fetch", "mnist", "--roots", "x"], ["'--roots'", "did you mean '--root'?"]),
    (["--data.name", "isaac3d", "--data.root", "x"], ["data.root", "Isaac3D", "stf data fetch isaac3d"]),
    (["render"], ["no data set", "isaac3d or falcor3d"]),
    (["render", "shapes3d"], ["'shapes3d'", "isaac3d or falcor3d"]),
    (["render", "isaac3d"], ["--root", "folder"]),
    (["render", "isaac3d", "--root", "x", "--values", "1"], ["--values", "1", "at least 2"]),
    (["render", "isaac3d", "--root", "x", "--size", "8"], ["--size", "8", "from 16 to 512"]),
    (["render", "isaac3d", "--root", "x", "--workers", "0"], ["--workers", "0", "at least 1"]),
    (["--data.name", "shapes3d", "--split", "test"], ["split", "'test'", "rendered Shapes3D has no test split"]),
    (["--data.name", "shapes3d", "--data.num-steps", "15"], ["data.num-steps", "15", "14", "scale"]),
    (["--split", "all"], ["--split", "'all'", "train, validation or test"]),
    (["--seed", "-1"], ["--seed"]),
    (["--data.root", "nowhere"], ["nowhere"]),
    (["--data.name", "cifar"], ["--data.name", "'cifar'", "mnist"]),
    (["--data.num-steps", "0"], ["data.num-steps"]),
    (["--root", "x"], ["'--root'", "did you mean '--data.root'?"]),
    (["--out", "taken"], ["cannot write taken"]),
    (["--out", "taken/below"], ["cannot write taken/below"]),
    (["--out", "/proc/out"], ["cannot write /proc/out"]),
]


@pytest.mark.parametrize(("arguments", "parts"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_what_cannot_be_used_is_one_line(capsys, arguments, parts):
    Path("taken").write_text("a file")
    line = complaint(capsys, "data", *arguments)
    assert all(part in line for part in parts), line
    assert [path.name for path in Path().iterdir()] == ["taken"]
