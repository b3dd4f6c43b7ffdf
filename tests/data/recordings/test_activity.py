"""True activity in files: cut with the frames, checked, and the same to training and evaluation as from memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from bars import NAMES, STEPS, bars
from recording_tools import save_pictures, settings

import stf
from cli.main import main
from ffrl.config import ClipsConfig, DataConfig
from ffrl.core.errors import UserError
from ffrl.data.arrays import arrays
from ffrl.data.recordings import prepare as preparing
from ffrl.data.recordings.activity import transformations_in
from ffrl.data.recordings.clips import ClipSequences
from stf.registry import default_config

SIDE = 12
SMALL = {"batch_size": 8, "quiet": True, "model": {"width": 32, "depth": 1, "latent_dim": 8}}


def recording(number: int, count: int, kinds: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A recording in which frame f of recording r is red = r, green = f, and speed j of step t is r + t / 100 + j."""
    frames = np.zeros((count, 10, 10, 3), np.uint8)
    frames[..., 0], frames[..., 1] = number, np.arange(count)[:, None, None]
    speeds = number + np.arange(count - 1)[:, None] / 100 + np.arange(kinds)
    return frames, speeds.astype(np.float32)


def save(path: Path, frames: np.ndarray, **others: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez_compressed(path, frames=frames, **others)
        return
    with h5py.File(path, "w") as file:
        file["frames"] = frames
        for name, value in others.items():
            file[name] = value


def refused(path: Path, **clips: Any) -> str:
    """What is said of recordings that cannot be used, one line."""
    with pytest.raises(UserError) as error:
        ClipSequences(settings(path, **clips))
    assert "\n" not in str(error.value)
    return str(error.value)


def batches(data: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """All clips of both splits."""
    return [tuple(data.mixed(split, torch.arange(data.size(split)))) for split in ("train", "validation")]


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize("size", [10, 8])
def test_activity_is_cut_with_the_frames(tmp_path: Path, suffix: str, size: int, monkeypatch) -> None:
    root, counts = tmp_path / "r", [30, 21, 25]
    for number, count in enumerate(counts):
        frames, speeds = recording(number, count)
        save(root / f"{number}{suffix}", frames, activity=speeds)
    several = [np.stack(part) for part in zip(*(recording(3 + number, 15) for number in range(4)), strict=True)]
    save(root / f"several{suffix}", several[0], activity=several[1])
    first = ClipSequences(settings(root, hop=1, size=size))
    monkeypatch.setattr(preparing, "_prepare", None)  # the second time, frames come from the cache
    for data in (first, ClipSequences(settings(root, hop=1, size=size))):
        assert data.transformations == ("transformation 1", "transformation 2") and not data.prescribed
        assert sum(map(data.size, ("train", "validation"))) == sum(count - 3 for count in (*counts, 15, 15, 15, 15))
        for frames, activity in batches(data):
            number, time = (255 * frames[:, :-1, :2, 0, 0]).round().unbind(-1)
            expected = number + time / 100
            assert torch.allclose(activity, torch.stack([expected, expected + 1], -1), atol=1e-5)
        assert data.about.endswith("; 4 frames a clip, activity known")


def test_the_parts_of_a_single_recording_keep_their_activity(tmp_path: Path) -> None:
    frames, speeds = recording(0, 60)
    save(tmp_path / "a.npz", frames, activity=speeds, transformations=np.array(["turn", "grow"]))
    data = ClipSequences(settings(tmp_path / "a.npz", hop=1))
    assert data.transformations == ("turn", "grow") and data.unit_steps == ("1", "1")
    for frames, activity in batches(data):
        assert torch.allclose(activity[..., 0], (255 * frames[:, :-1, 1, 0, 0]).round() / 100, atol=1e-6)


@pytest.mark.parametrize("how", ["npz", "npz bytes", "data set", "attribute"])
def test_names_of_transformations(tmp_path: Path, how: str) -> None:
    frames, speeds = recording(0, 30)
    path = tmp_path / ("a.npz" if how.startswith("npz") else "a.h5")
    names = np.array(["größer", "turn"])
    if how == "npz bytes":
        names = np.array([b"turn", b"grow"])
    save(path, frames, activity=speeds, **({} if how == "attribute" else {"transformations": names.tolist()}))
    if how == "attribute":
        with h5py.File(path, "a") as file:
            file["activity"].attrs["transformations"] = names.tolist()
    expected = ("turn", "grow") if how == "npz bytes" else tuple(names)
    assert ClipSequences(settings(path)).transformations == transformations_in(path) == expected


@pytest.mark.parametrize(("stride", "where"), [(2, "frames that are mapped"), (3, "frames in the cache")])
def test_a_stride_adds_up_the_speeds_of_what_acts_alone(tmp_path: Path, stride: int, where: str) -> None:
    frames, _ = recording(0, 41)
    speeds = np.zeros((40, 2), np.float32)
    for start in range(0, 39, stride):
        speeds[start : start + stride, start % 2] = np.random.default_rng(start).uniform(0.3, 1.7, stride)
    speeds[:stride] = [[0.5, 0.25]] * stride  # both at once, in the same proportion
    size = {"frames that are mapped": 10, "frames in the cache": 8}[where]
    if size == 10:
        save(tmp_path / "a.h5", frames, activity=speeds)
    else:
        save(tmp_path / "a.npz", frames, activity=speeds)
    data = ClipSequences(settings(next(tmp_path.glob("a.*")), num_steps=2, hop=1, stride=stride, size=size))
    total = np.concatenate([np.zeros((1, 2)), speeds.cumsum(0)])
    for pictures, activity in batches(data):
        time = (255 * pictures[:, :, 1, 0, 0]).round().long()
        assert (time.diff(dim=1) == stride).all()
        assert np.allclose(activity, np.diff(total[time], axis=1), atol=1e-5)


def test_a_stride_over_what_may_not_commute_is_refused(tmp_path: Path) -> None:
    frames, _ = recording(0, 41)
    speeds = np.zeros((40, 2), np.float32)
    speeds[:7, 0], speeds[7:, 1] = 1, 1
    save(tmp_path / "a.npz", frames, activity=speeds)
    line = refused(tmp_path / "a.npz", stride=2, broken="skip")
    found = "found different transformations in steps 7 to 8, expected "
    assert line.startswith(f"{tmp_path / 'a.npz'}: activity: {found}")
    assert "data.sequences.stride 1" in line and line.endswith("only where transformations commute")
    assert ClipSequences(settings(tmp_path / "a.npz", stride=1)).size("train")


WRONG = {
    "length": ({"activity": np.ones((30, 2))}, "activity: found shape (30, 2), expected (29, J), a speed per"),
    "dimensions": ({"activity": np.ones(29)}, "activity: found shape (29,), expected (29, J), a speed per transition"),
    "recordings": ({"activity": np.ones((2, 29, 2))}, "activity: found shape (2, 29, 2), expected (1, 29, J)"),
    "empty": ({"activity": np.ones((29, 0))}, "activity: found shape (29, 0), expected (29, J)"),
    "nan": ({"activity": np.full((29, 2), np.nan)}, "activity: found 58 values that are not finite, expected speeds"),
    "strings": ({"activity": [["on"] * 2] * 29}, "activity: found values of type "),
    "complex": ({"activity": np.ones((29, 2)) + 1j}, "activity: found values of type complex128, expected numbers"),
    "few names": ({"activity": np.ones((29, 2)), "transformations": ["turn"]}, "transformations: found ['turn'], "),
    "equal names": (
        {"activity": np.ones((29, 2)), "transformations": ["turn", "turn"]},
        "transformations: found ['turn', 'turn'], expected 2 different names, one for each column of the activity",
    ),
    "numbers": (
        {"activity": np.ones((29, 2)), "transformations": np.arange(2)},
        "transformations: found an array of shape (2,) and type int64, expected a list of strings",
    ),
    "no name": ({"activity": np.ones((29, 1)), "transformations": [" "]}, "transformations: found an array of shape"),
    "one string": ({"activity": np.ones((29, 1)), "transformations": "turn"}, "transformations: found an array of "),
    "names alone": ({"transformations": ["turn"]}, "transformations: found names alone, expected an array 'activity'"),
}


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize(("others", "message"), WRONG.values(), ids=WRONG)
def test_wrong_activity_is_one_line(tmp_path: Path, suffix: str, others: dict[str, Any], message: str) -> None:
    path = tmp_path / "r" / f"a{suffix}"
    save(path, recording(0, 30)[0], **others)
    line = refused(path)
    assert line.startswith(f"{path}: {message}") and "broken skip" not in line, "there is no other recording"
    for number in (1, 2):
        frames, speeds = recording(number, 30)
        save(path.with_stem(f"{number}"), frames, activity=speeds)
    data = ClipSequences(settings(path.parent, broken="skip"))
    assert f"skipped 1: {path}: {message}" in data.about and data.transformations
    assert transformations_in(path.parent) == ("transformation 1", "transformation 2")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=recording(0, 30)[0], activity=np.array([[print]], dtype=object))
    assert refused(tmp_path / "a.npz").startswith(f"{tmp_path / 'a.npz'}: activity: found Object arrays cannot be")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["frames"] = recording(0, 30)[0]
        file.create_group("activity")
    assert refused(tmp_path / "b.h5").startswith(f"{tmp_path / 'b.h5'}: activity: found a group, expected a data set")


def test_activity_is_known_of_all_recordings_or_of_none(tmp_path: Path) -> None:
    root = tmp_path / "r"
    for number in range(3):
        frames, speeds = recording(number, 20)
        save(root / f"{number}.npz", frames, activity=speeds, transformations=["turn", "grow"])
    save_pictures(root / "walk", recording(3, 20)[0])
    assert refused(root) == (
        f"{root / 'walk'}: found no activity, expected it in all recordings or none: {root / '0.npz'} has it"
    )
    assert not (tmp_path / "cache").exists(), "nothing is decoded before"
    (root / "walk").rename(tmp_path / "walk")
    frames, speeds = recording(3, 20)
    save(root / "3.h5", frames, activity=speeds, transformations=["grow", "turn"])
    assert refused(root) == (
        f"{root / '3.h5'}: transformations: found ['grow', 'turn'], expected ['turn', 'grow'], as in {root / '0.npz'}"
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[DataConfig, Any]:
    """The same sequences as files, one of several recordings and others of one, and in memory."""
    frames, speeds = bars(40)
    pictures = np.repeat((255 * frames[..., 4:16]).round().astype(np.uint8)[..., None], 3, -1)
    root = tmp_path / "r"
    save(root / "a.npz", pictures[:32], activity=speeds[:32], transformations=list(NAMES))
    for number in range(32, 40):
        save(root / f"b{number}.h5", pictures[number], activity=speeds[number], transformations=list(NAMES))
    clips = ClipsConfig(size=SIDE, cache=tmp_path / "cache")
    config = DataConfig(name="sequences", root=root, num_steps=STEPS, sequences=clips)
    stored = ClipSequences(config)
    rows = [part if file == 0 else 31 + file for file, part, _ in stored._table]
    held = stored.size("train")
    train, validation = rows[:held], rows[held:]
    given = arrays(
        pictures[train],
        speeds[train],
        validation=(pictures[validation], speeds[validation]),
        transformations=NAMES,
    )
    return config, given


def test_batches_are_those_of_arrays_in_memory(files) -> None:
    config, given = files
    stored = ClipSequences(config)
    assert stored.image_shape == given.image_shape and stored.transformations == given.transformations == NAMES
    assert stored.size("train") == 32 and stored.size("validation") == 8
    for one, other in zip(batches(stored), batches(given), strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    indices = torch.tensor([5, 0, 5])
    assert torch.equal(stored.images("train", indices), given.images("train", indices))
    assert torch.equal(stored.stills("validation", indices, 3), given.stills("validation", indices, 3))


@pytest.mark.parametrize("mode", ["unsupervised", "supervised"])
def test_training_and_evaluation_are_those_of_arrays_in_memory(files, tmp_path: Path, mode: str) -> None:
    config, given = files
    runs = {
        name: stf.fit(data, mode, steps=20, seed=3, out=tmp_path / name, **SMALL)
        for name, data in (("files", config), ("memory", given))
    }
    stored, held = (run.model.state_dict() for run in runs.values())
    assert stored.keys() == held.keys() and all(torch.equal(stored[key], held[key]) for key in stored)
    assert runs["files"].spec.transformations == NAMES
    assert runs["files"].model.num_fields == {"unsupervised": 6, "supervised": 3}[mode]
    measured = [stf.Run.open(tmp_path / "files").evaluate(), runs["memory"].evaluate()]
    for found in measured:
        assert [found.pop(key) for key in ("run", "data")]
    assert json.dumps(measured[0]) == json.dumps(measured[1])
    if mode == "unsupervised":
        assert set(measured[0]["alignment"]["transformations"]) == set(NAMES) and "calibration" in measured[0]
    else:
        assert measured[0]["prediction"]["activity"] == "given"


def test_the_command_line_measures_alignment(files, tmp_path: Path, capsys, monkeypatch) -> None:
    config, _ = files
    monkeypatch.chdir(tmp_path)
    flags = ["--data.name=sequences", f"--data.root={config.root}", f"--data.num-steps={STEPS}"]
    flags += [f"--data.sequences.size={SIDE}", f"--data.sequences.cache={tmp_path / 'cache'}"]
    small = ["--batch-size=8", "--model.width=32", "--model.depth=1", "--model.latent-dim=8", "--steps=12"]
    for mode, fields in (("unsupervised", 6), ("supervised", 3)):
        assert main(["train", f"--mode={mode}", *flags, *small, f"--out={mode}"]) == 0
        assert json.loads(Path(mode, "config.json").read_text())["model"]["num_fields"] == fields
        assert main(["evaluate", mode, "--json", f"{mode}.json"]) == 0
    found = json.loads(Path("unsupervised.json").read_text())
    assert set(found["alignment"]["transformations"]) == set(NAMES) and found["data"]["prescribed"] is False
    capsys.readouterr()
    assert main(["data", *flags, "--split=train"]) == 0
    output = capsys.readouterr().out
    summary = json.loads(Path("data-sequences/summary.json").read_text())
    assert summary["activity"]["transformations"].keys() == set(NAMES) and all(name in output for name in NAMES)
    assert "│ train clips " in output and "Activity in 32 clips" in output and "is not known" not in output


def test_supervision_wants_activity(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", recording(0, 30)[0])
    data = DataConfig(name="sequences", root=tmp_path / "a.npz")
    assert default_config("weak", data).model.num_fields == default_config("weak").model.num_fields
    with pytest.raises(UserError, match="^data.name: found 'sequences', expected data whose transformations are known"):
        default_config("supervised", data)
