"""Kills training at random moments and goes on with it, until it is finished and has to equal an uninterrupted run.

Run as a script, as ``make torture`` does, it kills so many times and prints a table of kills by phase and mode. Every
run is ``stf train`` in a forked process of its own, in which packages are loaded already: a kill then costs no more
than the training. Signals are real ones of the system, sent at random times, while a checkpoint is written, or as soon
as files appear in a new run folder.
"""

from __future__ import annotations

import argparse
import importlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cli_tools import SEARCH, TINY
from run_tools import assert_same_run

import ffrl.data
from cli.main import main
from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.storage.checksums import verify
from ffrl.training.checkpoint import FOLDER, checkpoints, find_checkpoint
from ffrl.training.config_io import read_config
from ffrl.training.log import Log
from ffrl.training.phases import span_at
from stf.registry import CONFIGS

PHASES = ("--steps=30", "--still.fraction=0.2", "--discovery.fraction=0.25", "--refine.fraction=0.15")
AGAIN = ("--rediscovery.fraction=0.15", "--rediscovery.after=0.1")
OFTEN = ("--deterministic", "--checkpoint-every=3", "--log-every=2", "--validate-every=7", "--keep-checkpoints=2")
COMMON = (*(flag for flag in TINY if not flag.startswith("--steps")), *OFTEN)
CASES: dict[str, tuple[str, ...]] = {
    "unsupervised": ("--mode", "unsupervised", *COMMON, *SEARCH, *PHASES, *AGAIN),
    "weak": ("--mode", "weak", *COMMON, *SEARCH, *PHASES, *AGAIN),
    "supervised": ("--mode", "supervised", *COMMON, "--steps=30", "--still.fraction=0.3"),
    "vae": ("--mode", "vae", *COMMON, "--steps=30"),
    "factor-vae": ("--mode", "factor-vae", *COMMON, "--steps=30"),
    "vectors": ("--mode", "unsupervised", *COMMON, *SEARCH, *PHASES, *AGAIN, "--data.name=vectors"),
    "recordings": ("--mode", "unsupervised", *COMMON, *SEARCH, *PHASES, *AGAIN, "--data.name=sequences"),
}
"""Flags of ``stf train`` by name; what needs data gets its root."""
SIGNALS = (signal.SIGKILL,) * 3 + (signal.SIGTERM, signal.SIGINT)
MOMENTS = ("step", "step", "time", "writing", "files")
"""When a run is killed: in some step, at any time, while a checkpoint is written, when its first files are there."""
PATIENCE = 120.0
"""Seconds in which a run has to end by itself."""
BEGINNING, UNKNOWN = "before the first step", -1
ENDED = (0, 130, 143, -signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL)
"""Exit codes of a run that was killed, or was quicker."""


@dataclass
class Findings:
    """Kills by case and phase, runs that were finished, and what was wrong."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, case: str, text: str) -> None:
        """Note and print something wrong."""
        self.faults.append(f"{case}: {text}")
        print(f"FAULT {case}: {text}", file=sys.stderr, flush=True)


class Child:
    """``stf`` with some arguments in a forked process, whose step is known here.

    Args:
        arguments: of the command line.
        said: where its output goes.
        loaded: where it writes what packages it has loaded when it has finished.
    """

    def __init__(self, arguments: list[str], said: Path, loaded: Path | None = None) -> None:
        self._shared = mmap.mmap(-1, 8)
        self._shared[:] = struct.pack("q", UNKNOWN)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid, self.code = os.fork(), None
        if self.pid == 0:
            self._become(arguments, said, loaded)

    def _become(self, arguments: list[str], said: Path, loaded: Path | None) -> None:
        code = 70
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            advance = Log.advance

            def told(log: Log, step: int) -> None:
                self._shared[:] = struct.pack("q", step)
                advance(log, step)

            Log.advance = told  # type: ignore[method-assign]
            code = main(arguments)
            if loaded is not None:
                loaded.write_text("\n".join(sys.modules))
            sys.stdout.flush()
            sys.stderr.flush()
        except KeyboardInterrupt:
            code = 130
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    @property
    def step(self) -> int:
        """Steps that it has taken, or begun with; :data:`UNKNOWN` before the first one."""
        return struct.unpack("q", self._shared[:])[0]

    def ended(self) -> bool:
        """Whether it has ended; its exit code is known then."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def wait(self, until: Callable[[], bool] = lambda: False, seconds: float = PATIENCE) -> bool:
        """Wait for something, or for its end; whether that came within so many seconds."""
        deadline = time.monotonic() + seconds
        while not self.ended() and not until():
            if time.monotonic() > deadline:
                return False
            time.sleep(2e-4)
        return True

    def kill(self, number: int) -> None:
        """Send a signal, and wait for the end.

        Raises:
            TimeoutError: it does not end.
        """
        os.kill(self.pid, number)
        if not self.wait():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
            raise TimeoutError(f"does not end within {PATIENCE:g} s of {signal.Signals(number).name}")


