"""The next command, on standard error at the end of one; standard output has results alone."""

from __future__ import annotations

import os
import shlex
from itertools import chain
from pathlib import Path

from ffrl.core.terminal import as_argument, say


def hint(command: str, run: Path, **flags: Path | None) -> None:
    """Name the next command.

    Args:
        command: of ``stf``.
        run: run folder.
        flags: its flags, those that are None left out; ``_`` stands for a full stop.
    """
    given = [(f"--{name.replace('_', '.')}", os.fspath(value)) for name, value in flags.items() if value is not None]
    say(f"next: stf {shlex.join([command, as_argument(run), *chain(*given)])}", error=True)
