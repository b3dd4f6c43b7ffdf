"""Every kind of finding has a small input that shows it, and nothing is found in data without fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from run_tools import within
from vector_systems import SYSTEMS

from ffrl.config import ClipsConfig, DataConfig
from ffrl.data import load
from ffrl.data.arrays import arrays, dataset
from ffrl.data.base import SequenceData
from ffrl.data.findings import inspect as inspection
from ffrl.data.findings.finding import Finding
from ffrl.data.findings.inspect import inspect
from ffrl.data.poses.sequences import poses
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.vectors.sequences import vectors

SIDE = 16


def kinds(data: SequenceData, fields: int | None = None) -> list[str]:
    """What is found, each kind once."""
    return list(dict.fromkeys(one.kind for one in inspect(data, fields).findings))


def walk(frames: int, seed: int = 0) -> np.ndarray:
    """A bright disc on a patterned ground, which wanders smoothly: ``(frames, SIDE, SIDE)`` bytes."""
    source = np.random.default_rng(seed)
    centre = 8 + 5 * np.sin(np.cumsum(source.uniform(0.05, 0.3, (frames, 2)), 0) + source.uniform(0, 6, 2))
    y, x = np.mgrid[:SIDE, :SIDE]
    apart = (y - centre[:, 0, None, None]) ** 2 + (x - centre[:, 1, None, None]) ** 2
    return (40 + source.integers(0, 60, (SIDE, SIDE)) + 150 * np.exp(-apart / 8)).astype(np.uint8)


def recordings(count: int = 6, frames: int = 60) -> list[np.ndarray]:
    return [walk(frames, seed) for seed in range(count)]


def files(folder: Path, every: list[np.ndarray], **settings: Any) -> ClipSequences:
    """Clips of recordings in files."""
    for number, one in enumerate(every):
        np.save(folder / f"r{number}.npy", one)
    clips = ClipsConfig(size=SIDE, cache=folder / "cache", **settings)
    return ClipSequences(DataConfig(name="sequences", root=folder, sequences=clips))


def test_nothing_is_found_without_fault(tmp_path: Path) -> None:
    found = inspect(files(tmp_path, recordings()), fields=9)
    assert found.findings == () and found.looked == "all 360 frames of 6 recordings"
    assert kinds(arrays(np.stack(recordings(60, 9))), fields=9) == []
    assert kinds(vectors(np.random.default_rng(0).normal(size=(600, 3)).cumsum(0))) == []


@pytest.mark.parametrize("name", ["mnist", "moving-mnist", "shapes3d"])
@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_generated_pictures_have_no_fault(name: str, protocol: str) -> None:
    data = load(DataConfig(name=name, num_steps=7, protocol=protocol))
    assert kinds(data, fields=9) == []
    made = data.mixed("train", torch.arange(50), torch.Generator().manual_seed(0))
    assert kinds(arrays(made.frames, made.activity), fields=9) == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_generated_vectors_have_no_fault(name: str) -> None:
    made = SYSTEMS[name](100, 0)
    assert kinds(vectors(made.values, made.activity), fields=9) == []


Change = Callable[[list[np.ndarray]], None]


def one_of(make: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(every: list[np.ndarray]) -> None:
        every[2] = make(every[2])

    return change


def copied(every: list[np.ndarray]) -> None:
    every[1:] = [every[0]] * (len(every) - 1)


def swapped(frames: np.ndarray) -> np.ndarray:
    return frames.reshape(-1, 2, SIDE, SIDE)[:, ::-1].reshape(frames.shape)


def blank(frames: np.ndarray) -> np.ndarray:
    return np.concatenate([frames[:40], np.full_like(frames[:20], 90)])


def resting(every: list[np.ndarray]) -> None:
    every[:] = [np.concatenate([one[:20], np.repeat(one[19:20], 40, 0)]) for one in every]


def mostly(every: list[np.ndarray]) -> None:
    every[:] = [one // 200 for one in every]


PICTURES = {
    "nearly black": (mostly, " and 5 other recordings: found no value above 1 of 255"),
    "blank frames": (one_of(blank), "r2.npy: found 33% of the frames looked at of a single colour"),
    "stands still": (one_of(lambda one: np.repeat(one[:1], 60, 0)), "r2.npy: found every frame looked at equal"),
    "clips without motion": (resting, "clips: found no motion in "),
    "out of order": (one_of(swapped), "r2.npy: found neighbouring frames swapped"),
    "cut": (one_of(lambda one: np.concatenate([one[:31], 255 - walk(29, 9)])), "r2.npy: found a cut at frame 32"),
    "copy": (copied, "found copies of others, such as r"),
    "copy across the split": (copied, "found a copy of r"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_what_looks_wrong_in_pictures(tmp_path: Path, kind: str) -> None:
    change, said = PICTURES[kind]
    every = recordings()
    change(every)
    found = {one.kind: str(one) for one in inspect(files(tmp_path, every)).findings}
    assert said in found[kind], found
    assert "copy" in kind or set(found) == {kind}


def test_a_single_file_has_its_name(tmp_path: Path) -> None:
    every = recordings()
    every[2] = swapped(every[2])
    np.save(tmp_path / "all.npy", np.stack(every)[..., None])
    clips = ClipsConfig(size=SIDE, cache=tmp_path / "cache")
    (found,) = inspect(ClipSequences(DataConfig(name="sequences", root=tmp_path / "all.npy", sequences=clips))).findings
    assert found.where == "all.npy[2]" and found.kind == "out of order"
    np.save(tmp_path / "one.npy", swapped(walk(320))[..., None])
    (found,) = inspect(ClipSequences(DataConfig(name="sequences", root=tmp_path / "one.npy", sequences=clips))).findings
    assert found.where == "one.npy"
    late = np.concatenate([walk(290), 255 - walk(30, 9)])
    np.save(tmp_path / "late.npy", late[..., None])
    (found,) = inspect(
        ClipSequences(DataConfig(name="sequences", root=tmp_path / "late.npy", sequences=clips))
    ).findings
    assert str(found).startswith("late.npy: found a cut at frame 291;")


def test_frames_that_are_shuffled(tmp_path: Path) -> None:
    every = recordings()
    every[2] = np.random.default_rng(0).permutation(every[2])
    (found,) = inspect(files(tmp_path, every)).findings
    assert str(found).startswith("r2.npy: found frames that look shuffled: in another order they differ ")


def test_a_rhythm_and_noise_are_in_order(tmp_path: Path) -> None:
    """Frames that come again, and frames that have no order, could both be put closer together, and are as they are."""
    every = recordings()
    every[1] = np.concatenate([every[1][:10], every[1][9::-1]] * 3)
    every[2] = np.random.default_rng(0).integers(0, 255, every[2].shape).astype(np.uint8)
    assert kinds(files(tmp_path, every)) == []


def test_range_own_is_not_nearly_black(tmp_path: Path) -> None:
    every = recordings()
    mostly(every)
    assert "nearly black" not in kinds(files(tmp_path, every, range="own"))


def test_arrays_of_zeros_and_ones() -> None:
    frames = (np.stack(recordings(60, 9)) > 127).astype(np.uint8)
    found = inspect(arrays(frames)).findings
    assert "white is 255 of bytes, 1 of floats" in str(found[0]) and "no value above 1 of 255" in str(found[0])
    assert kinds(arrays(frames.astype(np.float32))) == []


@pytest.mark.parametrize(
    ("names", "kind", "said"),
    [
        ([f"a{number:03}" for number in (*range(20), *range(30, 50))], "gap in numbers", "19 is followed by 30"),
        ([f"{letter}x" for letter in "abcdefghijklmnopqrst"], "names without numbers", "(ax.png)"),
        ([f"a{number}" for number in range(0, 100, 5)], None, ""),
        ([f"t{number**2}" for number in range(40)], None, ""),
        ([f"cam1_{number}" for number in range(40)], None, ""),
    ],
    ids=["gap", "letters", "every fifth", "times", "two numbers"],
)
def test_names_of_frames(tmp_path: Path, names: list[str], kind: str | None, said: str) -> None:
    for folder, seed in (("a", 0), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        for name, frame in zip(names if folder == "b" else range(40), walk(40, seed), strict=False):
            Image.fromarray(frame).save(tmp_path / folder / f"{name}.png")
    clips = ClipsConfig(size=SIDE, cache=tmp_path / "cache", hop=1)
    found = inspect(ClipSequences(DataConfig(name="sequences", root=tmp_path, sequences=clips))).findings
    assert [one.kind for one in found] == ([kind] if kind else [])
    assert not kind or (found[0].where == "b" and said in found[0].what)


def signals(count: int = 600) -> np.ndarray:
    source = np.random.default_rng(0)
    return np.stack([*source.normal(size=(2, count)).cumsum(1), np.cumsum(source.uniform(1, 9, count)) % 360], 1)


def constant(values: np.ndarray) -> None:
    values[:, 1] = 7
    values[[3, 500], 1] = 8


def minus(values: np.ndarray) -> None:
    values[40:43, 0] = -9999


def missing(values: np.ndarray) -> None:
    values[100:400, 1] = np.nan


def radians(values: np.ndarray) -> None:
    values[:, 2] *= np.pi / 180


VECTORS = {
    "constant feature": (constant, 360.0, "y: found one value in most vectors (7 in 99.7%)"),
    "outlier": (minus, 360.0, "x: found a value out of all proportion (-9999, while 99% are within"),
    "missing values": (missing, 360.0, "y: found missing in a large share of the vectors (50%)"),
    "angle outside a turn": (radians, 360.0, "heading: found a turn in radians (0"),
    "angle outside a turn in degrees": (None, 2 * np.pi, "heading: found a step of more than a turn (35"),
}


@pytest.mark.parametrize("case", VECTORS)
def test_what_looks_wrong_in_vectors(case: str) -> None:
    change, period, said = VECTORS[case]
    values = signals()
    (change or (lambda values: None))(values)
    data = vectors(values, features=("x", "y", "heading"), periodic={"heading": period})
    (found,) = inspect(data).findings
    assert found.kind in case and said in str(found)


def test_angles_that_go_on_beyond_a_turn_are_angles() -> None:
    values = signals()
    values[:, 2] = np.unwrap(values[:, 2], period=360)
    assert values[:, 2].max() > 1000
    assert kinds(vectors(values, features=("x", "y", "heading"), periodic={"heading": 360.0})) == []


def test_points_that_are_missing() -> None:
    points = np.random.default_rng(0).normal(size=(600, 3, 2)).cumsum(0)
    points[:350, 1] = np.nan
    (found,) = inspect(poses(points, nodes=("tail", "paw", "head"))).findings
    assert found.kind == "missing points" and found.where == "point paw" and "58%" in found.what


def test_copies_of_vectors_across_the_split() -> None:
    walks = np.random.default_rng(0).normal(size=(60, 9, 2)).cumsum(1)
    walks[50:] = walks[:10]
    data = vectors(walks[:50], validation=walks[50:])
    assert kinds(data) == ["copy across the split"]


def test_few_sequences_and_many_fields() -> None:
    assert kinds(arrays(np.stack(recordings(20, 9))), fields=17) == ["few sequences", "many fields"]
    assert kinds(load(DataConfig()), fields=100_000) == ["many fields"]


def test_large_sets_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.repeat(np.stack(recordings(8, 64))[:, None], 40, 1).reshape(-1, 64, SIDE, SIDE)
    frames += np.arange(len(frames), dtype=np.uint8)[:, None, None, None] // 8
    monkeypatch.setattr(inspection, "BUDGET", 50 * 64 * SIDE * SIDE)
    data = arrays(frames)
    with within(4 * 64 * SIDE * SIDE * 50):
        found = inspect(data)
    assert found.looked == "3,200 of 20,480 frames, in 50 of 320 recordings"


def test_a_dataset_is_asked_for_few_clips_and_its_random_numbers_stay() -> None:
    asked = []

    class Drawn:
        def __len__(self) -> int:
            return 5000

        def __getitem__(self, index: int) -> torch.Tensor:
            asked.append(index)
            return torch.from_numpy(walk(9, index)) + torch.randint(0, 3, (9, 1, 1), dtype=torch.uint8)

    data = dataset(Drawn())
    state = torch.get_rng_state()
    assert kinds(data) == [] and torch.equal(torch.get_rng_state(), state)
    assert 50 < len(set(asked)) <= 101 and len(asked) < 1000


def test_a_finding_is_kept_as_it_was() -> None:
    one = Finding("cut", "a.mp4", "a cut at frame 7", "divide it")
    assert Finding.read(one.plain(), "run.json") == one
