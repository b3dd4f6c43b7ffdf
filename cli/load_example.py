"""``stf load-example``: a trained model that comes with the package, as a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ffrl.core.errors import UserError

from .flags import build, flags_of, split
from .help import show_help, wants_help
from .hints import hint


@dataclass(frozen=True)
class LoadExample:
    """Write a trained model that comes with the package as a run folder, which the other commands take."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = ""
    """Which one; left out: they are listed."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The run folder, new or empty (left out: runs/example-NAME)."""


def main(arguments: Sequence[str]) -> int:
    """Write the run folder, print its path, and return the exit code.

    Raises:
        UserError: arguments that cannot be used, or a folder that cannot be written.
    """
    if wants_help(arguments):
        return show_help(arguments, "stf load-example", LoadExample())
    given = build(LoadExample(), split(arguments, flags_of(LoadExample), ["NAME"]))

    from stf.examples import load_example, names

    if not given.name:
        raise UserError(f"stf load-example: found no name, expected one of {', '.join(names())}")
    run = load_example(given.name, given.out or Path("runs", f"example-{given.name}"))
    print(run)
    hint("visualize-fields", run)
    return 0
