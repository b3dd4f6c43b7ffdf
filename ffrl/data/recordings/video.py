"""Frames of video files, decoded one at a time with PyAV (the extra ``video``), which is imported only here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.core.files import PACKAGE
from ffrl.data.recordings.checks import instead, require_size
from ffrl.data.recordings.moving.times import at_rate
from ffrl.data.recordings.pictures import on_background, reason

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
"""Files that are opened as videos."""
CONTAINERS = "mov,mp4,avi,matroska,webm,mpeg,mpegts,mpegvideo,m4v,h264,asf,flv,ogg,gif"
"""What files are opened as, whatever they are called: none of these leads to other files."""
HOW = ClipsConfig()
LATE_FRAMES, LATE_SECONDS = 2.5, 1.0
"""How long before its stated end a video may end: in frames, and where it does not state their number in seconds."""


def import_av() -> ModuleType:
    """Return the package PyAV.

    Raises:
        UserError: it is not installed.
    """
    try:
        import av
    except ImportError:
        expected = f"it for video files: pip install '{PACKAGE}[video]'"
        raise UserError(f"video: found no package 'av', expected {expected}") from None
    return av


def video_length(path: Path, stride: int = 1, how: ClipsConfig = HOW) -> int | None:
    """Return how many frames of a video are taken by what it says of itself, or about how many; None if it does not.

    Args:
        path, stride, how: as of :func:`video_frames`.

    Raises:
        UserError: no package for videos, or no video.

    Example:
        >>> video_length(Path("walk.mp4"))  # doctest: +SKIP
        795
    """
    with _opened(path) as (container, stream):
        seconds, rate = _seconds(container, stream), stream.average_rate
        if how.fps:
            return None if seconds is None else round((seconds - _start(stream)) * how.fps) or 1
        count = stream.frames or (round(seconds * rate) if seconds and rate else None)
        return count and -(-count // stride)


def video_frames(path: Path, stride: int = 1, how: ClipsConfig = HOW) -> Iterator[NDArray[np.uint8]]:
    """Yield every ``stride``-th frame of the first video stream, or those of a rate, ``(H, W, 3)`` uint8, upright.

    Every frame is decoded, since most depend on those before them, but only one or two are in memory.

    Args:
        path: a video file that FFmpeg reads.
        stride: how many frames there are from one to the next that is taken.
        how: the background of transparent pixels, how large a frame may be, and the rate (``fps``) that stands for the
            stride, see :func:`~ffrl.data.recordings.moving.times.at_rate`.

    Raises:
        UserError: no package for videos; or not a video, too large, damaged, cut short, transparent without a
            background, or, for a rate, without times; the message has the number of the frame.

    Example:
        >>> next(video_frames(Path("walk.mp4"))).shape  # doctest: +SKIP
        (576, 768, 3)
    """
    with _opened(path) as (container, stream):
        require_size(3 * stream.width * stream.height, how.frame_mib, str(path))
        converter = import_av().video.reformatter.VideoReformatter()
        found = enumerate(_decoded(path, container, stream))
        if how.fps:
            taken = at_rate(((frame.time, (number, frame)) for number, frame in found), how.fps, str(path))
        else:
            taken = ((number, frame) for number, frame in found if number % stride == 0)
        for number, frame in taken:
            require_size(3 * frame.width * frame.height, how.frame_mib, str(path))
            yield _upright(frame, converter, path, number, how.background)


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Every frame of a video, as PyAV has it."""
    end, number = 0.0, 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise UserError(_damaged(path, number, "a packet is cut short"))
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise UserError(_damaged(path, number, "a frame is damaged"))
                yield frame
                number += 1
                if frame.time is not None:
                    end = max(end, frame.time + float((frame.duration or 0) * frame.time_base))
    except (UserError, MemoryError):
        raise
    except Exception as error:  # FFmpeg raises many kinds on damaged files
        raise UserError(_damaged(path, number, _text(error))) from None
    _check_end(path, container, stream, number, end)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    av = import_av()
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    try:
        container = av.open(f"file:{path}", container_options=options)  # a name like tcp:host.mp4 is no address
    except Exception as error:  # FFmpeg raises many kinds on damaged files
        other = instead(path)
        if other is not None:
            raise UserError(f"{path}: found {other}, expected a video") from None
        raise UserError(f"{path}: found damaged data ({_text(error)}), expected a video") from None
    with container:
        if not container.streams.video:
            raise UserError(f"{path}: found no video stream, expected a video")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise UserError(f"{path}: found a video stream in no codec that is known, expected a video")
        stream.thread_type = "AUTO"
        yield container, stream


def _start(stream: Any) -> float:
    """When the video begins."""
    return float((stream.start_time or 0) * stream.time_base)


def _seconds(container: Any, stream: Any) -> float | None:
    """When the video ends, as its file states it; that of the whole file counts only where nothing else is in it."""
    if stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return ((container.start_time or 0) + container.duration) / 1e6
    return None


def _check_end(path: Path, container: Any, stream: Any, number: int, end: float) -> None:
    """Refuse a video without frames, and one that ends before its stated end in frames and in time."""
    stated = _seconds(container, stream)
    if stated is not None and number > 0 and number < (stream.frames or np.inf):
        frame = float(1 / stream.average_rate) if stream.average_rate else 0.0
        allowed = LATE_FRAMES * frame if stream.frames else max(LATE_FRAMES * frame, LATE_SECONDS)
        if end < stated - allowed:
            found = f"it ends at {end:.2f} of {stated:.2f} s"
            raise UserError(_damaged(path, number, found))
    if number == 0:
        raise UserError(f"{path}: found no frames, expected a video")


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or reason(error)


def _damaged(path: Path, number: int, why: str) -> str:
    return f"{path}: found damaged data after frame {number} ({why}), expected a whole video"


def _upright(frame: Any, converter: Any, path: Path, number: int, background: str | None) -> NDArray[np.uint8]:
    """A frame as it is meant to be seen: phones store the rotation instead of rotating."""
    transparent = any(component.is_alpha for component in frame.format.components)
    form = "rgba" if transparent else "rgb24"
    pixels = converter.reformat(frame, format=form, threads=1).to_ndarray()  # more threads wait for each other
    if transparent and pixels[..., 3].min() < 255:
        if background is None:
            expected = "an opaque video, or --data.sequences.background COLOUR"
            raise UserError(f"{path}: found transparent pixels in frame {number + 1}, expected {expected}")
        pixels = on_background(pixels, background)
    return np.rot90(pixels[..., :3], round(frame.rotation / 90) % 4)
