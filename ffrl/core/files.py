"""Writing files so that a reader never sees half of one, and locking a run folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ffrl.core.errors import UserError

PACKAGE = "sparse-transformation-flow"
"""Name of the distribution, which marks the files it writes."""
TEMPORARY = ".tmp-"
LOCK = ".lock"
LONGEST = 40
"""Letters of a name in that of its temporary file, which is to be no longer than file systems allow."""
LONGEST_PATH = 1024
"""Bytes of a path on macOS."""
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4) if os.name == "nt" else ()
"""Seconds after which a move that is refused is tried again, where files that are open cannot be replaced."""


@contextmanager
def reporting(action: str, path: Path) -> Iterator[None]:
    """Turn an :class:`OSError` inside the context into ``UserError("cannot <action> <path>: <reason>")``."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot {action} {path}: {error.strerror or error}") from error


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    with suppress(OSError):  # some file systems cannot, and Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move(path: Path, target: Path) -> None:
    """Rename a file or folder, replacing a file that is there; on Windows it is tried again while others read it.

    Raises:
        OSError: it cannot be renamed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "a").touch()
        ...     move(Path(folder, "a"), Path(folder, "b"))
        ...     [path.name for path in Path(folder).iterdir()]
        ['b']
    """
    for pause in PAUSES:
        try:
            os.replace(path, target)
            return
        except PermissionError:  # an indexer, a virus scanner, or whoever reads the old file
            time.sleep(pause)
    os.replace(path, target)


def write_durably(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` and wait until it is on the disk; not atomic. Raises OSError."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one move: readers see the old file or the new one.

    Raises:
        UserError: it cannot be written; the old file is intact.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder, "a.json"), to_json({"step": 1}))
        ...     len(Path(folder, "a.json").read_bytes())
        16
    """
    with reporting("write", path), replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file piece by piece that becomes ``path`` when the context ends, and leaves nothing if it fails.

    Raises:
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "a.bin")) as file:
        ...         _ = file.write(b"abc"), file.write(b"def")
        ...     Path(folder, "a.bin").read_bytes()
        b'abcdef'
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{time.time_ns()}-{path.name[-LONGEST:]}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        move(temporary, path)
        fsync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def to_json(data: Any) -> bytes:
    """Return ``data`` as indented JSON with a final newline."""
    return (json.dumps(data, indent=2, allow_nan=False) + "\n").encode()


def require_own(path: Path) -> None:
    """Raise a UserError if what would be written or removed under ``path`` is elsewhere, because it is a link."""
    if path.is_symlink():
        raise UserError(
            f"{path}: found a link to {os.readlink(path)}, expected none: what is written stays in its folder"
        )


def require_inside(run: Path, folder: Path) -> None:
    """Raise a UserError if a folder that is named as one of a run is elsewhere, because a link leads out of the run.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
        ...     Path(folder, "run").mkdir()
        ...     Path(folder, "run", "figures").symlink_to("/tmp")
        ...     require_inside(Path(folder, "run"), Path(folder, "figures"))
        ...     require_inside(Path(folder, "run"), Path(folder, "run", "figures"))
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: /.../run/figures: found a link out of the run to /tmp, expected a folder in it
    """
    below = Path(os.path.abspath(folder)).is_relative_to(os.path.abspath(run))
    real = folder.resolve()
    if below and not real.is_relative_to(run.resolve()):
        raise UserError(f"{folder}: found a link out of the run to {real}, expected a folder in it")


class Held:
    """A folder that is kept open, so that it is known again if it is moved; only remembered where none can be opened.

    Raises:
        UserError: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "a").mkdir()
        ...     held = Held(Path(folder, "a"))
        ...     before = held.there
        ...     _ = Path(folder, "a").rename(Path(folder, "b"))
        ...     before, held.there, held.now().name
        (True, False, 'b')
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        with reporting("read", path):
            if os.name != "nt":  # Windows opens no folders, and moves none in which a file is open
                self._descriptor = os.open(path, os.O_RDONLY)
            self._stat = path.stat() if self._descriptor is None else os.fstat(self._descriptor)

    @property
    def there(self) -> bool:
        """Whether its path leads to it."""
        return self._is(self.path)

    def now(self) -> Path | None:
        """Where it is; None if it has been removed, or the system does not tell."""
        if self._descriptor is None:
            return None
        with suppress(OSError, UnicodeDecodeError):
            path = Path(_path_of(self._descriptor))
            return path if self._is(path) else None
        return None

    def _is(self, path: Path) -> bool:
        with suppress(OSError):
            return os.path.samestat(path.stat(), self._stat)
        return False

    def close(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)


def _path_of(descriptor: int) -> str:
    """Where an open folder is, as Linux and macOS tell."""
    if sys.platform != "darwin":
        return os.readlink(f"/proc/self/fd/{descriptor}")
    import fcntl

    found = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(LONGEST_PATH))
    return os.fsdecode(found.partition(b"\0")[0])


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in ``folder``; of one that is a link, whose files are others', nothing.

    Raises:
        UserError: it is a link, or something cannot be removed.
    """
    require_own(folder)
    with reporting("clean up", folder):
        for path in folder.glob(TEMPORARY + "*") if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def is_empty(folder: Path) -> bool:
    """Tell whether ``folder`` holds nothing but a lock and leftovers of killed writers."""
    with reporting("read", folder):
        return all(path.name == LOCK or path.name.startswith(TEMPORARY) for path in folder.iterdir())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder`` inside the context; the system frees it when the process dies.

    Raises:
        UserError: another process holds it, the lock is a link, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder)):
        ...     is_empty(Path(folder))
        True
    """
    from filelock import FileLock, Timeout  # not needed to parse a command line

    require_own(folder / LOCK)
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{folder}: found another process at work in this folder, expected none") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # a file system without locks goes unlocked
            raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
