"""What a benchmark says while it runs: plain lines, and on a terminal a bar under them."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from stf.benchmark.run.cell import Cell


def clock(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds.

    Example:
        >>> clock(59.6), clock(3725)
        ('1:00', '1:02:05')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """Says which cell of how many starts and ends, how long it took, and how long the rest may take.

    Args:
        console: where to print.

    Example:
        >>> with Progress(Console(force_terminal=False, width=200)) as progress:
        ...     progress.begin(cells=4, done=3)
        4 cells, 3 of them done
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._cells, self._done, self._earlier, self._start = 0, 0, 0, time.monotonic()
        self._started = 0
        columns = (
            TextColumn("cells"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Bar(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("cells", total=None, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def say(self, message: str) -> None:
        """Print one line, nothing for an empty one."""
        if message:
            self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def begin(self, cells: int, done: int) -> None:
        """Say how many cells there are and how many of them are done already."""
        self._cells, self._done, self._earlier, self._start = cells, done, done, time.monotonic()
        self._started = done
        self._bar.update(self._task, total=cells, completed=done)
        self.say(f"{cells} cells, {done} of them done")

    def started(self, cell: Cell) -> None:
        """Say that a cell begins."""
        self._started += 1
        self.say(f"cell {self._started} of {self._cells}: {_title(cell)}, log {cell.log}")

    def done(self, cell: Cell, error: float | None, seconds: float) -> None:
        """Say that a cell is finished, with its mean error and how long it took."""
        shown = "" if error is None else f", mean error {error:.1f}"
        self._end(f"done: {_title(cell)}{shown}, {clock(seconds)}")

    def failed(self, cell: Cell, reason: str) -> None:
        """Say that a cell failed, and how."""
        self._end(f"FAILED: {_title(cell)}, {reason}")

    def _end(self, message: str) -> None:
        self._done += 1
        elapsed = time.monotonic() - self._start
        ended = self._done - self._earlier
        left = f"about {clock(elapsed / ended * (self._cells - self._done))} left" if ended and self._cells else ""
        self._bar.update(self._task, completed=self._done, left=left)
        self.say(f"{message}; {clock(elapsed)} elapsed" + (f", {left}" if self._done < self._cells else ""))


def _title(cell: Cell) -> str:
    return f"{cell.model.label} on {cell.data.label}, seed {cell.seed}"
