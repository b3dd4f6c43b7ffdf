"""Animations hold the frames they are given, as long as they are given, and repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from ffrl.core.errors import UserError
from stf.plot.drawing.animation import encode_animation, write_animation

RNG = np.random.default_rng(0)
FEW = RNG.permutation(240).reshape(5, 8, 6, 1).repeat(3, -1).astype(np.uint8)
FEW[..., 1] //= 2
MANY = RNG.integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)


def shown(path: Path) -> tuple[np.ndarray, list[float], int | None]:
    """Frames, seconds of each, and how often it repeats (0: for ever)."""
    with Image.open(path) as image:
        frames = [(np.asarray(one.convert("RGB")), one.info["duration"]) for one in ImageSequence.Iterator(image)]
        loop = image.info.get("loop")
    return np.stack([frame for frame, _ in frames]), [duration / 1000 for _, duration in frames], loop


@pytest.mark.parametrize("suffix", [".gif", ".png", ".GIF"])
def test_few_colours_are_kept_exactly_and_enlarged_in_squares(tmp_path: Path, suffix: str) -> None:
    path = write_animation(FEW, tmp_path / f"a{suffix}", [0.1, 0.2, 0.3, 0.4, 1.5], zoom=3)
    frames, seconds, loop = shown(path)
    assert np.array_equal(frames, FEW.repeat(3, 1).repeat(3, 2))
    assert seconds == pytest.approx([0.1, 0.2, 0.3, 0.4, 1.5]) and loop == 0
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_many_colours_are_exact_in_a_png_and_near_in_a_gif(tmp_path: Path) -> None:
    exact = shown(write_animation(MANY, tmp_path / "a.png"))[0]
    near = shown(write_animation(MANY, tmp_path / "a.gif"))[0]
    assert np.array_equal(exact, MANY)
    assert 0 < np.abs(near.astype(int) - MANY).mean() < 15


def test_fractions_are_bytes(tmp_path: Path) -> None:
    frames = [np.full((4, 4, 3), value) for value in (0.0, 0.5, 1.0, 1.7)]
    drawn, _, _ = shown(write_animation(frames, tmp_path / "a.png", 0.25))
    assert drawn[:3, 0, 0, 0].tolist() == [0, 128, 255] and drawn.max() == 255
    seconds = shown(write_animation(frames[:2], tmp_path / "b.gif", 0.333))[1]
    assert seconds == pytest.approx([0.33, 0.33])


def test_one_frame_is_a_picture(tmp_path: Path) -> None:
    for suffix in (".gif", ".png"):
        path = write_animation(FEW[:1], tmp_path / f"a{suffix}")
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), FEW[0])


def test_the_same_frames_give_the_same_bytes() -> None:
    for name in ("a.gif", "a.png"):
        assert encode_animation(MANY, Path(name)) == encode_animation(MANY.astype(float) / 255, Path(name))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.mp4: found the ending '\.mp4', expected \.gif or \.png"):
        write_animation(FEW, tmp_path / "a.mp4")
    with pytest.raises(UserError, match="^cannot write "):
        write_animation(FEW, tmp_path / "missing" / "a.gif")
    for frames in ([], [FEW[0], MANY[0]], [FEW[0][..., 0]], [FEW[0][..., :2]]):
        with pytest.raises(ValueError, match="expected"):
            write_animation(frames, tmp_path / "a.gif")
    with pytest.raises(ValueError, match="expected 1 or 5 durations, found 2"):
        write_animation(FEW, tmp_path / "a.gif", [1.0, 2.0])
    assert list(tmp_path.iterdir()) == []