def roots(folder: Path) -> dict[str, list[str]]:
    """Flags of data by the names of cases, and the data."""
    source = np.random.default_rng(0)
    np.save(folder / "walks.npy", source.normal(size=(24, 12, 5)).cumsum(1))
    (folder / "clips").mkdir()
    for number in range(4):
        np.save(folder / "clips" / f"{number}.npy", source.integers(0, 255, (20, 20, 20, 3), np.uint8))
    clips = [f"--data.root={folder / 'clips'}", "--data.sequences.size=16"]
    return {"vectors": [f"--data.root={folder / 'walks.npy'}"], "recordings": clips}


def cache_flag(case: str, run: Path) -> list[str]:
    """Recordings of every run are decoded anew."""
    return [f"--data.sequences.cache={run}-cache"] if case == "recordings" else []


def writing(run: Path) -> bool:
    """Whether a checkpoint is being written, or an old one removed."""
    try:
        return any(name.startswith(".tmp-") for name in os.listdir(run / FOLDER))
    except OSError:
        return False


def phase_of(run: Path, step: int) -> str:
    """The phase of the next step, or what comes before and after all of them."""
    if step == UNKNOWN:
        return BEGINNING
    try:
        config = read_config(run / "config.json", CONFIGS)
    except UserError:
        return BEGINNING
    return "after the last step" if step >= config.steps else span_at(config, step).phase.name


def kill_once(
    case: str, start: list[str], run: Path, seconds: float, steps: int, source: random.Random, found: Findings
) -> bool:
    """Begin or go on with a run and kill it; whether it was finished before that.

    Args:
        case: name.
        start: arguments that begin the run.
        run: its folder.
        seconds: that the whole run takes.
        steps: that it has.
        source: of everything random.
        found: what is counted.

    Raises:
        TimeoutError: it hangs.
    """
    begun = (run / "config.json").exists()
    said = run.with_name(f"{run.name}.txt")
    child = Child(["train", "--resume", str(run)] if begun else start, said)
    moment, number = source.choice(MOMENTS), source.choice(SIGNALS)
    if moment == "step":
        wanted = source.randint(max(checkpoints(run), default=0), steps)
        child.wait(lambda: child.step >= wanted)
        time.sleep(source.uniform(0, seconds / steps))
    elif moment == "writing" and child.wait(lambda: writing(run), seconds * source.random()):
        time.sleep(source.uniform(0, 3e-3))
    elif moment == "files" and not begun:
        child.wait(lambda: run.is_dir() and any(os.scandir(run)))
        time.sleep(source.uniform(0, 5e-3))
    else:
        child.wait(seconds=seconds * source.uniform(0, 0.8))
    busy, step = writing(run), child.step
    if child.ended():
        found.ways["ended before the signal"] += 1
    else:
        child.kill(number)
        found.kills[case, phase_of(run, step)] += 1
        found.ways[signal.Signals(number).name] += 1
        found.ways["while a checkpoint was written"] += busy
    text = said.read_text(errors="replace")
    if "Traceback" in text or child.code not in ENDED:
        found.fault(
            case, f"exit {child.code} of {moment}, {signal.Signals(number).name} at step {step}: {text[-2000:]}"
        )
    return child.code == 0


def compare(case: str, reference: Path, run: Path, found: Findings) -> None:
    """Note whatever differs between two finished runs but what the clock says."""
    try:
        assert_same_run(reference, run)
        for name in ("run.json", "environment.json"):
            assert (reference / name).read_bytes() == (run / name).read_bytes(), f"{name} differs"
        states = [json.loads((find_checkpoint(one) / "training_state.json").read_text()) for one in (reference, run)]
        a, b = ({key: value for key, value in one.items() if "seconds" not in key} for one in states)
        assert a == b, "training_state.json differs"
        left = [str(path) for path in run.rglob(".tmp-*")]
        assert not left, f"left behind: {left}"
        for checkpoint in checkpoints(run).values():
            wrong = [one for one in verify(run, checkpoint) if one.fault]
            assert not wrong, f"{checkpoint}: {wrong}"
    except (AssertionError, OSError, UserError) as error:
        found.fault(case, f"not identical: {error!s:.500}")


