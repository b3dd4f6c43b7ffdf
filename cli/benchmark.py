"""``stf benchmark``: train and measure a grid of models, data sets and seeds, as tables and plots."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ffrl.core.device_name import DEVICES, DeviceName
from ffrl.core.errors import UserError, require
from ffrl.core.terminal import Console, say
from ffrl.training.folders import RUNS
from stf.benchmark.run.cell import Cell, Settings, cells
from stf.benchmark.suites import SUITES, Suite, find_suite

from .flags import build, flags_of, split
from .help import show_help, wants_help
from .train import configure

CODES_NEED = "sklearn"


@dataclass(frozen=True)
class DataLocation:
    """Where the sequences come from."""

    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data set (left out: what comes with the package, or rendered images)."""


@dataclass(frozen=True)
class SlurmJobs:
    """What the jobs of a Slurm cluster get."""

    partition: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Partition of the cluster (left out: its default)."""
    minutes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Minutes that a job may take (left out: a day)."""
    cpus: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Cores per job, and threads without --threads (left out: as the cluster says)."""
    gpus: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """GPUs per job (left out: as the cluster says)."""

    def check(self, executor: str) -> None:
        """Raise a UserError for values that cannot be, and for any without the executor ``slurm``."""
        for name, value in asdict(self).items():
            least = 0 if name == "gpus" else 1
            fits = not isinstance(value, int) or value >= least
            require(fits, f"--slurm.{name}", value, f"an integer of at least {least}")
            beside = value is None or executor == "slurm"
            require(beside, f"--slurm.{name}", value, "--executor slurm beside it")


@dataclass(frozen=True)
class Benchmark:
    """Train and measure every model of a suite, and write tables and plots."""

    suite: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SUITE")] = ""
    """Which suite, see below."""
    data: DataLocation = field(default_factory=DataLocation)
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for everything (left out: runs/benchmark-SUITE); one of the same suite and settings is gone on with."""
    only: Annotated[str | None, tyro.conf.arg(metavar="LABEL,...")] = None
    """Only these models (left out: all of the suite)."""
    seeds: Annotated[str | None, tyro.conf.arg(metavar="INT,...")] = None
    """Seeds of training (left out: those of the suite)."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Optimisation steps of every cell (left out: those of the suite)."""
    budget: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """Seconds of training per cell in place of steps: a short timed trial of every model turns them into steps."""
    sequences: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """How many sequences to measure on (left out: those of the suite)."""
    jobs: int = 1
    """Cells at a time; timings and budgets are those of as many."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Threads per cell (left out: as OMP_NUM_THREADS says, or the cores divided by --jobs)."""
    device: DeviceName = "auto"
    """Where to compute; auto takes CUDA when there is one."""
    executor: Literal["processes", "local", "slurm"] = "processes"
    """What runs the cells: processes, or jobs of submitit's local or Slurm executor (the extra cluster)."""
    slurm: SlurmJobs = field(default_factory=SlurmJobs)
    list: bool = False
    """Print the cells and the commands that reproduce them; run nothing."""

    def __post_init__(self) -> None:
        DEVICES.require("--device", self.device)
        for name in ("steps", "sequences", "threads", "jobs"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"--{name}", value, "an integer of at least 1")
        require(self.budget is None or 0 < self.budget < float("inf"), "--budget", self.budget, "a number above 0")
        both = self.steps is not None and self.budget is not None
        require(not both, "--budget", self.budget, "no --steps beside it: one follows from the other")
        self.slurm.check(self.executor)


def main(arguments: Sequence[str]) -> int:
    """Run what is left to do of a suite, print its tables, and return the exit code; 1 if a cell failed.

    Raises:
        UserError: arguments or a folder that cannot be used.
    """
    if wants_help(arguments):
        suites = [f"{suite.name}: {suite.about}" for suite in SUITES.values()]
        return show_help(arguments, "stf benchmark", Benchmark(), notes=["Suites:", *suites])
    given = split(arguments, flags_of(Benchmark), positional=["SUITE"])
    if not given.positional:
        raise UserError(f"stf benchmark: found no suite, expected one of {', '.join(SUITES)}")
    suite = find_suite(given.positional[0])
    command = build(Benchmark(), given)
    settings = _settings(command, suite)
    out = command.out or RUNS / f"benchmark-{suite.name}"
    models = suite.choose(None if command.only is None else command.only.split(","))
    grid, left_out = cells(suite, models, _seeds(command, suite), settings, out)
    if command.list:
        _show(grid, left_out)
        return 0
    return _run(command, suite, grid, left_out, shlex.join(["stf", "benchmark", *arguments]))


