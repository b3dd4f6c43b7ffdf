"""What is made once and kept: a folder that says that it is a cache, and files that are whole or not there."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from ffrl.core.errors import UserError
from ffrl.core.files import TEMPORARY

ABANDONED_SECONDS = 3600.0
"""A file that nobody has written to for so long was left by a process that was killed."""
CACHE_TAG = "CACHEDIR.TAG"
"""Name of a file that marks its folder as a cache, and how it begins, see https://bford.info/cachedir/."""
SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n"


def cache_home(given: Path | None, key: str) -> Path:
    """Return the folder of a cache: the given one, or ``stf`` in the user's cache folder.

    Args:
        given: what the configuration says.
        key: of the configuration, for messages.

    Raises:
        UserError: there is no home folder.

    Example:
        >>> cache_home(Path("prepared"), "data.sequences.cache")
        PosixPath('prepared')
    """
    if given is not None:
        return given
    try:
        home = Path.home()
    except RuntimeError:
        raise UserError(f"{key}: found no home folder, expected a folder for the frames") from None
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "stf"


def make_cache(folder: Path) -> None:
    """Make a cache folder, and mark it as one, so that nobody takes what is in it for recordings; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        (folder / CACHE_TAG).write_bytes(SIGNATURE)


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed left half-written in the cache folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, ".tmp-1-a.npy").touch()
        ...     os.utime(Path(folder, ".tmp-1-a.npy"), (0, 0))
        ...     remove_abandoned(Path(folder))
        ...     list(Path(folder).iterdir())
        []
    """
    for path in folder.glob(TEMPORARY + "*"):
        with suppress(OSError):  # another process may have been quicker
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


@contextmanager
def caching(folder: Path, key: str) -> Iterator[None]:
    """Name the key that helps, when the cache cannot be written."""
    try:
        yield
    except OSError as error:
        found = f"{folder}, which cannot be written ({error.strerror or error})"
        raise UserError(f"{key}: found {found}, expected a folder with enough space") from error


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process makes the file ``path``, then keep others waiting inside the context.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, one_at_a_time(Path(folder, "a.npy")):
        ...     [path.name for path in Path(folder).iterdir()]
        ['.a.npy.lock']
    """
    from filelock import FileLock  # not needed to parse a command line

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with lock:
        yield


def write_byte_header(out: IO[bytes], shape: tuple[int, ...]) -> None:
    """Begin an ``.npy`` file of bytes; headers are padded to multiples of 64 bytes, so that of any shape fits here."""
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})


def whole_bytes(path: Path) -> tuple[tuple[int, ...], int] | None:
    """Return shape and offset of the array of bytes in a file that :func:`write_byte_header` began; None if not whole.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(Path(folder, "a.npy"), "wb") as out:
        ...         write_byte_header(out, (2, 3))
        ...         _ = out.write(bytes(6))
        ...     whole_bytes(Path(folder, "a.npy")), whole_bytes(Path(folder, "b.npy"))
        (((2, 3), 128), None)
    """
    try:
        with open(path, "rb") as opened:
            if np.lib.format.read_magic(opened) != (1, 0):
                return None
            shape, fortran_order, kind = np.lib.format.read_array_header_1_0(opened)
            offset, size = opened.tell(), opened.seek(0, os.SEEK_END)
    except (OSError, ValueError, TypeError, SyntaxError, ArithmeticError, TokenError):
        return None
    whole = not fortran_order and kind == np.uint8 and size == offset + math.prod(shape)
    return (shape, offset) if whole else None
