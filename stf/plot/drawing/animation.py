"""Animations: frames written as a looping GIF or animated PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ffrl.core.errors import UserError
from ffrl.core.files import write_atomically

SUFFIXES = (".gif", ".png")
COLOURS = 256
"""Colours of a GIF."""


def write_animation(
    frames: Sequence[ArrayLike], path: Path, seconds_per_frame: float | Sequence[float] = 0.25, zoom: int = 1
) -> Path:
    """Write frames as an animation that loops for ever, atomically, and return ``path``.

    An animated PNG has the colours of the frames exactly; a GIF has up to 256 in each frame, so a frame of more colours
    gets those that fit it best. Durations are rounded to 1/100 s.

    Args:
        frames: N frames of one size, ``(H, W, 3)``, uint8 or floating-point in [0, 1].
        path: ending in ``.gif`` or ``.png`` (animated PNG).
        seconds_per_frame: how long each frame is shown, or N durations.
        zoom: how many times larger the frames get; pixels stay squares.

    Raises:
        UserError: another ending, or the file cannot be written.
        ValueError: no frames, frames of another or different shapes, or another number of durations.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_animation(np.random.rand(9, 28, 28, 3), Path(folder, "digit.gif"), zoom=4)
        ...     with Image.open(path) as image:
        ...         image.size, image.n_frames
        ((112, 112), 9)
    """
    write_atomically(path, encode_animation(frames, path, seconds_per_frame, zoom))
    return path


def encode_animation(
    frames: Sequence[ArrayLike], path: Path, seconds_per_frame: float | Sequence[float] = 0.25, zoom: int = 1
) -> bytes:
    """Return the contents of the file that :func:`write_animation` writes to ``path``."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: found the ending {suffix!r}, expected {' or '.join(SUFFIXES)}")
    pixels = [_enlarge(_bytes(frame), zoom) for frame in frames]
    if not pixels or any(frame.shape != pixels[0].shape for frame in pixels):
        raise ValueError(f"expected frames of one shape, found {[frame.shape for frame in pixels]}")
    seconds = np.ravel(seconds_per_frame)
    if len(seconds) not in (1, len(pixels)):
        raise ValueError(f"expected 1 or {len(pixels)} durations, found {len(seconds)}")
    durations = [10 * max(1, round(100 * float(second))) for second in np.broadcast_to(seconds, len(pixels))]
    images = [Image.fromarray(frame) for frame in pixels]
    if suffix == ".gif":
        images = [image.quantize(COLOURS, Image.Quantize.MEDIANCUT) for image in images]
    first, *others = images
    buffer = BytesIO()
    options: dict[str, Any] = dict(
        append_images=others, duration=durations if others else durations[0], loop=0, save_all=True
    )
    if suffix == ".gif":
        first.save(buffer, "GIF", optimize=False, disposal=1, **options)
    else:
        first.save(buffer, "PNG", **options)
    return buffer.getvalue()


def _bytes(frame: ArrayLike) -> NDArray[np.uint8]:
    frame = np.asarray(frame)
    if frame.ndim != 3 or frame.shape[-1] != 3:
        raise ValueError(f"expected a frame of shape (H, W, 3), found {frame.shape}")
    if frame.dtype == np.uint8:
        return frame
    return (255 * frame.clip(0, 1)).round().astype(np.uint8)


def _enlarge(frame: NDArray[np.uint8], zoom: int) -> NDArray[np.uint8]:
    return frame.repeat(zoom, axis=0).repeat(zoom, axis=1)
