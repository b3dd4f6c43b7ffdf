"""Frames by the times of a video: those nearest to a regular grid, whatever the rate and however it varies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ffrl.core.errors import UserError

T = TypeVar("T")
ROUNDING = 1e-3
"""Seconds to which containers round times."""
FLAG = "--data.sequences.fps"


def at_rate(timed: Iterable[tuple[float | None, T]], rate: float, source: str) -> Iterator[T]:
    """Yield, for every instant t_0 + i / rate of a recording, the frame whose time is nearest; of two the earlier.

    A frame that nothing follows for longer is taken again: that is what the recording shows then.

    Args:
        timed: time in seconds and frame, in the order of time.
        rate: instants a second.
        source: what messages start with.

    Raises:
        UserError: a frame has no time, or one that is not after that of the frame before; or there are fewer frames
            than instants.

    Example:
        >>> list(at_rate([(0.0, "a"), (0.1, "b"), (0.15, "c"), (0.4, "d"), (0.5, "e")], rate=5, source="walk.mp4"))
        ['a', 'c', 'd']
    """
    first, last, instant, number = 0.0, 0.0, 0, 0
    before: T | None = None
    for number, (time, frame) in enumerate(timed, start=1):
        if time is None:
            raise UserError(f"{source}: found no time of frame {number}, expected times ({FLAG} {rate:g})")
        if before is None:
            first = time
        elif time <= last:
            found = f"frame {number} at {time:.3f} s after one at {last:.3f} s"
            raise UserError(f"{source}: found {found}, expected times that grow ({FLAG} {rate:g})")
        while (due := first + instant / rate) <= time:
            earlier = before is not None and due - last <= time - due
            yield before if before is not None and earlier else frame
            instant += 1
        before, last = frame, time
    if before is not None and first + instant / rate <= last + ROUNDING:
        yield before
        instant += 1
    if number < instant:
        found = f"{number} frames in {last - first:.2f} s"
        expected = f"as many as the {instant} that are taken ({FLAG} {rate:g}); a lower rate takes fewer"
        raise UserError(f"{source}: found {found}, expected {expected}")
