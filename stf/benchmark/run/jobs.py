"""The commands of cells as jobs of submitit, on this machine or on a Slurm cluster, each with a folder of its own.

A job is asked to end by a file in its folder, which it reads as long as its command runs: this reaches it on any
machine that shares the folder, before it has begun, and after the benchmark that submitted it was killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from ffrl.core.errors import UserError, reason_of
from ffrl.core.files import LOCK, PACKAGE, locked, reporting, write_atomically
from ffrl.core.signals import KILL, interrupts_held_back
from stf.benchmark.run.process import POLL, Child, stop

JOBS = "jobs"
"""Folder of the jobs within that of a benchmark."""
ASKED = "signal"
"""File in the folder of a job: the signal that its command is to get, empty for none; gone with the job."""
LOCAL, SLURM = "local", "slurm"
SUBMITS = "sbatch"
VISIBLE = "CUDA_VISIBLE_DEVICES"
DAY, YEAR = 24 * 60, 365 * 24 * 60
LOOK = 0.5
"""Seconds after which a job looks again at what it is asked."""


def import_submitit(executor: str) -> ModuleType:
    """Return ``submitit``.

    Args:
        executor: which of its executors is wanted.

    Raises:
        UserError: it is not installed, or the machine submits nothing to Slurm.

    Example:
        >>> import_submitit("local").__name__
        'submitit'
    """
    if not hasattr(signal, "pthread_sigmask"):
        raise UserError(f"--executor: found {executor!r} on {sys.platform}, expected 'processes': jobs need Unix")
    try:
        import submitit
    except ImportError:
        expected = f"'processes', or submitit (pip install '{PACKAGE}[cluster]')"
        raise UserError(f"--executor: found {executor!r}, expected {expected}") from None
    if executor == SLURM and shutil.which(SUBMITS) is None:
        raise UserError(f"--executor: found {executor!r} and no {SUBMITS}, expected a machine that submits to Slurm")
    return submitit


def parameters(
    executor: str,
    partition: str | None = None,
    minutes: int | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
) -> dict[str, Any]:
    """Return what submitit is told of a job; None leaves a setting to the cluster, but that of ``minutes`` to be a day.

    Args:
        executor: ``local``, where a job has the time and the devices of the benchmark, or ``slurm``.
        partition: of the cluster.
        minutes: after which a job is ended.
        cpus: of a job.
        gpus: of a job.

    Example:
        >>> parameters("slurm", partition="long", cpus=4)
        {'timeout_min': 1440, 'slurm_partition': 'long', 'cpus_per_task': 4}
    """
    if executor == LOCAL:
        return {"timeout_min": YEAR}
    given = {"slurm_partition": partition, "cpus_per_task": cpus, "gpus_per_node": gpus}
    return {"timeout_min": minutes or DAY} | {key: value for key, value in given.items() if value is not None}


class Submitter:
    """Submits commands as jobs.

    Args:
        executor: ``local`` or ``slurm``.
        folder: gets a folder for every job.
        settings: keyword arguments of :func:`parameters`.

    Raises:
        UserError: see :func:`import_submitit`.
    """

    def __init__(self, executor: str, folder: Path, **settings: Any) -> None:
        self._submitit = import_submitit(executor)
        self.executor, self.folder, self.parameters = executor, folder, parameters(executor, **settings)

    def __call__(self, command: Sequence[str], log: Path, environment: dict[str, str], shown: str) -> SubmittedJob:
        """Submit a command; the arguments are those of :class:`~stf.benchmark.run.process.Child`.

        Raises:
            UserError: the folder cannot be written, or the cluster refuses the job.
        """
        with reporting("write", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{log.stem}-", dir=self.folder)).absolute()
            (folder / ASKED).touch()
            try:
                with _inherited(environment):
                    executor = self._submitit.AutoExecutor(folder=folder, cluster=self.executor)
                    executor.update_parameters(name=log.stem, **self.parameters)
                    job = executor.submit(run_command, list(command), log.absolute(), shown, folder, self._devices())
            except RuntimeError as error:  # the base of what submitit raises
                raise UserError(f"cannot submit a job: {reason_of(error)}") from None
        return SubmittedJob(job, folder, log, self.executor == SLURM)

    def _devices(self) -> dict[str, str | None]:
        """What the local executor, which hides all devices, does not hand on; a cluster says itself."""
        return {VISIBLE: os.environ.get(VISIBLE)} if self.executor == LOCAL else {}


@contextmanager
def _inherited(environment: Mapping[str, str]) -> Iterator[None]:
    """Let what is started have this environment, not import from the current folder, and not hear Ctrl-C."""
    wanted = dict(environment) | {"PYTHONSAFEPATH": "1"}
    before = {key: os.environ.get(key) for key, value in wanted.items() if os.environ.get(key) != value}
    os.environ.update(wanted)
    try:
        with interrupts_held_back():
            yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


class _InFolder:
    """A job that is known by its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def poll(self) -> int | None:
        """Return 0 once no job is at work in the folder."""
        try:
            with locked(self._folder):
                return 0
        except UserError:
            return None

    def send(self, number: int) -> None:
        """Ask for a signal, unless the job has ended."""
        if self.poll() is None:
            _ask(self._folder, number)

    def wait(self, seconds: float) -> None:
        """Wait for the end of the job, but not longer than this."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(POLL)


class SubmittedJob(_InFolder):
    """A job that was submitted.

    Args:
        job: of submitit.
        folder: of the job.
        log: of its command.
        cancels: whether a job that has not begun, or goes on after SIGKILL was asked for, is cancelled.
    """

    def __init__(self, job: Any, folder: Path, log: Path, cancels: bool) -> None:
        super().__init__(folder)
        self._job, self._log, self._cancels = job, log, cancels
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code of the command, negative for a signal, None until the job has ended.

        A job that the cluster ends without a result counts as killed.
        """
        if self._code is None and self._job.done():
            self._end(self._result())
        return self._code

    def send(self, number: int) -> None:
        """Ask for a signal, unless the job has ended."""
        super().send(number)
        if self._cancels and self._code is None and (number == KILL or not self._begun()):
            self._job.cancel(check=False)
            self._end(-number)

    def _begun(self) -> bool:
        return (self._folder / LOCK).exists()

    def _end(self, code: int) -> None:
        self._code = code
        (self._folder / ASKED).unlink(missing_ok=True)

    def _result(self) -> int:
        """The exit code that the job has returned; without one the log says so."""
        if self._cancels or self._job.paths.result_pickle.exists():  # a shared file system may show it late
            with suppress(RuntimeError):
                return int(self._job.result())
        said = f"job {self._job.job_id} has ended without an exit code, in state {self._job.state}, see {self._folder}"
        with reporting("write", self._log):
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with open(self._log, "a") as file:
                file.write(f"{said}\n")
        return -KILL


