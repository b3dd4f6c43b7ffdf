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
            for number in (signal.SIGINT, signal.SIGTERM):
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