def _settings(command: Benchmark, suite: Suite) -> Settings:
    root = command.data.root
    require(root is None or root.exists(), "--data.root", str(root), "a folder or file that is there")
    steps = command.steps if command.steps is not None or command.budget is not None else suite.steps
    return Settings(
        steps=steps,
        budget=command.budget,
        sequences=suite.sequences if command.sequences is None else command.sequences,
        root=root,
        device=command.device,
        codes=importlib.util.find_spec(CODES_NEED) is not None,
    )


def _seeds(command: Benchmark, suite: Suite) -> list[int]:
    """The seeds, each once."""
    if command.seeds is None:
        return list(suite.seeds)
    words = command.seeds.split(",")
    fits = all(word.isdecimal() and len(word) < 20 and int(word) < 2**63 for word in words)
    require(fits, "--seeds", command.seeds, "integers in [0, 2**63) with commas between them, such as 0,1,2")
    return list(dict.fromkeys(map(int, words)))


def _show(grid: Sequence[Cell], left_out: Sequence[str]) -> None:
    """Print the cells and their commands."""
    for cell in grid:
        say("\n".join([f"# {cell.name}", *cell.commands().values()]))
    _say_left_out(left_out)


def _say_left_out(left_out: Sequence[str]) -> None:
    if left_out:
        say(f"left out, as they need --data.root: {', '.join(left_out)}", error=True)


def _require_sequences(grid: Sequence[Cell]) -> None:
    """Raise a UserError here, and not after every training, if a data set has fewer sequences than are measured."""
    from ffrl.data import load
    from ffrl.evaluation.measures.codes import LEAST_IMAGES

    for cell in {cell.data.label: cell for cell in grid}.values():
        settings = cell.settings
        data = load(configure(cell.with_steps(settings.steps or 1).train()[1:]).data)
        least = LEAST_IMAGES if cell.suite.codes and settings.codes else 1
        size = data.size("validation")
        expected = f"{least} to {size}, the size of the validation split of {data.title}"
        require(least <= settings.sequences <= size, "--sequences", settings.sequences, expected)


def _threads(command: Benchmark) -> int | None:
    """Threads per cell, None to leave them as they are."""
    from stf.benchmark.run.machine import cores

    if command.threads is not None or "OMP_NUM_THREADS" in os.environ:
        return command.threads
    if command.executor == "slurm":
        return command.slurm.cpus
    if command.jobs == 1:
        return None
    return max(1, cores() // command.jobs)


def _run(command: Benchmark, suite: Suite, grid: Sequence[Cell], left_out: Sequence[str], line: str) -> int:
    """Run the cells that are not done, write and print what is finished."""
    from ffrl.core.files import locked, remove_leftovers
    from stf.benchmark.run.jobs import JOBS, Submitter, end_leftovers
    from stf.benchmark.run.process import Child, Launcher, Start
    from stf.benchmark.run.progress import Progress
    from stf.benchmark.run.records import RESULTS, Records, make_folder, prepare
    from stf.benchmark.run.runner import Runner, exit_code
    from stf.benchmark.tables.writing import print_tables, write_plots, write_tables

    out, settings = grid[0].out, grid[0].settings
    start: Start = Child
    if command.executor != "processes":
        start = Submitter(command.executor, out / JOBS, **asdict(command.slurm))
    if settings.device not in ("auto", "cpu") and command.executor != "slurm":
        from ffrl.core.device import resolve_device

        resolve_device(settings.device)  # raises here, and not in every cell
    _require_sequences(grid)
    make_folder(out)
    with locked(out):
        prepare(out, suite, settings)
        remove_leftovers(out)
        end_leftovers(out / JOBS)
        records = Records(out / RESULTS)
        records.check()
        _say_left_out(left_out)
        if suite.codes and not settings.codes:
            say("scikit-learn is not installed: DCI, MIG and linear probes are left out", error=True)
        launcher = Launcher(f"{__package__}.main", _threads(command))
        with Progress(Console(stderr=True)) as progress:
            outcome = Runner(records, launcher, command.jobs, progress, line, start).run(grid)
        lines = list(records.by_cell.values())
        write_tables(suite, lines, out)
        if outcome.signal is not None:
            done = sum(records.done(cell.name) for cell in grid)
            say(f"stopped, {done} of {len(grid)} cells are done; to go on: {line}", error=True)
            return exit_code(outcome)
        write_plots(suite, lines, out)
        print_tables(suite, lines, Console())
    say(str(out))
    return exit_code(outcome)
