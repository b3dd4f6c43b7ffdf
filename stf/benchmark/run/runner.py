"""Running the cells of a benchmark: some at a time, each in processes or jobs of its own, resumable at any point."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ffrl.core.errors import UserError
from ffrl.core.files import PACKAGE, locked
from ffrl.core.reading import read_json_object
from ffrl.core.schema import check
from ffrl.core.signals import StopRequest
from ffrl.evaluation.protocol.statistics import mean_of
from ffrl.storage.names import CONFIG
from stf import __version__
from stf.benchmark.run import machine
from stf.benchmark.run.budget import steps_within
from stf.benchmark.run.cell import Cell, command
from stf.benchmark.run.lines import Curve, Evaluation, check_line
from stf.benchmark.run.process import POLL, Child, Launcher, Start, Started, describe_exit, stop
from stf.benchmark.run.progress import Progress
from stf.benchmark.run.records import Records, read_steps, write_steps
from stf.benchmark.tables.series import measures_of

TRAIN, RESUME = "train", "resume"
"""Stages of a cell."""


class Stage(NamedTuple):
    """A command of a cell: what it does, its words, and what stands for them in the log."""

    name: str
    command: list[str]
    shown: str


Job = Generator[Stage, None, None]
"""Yields one stage after the other; what it does in between relies on the stage before having succeeded."""
Running = tuple[Cell, Job, Stage, Started]
"""A job at work on a stage."""


class Outcome(NamedTuple):
    """What came of a benchmark: cells that failed, and the signal that stopped it or None."""

    failed: list[str]
    signal: int | None


class _Failure(Exception):
    """A stage that failed and how."""


class Runner:
    """Brings the cells of a benchmark to their end.

    A cell whose line says done is skipped; one that failed is tried anew; one whose training was interrupted goes on;
    one that was trained is measured. SIGINT and SIGTERM stop all commands, which save what they have.

    Args:
        records: lines of the cells; a finished cell's is added.
        launcher: makes the commands.
        jobs: cells at a time.
        progress: told what happens.
        command: the command line of the benchmark.
        start: starts the commands.
    """

    def __init__(
        self, records: Records, launcher: Launcher, jobs: int, progress: Progress, command: str, start: Start = Child
    ) -> None:
        self.records, self.launcher, self.jobs, self.progress = records, launcher, jobs, progress
        self.command, self.start = command, start

    def run(self, grid: Sequence[Cell]) -> Outcome:
        """Run what is left to do of ``grid``.

        Raises:
            UserError: the folder of the benchmark cannot be read or written.
        """
        with StopRequest() as request:
            grid, failed = self._with_steps(grid, request)
            if request.signal is not None:
                return Outcome(failed, request.signal)
            left = [cell for cell in grid if not self.records.done(cell.name)]
            self.progress.begin(len(grid), len(grid) - len(left))
            failed += self._work([(cell, self._cell(cell)) for cell in left], request)
            return Outcome(failed, request.signal)

    def _with_steps(self, grid: Sequence[Cell], request: StopRequest) -> tuple[list[Cell], list[str]]:
        """Return the cells with the steps that their budget allows, and those for which that could not be measured."""
        budgeted = {cell.pair: cell for cell in reversed(grid) if cell.settings.steps is None}
        if not budgeted:
            return list(grid), []
        out = grid[0].out
        known = read_steps(out)
        left = [(cell, self._trial(cell)) for pair, cell in reversed(budgeted.items()) if pair not in known]
        self.progress.say(f"timing {len(left)} models to find the steps within the budget" if left else "")
        failed = self._work(left, request)
        known = read_steps(out)
        if failed:
            failed = self._fail_alike([cell for cell in grid if cell.pair not in known])
        return [cell.with_steps(known[cell.pair]["steps"]) for cell in grid if cell.pair in known], failed

    def _work(self, waiting: list[tuple[Cell, Job]], request: StopRequest) -> list[str]:
        """Run jobs, as many at a time as there may be, until all are done or a signal comes; return the failed."""
        waiting, failed = list(reversed(waiting)), list[str]()
        active: list[Running] = []
        try:
            while (waiting or active) and request.signal is None:
                while waiting and len(active) < self.jobs:
                    cell, job = waiting.pop()
                    self._advance(cell, job, active, failed)
                for entry in list(active):
                    cell, job, stage, child = entry
                    code = child.poll()
                    if code is None or request.signal is not None:
                        continue
                    active.remove(entry)
                    if code == 0:
                        self._advance(cell, job, active, failed)
                    else:
                        self._fail(cell, stage.name, code, describe_exit(code, cell.log), failed)
                time.sleep(POLL)
        finally:
            stop(child for _, _, _, child in active)
        return failed

    def _advance(self, cell: Cell, job: Job, active: list[Running], failed: list[str]) -> None:
        """Start the next stage of a job, if there is one."""
        try:
            stage = next(job, None)
        except UserError as error:  # a file that a stage left is not what it should be
            self._fail(cell, "record", 0, str(error), failed)
            return
        if stage is not None:
            child = self.start(stage.command, cell.log, self.launcher.environment(), stage.shown)
            active.append((cell, job, stage, child))

    def _fail(self, cell: Cell, stage: str, code: int, reason: str, failed: list[str]) -> None:
        """Record that a stage of a cell failed."""
        failed.append(cell.name)
        entry = {"status": "failed", "stage": stage, "code": code, "reason": reason}
        self.records.put(self._head(cell) | entry)
        self.progress.failed(cell, f"{stage}: {reason}")

    def _fail_alike(self, cells: Sequence[Cell]) -> list[str]:
        """Record cells without steps as failed like the one of them that was timed; return all their names."""
        timed = {cell.pair: self.records.by_cell.get(cell.name, {}) for cell in reversed(cells)}
        for cell in cells:
            if timed[cell.pair].get("status") == "failed" and not self.records.done(cell.name):
                why = {key: timed[cell.pair][key] for key in ("status", "stage", "code", "reason")}
                self.records.put(self._head(cell) | why)
        return [cell.name for cell in cells]

    def _stf(self, name: str, arguments: list[str]) -> Stage:
        return Stage(name, self.launcher.stf(arguments), command(arguments))

    def _trial(self, cell: Cell) -> Job:
        """Time a short training and keep the steps that the budget allows."""
        _remove(cell.trial_run)
        yield self._stf("trial", cell.trial())
        budget = cell.settings.budget
        assert budget is not None, "a cell without a budget has no trial"
        found = steps_within(budget, cell.trial_run)
        _remove(cell.trial_run)
        write_steps(cell.out, read_steps(cell.out) | {cell.pair: found})
        self.progress.say(f"{cell.pair}: {found['steps']} steps, {found['seconds_per_step']:.3g} s each")

    def _cell(self, cell: Cell) -> Job:
        """Train, measure and record a cell, from where it is."""
        self.progress.started(cell)
        self._clean(cell)
        start = time.monotonic()
        if not cell.last_checkpoint.is_dir():
            resumes = (cell.run / CONFIG).exists()
            yield self._stf(RESUME, cell.resume()) if resumes else self._stf(TRAIN, cell.train())
            if not cell.last_checkpoint.is_dir():
                wanted = cell.last_checkpoint.name
                raise UserError(f"{cell.run}: found a training of other steps, expected {wanted} of this benchmark")
        if not cell.evaluation.exists():
            yield self._stf("evaluate", cell.evaluate())
        if not cell.curve.exists():
            arguments = [str(cell.run), cell.settings.device]
            module = "stf.benchmark.run.curve"
            yield Stage("curve", self.launcher.python(module, arguments), f"python -m {module} {' '.join(arguments)}")
        entry = self._done(cell)
        self.records.put(entry)
        self.progress.done(cell, mean_of(entry["metrics"].get("error/mean")), time.monotonic() - start)

    def _clean(self, cell: Cell) -> None:
        """Remove what a cell that failed by itself has left, if it would fail again on that.

        A training that can go on from a checkpoint is tried once more from there.

        Raises:
            UserError: another process is at work on the cell, left over from a benchmark that was killed.
        """
        if cell.run.is_dir():
            with locked(cell.run):
                pass
        before = self.records.by_cell.get(cell.name, {})
        by_itself = 0 < before.get("code", 0) < 128
        can_go_on = before.get("stage") == TRAIN and any((cell.run / "checkpoints").glob("step-*"))
        if before.get("stage") in (TRAIN, RESUME) and by_itself and not can_go_on:
            _remove(cell.run)
        if before.get("stage") == "record":
            for path in (cell.evaluation, cell.curve):
                path.unlink(missing_ok=True)

    def _head(self, cell: Cell) -> dict[str, Any]:
        """What the line of every cell begins with."""
        return {
            "cell": cell.name,
            "suite": cell.suite.name,
            "model": cell.model.label,
            "data": cell.data.label,
            "seed": cell.seed,
            "steps": cell.settings.steps,
            "budget": cell.settings.budget,
            "commands": cell.commands(),
            "benchmark": self.command,
            "package": PACKAGE,
            "version": __version__,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _done(self, cell: Cell) -> dict[str, Any]:
        """The line of a finished cell."""
        evaluation, curve = read_json_object(cell.evaluation), read_json_object(cell.curve)
        check(evaluation, Evaluation, str(cell.evaluation))
        check(curve, Curve, str(cell.curve))
        training = curve["training"]
        environment = training["environment"]
        line = self._head(cell) | {
            "status": "done",
            "data_title": evaluation["data"].get("title", evaluation["data"]["name"]),
            "data_of": {key: evaluation["data"].get(key) for key in ("name", "title", "protocol", "num_steps")},
            "label": cell.model.title,
            "told": cell.model.told,
            "sequences": evaluation["sequences"],
            "training_seconds": training["seconds"],
            "frames_per_second": training["frames_per_second"],
            "data_share": training["data_share"],
            "parameters": evaluation["model"]["parameters"],
            "prediction": evaluation["model"].get("prediction"),
            "machine": {
                "processor": machine.processor(),
                "cores": machine.cores(),
                "threads": environment["threads"],
                "at_a_time": self.jobs,
                "torch": environment["torch"],
                "device": environment["device"] if environment["device_type"] == "cuda" else "cpu",
                "precision": environment["precision"],
            },
            "curve": curve["points"],
            "trained_steps": evaluation["data"]["num_steps"],
            **measures_of(evaluation, str(cell.evaluation)),
        }
        check_line(line, str(cell.evaluation))
        return line


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def exit_code(outcome: Outcome) -> int:
    """Return the exit code of the command: 130 or 143 when stopped, 1 when cells failed, else 0.

    Example:
        >>> exit_code(Outcome(["a"], None)), exit_code(Outcome([], 2))
        (1, 130)
    """
    if outcome.signal is not None:
        return 128 + outcome.signal
    return 1 if outcome.failed else 0
