"""Windows that follow what moves: within a pixel of it, inside the picture, with their part of the background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recording_tools import settings
from scipy.ndimage import gaussian_filter1d

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.moving.follow import centre, corners, smoothed
from ffrl.data.recordings.moving.following import following


def walk(count: int = 80, height: int = 60, width: int = 90) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames of a disk that walks over noise, the background, and the true centres ``(count, 2)``."""
    behind = np.random.default_rng(1).integers(60, 120, (height, width, 3), dtype=np.uint8)
    t = np.arange(count) / count
    places = np.stack([30 + 12 * np.sin(2 * np.pi * t), 12 + 66 * t], 1)
    grid = np.stack(np.mgrid[:height, :width], -1)
    frames = np.repeat(behind[None], count, 0)
    for frame, place in zip(frames, places, strict=True):
        frame[((grid - place) ** 2).sum(-1) <= 25] = 255
    return frames, behind, places


def test_centres_are_within_a_pixel() -> None:
    frames, behind, places = walk()
    found = np.array([centre(frame, behind) for frame in frames])
    assert np.abs(found - places).max() < 1


def test_windows_are_around_what_moves_and_have_their_background(tmp_path: Path) -> None:
    frames, behind, places = walk()
    np.save(tmp_path / "a.npy", frames)
    shown = list(following(tmp_path / "a.npy", ClipsConfig(follow=20, follow_smooth=1.0)))
    assert len(shown) == len(frames)
    for one, frame, place in zip(shown, frames, places, strict=True):
        assert one.frame.shape == one.background.shape == (20, 20, 3)
        wanted = (place - 9.5).clip(0, (40, 70))
        fits = [
            (top, left)
            for top in range(41)
            for left in range(71)
            if np.array_equal(behind[top : top + 20, left : left + 20], one.background)
        ]
        assert len(fits) == 1 and np.abs(np.array(fits[0]) - wanted).max() <= 1.5
        ((top, left),) = fits
        assert np.array_equal(frame[top : top + 20, left : left + 20], one.frame)


def test_smoothing_is_a_gaussian() -> None:
    way = np.random.default_rng(0).normal(size=(50, 2)).cumsum(0)
    inside = slice(15, -15)
    wanted = gaussian_filter1d(way, 3.0, axis=0, truncate=4.0)
    assert np.allclose(smoothed(way, 3.0, "a")[inside], wanted[inside])
    assert np.allclose(smoothed(np.full((9, 2), 4.0), 2.0, "a"), 4.0)
    missing = way.copy()
    missing[10:12] = np.nan
    assert np.allclose(smoothed(missing, 0.0, "a")[10], way[9] + (way[12] - way[9]) / 3)


def test_windows_stay_inside() -> None:
    found = corners(np.array([[-50.0, 300.0], [10.0, 10.0]]), 8, 20, 30, "a")
    assert found.tolist() == [[0, 22], [7, 7]]


def test_clips_are_changes_of_windows(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    frames, _, _ = walk()
    np.save(tmp_path / "r" / "a.npy", np.stack([frames, frames[:, ::-1], frames[:, :, ::-1]]))
    data = ClipSequences(settings(tmp_path / "r", size=10, follow=20, static="median", hop=1))
    plain = ClipSequences(settings(tmp_path / "r", size=10, follow=20, hop=1))
    found, shown = (one.mixed("train", torch.arange(one.size("train"))).frames for one in (data, plain))
    apart = (2 * found - 1).abs().mean((2, 3, 4))
    assert data.size("train") == 2 * 77 and apart.min() > 0.03, "the disk is in every window"
    assert found.min() >= 0 and found.max() <= 1 and shown.max() > 0.95
    edge = (2 * found - 1)[..., [0, -1], :].abs()
    assert edge.mean() < 0.03, "beside it is the background alone"
    assert data.static is not None and data.static.background is None


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((20, 30, 30), np.uint8), "found nothing that moves, expected something to follow"),
        (walk()[0][:20, 22:40], r"found a window of 20 pixels, expected at most 18, the smaller side of 90 x 18"),
    ],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, frames: np.ndarray, message: str) -> None:
    (tmp_path / "r").mkdir()
    np.save(tmp_path / "r" / "a.npy", frames)
    with pytest.raises(UserError, match=rf"a\.npy: {message}"):
        ClipSequences(settings(tmp_path / "r", size=10, follow=20))
    assert not list((tmp_path / "cache").glob("*.npy"))
    np.save(tmp_path / "r" / "b.npy", walk()[0])
    data = ClipSequences(settings(tmp_path / "r", size=10, follow=20, broken="skip"))
    assert "skipped 1" in data.about
