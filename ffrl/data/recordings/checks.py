"""What is checked of a file before anything in it is decoded: what it is, and how large that would become."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from ffrl.core.errors import UserError

MIB = 2**20
LOOKED_AT = 512
"""Bytes at the beginning of a file that tell what it is."""


def instead(path: Path) -> str | None:
    """Return what a file is that is no recording, from its first bytes; None if they do not say.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.mp4").write_text("version https://git-lfs.github.com/spec/v1\\n")
        ...     instead(Path(folder, "a.mp4"))
        'a pointer of Git LFS in place of the file (git lfs pull fetches it)'
    """
    if path.is_symlink() and not path.exists():
        return "a link to a file that is not there"
    first = b""
    with suppress(OSError), open(path, "rb") as file:
        first = file.read(LOOKED_AT)
        if not first:
            return "an empty file"
    text = first.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if text.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS in place of the file (git lfs pull fetches it)"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page in place of the file (what was it downloaded from?)"
    if text.startswith(b"<?xml"):
        return "an XML text in place of the file (an error that was downloaded?)"
    if first and not first.strip(b"\0"):
        return "a file of zeros (an unfinished download?)"
    return None


def require_size(count: int, mib: int, source: str, what: str = "a frame") -> None:
    """Raise a UserError if something becomes larger than is allowed: ``count`` bytes, ``mib`` MiB.

    Example:
        >>> require_size(2**30, 192, "a.npy")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: a.npy: found a frame of 1,024 MiB, expected 192 or less (--data.sequences.frame-mib)
    """
    if count > mib * MIB:
        expected = f"{mib} or less (--data.sequences.frame-mib)"
        raise UserError(f"{source}: found {what} of {-(-count // MIB):,} MiB, expected {expected}")


def require_space(folder: Path, count: int, source: str) -> None:
    """Raise a UserError if the disk of a folder has no room for ``count`` bytes of prepared frames."""
    free = shutil.disk_usage(folder).free
    if count > free:
        found = f"{free / 2**30:,.1f} GiB free in {folder}"
        expected = f"{count / 2**30:,.1f} GiB for the frames of {source}"
        raise UserError(f"data.sequences.cache: found {found}, expected {expected}")
