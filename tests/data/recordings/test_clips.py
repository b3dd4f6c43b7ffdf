"""Clips of a user's own recordings: their pixels, their places, and splits that share nothing."""

from __future__ import annotations

import threading
from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from recording_tools import by_hand, flat, moving, save_pictures, save_video, settings
from scipy.spatial.distance import cdist

import ffrl.data
from ffrl.core.errors import UserError
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.split import border_in_time, clip_count, held_out

GENERATOR = torch.Generator().manual_seed(0)


def all_clips(data: ClipSequences, split: str) -> np.ndarray:
    """Every clip of ``split`` as bytes."""
    frames = data.mixed(split, torch.arange(data.size(split)), GENERATOR).frames
    return (frames * 255).round().to(torch.uint8).numpy()


def numbered(root: Path, counts: list[int], name: str = "{}.npy") -> None:
    """Recordings of 10 x 10 in which frame f of recording r is red = r, green = f."""
    root.mkdir()
    for recording, count in enumerate(counts):
        frames = np.zeros((count, 10, 10, 3), np.uint8)
        frames[..., 0], frames[..., 1] = recording, np.arange(count)[:, None, None]
        np.save(root / name.format(recording), frames)


def places(data: ClipSequences, split: str) -> np.ndarray:
    """Recording and frame number of every frame of every clip, ``(clips, T+1, 2)``."""
    clips = all_clips(data, split)
    assert (clips[:, :, :2] == clips[:, :, :2, :1, :1]).all()
    return clips[:, :, :2, 0, 0].astype(int)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("hop", [0, 1, 5])
def test_the_pixels_of_every_clip(tmp_path: Path, stride: int, hop: int) -> None:
    root, recordings = tmp_path / "walks", [moving(30 + 2 * number, seed=number) for number in range(4)]
    for number, frames in enumerate(recordings):
        save_pictures(root / f"walk {number}", frames)
    data = ClipSequences(settings(root, num_steps=3, stride=stride, hop=hop))
    assert data.image_shape == (3, 10, 10) and data.title == "sequences of walks" and data.streamed
    found = np.concatenate([all_clips(data, split) for split in ("train", "validation")])
    wanted = []
    for frames in recordings:
        prepared = by_hand(frames, 10, stride)
        starts = range(0, len(prepared) - 3, hop or 2)
        wanted += [prepared[start : start + 4] for start in starts]
    assert len(found) == len(wanted)
    distance = cdist(found.reshape(len(found), -1), np.reshape(wanted, (len(wanted), -1)), "chebyshev")
    assert sorted(distance.argmin(1)) == list(range(len(wanted))) and distance.min(1).max() <= 1


def test_what_a_batch_holds(tmp_path: Path) -> None:
    numbered(tmp_path / "r", [40, 40, 40])
    data = ClipSequences(settings(tmp_path / "r", num_steps=6))
    indices = torch.tensor([3, 0, 3, 5])
    batch = data.mixed("train", indices, GENERATOR)
    assert batch.frames.shape == (4, 7, 3, 10, 10) and batch.frames.dtype == torch.float32
    assert batch.activity.shape == (4, 6, 0)
    again = data.mixed("train", indices, torch.Generator().manual_seed(9)).frames
    assert torch.equal(batch.frames, again) and torch.equal(batch.frames[0], batch.frames[2])
    assert torch.equal(data.images("train", indices), batch.frames[:, 0])
    assert torch.equal(data.stills("train", indices, 3, GENERATOR), batch.frames[:, [0, 3, 6]])
    exact = torch.arange(256, dtype=torch.float32) / 255
    assert torch.isin(batch.frames, exact).all()
    assert data.mixed("train", indices[:0], GENERATOR).frames.shape == (0, 7, 3, 10, 10)


