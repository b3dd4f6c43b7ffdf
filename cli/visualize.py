"""``stf visualize-fields``: draw the fields of a trained model and what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from . import runs
from .flags import build, flags_of, show_help, split, wants_help


@dataclass(frozen=True)
class VisualizeFields:
    """Draw the fields of a trained model and what they do."""

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")] = None
    """Run folder (left out: the newest under runs/)."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for the figures (left out: RUN/figures)."""


def main(arguments: Sequence[str]) -> int:
    """Draw, print the folder of the figures, and return the exit code.

    Raises:
        UserError: arguments or a run that cannot be used.
    """
    if wants_help(arguments):
        show_help(VisualizeFields, VisualizeFields(), "stf visualize-fields", VisualizeFields.__doc__ or "")
    command = build(VisualizeFields, VisualizeFields(), split(arguments, flags_of(VisualizeFields), positional=["RUN"]))
    run = command.run or runs.newest()
    out = command.out or run / "figures"

    from stf.visualize import run as draw

    draw(run, out)
    print(out)
    return 0
