"""Hand-made lines of benchmark results, and a stand-in for the processes of cells that takes no time."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ffrl.training.config_io import encode_config
from stf.benchmark.run.process import Launcher
from stf.benchmark.suites import SUITES, Suite
from stf.registry import CONFIGS, default_config

STANDIN = Path(__file__).with_name("benchmark_standin.py")
MACHINE = {
    "processor": "CPU",
    "cores": 2,
    "threads": 1,
    "at_a_time": 1,
    "torch": "2",
    "device": "cpu",
    "precision": "float32",
}


def line_of(
    suite: Suite,
    model: str,
    seed: int = 0,
    errors: Sequence[float] = (200.0, 100.0, 300.0),
    data: str = "mnist",
    metrics: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A line of a finished cell, with errors of the three transformations of MNIST."""
    (row,) = (row for row in suite.models if row.label == model)
    names = ("scaling", "rotation", "hue")
    mean = sum(errors) / 3
    estimates = {
        f"error/{name}": {"mean": error, "standard_error": 1.0} for name, error in zip(names, errors, strict=True)
    }
    base = {"error_steps": 7, "error/mean": mean, "upper_bound/gaussian-1": -2161.34}
    points = [
        {"step": step, "seconds": 50.0 * step * (1 + 0.1 * seed), "error": {"mean": mean * (1 + 4 / step)}}
        for step in range(1, 9)
    ]
    return {
        "cell": f"{model}-{data}-seed{seed}",
        "suite": suite.name,
        "model": model,
        "data": data,
        "seed": seed,
        "steps": 3600,
        "budget": None,
        "commands": {"train": "stf train", "evaluate": "stf evaluate"},
        "benchmark": f"stf benchmark {suite.name}",
        "version": "0.1.0",
        "date": "2030-01-02T03:04:05+00:00",
        "status": "done",
        "data_title": "MNIST",
        "data_of": {"name": "mnist", "title": "MNIST", "protocol": "ffrl", "num_steps": 8},
        "label": row.title,
        "told": row.told,
        "sequences": 500,
        "training_seconds": 100.0 + seed,
        "frames_per_second": 1000.0,
        "data_share": 0.1,
        "parameters": 1234567,
        "prediction": None,
        "machine": MACHINE,
        "metrics": base | estimates | (metrics or {}),
        "curve": points,
        "frames": {
            name: [20.0, *(error / 7 * 1.1**t for t in range(16))] for name, error in zip(names, errors, strict=True)
        },
        "trained_steps": 8,
    } | changes


def table1() -> Suite:
    """The suite of Table 1."""
    return SUITES["mnist-table1"]


@cache
def defaults() -> Path:
    """A file with the default configuration of every mode, which the stand-in has no time to import."""
    configs = {mode: json.loads(encode_config(default_config(mode))) for mode in CONFIGS}
    path = Path(tempfile.mkdtemp()) / "defaults.json"
    path.write_text(json.dumps(configs))
    return path


@dataclass(frozen=True)
class Standin(Launcher):
    """Starts ``benchmark_standin.py`` in the place of ``stf`` and of the measurement of curves."""

    main: str = "cli.main"

    def stf(self, arguments: Sequence[str]) -> list[str]:
        """Return the command of the stand-in."""
        return [sys.executable, "-S", str(STANDIN), str(defaults()), *arguments]

    def python(self, module: str, arguments: Sequence[str]) -> list[str]:
        """Return the command of the stand-in for a module."""
        return self.stf([module.rpartition(".")[2], *arguments])


def alive(folder: Path) -> list[str]:
    """Command lines of processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        found += [command] if str(folder) in command else []
    return found