def load(names: list[str]) -> None:
    """Load packages here, so that forked processes need not; nothing is computed with them, which would spoil them."""
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)


def torture(cases: list[str], kills: int, seed: int, folder: Path, keep: bool = False) -> Findings:
    """Kill runs of all cases in turn until there were so many kills, and finish and compare those in progress.

    Args:
        cases: keys of :data:`CASES`.
        kills: how many.
        seed: of moments and signals.
        folder: empty.
        keep: whether finished runs stay.

    Raises:
        RuntimeError: an uninterrupted run fails.
    """
    source, found, data = random.Random(seed), Findings(), roots(folder)
    seconds: dict[str, float] = {}
    steps: dict[str, int] = {}
    for case in cases:
        run, begun = folder / f"{case}-reference", time.monotonic()
        flags = [*CASES[case], *data.get(case, []), *cache_flag(case, run)]
        said, loaded = (folder / f"{case}-reference.{kind}" for kind in ("txt", "modules"))
        child = Child(["train", *flags, "--out", str(run)], said, loaded)
        child.wait()
        if child.code != 0:
            raise RuntimeError(f"{case}: exit {child.code}: {said.read_text()[-2000:]}")
        seconds[case], steps[case] = time.monotonic() - begun, max(checkpoints(run))
        load(loaded.read_text().split())
        print(f"{case}: {seconds[case]:.1f} s without a kill", flush=True)
    number = 0
    while sum(found.kills.values()) < kills:
        case = cases[number % len(cases)]
        number += 1
        run = folder / f"{case}-{number}"
        start = ["train", *CASES[case], *data.get(case, []), *cache_flag(case, run), "--out", str(run)]
        try:
            done = False
            while not done and sum(found.kills.values()) < kills:
                done = kill_once(case, start, run, seconds[case], steps[case], source, found)
            while not done:
                begun = (run / "config.json").exists()
                child = Child(["train", "--resume", str(run)] if begun else start, run.with_name(f"{run.name}.txt"))
                if not child.wait() or child.code != 0:
                    raise TimeoutError(f"exit {child.code}: {run.with_name(f'{run.name}.txt').read_text()[-2000:]}")
                done = True
        except TimeoutError as error:
            found.fault(case, str(error))
            continue
        before = len(found.faults)
        compare(case, folder / f"{case}-reference", run, found)
        found.finished[case] += 1
        if len(found.faults) == before and not keep:
            for path in (run, Path(f"{run}-cache"), run.with_name(f"{run.name}.txt")):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return found


def table(found: Findings, cases: list[str]) -> Iterator[str]:
    """The lines of a table of kills by phase and case, and of finished runs that were identical."""
    names = ("still", "discovery", "first-joint", "rediscovery", "joint", "refine")
    phases = [BEGINNING, *names, "after the last step"]
    rows = [["killed", *cases, "all"]]
    for phase in phases:
        counts = [found.kills[case, phase] for case in cases]
        rows.append([phase, *map(str, counts), str(sum(counts))])
    counts = [sum(count for (one, _), count in found.kills.items() if one == case) for case in cases]
    rows.append(["all", *map(str, counts), str(sum(counts))])
    wrong = [sum(fault.startswith(f"{case}: ") for fault in found.faults) for case in cases]
    rows.append(["runs finished", *(str(found.finished[case]) for case in cases), str(found.finished.total())])
    rows.append(["faults", *map(str, wrong), str(len(found.faults))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(
            word.ljust(width) if place == 0 else word.rjust(width)
            for place, (word, width) in enumerate(zip(row, widths, strict=True))
        )
    yield ", ".join(f"{count} {way}" for way, count in sorted(found.ways.items()))


def run(arguments: list[str]) -> int:
    """Kill as often as arguments say, print the table, and return the exit code: 1 for any fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", default=",".join(CASES), help="with commas between them")
    given = parser.parse_args(arguments)
    cases = given.cases.split(",")
    ffrl.data.load(DataConfig(), "cpu")  # loads what forked processes need
    print(f"{given.kills} kills, seed {given.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="stf-torture-"))
    found = torture(cases, given.kills, given.seed, folder)
    print("\n".join(table(found, cases)))
    if found.faults:
        print(f"the runs are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
