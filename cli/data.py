"""``stf data``: what a data set holds, before anyone trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ffrl.config import DataConfig
from ffrl.errors import require

from .flags import build, flags_of, show_help, split, wants_help


@dataclass(frozen=True)
class Data:
    """Show what a data set holds, and draw sample sequences with their true activity, before anyone trains."""

    data: DataConfig = field(default_factory=DataConfig)
    split: Literal["train", "validation", "test"] = "validation"
    """Which part of the data the samples and the statistics are from."""
    seed: int = 0
    """Seed of the samples; the same seed gives the same ones."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for samples.png and summary.json (left out: data-NAME in the current folder, such as data-mnist)."""

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "--seed", self.seed, "an integer in [0, 2**63)")


def main(arguments: Sequence[str]) -> int:
    """Print tables, write the samples, print their folder, and return the exit code.

    Raises:
        UserError: arguments or data that cannot be used, or a folder that cannot be written.
    """
    if wants_help(arguments):
        show_help(Data, Data(), "stf data", Data.__doc__ or "")
    command = build(Data, Data(), split(arguments, flags_of(Data)))
    out = command.out or Path(f"data-{command.data.name}")

    from rich.console import Console

    import ffrl.data
    from ffrl.data.summary import print_summary, summarise
    from stf.visualize.samples import write_samples

    data = ffrl.data.load(command.data)
    summary = summarise(data, command.split, command.seed)
    write_samples(data, summary, out)
    print_summary(summary, Console())
    print(out)
    return 0
