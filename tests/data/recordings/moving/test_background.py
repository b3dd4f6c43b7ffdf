"""Static backgrounds: exact on scenes whose background is known, and never more than some frames in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recording_tools import save_pictures, save_video, settings

from ffrl.core.errors import UserError
from ffrl.data.on_device import on_device
from ffrl.data.recordings.cache import cache_file, static_file
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.moving.background import background, evenly, median
from ffrl.data.static import changes, restored


def scene(count: int = 60, size: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames ``(count, size, size, 3)`` of a bright square that crosses a background of noise, and the background."""
    behind = np.random.default_rng(seed).integers(0, 200, (size, size, 3), dtype=np.uint8)
    frames = np.repeat(behind[None], count, 0)
    for t in range(count):
        frames[t, 4:8, t % (size - 3) : t % (size - 3) + 4] = 255
    return frames, behind


def test_the_background_of_a_scene_is_exact() -> None:
    frames, behind = scene()
    assert np.array_equal(background(iter(frames)), behind)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9])
def test_the_median_is_that_of_sorted_values(count: int) -> None:
    frames = np.random.default_rng(count).integers(0, 256, (count, 70, 3, 3), dtype=np.uint8)
    assert np.array_equal(median(frames), np.sort(frames, 0)[(count - 1) // 2])


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 1000])
def test_a_sample_is_even_and_bounded(count: int) -> None:
    kept = evenly((np.array([[[n % 256, n // 256]]], np.uint8) for n in range(count)), most=8)
    numbers = kept[:, 0, 0, 0] + 256 * kept[:, 0, 0, 1].astype(int)
    assert numbers[0] == 0 and (len(numbers) == count if count <= 8 else 4 < len(numbers) <= 8)
    assert len(set(np.diff(numbers))) <= 1


def test_large_frames_are_fewer() -> None:
    frames = (np.zeros((100, 100, 3), np.uint8) for _ in range(100))
    assert len(evenly(frames, most_bytes=12 * 30_000)) in range(7, 13)
    assert len(evenly((np.zeros((100, 100, 3), np.uint8) for _ in range(100)), most_bytes=1)) in range(5, 10)


def test_frames_are_changes_from_the_background_of_their_own_recording(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    scenes = [scene(40, seed=seed) for seed in range(3)]
    np.save(tmp_path / "r" / "a.npy", np.stack([frames for frames, _ in scenes]))
    plain = ClipSequences(settings(tmp_path / "r", size=16))
    data = ClipSequences(settings(tmp_path / "r", size=16, static="median"))
    assert plain.static is None and data.static is not None and data.static.background is None
    for split in ("train", "validation"):
        rows = torch.arange(data.size(split))
        found, frames = (one.mixed(split, rows).frames for one in (data, plain))
        for clip, true in zip(found, frames, strict=True):
            behind = true - (2 * clip - 1)
            assert (behind - behind[:1]).abs().max() < 1e-6
            known = [torch.from_numpy(one).movedim(-1, 0) / 255 for _, one in scenes]
            assert min((behind[0] - one).abs().max().item() for one in known) < 1e-6
    moved = on_device(data, "cpu").static
    assert moved is not None and moved.spread.shape == (3, 16, 16)


def test_the_spread_is_the_root_mean_square_of_what_is_trained_on(tmp_path: Path) -> None:
    frames, behind = scene(60)
    save_pictures(tmp_path / "walk", frames)
    data = ClipSequences(settings(tmp_path / "walk", size=16, static="median", hop=4))
    assert data.static is not None and data.static.background is not None
    assert torch.equal(data.static.background, torch.from_numpy(behind).movedim(-1, 0) / 255)
    trained = frames[: 4 * data.size("train")].astype(np.float64) / 255
    wanted = np.sqrt(np.square(trained - behind / 255).mean(0)).transpose(2, 0, 1)
    assert np.abs(data.static.spread.numpy() - wanted).max() < 1e-6
    batch = data.mixed("validation", torch.arange(1))
    shown = restored(batch.frames, data.static.background)
    assert torch.allclose(changes(shown, data.static.background), batch.frames)


def test_backgrounds_are_kept_beside_the_frames(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    save_video(tmp_path / "r" / "a.mp4", scene(30, 48)[0])
    config = settings(tmp_path / "r", size=16, static="median")
    first = ClipSequences(config)
    file = static_file(cache_file(tmp_path / "r" / "a.mp4", config.sequences))
    written = file.stat().st_mtime_ns
    assert np.load(file).shape == (1, 1, 3, 16, 16)
    again = ClipSequences(config)
    assert file.stat().st_mtime_ns == written
    rows = torch.arange(2)
    known = first.mixed("train", rows).frames
    assert torch.equal(known, again.mixed("train", rows).frames)
    file.write_bytes(file.read_bytes()[:-5])
    assert torch.equal(ClipSequences(config).mixed("train", rows).frames, known)


def test_the_background_of_an_unwritable_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    np.save(tmp_path / "r" / "a.npy", scene(40)[0])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^data\.sequences\.cache: found .*file/in, which cannot be written"):
        ClipSequences(settings(tmp_path / "r", size=16, static="median", cache=tmp_path / "file" / "in"))