def test_stills_read_no_other_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(tmp_path / "r", [40, 40])
    data, read = ClipSequences(settings(tmp_path / "r", num_steps=6)), []
    for found in data._maps:
        real = type(found).read
    monkeypatch.setattr(type(found), "read", lambda self, mapped, n: read.append(n.shape) or real(self, mapped, n))
    data.stills("train", torch.tensor([0, 1]), 3, GENERATOR)
    assert read == [(2, 3)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_recordings_are_never_shared_by_splits(tmp_path: Path, stride: int, share: float) -> None:
    numbered(tmp_path / "r", [30, 9, 60, 24, 45, 12, 33])
    data = ClipSequences(settings(tmp_path / "r", stride=stride, validation=share))
    train, validation = (places(data, split) for split in ("train", "validation"))
    for clips in (train, validation):
        assert (clips[:, :1, 0] == clips[..., 0]).all(), "every clip lies in one recording"
        assert (np.diff(clips[..., 1], axis=1) == stride).all()
    assert not set(train[..., 0].ravel()) & set(validation[..., 0].ravel())
    assert abs(len(validation) / (len(train) + len(validation)) - share) < 0.04
    again = ClipSequences(settings(tmp_path / "r", stride=stride, validation=share))
    assert np.array_equal(places(again, "validation"), validation)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("count", [24, 61, 100])
def test_a_single_recording_is_divided_in_time(tmp_path: Path, stride: int, count: int) -> None:
    numbered(tmp_path / "r", [count])
    data = ClipSequences(settings(tmp_path / "r" / "0.npy", stride=stride, hop=1))
    assert data.title == "sequences of 0.npy"
    train, validation = (places(data, split)[..., 1] for split in ("train", "validation"))
    assert train.max() < validation.min() and len(train) and len(validation)
    assert train.min() == 0 and validation.max() == (count - 1) // stride * stride
    assert (np.diff(train, axis=1) == stride).all() and (np.diff(validation, axis=1) == stride).all()


def test_arrays_of_recordings_are_split_by_recording(tmp_path: Path) -> None:
    frames = np.zeros((10, 8, 10, 10, 3), np.uint8)
    frames[..., 0], frames[..., 1] = np.arange(10)[:, None, None, None], np.arange(8)[:, None, None]
    (tmp_path / "r").mkdir()
    np.savez(tmp_path / "r" / "a.npz", frames)
    with h5py.File(tmp_path / "r" / "b.h5", "w") as file:
        file["frames"] = frames.transpose(0, 1, 4, 2, 3) + np.array([10, 0, 0], np.uint8)[:, None, None]
    data = ClipSequences(settings(tmp_path / "r", stride=2, hop=1))
    train, validation = (places(data, split) for split in ("train", "validation"))
    assert len(train) == 16 and len(validation) == 4, "one clip of four frames in each of twenty recordings"
    both = np.concatenate([train, validation])
    assert sorted(both[:, 0, 0]) == list(range(20)) and (both[..., 1] == [0, 2, 4, 6]).all()
    assert not set(train[:, 0, 0]) & set(validation[:, 0, 0])


def test_videos(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    for name, blue in (("a.mp4", 20), ("b.avi", 120), ("c.mkv", 220)):
        save_video(tmp_path / "r" / name, flat([(10 * frame, 0, blue) for frame in range(24)]))
    data = ClipSequences(settings(tmp_path / "r", stride=2, num_steps=5, size=16))
    assert data.size("train") + data.size("validation") == 3 * 3
    for split in ("train", "validation"):
        colours = all_clips(data, split).mean((-2, -1))
        assert np.abs(colours[..., 2] - colours[:, :1, 2]).max() < 12 and np.diff(colours[..., 0], axis=1).min() > 10


def test_the_split_is_as_near_as_any_and_depends_on_names_alone() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        size = int(rng.integers(2, 9))
        clips, share = rng.integers(1, 40, size).tolist(), float(rng.uniform(0.05, 0.95))
        names = [f"{number}" for number in rng.permutation(100)[:size]]
        chosen = held_out(names, clips, share)
        assert chosen == sorted(set(chosen)) and 0 < len(chosen) < size
        sums = [sum(s) for n in range(1, size) for s in combinations(clips, n)]
        target = round(share * sum(clips))
        found = abs(sum(clips[i] for i in chosen) - target)
        assert found == min(abs(s - target) for s in sums), (clips, share, chosen)
    names, clips = [f"walk {n}.mp4" for n in range(50)], [10] * 50
    chosen, order = {names[i] for i in held_out(names, clips, 0.2)}, rng.permutation(50)
    shuffled = [names[i] for i in order]
    assert {shuffled[i] for i in held_out(shuffled, clips, 0.2)} == chosen and len(chosen) == 10
    assert chosen not in (set(names[:10]), set(sorted(names)[:10]))


def test_many_recordings_are_split_at_once() -> None:
    clips = np.random.default_rng(0).integers(1, 500, 2000).tolist()
    chosen = held_out([f"{n}" for n in range(2000)], clips, 0.2)
    assert sum(clips[i] for i in chosen) == round(0.2 * sum(clips))


def test_the_border_in_time_is_as_near_as_any() -> None:
    for frames, length, hop, share in ((18, 9, 4, 0.2), (100, 9, 4, 0.2), (57, 5, 1, 0.4), (200, 3, 7, 0.05)):
        border = border_in_time(frames, length, hop, share, "a")
        wrong = {}
        for b in range(length, frames - length + 1):
            train = len(range(0, b - length + 1, hop))
            validation = len(range(b, frames - length + 1, hop))
            wrong[b] = abs(validation / (train + validation) - share)
        assert wrong[border] == min(wrong.values())
    assert clip_count(9, 9, 4) == 1 and clip_count(13, 9, 4) == 2 and clip_count(3, 9, 4) == 0


def spoilt(root: Path) -> None:
    """Four good recordings, and five that cannot be used."""
    numbered(root, [20, 20, 20, 20], "good {}.npy")
    numbers = np.zeros((9, 10, 10), np.float32)
    numbers[5] = np.nan
    np.save(root / "nan.npy", numbers)
    np.save(root / "short.npy", np.zeros((3, 10, 10), np.uint8))
    (root / "empty.npz").touch()
    save_pictures(root / "single", moving(1))
    save_video(root / "cut.mp4", np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8))
    (root / "cut.mp4").write_bytes((root / "cut.mp4").read_bytes()[:5000])


def test_broken_recordings_are_refused_in_one_line(tmp_path: Path) -> None:
    spoilt(tmp_path / "r")
    seen = set()
    while True:
        try:
            data = ClipSequences(settings(tmp_path / "r"))
        except UserError as error:
            line = str(error)
            assert "\n" not in line and line.endswith("; --data.sequences.broken skip goes on without it")
            (path,) = [path for path in (tmp_path / "r").iterdir() if line.startswith(f"{path}: ")]
            seen.add(path.name)
            path.rename(tmp_path / path.name)
        else:
            break
    assert seen == {"nan.npy", "short.npy", "empty.npz", "single", "cut.mp4"}
    assert data.about.startswith("4 recordings with 80 frames: 27 train clips of 3, 9 validation clips of 1; 4 frames")


def test_broken_recordings_are_skipped_and_each_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    spoilt(tmp_path / "r")
    (tmp_path / "r" / "notes.txt").touch()
    data = ClipSequences(settings(tmp_path / "r", broken="skip"))
    assert data.size("train") + data.size("validation") == 36
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: skipped ")]
    reasons = {
        "nan.npy": "100 NaN among 900 values",
        "short.npy": "found 3 frames, expected at least 4, one clip of T + 1",
        "empty.npz": "found an empty file, expected an .npz file",
        "single": "found 1 picture (0.png) as a recording",
        "cut.mp4": "expected a video",
    }
    assert len(warnings) == len(reasons)
    for name, reason in reasons.items():
        (line,) = [line for line in warnings if f"{tmp_path / 'r' / name}: " in line]
        assert reason in line and line.removeprefix("warning: skipped ") in data.about
    assert "skipped 5: " in data.about and data.about.endswith("; 1 files of other kinds")


def test_nothing_left_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "a.npz").touch()
    with pytest.raises(UserError, match=r"^data.root: found nothing usable in .* \(1 broken\)"):
        ClipSequences(settings(tmp_path / "r", broken="skip"))
    with pytest.raises(UserError, match="^data.root: found none"):
        ffrl.data.load(settings(tmp_path / "r").__class__(name="sequences"))


