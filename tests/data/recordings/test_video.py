"""Video files: number and colours of their frames, uprightness, and one clear line for everything that is broken."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from recording_tools import flat, save_video

from ffrl.core.errors import UserError
from ffrl.data.recordings.find import BrokenRecording, open_recording
from ffrl.data.recordings.video import video_frames, video_length

COLOURS = [(220, 30, 30), (30, 200, 40), (40, 40, 210), (230, 230, 60), (128, 128, 128), (250, 250, 250)]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mpeg4"), ("a.mov", "mpeg4"), ("a.avi", "mpeg4"), ("a.mkv", "mpeg4"), ("a.webm", "libvpx")],
)
def test_every_frame_is_there_in_its_colour(tmp_path: Path, name: str, codec: str) -> None:
    sent = flat(COLOURS * 3)
    save_video(tmp_path / name, sent, codec)
    frames = list(video_frames(tmp_path / name))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 18
    assert np.abs(np.float32(frames).mean((1, 2)) - sent[:, 0, 0]).max() < 12
    assert video_length(tmp_path / name) == 18


def test_a_stride_takes_every_nth_frame(tmp_path: Path) -> None:
    save_video(tmp_path / "a.mp4", flat(COLOURS * 3))
    opened = open_recording(tmp_path / "a.mp4", stride=4)
    frames = np.float32(list(opened.frames)).mean((1, 2))
    wanted = np.float32((COLOURS * 3)[::4])
    assert opened.expected == len(wanted) == 5 and frames.shape == wanted.shape
    assert np.abs(frames - wanted).max() < 12


def test_videos_of_phones_are_turned_upright(tmp_path: Path) -> None:
    frames = flat([(0, 0, 0)] * 3)
    frames[:, :24] = (220, 30, 30)  # the upper half
    save_video(tmp_path / "a.mp4", frames)
    data = (tmp_path / "a.mp4").read_bytes()
    straight, to_the_right = ([65536, 0, 0, 0, 65536, 0], [0, 65536, 0, -65536, 0, 0])
    place = data.index(np.array(straight, ">i4").tobytes(), data.index(b"tkhd"))
    turned = np.array(to_the_right, ">i4").tobytes()
    (tmp_path / "b.mp4").write_bytes(data[:place] + turned + data[place + len(turned) :])
    for frame in video_frames(tmp_path / "b.mp4"):
        assert frame.shape == (64, 48, 3)
        assert frame[:, 26:, 0].min() > 190 and frame[:, :22].max() < 30


def test_transparent_videos_are_refused(tmp_path: Path) -> None:
    for name, alpha in (("opaque.mov", 255), ("clear.mov", 99)):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("qtrle", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "argb"
            for _ in range(3):
                pixels = np.full((48, 64, 4), alpha, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
            container.mux(stream.encode())
    assert [frame.shape for frame in open_recording(tmp_path / "opaque.mov").frames] == [(48, 64, 3)] * 3
    refuse(tmp_path / "clear.mov", "transparent pixels in frame 1")


def refuse(path: Path, *parts: str) -> str:
    with pytest.raises(BrokenRecording) as error:
        list(open_recording(path).frames)
    line = str(error.value)
    assert line.startswith(str(path)) and "\n" not in line and all(part in line for part in parts), line
    return line


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_video_that_is_cut_short_names_the_frame(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 6, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    save_video(tmp_path / "a.mp4", noise, movflags="faststart")
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: int(share * len(data))])
    line = refuse(tmp_path / "a.mp4", "found damaged data after frame ", "expected a whole video")
    assert 40 * share - 12 <= int(line.partition("after frame ")[2].split()[0]) <= 40 * share + 2


def test_a_video_that_ends_between_two_frames_is_noticed(tmp_path: Path) -> None:
    save_video(tmp_path / "a.mkv", flat(COLOURS * 10))
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data[: len(data) // 2])
    refuse(tmp_path / "a.mkv", "after frame", "of 6.00 s")


def test_spoilt_videos_are_one_line_or_frames(tmp_path: Path) -> None:
    save_video(tmp_path / "a.avi", flat(COLOURS * 3))
    data, rng = (tmp_path / "a.avi").read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        spoilt = bytearray(data)
        for place in rng.integers(0, len(data), 8):
            spoilt[place] = rng.integers(256)
        (tmp_path / "a.avi").write_bytes(spoilt)
        try:
            frames = list(open_recording(tmp_path / "a.avi").frames)
        except BrokenRecording as error:
            assert "\n" not in str(error)
        else:
            assert frames


def test_files_without_a_video_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    refuse(tmp_path / "a.mp4", "expected a video")
    (tmp_path / "b.mp4").write_bytes(b"not a video" * 100)
    refuse(tmp_path / "b.mp4", "expected a video")


def test_a_missing_package_is_one_line_that_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_av(name: str, *arguments: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *arguments)

    (tmp_path / "a.mp4").touch()
    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(UserError) as error:
        open_recording(tmp_path / "a.mp4")
    assert str(error.value) == (
        "video: found no package 'av', expected it for video files: pip install 'sparse-transformation-flow[video]'"
    )
    assert not isinstance(error.value, BrokenRecording), "a missing package is no reason to skip recordings"
