"""Run folders on disk: where a new one goes and which is the newest."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from ffrl.core.errors import UserError
from ffrl.core.files import LOCK, is_empty
from ffrl.storage.names import CONFIG

RUNS = Path("runs")


def newest(folder: Path = RUNS) -> Path:
    """Return the run under ``folder`` that was started last.

    Raises:
        UserError: there is none.
    """
    found = []
    for name, folders, files in os.walk(folder):
        if CONFIG in files:
            folders.clear()  # the checkpoints of a run have a config.json too
            path = Path(name)
            found.append(((path / CONFIG).stat().st_mtime_ns, path))
    if not found:
        raise UserError(f"{folder}: found no run folder (one with {CONFIG}), expected one, or name RUN")
    return max(found)[1]


@contextmanager
def reserved(mode: str, data: str) -> Iterator[Path]:
    """Make a new folder ``runs/<mode>-<data>-<time>`` that no other process gets; it goes again if it stays empty.

    So does ``runs``, if it was not there before.

    Raises:
        UserError: it cannot be made.
    """
    name, there = f"{mode}-{data}-{time.strftime('%Y%m%d-%H%M%S')}", RUNS.exists()
    for attempt in count(1):
        path = RUNS / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            if not path.exists():  # something in the way of runs itself
                raise UserError(f"cannot write {path}: {RUNS} is not a folder") from None
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    try:
        yield path
    finally:
        with suppress(OSError, UserError):
            if is_empty(path):
                (path / LOCK).unlink(missing_ok=True)
            path.rmdir()
            if not there:
                RUNS.rmdir()
