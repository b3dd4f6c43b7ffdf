"""What runs the commands of cells: by default processes, each in a process group of its own, with a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import stf
from ffrl.core.files import reporting
from ffrl.core.signals import KILL

GRACE = 60.0
"""Seconds that stopped processes have to save a checkpoint before they are killed."""
POLL = 0.05
GROUP = int(getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0))
"""On Windows what a session of its own is elsewhere: a group that can be told to stop."""
BREAK = int(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
"""The one signal that a process on Windows can be sent and handle."""
TAIL = 4096


@dataclass(frozen=True)
class Launcher:
    """How processes are started.

    Attributes:
        main: module of the command line, ``stf.cli.main`` or in a checkout ``cli.main``.
        threads: ``OMP_NUM_THREADS`` of the processes; left as it is for None.
    """

    main: str
    threads: int | None = None

    def stf(self, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs ``stf`` with ``arguments`` as this installation does."""
        return self.python(self.main, arguments)

    def python(self, module: str, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs a module with this interpreter; the current folder is not searched for it.

        Example:
            >>> Launcher("stf.cli.main").python("stf.benchmark.run.curve", ["run"])[1:]
            ['-P', '-m', 'stf.benchmark.run.curve', 'run']
        """
        return [sys.executable, "-P", "-m", module, *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment of the processes: they find the same packages as this one.

        Example:
            >>> Launcher("stf.cli.main", threads=3).environment()["OMP_NUM_THREADS"]
            '3'
        """
        found = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
        if not self.main.startswith("stf."):  # a checkout that is not installed
            root = str(Path(stf.__file__).parents[1])
            found["PYTHONPATH"] = os.pathsep.join(filter(None, (root, found.get("PYTHONPATH"))))
        return found if self.threads is None else found | {"OMP_NUM_THREADS": str(self.threads)}


class Started(Protocol):
    """A command that is under way, as a process or as a job of a cluster, and appends its output to a log."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, None while the command runs."""

    def send(self, number: int) -> None:
        """Send SIGTERM or SIGKILL to the command and to what it started, if it still runs."""

    def wait(self, seconds: float) -> None:
        """Wait for the end of the command, but not longer than this."""


Start = Callable[[Sequence[str], Path, dict[str, str], str], Started]
"""Starts a command, with the arguments of :class:`Child`."""


class Child:
    """A process that is under way.

    Args:
        command: to run.
        log: file that it appends its output to, after the line ``shown``.
        environment: of the process.
        shown: what stands for the command in the log.

    Raises:
        UserError: the log cannot be written.
        OSError: the system starts no process.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str], shown: str) -> None:
        with reporting("write", log):
            log.parent.mkdir(parents=True, exist_ok=True)
            file = open(log, "ab")
        with file:
            with reporting("write", log):
                file.write(os.fsencode(f"$ {shown}\n"))
                file.flush()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                creationflags=GROUP,
            )

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, None while the process runs."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Send a signal to the process and to what it started, if it still runs."""
        if self.poll() is not None:
            return
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, number)
            elif number == KILL:
                self._process.kill()
            else:
                self._process.send_signal(BREAK)

    def wait(self, seconds: float) -> None:
        """Wait for the end of the process, but not longer than this."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(seconds, 0.0))


def stop(children: Iterable[Started], grace: float = GRACE) -> None:
    """End commands: SIGTERM, on which training saves a checkpoint, and SIGKILL for those that do not follow."""
    children = list(children)
    deadline = time.monotonic() + grace
    try:
        for child in children:
            child.send(signal.SIGTERM)
        for child in children:
            child.wait(deadline - time.monotonic())
    finally:
        for child in children:
            child.send(KILL)
            child.wait(grace)


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, or nothing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.log")
        ...     _ = path.write_text("step 1\\nstf: error: no space\\n\\n")
        ...     last_line(path)
        'stf: error: no space'
    """
    with reporting("read", log), open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def describe_exit(code: int, log: Path) -> str:
    """Say how a process failed: the signal or exit code, and the last line of its log."""
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}"
    else:
        how = f"exit code {code}"
    return f"{how}: {last_line(log)}"
