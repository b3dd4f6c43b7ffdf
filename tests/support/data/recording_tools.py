"""Small recordings of every kind, and their frames computed without the code under test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from ffrl.config import ClipsConfig, DataConfig


def moving(count: int = 24, height: int = 20, width: int = 28, seed: int = 0) -> np.ndarray:
    """Frames ``(count, height, width, 3)`` uint8 of noise, of which the first pixel is the number of the frame."""
    frames = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    frames[:, 0, 0] = np.arange(count)[:, None]
    return frames


def by_hand(frames: np.ndarray, size: int, stride: int = 1) -> np.ndarray:
    """Strided frames ``(n, 3, size, size)``: centre cut out, whole blocks averaged; for sizes that divide."""
    frames = frames[::stride]
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left, factor = (height - side) // 2, (width - side) // 2, side // size
    assert factor * size == side and (factor == 1 or factor >= 2)
    cut = frames[:, top : top + side, left : left + side].astype(np.float64)
    means = cut.reshape(len(frames), size, factor, size, factor, 3).mean((2, 4))
    return np.floor(means + 0.5).astype(np.uint8).transpose(0, 3, 1, 2)


def settings(root: Path, num_steps: int = 3, **clips: Any) -> DataConfig:
    """The configuration of recordings under ``root``, with a cache beside it and pictures of 10 x 10."""
    clips = {"size": 10, "cache": root.parent / "cache"} | clips
    return DataConfig(name="sequences", root=root, num_steps=num_steps, sequences=ClipsConfig(**clips))


def save_pictures(folder: Path, frames: np.ndarray, form: str = "png") -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.{form}")


def save_animation(path: Path, frames: np.ndarray) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    form = {".gif": "GIF", ".png": "PNG", ".apng": "PNG"}[path.suffix]
    images[0].save(path, form, save_all=True, append_images=images[1:], loop=0, duration=100)


def flat(colours: Sequence[tuple[int, int, int]], height: int = 48, width: int = 64) -> np.ndarray:
    """One frame of a single colour for each of ``colours``."""
    return np.broadcast_to(np.array(colours, np.uint8)[:, None, None], (len(colours), height, width, 3)).copy()


def save_video(path: Path, frames: np.ndarray, codec: str = "mpeg4", rate: int = 10, **options: str) -> None:
    """Encode ``frames`` with few losses."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
