"""What a run says: ``metrics.jsonl``, a progress bar or plain lines, and optionally TensorBoard."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ffrl.core.errors import UserError
from ffrl.core.files import reporting, write_atomically
from ffrl.core.reading import read_json_lines
from ffrl.core.schema import check
from ffrl.storage.names import METRICS
from ffrl.training.callbacks import Callback

PLAIN_SECONDS = 10.0
MEASURED = ("train/", "validation/")
"""What keys of measurements begin with."""
TIMINGS = ("seconds", "frames_per_second", "data_share")
"""Entries that differ from run to run; the last is the share of the time spent waiting for frames or making them."""


class Entry(TypedDict):
    """What a line of ``metrics.jsonl`` has beside what was measured."""

    step: int
    learning_rate: NotRequired[float | None]
    skipped_steps: NotRequired[int | None]
    seconds: NotRequired[float | None]
    frames_per_second: NotRequired[float | None]
    data_share: NotRequired[float | None]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the entries of ``metrics.jsonl``; a last line that a killed writer left unfinished is ignored.

    Raises:
        UserError: it cannot be read, or another line is no JSON object with a ``step`` and numbers where they belong.
    """
    if not path.exists():
        return []
    entries = read_json_lines(path).entries
    for number, entry in enumerate(entries, start=1):
        check(entry, Entry, f"{path}: line {number}")
        for key, value in entry.items():
            if key.startswith(MEASURED):
                check({key: value}, dict[str, float | None], f"{path}: line {number}")
    return entries


class MetricsFile:
    """Appends entries to ``metrics.jsonl``, one JSON object per line; those after step ``last`` are removed first.

    Raises:
        UserError: the file cannot be read or written.
    """

    def __init__(self, path: Path, last: int) -> None:
        self.path = path
        entries = [entry for entry in read_metrics(path) if entry["step"] <= last]
        write_atomically(path, b"".join(map(self._line, entries)))
        with reporting("write", path):
            self._file = open(path, "ab")

    @staticmethod
    def _line(entry: dict[str, Any]) -> bytes:
        return (json.dumps(entry, allow_nan=False) + "\n").encode()

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry; numbers that are not finite become null."""
        with reporting("write", self.path):
            self._file.write(self._line(_finite(entry)))
            self._file.flush()

    def sync(self) -> None:
        """Wait until everything written is on the disk."""
        with reporting("write", self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # what a full disk refused is refused again
            self._file.close()


class Unwritten:
    """Takes the entries of a process that writes no ``metrics.jsonl``."""

    def append(self, entry: dict[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _finite(value: Any) -> Any:
    """JSON values with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Log:
    """Everything that a run prints and records.

    Args:
        run: Run folder; None in a process that does not write it.
        console: Where to print: a progress bar on a terminal, plain lines every ten seconds elsewhere.
        steps: Steps of the whole run.
        first: Steps already done.
        callbacks: Told of every entry.
    """

    def __init__(
        self, run: Path | None, console: Console, steps: int, first: int, callbacks: Sequence[Callback] = ()
    ) -> None:
        self.console, self.steps, self.callbacks = console, steps, callbacks
        self.failure: BaseException | None = None
        self.metrics: MetricsFile | Unwritten = Unwritten() if run is None else MetricsFile(run / METRICS, first)
        self._plain_at = -math.inf
        self._validation: dict[str, float] = {}
        self._warned: set[str] = set()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=steps, completed=first, text="", left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()
        self.metrics.close()

    def say(self, message: str) -> None:
        """Print one line."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, topic: str, message: str) -> None:
        """Print a warning the first time that ``topic`` comes up."""
        if topic not in self._warned:
            self._warned.add(topic)
            self.say(f"warning: {message}")

    def advance(self, step: int) -> None:
        """Move the progress bar to ``step``."""
        if self.console.is_terminal:
            self._progress.update(self._task, completed=step)

    def record(self, step: int, entry: dict[str, Any]) -> None:
        """Append an entry to ``metrics.jsonl``, and tell the callbacks."""
        self.metrics.append({"step": step, **entry})
        self._validation |= {key: value for key, value in entry.items() if key == "validation/loss"}
        self._call(step, entry)

    def _call(self, step: int, entry: dict[str, Any]) -> None:
        """Tell the callbacks, each with a copy; one that fails ends the training, with a checkpoint."""
        for callback in self.callbacks if self.failure is None else ():
            try:
                callback(step, dict(entry))
            except UserError as error:
                self.failure = error
            except Exception as error:
                name, what = getattr(callback, "__name__", type(callback).__name__), str(error) or type(error).__name__
                self.failure = UserError(f"callback {name}: found {what}, expected no error; the run can be resumed")
                self.failure.__cause__ = error
            except BaseException as error:
                self.failure = error

    def tell(self, step: int, event: dict[str, Any]) -> None:
        """Append an entry that is no measurement to ``metrics.jsonl``, tell the callbacks, and print its ``text``."""
        entry = dict(event)
        text = entry.pop("text", None)
        self.metrics.append({"step": step, **entry})
        self._call(step, entry)
        if text:
            self.say(f"step {step}/{self.steps}  {text}")

    def show(self, step: int, entry: dict[str, Any], remaining: float, phase: str = "training") -> None:
        """Show the training terms of ``entry``: in the progress bar, or as a line when the last is ten seconds old."""
        terms = {key.removeprefix("train/"): value for key, value in entry.items() if key.startswith("train/")}
        if "loss" in terms:
            terms = {"loss": terms["loss"]} | self._validation | terms
        parts = [f"{name} {value:.4g}" for name, value in terms.items()]
        speed = f"{entry['frames_per_second']:,.0f} frames/s"
        minutes, seconds = divmod(round(remaining), 60)
        left = f"{minutes}:{seconds:02d} left"
        if self.console.is_terminal:
            text = "  ".join([*parts[:4], speed])
            self._progress.update(self._task, completed=step, description=phase, text=text, left=left)
        elif time.monotonic() - self._plain_at >= PLAIN_SECONDS or step == self.steps:
            self._plain_at = time.monotonic()
            self.say(f"step {step}/{self.steps}  {phase}  " + "  ".join([*parts, speed, left]))

    def summary(self, rows: dict[str, str]) -> None:
        """Print a table of two columns."""
        table = Table(show_header=False)
        for name, value in rows.items():
            table.add_row(Text(name), Text(value))
        self._progress.stop()
        self.console.print(table)
