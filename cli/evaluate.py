"""``stf evaluate``: measure a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ffrl.core.device_name import DEVICES, DeviceName
from ffrl.core.errors import UserError, require
from ffrl.core.terminal import Console
from ffrl.training.folders import newest

from .flags import build, flags_of, split
from .help import show_help, wants_help
from .hints import hint


@dataclass(frozen=True)
class DataLocation:
    """Where the sequences come from."""

    root: Path | None = None
    """Folder of the data set (default: the one that the run was trained on)."""


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained model: errors of its flows, likelihood, and which field is which transformation."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run folder (left out: the newest under runs/)."""
    data: DataLocation = field(default_factory=DataLocation)
    split: Literal["validation", "test"] = "validation"
    """Which part of the data; the test set is for final numbers."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write everything measured to FILE."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same numbers."""
    sequences: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """How many sequences to measure on (left out: 1000, or all of a smaller split)."""
    codes: bool = False
    """Also DCI, MIG and linear probes of the latent codes; needs scikit-learn, the extra metrics."""
    device: DeviceName = "auto"
    """Where to compute; auto takes CUDA when there is one."""

    def __post_init__(self) -> None:
        DEVICES.require("--device", self.device)
        require(0 <= self.seed < 2**63, "--seed", self.seed, "an integer in [0, 2**63)")
        require(
            self.sequences is None or self.sequences >= 1, "--sequences", self.sequences, "an integer of at least 1"
        )


def main(arguments: Sequence[str]) -> int:
    """Measure, print a report and the verdict on the run, and return the exit code.

    Raises:
        UserError: arguments, a run or data that cannot be used.
    """
    if wants_help(arguments):
        return show_help(arguments, "stf evaluate", Evaluate())
    command = build(Evaluate(), split(arguments, flags_of(Evaluate), positional=["RUN"]))
    if command.json is not None and not command.json.parent.is_dir():
        raise UserError(f"--json: found no folder {str(command.json.parent)!r}, expected one to write into")
    if command.json is not None and command.json.is_dir():
        raise UserError(f"--json: found the folder {str(command.json)!r}, expected a file to write")
    run = command.run or newest()

    from ffrl.core.files import reporting, to_json, write_atomically
    from ffrl.evaluation.report.terminal import print_report
    from stf.report.run_verdict import print_verdict, verdict_of
    from stf.run import Run, evaluate

    opened = Run.open(run, device=command.device)
    report = evaluate(
        opened,
        split=command.split,
        data_root=command.data.root,
        seed=command.seed,
        sequences=command.sequences,
        codes=command.codes,
    )
    if command.json is not None:  # before anything is printed, which may fail
        target = command.json.resolve()
        if target.exists() and not target.is_file():  # a pipe or a device
            with reporting("write", target):
                target.write_bytes(to_json(report))
        else:
            write_atomically(target, to_json(report))
    console = Console()
    print_report(report, console)
    print_verdict(verdict_of(opened, report), console)
    if opened.has_fields:
        hint("visualize-fields", run, data_root=command.data.root)
    return 0
