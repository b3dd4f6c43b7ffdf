"""Progress of long reading and writing: a bar on a terminal, plain lines every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ffrl.core import terminal
from ffrl.core.terminal import Console

PLAIN_SECONDS = 10.0


def say(line: str) -> None:
    """Print one line on standard error."""
    terminal.say(line, error=True)


@contextmanager
def progress(label: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show on standard error how many bytes are done; the context's value takes the number of further ones.

    Args:
        label: what is going on, such as ``reading Falcor3D into memory``.
        total: bytes in all, None if that is not known.
        done: bytes that were done before.

    Example:
        >>> with progress("reading", 2**20) as advance:
        ...     advance(2**19)
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(binary_units=True))
        with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(label, total=total, completed=done)
            yield lambda count: bar.advance(task, count)
        return
    begun = said = time.monotonic()
    first = done
    size = "" if total is None else f" of {total / 2**20:,.1f} MiB"

    def tell(ending: str = "") -> None:
        seconds = max(time.monotonic() - begun, 1e-3)
        speed = (done - first) / 2**20 / seconds
        say(f"{label}: {done / 2**20:,.1f}{size or ' MiB'}, {speed:,.1f} MiB/s{ending}")

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        if time.monotonic() - said >= PLAIN_SECONDS:
            said = time.monotonic()
            tell()

    say(label + size.replace(" of ", ": "))
    yield advance
    tell(", done")
