"""Values of recordings as bytes: which of them are black and white, by their type or by what the user says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError
from ffrl.data.base import ROUNDING

FLAG = "--data.sequences.range"


class Levels(NamedTuple):
    """The values that become 0 and 255."""

    black: float
    white: float


BYTES = Levels(0, 255)


def levels_of(dtype: np.dtype, setting: str) -> Levels | None:
    """Return which values of a type are black and white; None if that depends on the values.

    Args:
        dtype: of the values.
        setting: ``type``: all of 8 or 16 bits without a sign, 0 to 255 of other integers, 0 to 1 of floating-point
            numbers; ``own``: the least and the largest value of a recording; a number: 0 to that.

    Example:
        >>> levels_of(np.dtype(np.uint16), "type"), levels_of(np.dtype(np.uint16), "4095")
        (Levels(black=0, white=65535), Levels(black=0, white=4095.0))
    """
    if setting == "own":
        return None
    if setting != "type":
        return Levels(0, float(setting))
    if dtype.kind == "f":
        return Levels(0, 1)
    return Levels(0, 65535) if dtype.kind == "u" and dtype.itemsize == 2 else BYTES


def own_levels(blocks: Iterable[NDArray[Any]], source: str) -> Levels:
    """Return the least and the largest value.

    Raises:
        UserError: some are no finite numbers.

    Example:
        >>> own_levels([np.array([3, 5]), np.array([4, 9])], "clip.npy")
        Levels(black=3.0, white=9.0)
    """
    low, high = np.inf, -np.inf
    for block in blocks:
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        if not np.isfinite((low, high)).all() or np.isnan(block.min()):
            raise UserError(f"{source}: found values that are not finite, expected numbers")
    return Levels(low, high)


def to_bytes(values: NDArray[Any], levels: Levels, source: str) -> NDArray[np.uint8]:
    """Return values as bytes, rounded; what is outside by no more than rounding is black or white.

    Raises:
        UserError: NaN, or values outside the levels.

    Example:
        >>> to_bytes(np.array([0, 32768, 65535], np.uint16), Levels(0, 65535), "clip.npy")
        array([  0, 128, 255], dtype=uint8)
    """
    if values.dtype == np.uint8 and levels == BYTES:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        numbers: NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    black, white = levels
    span = (white - black) or 1.0
    low, high = float(numbers.min()), float(numbers.max())
    expected = f"values in [{black:.6g}, {white:.6g}]"
    if np.isnan(low):
        count = int(np.isnan(numbers).sum())
        raise UserError(f"{source}: found {count} NaN among {values.size} values, expected {expected}")
    slack = ROUNDING * span if values.dtype.kind == "f" else 0.0
    if low < black - slack or high > white + slack:
        hint = f"{FLAG} own, or the value of white, for others"
        raise UserError(f"{source}: found values in [{low:.6g}, {high:.6g}], expected {expected} ({hint})")
    return np.rint((numbers - black).clip(0, span) * (255 / span)).astype(np.uint8)


def in_bytes(frames: Callable[[], Iterator[NDArray[Any]]], setting: str, source: str) -> Iterator[NDArray[np.uint8]]:
    """Yield frames as bytes.

    Args:
        frames: returns the frames of a recording as they are stored; called twice where levels depend on all of them.
        setting: see :func:`levels_of`.
        source: what messages start with.

    Raises:
        UserError: as :func:`to_bytes`, and whatever the frames raise.

    Example:
        >>> stored = [np.full((2, 2, 3), value, np.int16) for value in (-5, 15)]
        >>> [int(frame.max()) for frame in in_bytes(lambda: iter(stored), "own", "clip")]
        [0, 255]
    """
    own = own_levels(frames(), source) if setting == "own" else None
    for number, frame in enumerate(frames(), start=1):
        levels = own or levels_of(frame.dtype, setting)
        assert levels is not None
        yield to_bytes(frame, levels, f"{source}: frame {number}")
