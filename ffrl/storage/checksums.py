"""Checksums that are written with a checkpoint, and whether the files of a run still have them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from ffrl.core.errors import UserError
from ffrl.core.files import reporting, to_json, write_atomically
from ffrl.core.reading import read_json_object, shown
from ffrl.core.schema import check
from ffrl.storage.names import CONFIG, DESCRIPTION, ENVIRONMENT, METRICS

CHECKSUMS = "checksums.json"
VERSION = 1
OF_RUN = (CONFIG, DESCRIPTION, ENVIRONMENT, METRICS)
"""Files of the run folder that a checkpoint knows, as far as they were written then."""
BLOCK = 2**20


class Sum(TypedDict):
    """Of the first bytes of a file: how many, and their SHA-256 in hexadecimal digits."""

    bytes: int
    sha256: str


class _Checksums(TypedDict):
    format_version: int
    files: dict[str, Sum]
    run: NotRequired[dict[str, Sum]]


def sum_of(content: bytes) -> Sum:
    """Return the checksum of a whole file.

    Example:
        >>> sum_of(b"abc")["sha256"][:8]
        'ba7816bf'
    """
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def checksums(run: Path, files: Mapping[str, bytes]) -> bytes:
    """Return what ``checksums.json`` holds: of the files of a checkpoint, and of those of the run as they are now.

    Raises:
        UserError: a file of the run cannot be read.
    """
    of_run = {}
    for name in OF_RUN:
        path = run / name
        if path.is_file():
            with reporting("read", path):
                of_run[name] = sum_of(path.read_bytes())
    own = {name: sum_of(content) for name, content in files.items()}
    return to_json({"format_version": VERSION, "files": own, "run": of_run})


def require_unchanged(checkpoint: Path, name: str) -> None:
    """Raise a UserError if a file of a checkpoint has other contents than were written; of an old one nothing is known.

    Raises:
        UserError: it has, or ``checksums.json`` is damaged.
    """
    found = _read(checkpoint)
    expected = None if found is None else found["files"].get(name)
    fault = None if expected is None else _fault(checkpoint / name, expected, exact=True)
    if fault is not None:
        raise UserError(f"{checkpoint / name}: found that it {fault}, expected what {CHECKSUMS} says")


class Verified(NamedTuple):
    """A file of a run: its path in the folder, what is wrong with it or None, and whether a checksum is known."""

    name: str
    fault: str | None
    known: bool = True


def renew(run: Path, checkpoint: Path, name: str) -> None:
    """Let a checkpoint know a file of its run as it is now, where the run has written it anew.

    Raises:
        UserError: ``checksums.json`` is damaged, or a file cannot be read or written.
    """
    found = _read(checkpoint)
    if found is None:
        return
    with reporting("read", run / name):
        now = sum_of((run / name).read_bytes())
    if found.get("run", {}).get(name) != now:
        write_atomically(checkpoint / CHECKSUMS, to_json(found | {"run": found.get("run", {}) | {name: now}}))


def verify(run: Path, checkpoint: Path, newest: bool = True) -> Iterator[Verified]:
    """Compare the files of a checkpoint, and those of its run, with the checksums that were written with it.

    A file of the run may have grown since; what it had then has to be there. ``config.json``, which a run that goes on
    with more steps writes anew, is what the newest checkpoint says.

    Args:
        run: run folder.
        checkpoint: one of its checkpoints.
        newest: whether there is none after it.

    Raises:
        UserError: ``checksums.json`` is damaged.
    """
    found = _read(checkpoint)
    place = checkpoint.relative_to(run)
    if found is None:
        yield Verified(str(place), None, known=False)
        return
    whole = {str(place / name): (one, True) for name, one in found["files"].items()}
    of_run = {name: (one, False) for name, one in found.get("run", {}).items() if newest or name != CONFIG}
    for name, (one, exact) in (whole | of_run).items():
        yield Verified(name, _fault(run / name, one, exact))


def _fault(path: Path, expected: Sum, exact: bool) -> str | None:
    """What is wrong with a file, None for nothing."""
    if not path.is_file():
        return "is missing"
    digest, left = hashlib.sha256(), expected["bytes"]
    with reporting("read", path), path.open("rb") as file:
        while left and (block := file.read(min(BLOCK, left))):
            digest.update(block)
            left -= len(block)
        more = bool(file.read(1))
    if left:
        return f"has {expected['bytes'] - left:,} bytes, expected {expected['bytes']:,}"
    if exact and more:
        return f"has more than {expected['bytes']:,} bytes"
    return None if digest.hexdigest() == expected["sha256"] else "has other contents than were written"


def _read(checkpoint: Path) -> _Checksums | None:
    path = checkpoint / CHECKSUMS
    if not path.exists():
        return None
    found = read_json_object(path)
    check(found, _Checksums, str(path))
    if found["format_version"] != VERSION:
        raise UserError(f"{path}: found format_version {shown(found['format_version'])}, expected {VERSION}")
    for name, one in (*found["files"].items(), *found.get("run", {}).items()):
        if one["bytes"] < 0:
            raise UserError(f"{path}: {name}: found {one['bytes']} bytes, expected at least 0")
        if Path(name).name != name:
            raise UserError(f"{path}: found {shown(name)}, expected the name of a file")
    made: _Checksums = {"format_version": VERSION, "files": found["files"], "run": found.get("run", {})}
    return made
