"""Throughput of training in several processes, as ``torchrun`` starts them, against that of one.

Run ``python benchmarks/processes.py`` on an otherwise idle machine; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measure import machine
from rich.console import Console
from rich.table import Table

from ffrl.storage.names import METRICS
from ffrl.training.log import read_metrics

console = Console(width=110)
MAIN = "stf.cli.main"
DEFAULT = ["--mode=supervised", "--config=mnist", "--steps=40", "--still.fraction=0"]
"""The published size: D = 324, batches of 128 sequences."""
WARM = 0.25
"""Share of the steps that are left out, the first ones."""


def throughput(processes: int, flags: Sequence[str]) -> tuple[float, float]:
    """Frames per second and last loss of a training in so many processes of one thread each.

    Raises:
        RuntimeError: with the last words of a training that fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"] if processes > 1 else []
        precise = ["--device=cpu", "--precision=float32", "--log-every=1", f"--out={run}"]
        command = [sys.executable, *launcher, "-m", MAIN, "train", *flags, *precise]
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()[-1000:]}")
        entries = [entry for entry in read_metrics(run / METRICS) if "frames_per_second" in entry]
    steady = entries[int(WARM * len(entries)) :]
    return statistics.median(entry["frames_per_second"] for entry in steady), steady[-1]["train/loss"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train with one process and with several, in turn, and print the ratio of their throughput."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2, help="how many (default 2)")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of trainings (default 3)")
    parser.add_argument("flags", nargs="*", default=DEFAULT, help=f"of stf train (default {' '.join(DEFAULT)})")
    given = parser.parse_args(arguments)
    about = machine(1)
    console.print(f"{about['cpu']}, {about['cores']} cores, torch {about['torch']}; stf train {' '.join(given.flags)}")
    table = Table(title=f"One process and {given.processes}, one thread each", caption="frames per second, medians")
    for column in ("pair", "one", f"{given.processes}", "share of the ideal", "loss, one", f"loss, {given.processes}"):
        table.add_column(column, justify="right")
    shares = []
    for pair in range(given.repeats):
        (alone, loss), (together, other) = throughput(1, given.flags), throughput(given.processes, given.flags)
        shares.append(together / (given.processes * alone))
        row = (f"{alone:,.0f}", f"{together:,.0f}", f"{shares[-1]:.2f}", f"{loss:.6g}", f"{other:.6g}")
        table.add_row(f"{pair + 1}", *row)
    console.print(table)
    console.print(f"share of the ideal: median {statistics.median(shares):.2f}")


if __name__ == "__main__":
    main()