def end_leftovers(folder: Path) -> None:
    """End the jobs that a killed benchmark has left, and wait until they have saved a checkpoint.

    Args:
        folder: of the jobs; it may be missing.

    Raises:
        UserError: a job goes on nevertheless.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     job = Path(folder, "vae-mnist-seed0-a")
        ...     job.mkdir()
        ...     (job / ASKED).touch()
        ...     end_leftovers(Path(folder))
        ...     (job / ASKED).exists()
        False
    """
    left = [path.parent for path in folder.glob(f"*/{ASKED}")]
    for job in left:
        _ask(job, signal.SIGTERM)
    stop(_InFolder(job) for job in left)
    for job in left:
        with locked(job):
            (job / ASKED).unlink(missing_ok=True)


def run_command(command: Sequence[str], log: Path, shown: str, folder: Path, changes: Mapping[str, str | None]) -> int:
    """Run a command within a job, pass on the signals that it is to get, and return its exit code.

    SIGTERM, and what a cluster sends before the time is up, become one SIGTERM, so that training saves a checkpoint.

    Args:
        command: to run.
        log: file that it appends its output to, after the line ``shown``.
        shown: what stands for the command in the log.
        folder: of the job.
        changes: of the environment; None removes a variable.

    Returns:
        The exit code of the command, negative for a signal.

    Raises:
        UserError: the log cannot be written.
        OSError: the system starts no process.
    """
    received = set[int]()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: received.add(signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    environment = {key: value for key, value in os.environ.items() if key not in changes}
    environment |= {key: value for key, value in changes.items() if value is not None}
    with locked(folder):
        if received or _asked(folder):
            return -signal.SIGTERM
        child = Child(command, log, environment, shown)
        sent = set[int]()
        while child.poll() is None:
            for wanted in (received | _asked(folder)) - sent:
                child.send(wanted)
                sent.add(wanted)
            child.wait(LOOK)
        return child.poll() or 0


def _ask(folder: Path, number: int) -> None:
    """Ask the job of a folder for a signal; one whose folder is gone ends by itself."""
    with suppress(UserError):
        write_atomically(folder / ASKED, str(int(number)).encode())


def _asked(folder: Path) -> set[int]:
    """The signal that the job of a folder is asked for, if any; SIGTERM when it is no longer wanted."""
    try:
        text = (folder / ASKED).read_text()
    except FileNotFoundError:
        return {signal.SIGTERM}
    except OSError:  # a shared file system may fail for a moment
        return set()
    return {int(text)} if text else set()
