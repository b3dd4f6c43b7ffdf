"""The folder of a benchmark: its settings in ``suite.json``, one line per cell in ``results.jsonl``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from ffrl.core.errors import UserError
from ffrl.core.files import PACKAGE, is_empty, reporting, require_own, to_json, write_atomically
from ffrl.core.reading import read_json_lines, read_json_object, shown
from ffrl.core.schema import check
from stf.benchmark.run.cell import Settings
from stf.benchmark.run.lines import check_lines
from stf.benchmark.suites import Suite

SUITE, RESULTS, STEPS = "suite.json", "results.jsonl", "steps.json"
VERSION = 1
FLAGS = {
    "steps": "--steps",
    "budget": "--budget",
    "sequences": "--sequences",
    "data_root": "--data.root",
    "device": "--device",
}
"""Settings that a folder keeps, and the flags they come from."""


class _Named(TypedDict):
    cell: str
    status: NotRequired[str]


class _Steps(TypedDict):
    steps: int
    seconds_per_step: NotRequired[float]


class Records:
    """The lines of ``results.jsonl``, one per cell: the newest one, whether the cell is done or failed.

    A last line that a killed writer left unfinished is removed from the file.

    Args:
        path: of the file; it appears with the first line.

    Raises:
        UserError: it cannot be read, or another line is no JSON object with a ``cell``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Records(Path(folder, "results.jsonl")).put({"cell": "a", "status": "done"})
        ...     Records(Path(folder, "results.jsonl")).by_cell
        {'a': {'cell': 'a', 'status': 'done'}}
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.by_cell: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        entries, finished = read_json_lines(path)
        for number, entry in enumerate(entries, start=1):
            check(entry, _Named, f"{path}: line {number}")
            self.by_cell[entry["cell"]] = entry
        if not finished or len(self.by_cell) < len(entries):
            self._rewrite()

    def check(self) -> None:
        """Raise a UserError unless every line has what the tables and plots need."""
        check_lines(self.by_cell.values(), str(self.path))

    def put(self, entry: Mapping[str, Any]) -> None:
        """Write the line of a cell, in place of the one that it may have, and wait until it is on the disk.

        Raises:
            UserError: it cannot be written.
        """
        require_own(self.path)
        again = entry["cell"] in self.by_cell
        self.by_cell[entry["cell"]] = dict(entry)
        if again:
            self._rewrite()
            return
        with reporting("write", self.path), open(self.path, "ab") as file:
            file.write(_line(entry))
            file.flush()
            os.fsync(file.fileno())

    def done(self, cell: str) -> bool:
        """Tell whether a cell is finished."""
        return self.by_cell.get(cell, {}).get("status") == "done"

    def _rewrite(self) -> None:
        write_atomically(self.path, b"".join(map(_line, self.by_cell.values())))


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry, allow_nan=False) + "\n").encode()


def describe(suite: Suite, settings: Settings) -> dict[str, Any]:
    """What ``suite.json`` holds: whatever all lines of ``results.jsonl`` have in common.

    Example:
        >>> from stf.benchmark.suites import SUITES
        >>> describe(SUITES["smoke"], Settings(30, None, 16))["settings"]["steps"]
        30
    """
    return {
        "package": PACKAGE,
        "format_version": VERSION,
        "suite": suite.name,
        "settings": {
            "steps": settings.steps,
            "budget": settings.budget,
            "sequences": settings.sequences,
            "data_root": None if settings.root is None else str(settings.root.resolve()),
            "device": settings.device,
        },
        "models": {model.label: list(model.flags) for model in suite.models},
        "data": {one.label: list(one.flags) for one in suite.data},
        "flags": {"train": list(suite.train), "codes": suite.codes, "points": suite.points},
    }


def prepare(out: Path, suite: Suite, settings: Settings) -> None:
    """Check that the locked folder ``out`` is empty or belongs to this suite and settings, and say so in it.

    Raises:
        UserError: the folder belongs to another suite, other settings, or to something else.
    """
    path, wanted = out / SUITE, describe(suite, settings)
    if not path.exists():
        if not is_empty(out):
            raise UserError(f"{out}: found files but no {SUITE} in it, expected a new or empty folder for --out")
        write_atomically(path, to_json(wanted))
        return
    found = read_json_object(path)
    if found.get("suite") != suite.name:
        raise UserError(f"{path}: found suite {shown(found.get('suite'))}, expected {suite.name!r}, or another --out")
    kept = found.get("settings")
    for key, flag in FLAGS.items():
        before, now = kept.get(key) if isinstance(kept, dict) else None, wanted["settings"][key]
        if before != now:
            raise UserError(f"{flag}: found {now!r}, expected {shown(before)} as in {path}, or another --out")
    for key in ("package", "format_version", "models", "data", "flags"):
        if found.get(key) != wanted[key]:
            raise UserError(f"{path}: found other {key} than this version has, expected the same, or another --out")


def make_folder(out: Path) -> None:
    """Make the folder of a benchmark with its parents unless it is there.

    Raises:
        UserError: it cannot be made.
    """
    with reporting("write", out):
        out.mkdir(parents=True, exist_ok=True)


def read_steps(out: Path) -> dict[str, dict[str, Any]]:
    """Steps and seconds per step by model and data set, as measured for a budget.

    Raises:
        UserError: the file is damaged.
    """
    path = out / STEPS
    found = read_json_object(path) if path.exists() else {}
    check(found, dict[str, _Steps], str(path))
    return found


def write_steps(out: Path, steps: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what :func:`read_steps` returns.

    Raises:
        UserError: it cannot be written.
    """
    write_atomically(out / STEPS, to_json(steps))
