"""Hashes of data: the same for the same contents wherever they are, others for whatever else is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pose_tools import config as poses
from pose_tools import walk, write_csv
from recording_tools import moving, save_pictures, save_video, settings

import ffrl.data
from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data.arrays import arrays
from ffrl.data.base import SequenceData
from ffrl.data.contents import Contents, digest
from ffrl.data.recordings import cache
from ffrl.data.vectors.sequences import vectors


def of(config: DataConfig) -> Contents:
    found = ffrl.data.load(config).contents()
    assert found is not None
    return found


def recordings(root: Path, seed: int = 0) -> Path:
    """An array that is mapped where it is, a video and a folder, which are decoded into the cache."""
    root.mkdir()
    np.save(root / "a.npy", moving(12, 10, 10, seed))
    save_video(root / "b.mp4", moving(12, 32, 32, seed))
    save_pictures(root / "c", moving(12, 20, 20, seed))
    return root


def test_recordings_are_known_by_their_frames(tmp_path):
    one = of(settings(recordings(tmp_path / "one")))
    assert set(one.parts) == {"a.npy", "b.mp4", "c"} and len(set(one.parts.values())) == 3
    assert of(settings(recordings(tmp_path / "two"))) == one
    other = of(settings(recordings(tmp_path / "three", seed=1)))
    assert one.change(other) == "changed: a.npy, b.mp4, c"
    assert one.change(of(settings(tmp_path / "one", size=8))) == "changed: a.npy, b.mp4, c"
    speeds = np.ones((11, 1), np.float32)
    (tmp_path / "known").mkdir()
    for name in "ab":
        np.savez(tmp_path / "known" / f"{name}.npz", frames=moving(12, 10, 10), activity=speeds)
    known = of(settings(tmp_path / "known"))
    np.savez(tmp_path / "known" / "a.npz", frames=moving(12, 10, 10), activity=2 * speeds)
    assert known.change(of(settings(tmp_path / "known"))) == "changed: a.npz"


def test_the_hash_of_large_recordings_is_kept_in_the_cache(tmp_path, monkeypatch):
    config = settings(recordings(tmp_path / "one"))
    plain = of(config)
    monkeypatch.setattr(cache, "KEPT_FROM", 0)
    assert of(config) == plain
    kept = sorted((tmp_path / "cache").glob("*.sha256"))
    assert len(kept) == 3
    data = ffrl.data.load(config)
    monkeypatch.setattr(cache.FrameMap, "open", None)  # nothing is read a second time
    assert data.contents() == plain
    monkeypatch.undo()
    kept[0].write_text("damaged")
    assert of(config) == plain


@pytest.mark.parametrize("kind", ["values", "names", "share"])
def test_vectors_are_known_by_their_values(tmp_path, kind):
    root = tmp_path / "walks"
    root.mkdir()
    for number, name in enumerate("abcd"):
        text = "\n".join(f"{row[0]},{row[1]}" for row in np.random.default_rng(number).normal(size=(12, 2)))
        (root / f"{name}.csv").write_text(f"x,y\n{text}\n")
    config = DataConfig(name="vectors", root=root, num_steps=3)
    before = of(config)
    assert set(before.parts) == {"a.csv", "b.csv", "c.csv", "d.csv"} and of(config) == before
    if kind == "share":
        config = replace(config, vectors=replace(config.vectors, validation=0.6))
        assert before.change(of(config)) == "others held out"
        return
    for path in root.iterdir() if kind == "names" else [root / "b.csv"]:
        path.write_text(path.read_text().replace("x,y", "x,z") if kind == "names" else path.read_text() + "1,2\n")
    expected = "changed: a.csv, b.csv, c.csv and 1 others" if kind == "names" else "changed: b.csv"
    assert before.change(of(config)) == expected


def test_poses_digits_and_arrays_are_known(tmp_path):
    write_csv(tmp_path / "a.csv", [walk(30)])
    before = of(poses(tmp_path / "a.csv"))
    write_csv(tmp_path / "a.csv", [walk(30) + 1e-6])
    assert before.change(of(poses(tmp_path / "a.csv"))) is not None
    digits = of(DataConfig())
    assert digits == of(DataConfig(name="moving-mnist")) and digits.held_out == ""
    frames = np.random.default_rng(0).random((6, 4, 1, 8, 8), dtype=np.float32)
    first = contents(arrays(frames))
    assert first == contents(arrays(frames.copy())) and first.held_out
    assert first.change(contents(arrays(1 - frames))) == "changed: frames"
    walks = np.random.default_rng(0).normal(size=(6, 5, 2))
    assert contents(vectors(walks)) == contents(vectors(list(walks), num_steps=4))
    assert set(contents(vectors(walks)).parts) == {"values"}


def contents(data: SequenceData) -> Contents:
    found = data.contents()
    assert found is not None
    return found


def test_what_is_rendered_has_no_contents():
    assert ffrl.data.load(DataConfig(name="shapes3d", num_steps=7)).contents() is None


def test_every_kind_of_array_has_a_hash():
    assert digest(torch.zeros(2, dtype=torch.bfloat16)) != digest(torch.zeros(2, dtype=torch.float16))
    assert digest(torch.zeros(())) == digest(torch.zeros(())) != digest(torch.zeros(1))
    assert digest(np.zeros((4, 4))[:, ::2]) == digest(np.zeros((4, 2)))
    assert digest(torch.ones(3, dtype=torch.bool)) != digest(torch.zeros(3, dtype=torch.bool))
    assert digest("ab", "c") != digest("a", "bc")


@pytest.mark.parametrize("values", [None, {}, {"sha256": {"a": "x"}, "held_out": ""}, {"sha256": {}, "held_out": 1}])
def test_damage_of_hashes_is_one_line(values):
    with pytest.raises(UserError, match="^run.json: contents: found .*, expected sha256 by name, and held_out$"):
        Contents.read(values, "run.json: contents")
