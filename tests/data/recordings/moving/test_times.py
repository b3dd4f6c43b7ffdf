"""Frames by time: of videos whose rate varies those nearest to a regular grid; what has no times is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from recording_tools import flat, moving, save_animation, save_pictures, settings

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.find import open_recording
from ffrl.data.recordings.moving.times import at_rate


def save_timed(path: Path, milliseconds: np.ndarray) -> None:
    """A video of grey frames at given times, of which frame n has the level 10 + 4 n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1000)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 4_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(flat([(10 + 4 * number,) * 3])[0], format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def nearest(times: np.ndarray, rate: float) -> list[int]:
    """Numbers of the frames nearest to every instant, by comparing all of them."""
    due = times[0] + np.arange(int((times[-1] - times[0]) * rate + 1e-6) + 1) / rate
    return [int(np.abs(times - one).argmin()) for one in due]


@pytest.mark.parametrize("rate", [3.0, 7.5, 10.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_frames_are_the_nearest(rate: float, seed: int) -> None:
    times = np.random.default_rng(seed).uniform(0.005, 0.15, 80).cumsum()
    assert list(at_rate(((time, n) for n, time in enumerate(times)), rate, "a")) == nearest(times, rate)


@pytest.mark.parametrize("form", ["mkv", "mp4"])
def test_a_video_of_a_varying_rate(tmp_path: Path, form: str) -> None:
    gaps = np.random.default_rng(0).integers(20, 140, 50)
    times = np.concatenate([[0], gaps.cumsum()])
    save_timed(tmp_path / f"a.{form}", times)
    opened = open_recording(tmp_path / f"a.{form}", how=ClipsConfig(fps=8.0))
    levels = np.array([frame.mean() for frame in opened.frames])
    wanted = nearest(times / 1000, 8.0)
    assert np.rint((levels - 10) / 4).astype(int).tolist() == wanted
    assert opened.expected is not None and abs(opened.expected - len(wanted)) <= 2


def test_a_regular_video_at_its_own_rate_is_taken_whole(tmp_path: Path) -> None:
    save_timed(tmp_path / "a.mkv", np.rint(np.arange(40) * 1000 / 15))
    assert len(list(open_recording(tmp_path / "a.mkv", how=ClipsConfig(fps=15.0)).frames)) == 40
    (tmp_path / "r").mkdir()
    (tmp_path / "a.mkv").rename(tmp_path / "r" / "a.mkv")
    data = ClipSequences(settings(tmp_path / "r", fps=5.0))
    assert "1 recording with 14 frames" in data.about


@pytest.mark.parametrize(
    ("timed", "message"),
    [
        ([(0.0, 0), (None, 1)], "found no time of frame 2, expected times"),
        ([(0.0, 0), (0.2, 1), (0.1, 2)], "found frame 3 at 0.100 s after one at 0.200 s, expected times that grow"),
        ([(0.0, 0), (0.5, 1), (1.0, 2)], "found 3 frames in 1.00 s, expected as many as the 11 that are taken"),
    ],
)
def test_times_that_are_of_no_use(timed: list[tuple[float | None, int]], message: str) -> None:
    with pytest.raises(UserError, match=rf"^walk\.mp4: {message}.*--data\.sequences\.fps 10"):
        list(at_rate(timed, 10.0, "walk.mp4"))


def test_what_has_no_times_is_refused(tmp_path: Path) -> None:
    save_pictures(tmp_path / "folder", moving())
    np.save(tmp_path / "a.npy", moving())
    save_animation(tmp_path / "a.gif", moving())
    for name, found in (("folder", "a folder of pictures"), ("a.npy", "a file of type '.npy'"), ("a.gif", "a file")):
        with pytest.raises(UserError, match=rf"{name}: found {found}.*, which has no times, expected a video"):
            ClipSequences(settings(tmp_path / name, fps=5.0))


def test_a_rate_beside_a_stride_is_refused() -> None:
    with pytest.raises(UserError, match=r"^data\.sequences\.fps: found 5\.0, expected none beside data.sequences.stri"):
        ClipsConfig(fps=5.0, stride=2)
    with pytest.raises(UserError, match=r"^data\.sequences\.dense: found True, expected a data.sequences.stride above"):
        ClipsConfig(dense=True)
    with pytest.raises(UserError, match=r"^data\.sequences\.follow: found 1, expected 0, or a window of at least 2"):
        ClipsConfig(follow=1)