def test_clips_too_long_for_a_recording_name_its_stride(tmp_path: Path) -> None:
    numbered(tmp_path / "r", [20, 11])
    with pytest.raises(UserError, match=r"1\.npy: found 4 frames after a stride of 3, expected at least 5"):
        ClipSequences(settings(tmp_path / "r", num_steps=4, stride=3))
    with pytest.raises(UserError, match=r"0\.npy: found one recording with 20 frames, expected at least 22, two clips"):
        ClipSequences(settings(tmp_path / "r" / "0.npy", num_steps=10))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_vectors_are_no_pictures(tmp_path: Path, suffix: str) -> None:
    path, vectors = tmp_path / f"a{suffix}", np.random.default_rng(0).random((200, 50, 20), dtype=np.float32)
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["frames"] = vectors
    else:
        {".npy": np.save, ".npz": np.savez}[suffix](path, vectors)
    with pytest.raises(UserError) as error:
        ClipSequences(settings(path, size=64))
    line = str(error.value)
    assert (
        line.startswith(f"{path}: ") and "\n" not in line and "found an array of shape (200, 50, 20), vectors" in line
    )
    assert "expected 64 x 64 pixels or more (if these are pictures: --data.sequences.size 20 or less)" in line
    assert ClipSequences(settings(path, size=20)).image_shape == (3, 20, 20)


