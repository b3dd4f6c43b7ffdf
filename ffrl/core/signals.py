"""Turning SIGINT and SIGTERM into a request to stop after the current step; SIGINT while packages are loaded."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))
"""What asks a process to stop; SIGBREAK is what Windows has for it."""
KILL = int(getattr(signal, "SIGKILL", 9))
"""What ends a process at once; Windows has no number of its own for it."""


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Inside the context SIGINT waits; children inherit that. Windows has no such masks, and nothing changes.

    Example:
        >>> with interrupts_held_back():
        ...     pass
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class StopRequest:
    """Inside the context, the first SIGINT or SIGTERM only sets :attr:`signal`; old handlers return with the first
    signal (so that a second SIGINT raises KeyboardInterrupt) and at the end.

    Signals that are ignored (as SIGINT is in background jobs) stay ignored, and outside the main thread, where Python
    allows no handlers, nothing is done.

    Example:
        >>> with StopRequest() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     stop.signal == signal.SIGTERM
        True
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._request)
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()


SLOW_TO_LOAD = "torch"
"""A package whose import loses exceptions: it imports others from C, and goes on without them."""
INTERRUPTED = 130


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, unless it might be lost: nothing has been begun then, and the process ends at once."""
    loaded = sys.modules.get(SLOW_TO_LOAD)
    if loaded is None or getattr(loaded.__spec__, "_initializing", False):
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


@contextmanager
def interruptible_imports() -> Iterator[None]:
    """Inside the context SIGINT ends the process while packages are loaded, and raises KeyboardInterrupt afterwards.

    Where it is handled in another way, or ignored, or outside the main thread, nothing changes.

    Example:
        >>> with interruptible_imports():
        ...     import numpy
    """
    own = threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
