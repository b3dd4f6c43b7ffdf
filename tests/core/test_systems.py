"""What only some systems have: each has another way, which is simulated here, and nothing else of the kind is used."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_tools import ROOT, TINY, complaint
from recording_tools import moving, settings

from cli.main import main
from ffrl.core import files, signals
from ffrl.core.errors import UserError
from ffrl.core.files import Held, move, write_atomically
from ffrl.core.signals import StopRequest, interrupts_held_back
from ffrl.data.recordings import cache
from ffrl.data.recordings.clips import ClipSequences
from stf.benchmark.run import process
from stf.benchmark.run.machine import cores

ONLY_SOME = {
    "os": "fork forkpty getuid geteuid getgid getpgid killpg setsid sched_getaffinity sync sysconf statvfs mkfifo "
    "O_DIRECTORY O_NOFOLLOW O_CLOEXEC fchmod chown symlink link getloadavg uname rename",
    "signal": "SIGHUP SIGKILL SIGUSR1 SIGUSR2 SIGALRM SIGBREAK pthread_sigmask setitimer alarm CTRL_BREAK_EVENT",
    "time": "tzset clock_gettime",
}
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "winreg", "msvcrt", "multiprocessing", "ctypes"}
GUARDED = {
    "ffrl/core/files.py": {"fcntl"},
    "ffrl/storage/machine.py": {"ctypes", "resource", "os.sysconf"},
    "ffrl/core/signals.py": {"signal.pthread_sigmask"},
    "ffrl/data/rendered/stage.py": {"ctypes"},
    "stf/benchmark/run/jobs.py": {"signal.SIGHUP", "signal.SIGUSR1", "signal.SIGUSR2", "signal.pthread_sigmask"},
    "stf/benchmark/run/machine.py": {"os.sched_getaffinity"},
    "stf/benchmark/run/process.py": {"os.killpg"},
}
"""Where they are used: behind a question whether they are there, or in jobs, which are refused before on Windows."""


def of_some_systems(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from MODULES & {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from MODULES & {node.module.partition(".")[0]}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in ONLY_SOME.get(node.value.id, "").split():
                yield f"{node.value.id}.{node.attr}"


def test_only_these_places_use_what_some_systems_lack() -> None:
    paths = [path for package in ("cli", "ffrl", "stf") for path in (ROOT / package).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): set(of_some_systems(path)) for path in paths}
    assert {path: names for path, names in found.items() if names} == GUARDED


def test_files_are_opened_in_a_named_encoding_or_as_bytes() -> None:
    """That of a locale is another one on every machine."""
    for path in (path for package in ("cli", "ffrl", "stf") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                count = {"read_text": 0, "write_text": 1}.get(node.func.attr)
                named = any(word.arg in ("encoding", "errors") for word in node.keywords)
                if count is not None and path.name not in ("jobs.py", "machine.py"):  # digits alone
                    assert named or len(node.args) > count, f"{path}:{node.lineno}"


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Moves are refused so many times, as they are on Windows while somebody reads a file."""
    left, replace = [0], os.replace

    def refusing(*arguments: object) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "The process cannot access the file because it is being used")
        replace(*arguments)

    monkeypatch.setattr(files, "PAUSES", (0.0,) * 5)
    monkeypatch.setattr(os, "replace", refusing)
    return left