def test_questions_that_have_no_answer(tmp_path: Path) -> None:
    numbered(tmp_path / "r", [20, 20])
    data = ffrl.data.load(settings(tmp_path / "r"))
    assert isinstance(data, ClipSequences) and data.transformations == data.unit_steps == ()
    with pytest.raises(UserError, match="'test', expected 'train' or 'validation'"):
        data.size("test")
    with pytest.raises(UserError, match="sequences of r, whose transformations are not known"):
        data.single("train", torch.tensor([0]), torch.tensor([0]))
    for index in (-1, data.size("train")):
        with pytest.raises(IndexError):
            data.mixed("train", torch.tensor([index]), GENERATOR)


def test_a_cache_inside_the_folder_of_recordings_is_no_recording(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_pictures(tmp_path / "r" / name, moving(12))
    for _ in range(2):
        data = ClipSequences(settings(tmp_path / "r", cache=tmp_path / "r" / "cache"))
        assert data.about.startswith("2 recordings with 24 frames") and (tmp_path / "r" / "cache").is_dir()
    again = ClipSequences(settings(tmp_path / "r" / "cache", cache=tmp_path / "r" / "cache"))
    assert again.about.startswith("2 recordings with 24 frames"), "what is prepared can be opened on its own"


def test_more_recordings_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffrl.data.recordings.clips.MAPPED_FILES", 3)
    numbered(tmp_path / "r", [9] * 20)
    data = ClipSequences(settings(tmp_path / "r", num_steps=8))
    both = np.concatenate([places(data, "train"), places(data, "validation")])
    assert sorted(both[:, 0, 0]) == list(range(20))
    assert data._open.cache_info().currsize == 3


def test_threads_may_read_at_once(tmp_path: Path) -> None:
    numbered(tmp_path / "r", [40] * 6)
    data, wrong = ClipSequences(settings(tmp_path / "r")), []
    indices = torch.arange(data.size("train"))
    wanted = data.mixed("train", indices, GENERATOR).frames

    def read() -> None:
        for _ in range(10):
            if not torch.equal(data.mixed("train", indices, GENERATOR).frames, wanted):
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
