"""``stf verify``: whether the files of a run are still what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ffrl.core.terminal import say
from ffrl.training.folders import newest

from .flags import build, flags_of, split
from .help import show_help, wants_help


@dataclass(frozen=True)
class Verify:
    """Compare the files of a run with the checksums that every checkpoint has of itself and of the run."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run folder (left out: the newest under runs/)."""


def main(arguments: Sequence[str]) -> int:
    """Print a line for every checkpoint and for every file that has changed, and return the exit code: 1 for any.

    Raises:
        UserError: arguments or a run that cannot be used.
    """
    if wants_help(arguments):
        return show_help(arguments, "stf verify", Verify())
    command = build(Verify(), split(arguments, flags_of(Verify), positional=["RUN"]))
    run = command.run or newest()

    from ffrl.storage.checksums import verify
    from ffrl.training.checkpoint import checkpoints, find_checkpoint

    find_checkpoint(run)
    faults = 0
    known = checkpoints(run)
    for step, checkpoint in known.items():
        found = list(verify(run, checkpoint, newest=step == max(known)))
        wrong = [one for one in found if one.fault is not None]
        faults += len(wrong)
        for one in wrong:
            say(f"{run / one.name}: {one.fault}")
        if not all(one.known for one in found):
            say(f"{checkpoint}: found no checksums, which earlier versions did not write: nothing is known of it")
        elif not wrong:
            say(f"{checkpoint}: {len(found)} files, of it and of the run, are as they were written")
    return 1 if faults else 0