def test_a_file_that_is_open_is_replaced_once_it_is_closed(tmp_path: Path, refusals: list[int]) -> None:
    refusals[0] = 3
    write_atomically(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    refusals[0] = 99
    with pytest.raises(UserError, match="cannot write .*a.json: The process cannot access"):
        write_atomically(tmp_path / "a.json", b"newer")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and (tmp_path / "a.json").read_bytes() == b"new"


def test_training_goes_on_where_moves_are_refused_for_a_moment(tmp_path: Path, refusals: list[int]) -> None:
    refusals[0] = 3
    assert main(["train", "--mode=supervised", *TINY, f"--out={tmp_path / 'run'}"]) == 0
    assert refusals[0] < 0 and (tmp_path / "run" / "checkpoints" / "step-00000002").is_dir()


def test_prepared_frames_that_another_process_reads_are_as_good(
    tmp_path: Path, refusals: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", moving(30))
    config = settings(tmp_path / "a.npy")
    held = ClipSequences(config)  # has the file mapped
    monkeypatch.setattr("ffrl.data.recordings.prepare.prepared", once(None, cache.prepared))
    refusals[0] = 99
    assert ClipSequences(config).size("train") == held.size("train") and refusals[0] < 99


def once(first: object, then: Callable[..., object]) -> Callable[..., object]:
    """A function that returns ``first`` once, and then what ``then`` returns."""
    calls = iter([first])

    def call(*arguments: object) -> object:
        for value in calls:
            return value
        return then(*arguments)

    return call


def test_a_folder_that_cannot_be_opened_is_known_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setattr("ffrl.core.files.os", windows(os))
    held = Held(run)
    assert held.there and held.now() is None
    run.rename(tmp_path / "moved")
    assert not held.there
    held.close()


def windows(module: types.ModuleType) -> SimpleNamespace:
    """``os`` as Windows has it: no folder is opened."""

    def opened(path: Path, *arguments: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return module.open(path, *arguments)

    return SimpleNamespace(**(vars(module) | {"name": "nt", "open": opened}))


def test_a_folder_is_found_again_on_macos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    run.mkdir()
    held = Held(run)
    run.rename(moved)
    told = os.fsencode(moved)
    fcntl = SimpleNamespace(F_GETPATH=50, fcntl=lambda descriptor, what, room: told.ljust(len(room), b"\0"))
    monkeypatch.setitem(sys.modules, "fcntl", fcntl)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert held.now() == moved
    held.close()


def test_training_in_a_folder_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffrl.core.files.os", windows(os))
    assert main(["train", "--mode=supervised", *TINY, f"--out={tmp_path / 'run'}"]) == 0


def test_signals_that_windows_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "pthread_sigmask")
    with interrupts_held_back():
        pass
    monkeypatch.setattr(signals, "STOPPING", (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))  # one of its own
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGUSR1)
        assert stop.signal == signal.SIGUSR1


def test_jobs_are_refused_where_there_are_none(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.delattr(signal, "pthread_sigmask")
    line = complaint(capsys, "benchmark", "smoke", "--executor", "local")
    assert line == f"--executor: found 'local' on {sys.platform}, expected 'processes': jobs need Unix"


def test_commands_end_without_process_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "killpg")
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    for number, code in ((signal.SIGTERM, -signal.SIGTERM), (signals.KILL, -signals.KILL)):
        child = process.Child(wait, tmp_path / "log", dict(os.environ), "wait")
        child.send(number)
        child.wait(20)
        assert child.poll() == code


def test_cores_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == os.cpu_count()


def test_long_names_are_written(tmp_path: Path) -> None:
    """A file may have as long a name as the system allows, its temporary one beside it."""
    path = tmp_path / ("é" * 120 + ".json")
    write_atomically(path, b"{}")
    move(path, tmp_path / "b.json")
    assert [each.name for each in tmp_path.iterdir()] == ["b.json"]


@pytest.mark.parametrize("name", ["CON", "nul", "a:b", "x?", "trailing.", "AUX.tar"])
def test_names_of_recordings_do_not_become_names_of_files(tmp_path: Path, name: str) -> None:
    """Of what the cache is called, Windows reserves nothing and nothing differs in case alone."""
    folder = tmp_path / name
    folder.mkdir()
    np.save(folder / f"{name}.npy", moving(20))
    config = settings(folder).sequences
    made = cache.cache_file(folder / f"{name}.npy", config).name
    stem, _, digest = made.removesuffix(".npy").rpartition("-")
    assert len(digest) == 24 and all(letter.isalnum() or letter == "-" for letter in stem)
    assert made.partition(".")[0].upper() not in {"CON", "NUL", "AUX", "PRN"}


def test_a_process_of_its_own_needs_no_fork() -> None:
    """Importing everything starts nothing, so that a module can be imported anew in a process that is spawned."""
    code = "import multiprocessing, ffrl, stf, stf.api, cli.main; print(multiprocessing.get_start_method(True))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
