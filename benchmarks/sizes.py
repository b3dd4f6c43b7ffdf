"""Processor time and peak memory of training, evaluating and drawing at sizes that people try, as a table in Markdown.

Run ``python benchmarks/sizes.py``; every command runs in a process of its own, for a few steps or sequences.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measure import machine, processor_seconds_of, resident_bytes_of

MAIN = "stf.cli.main"
COMMANDS = ("train", "evaluate", "visualize-fields")
STEPS = 20


@dataclass(frozen=True)
class Size:
    """One size of data or model.

    Args:
        what: in words.
        flags: of ``stf train``.
        data: what has to be there before, of :func:`tiny_clips` and :func:`large_array`; none for the digits.
    """

    what: str
    flags: tuple[str, ...] = ()
    data: str = ""


SIZES = {
    "defaults": Size("the defaults"),
    "clips": Size("20,000 clips of 9 frames, each a file", ("--data.sequences.size=16",), "tiny"),
    "array": Size("an array of 5 GB, 64 x 64", (), "large"),
    "k64": Size("K = 64", ("--model.num-fields=64",)),
    "t64": Size("T = 64", ("--data.num-steps=64",)),
    "d512": Size("D = 512", ("--model.latent-dim=512",)),
    "256": Size("256 x 256 pixels", ("--data.sequences.size=256",), "wide"),
}


class Done(NamedTuple):
    """What a command took: processor seconds, peak of resident bytes, exit code, and the last line it said."""

    seconds: float
    peak: int
    code: int | None
    said: str


def tiny_clips(folder: Path, count: int = 20_000, seed: int = 0) -> None:
    """Write clips ``(9, 16, 16, 3)`` of a disc that moves."""
    folder.mkdir()
    source = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    for number in range(count):
        at = source.uniform(4, 12, 2) + np.arange(9)[:, None] * source.uniform(-0.5, 0.5, 2)
        apart = (y - at[:, 0, None, None]) ** 2 + (x - at[:, 1, None, None]) ** 2
        frames = (20 + 200 * np.exp(-apart / 6)).astype(np.uint8)
        np.save(folder / f"{number:05}.npy", np.repeat(frames[..., None], 3, -1))


def array_of(path: Path, shape: tuple[int, ...]) -> None:
    """Write an array of bytes without taking the disk for it: all but a few frames are holes."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + int(np.prod(shape)))
    mapped = np.load(path, mmap_mode="r+")
    frames = np.random.default_rng(0).integers(0, 255, (64, *shape[2:]), dtype=np.uint8)
    for number in range(0, len(mapped), max(1, len(mapped) // 64)):
        mapped[number, : shape[1]] = frames[np.arange(shape[1]) % 64]
    mapped.flush()


def measured(arguments: Sequence[str], limit: float) -> Done:
    """Run ``stf`` with ``arguments``, at most so many processor seconds, and look at its memory ten times a second."""
    command = [sys.executable, "-m", MAIN, *arguments]
    before, peak = _processor_seconds(), 0
    child = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(child.stdout or ()), daemon=True)
    reader.start()
    while child.poll() is None and (processor_seconds_of(child.pid) or 0) < limit:
        peak = max(peak, resident_bytes_of(child.pid, highest=True) or 0)
        time.sleep(0.1)
    code = child.poll()
    if code is None:
        child.kill()
        child.wait()
    reader.join(5)
    last = next((line.strip() for line in reversed(said) if line.strip()), "")
    return Done(_processor_seconds() - before, peak, code, last)


def _processor_seconds() -> float:
    """Of all commands that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def cell(done: Done) -> str:
    """What stands in the table."""
    if done.code is None:
        return f"stopped after {done.seconds:.0f} s, {done.peak / 2**20:,.0f} MiB"
    failed = f"; exit {done.code}: {done.said}" if done.code else ""
    return f"{done.seconds:.1f} s, {done.peak / 2**20:,.0f} MiB{failed}"


def prepared(size: Size, folder: Path) -> list[str]:
    """Flags of the data of a size, which are written if they are not there."""
    if not size.data:
        return []
    root = folder / size.data if size.data == "tiny" else folder / f"{size.data}.npy"
    if not root.exists():
        if size.data == "tiny":
            tiny_clips(root)
        else:
            array_of(root, {"large": (4000, 102, 64, 64, 3), "wide": (100, 60, 256, 256, 3)}[size.data])
    return ["--data.name=sequences", f"--data.root={root}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=SIZES, default=list(SIZES), help="which sizes")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of training (default {STEPS})")
    parser.add_argument("--sequences", type=int, default=200, help="that are measured on (default 200)")
    parser.add_argument("--limit", type=float, default=600.0, help="processor seconds of a command (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of training (default 0)")
    given = parser.parse_args(arguments)
    about = machine(1)
    machine_said = f"{about['cpu']}, {about['cores']} cores, torch {about['torch']}, one thread"
    print(f"{machine_said}; processor seconds and peak memory;")
    print(f"{given.steps} steps of training, {given.sequences} sequences measured, seed {given.seed}\n")
    print(f"| size | {' | '.join(f'`stf {command}`' for command in COMMANDS)} |")
    print("|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for key in given.only:
            size, run = SIZES[key], Path(name, f"run-{key}")
            flags = [*prepared(size, Path(name)), *size.flags, f"--steps={given.steps}", f"--seed={given.seed}"]
            train = ["train", "--mode=unsupervised", "--precision=float32", *flags, f"--out={run}"]
            done = [measured(train, given.limit)]
            if done[0].code == 0:
                done.append(measured(["evaluate", str(run), f"--sequences={given.sequences}"], given.limit))
                done.append(measured(["visualize-fields", str(run)], given.limit))
            print(f"| {size.what} | {' | '.join(map(cell, done))} |", flush=True)


if __name__ == "__main__":
    main()
