"""What no file may do, whatever is in it: take long, take much memory, write elsewhere, reach a network, run code."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MOST_SECONDS = 20.0
"""Of processor time, which does not depend on what else the machine does."""
MOST_BYTES = 2 * 2**30
"""Further resident memory at its peak."""
NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pickle.find_class")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")
RELATIVE = ("os.remove", "os.rmdir")
"""Those whose last argument is the folder that a path is in, open, where there is one: so shutil removes folders."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Forbidden(BaseException):
    """Something that no file may do; not an Exception, which readers turn into refusals."""


class _Watch:
    """What is watched now: the only folder that may be written to, and what was seen beside that."""

    folder: str | None = None
    seen: list[str] = []
    installed = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _Watch.folder is None:
        return
    if event in NETWORK or event in PROGRAMS:
        _Watch.seen.append(f"{event}{arguments!r:.200}")
    elif event == "open" and isinstance(arguments[0], str | bytes) and (arguments[2] or 0) & WRITING:
        _note(event, arguments[0])
    elif event in CHANGES:
        beside = [f"/proc/self/fd/{number}" for number in arguments if type(number) is int and 2 < number < 2**10]
        for path in arguments[:2]:
            if isinstance(path, str | bytes | os.PathLike):
                _note(event, path, os.readlink(beside[0]) if beside and event in RELATIVE else "")


def _note(event: str, path: Any, folder: str = "") -> None:
    place = os.path.abspath(os.path.join(folder, os.fsdecode(path)))
    if not place.startswith(str(_Watch.folder)) and place != os.devnull:
        _Watch.seen.append(f"{event} {place!r}")


def _status(key: str) -> int:
    """Bytes that the system says of this process."""
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Raise :class:`Forbidden` if what is done inside takes too long or too much, or writes outside ``folder``.

    Python's own events are seen, and the memory of everything; what a library in C does with files and sockets is not.
    """
    if not _Watch.installed:
        sys.addaudithook(_hook)
        _Watch.installed = True

    def late(number: int, frame: Any) -> None:
        raise Forbidden(f"took more than {MOST_SECONDS:g} s")

    limits, bytecode, temporary = resource.getrlimit(resource.RLIMIT_DATA), sys.dont_write_bytecode, tempfile.tempdir
    before = signal.signal(signal.SIGPROF, late)
    _Watch.seen = []
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    at_first = _status("VmRSS")
    try:
        sys.dont_write_bytecode, tempfile.tempdir = True, str(folder)
        most = _status("VmData") + 2 * MOST_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (most, limits[1]))
        _Watch.folder = os.path.abspath(folder)
        try:
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)  # which may come too late, so that what follows is apart
    finally:
        signal.signal(signal.SIGPROF, before)
        _Watch.folder = None
        sys.dont_write_bytecode, tempfile.tempdir = bytecode, temporary
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    taken = _status("VmHWM") - at_first
    if taken > MOST_BYTES:
        raise Forbidden(f"took {taken / 2**30:.1f} GiB")
    if _Watch.seen:
        raise Forbidden(", ".join(_Watch.seen[:5]))
