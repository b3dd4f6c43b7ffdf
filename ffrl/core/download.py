"""Fetching one large file: resumed where it broke off, checked by its SHA-256, in place only when it is whole."""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ffrl.core.errors import UserError, reason_of
from ffrl.core.files import fsync_folder, move, reporting
from ffrl.core.progress import progress, say

PART = ".part"
TIMEOUT = 30.0
ATTEMPTS = 5
"""Connections in a row that may break off without bringing anything new."""
PAUSE = 2.0
"""Seconds between them."""
BLOCK = 2**16
SLOWEST = 1024
"""Least bytes per second, over :data:`PATIENCE` seconds: a connection that is slower is given up."""
PATIENCE = 60.0
MARGIN = 1.1
"""How many times its usual size a file may have."""


class TooSlowError(TimeoutError):
    """A connection brings something, but too little."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Raises:
        UserError: it cannot be read.
    """
    with reporting("read", path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_sha256(path: Path, sha256: str, advice: str) -> None:
    """Raise a UserError unless ``path`` has a SHA-256; the message ends with ``advice``."""
    found = sha256_of(path)
    if found != sha256:
        raise UserError(f"{path}: found SHA-256 {found}, expected {sha256}: {advice}")


def download(url: str, path: Path, sha256: str, size: int) -> None:
    """Fetch ``url`` into ``path``, unless it is there; what an earlier attempt brought is not fetched again.

    The bytes go to ``path`` with ``.part`` appended, which is renamed once its checksum is right. A part that is
    complete and wrong is removed, because no resuming can mend it; one that is incomplete is kept.

    Args:
        url: HTTP or HTTPS.
        path: where the file is wanted; its folder is made.
        sha256: what its SHA-256 has to be.
        size: about how many bytes it has; not much more is fetched.

    Raises:
        UserError: no network, an answer that is no file, a wrong checksum, or a folder that cannot be written.
    """
    if _size(path):  # an empty one is what a power failure leaves
        require_sha256(path, sha256, f"remove it, or rename it, to fetch {url}")
        return
    part, failures = path.with_name(path.name + PART), 0
    while True:
        before, slow = _size(part), False
        try:
            if _fetch(url, part, int(MARGIN * size) + BLOCK):
                break
            reason = "the connection was cut"
        except HTTPError as error:
            with error:
                raise UserError(f"{url}: found HTTP {error.code} {error.reason}, expected the file") from None
        except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
            reason = reason_of(getattr(error, "reason", error))
            slow = isinstance(error, TooSlowError)
            if isinstance(error, URLError) and not _size(part):  # no server was reached at all
                failures = ATTEMPTS
        have = _size(part)
        failures = 0 if have > before and not slow else failures + 1
        if failures >= ATTEMPTS:
            kept = f"; {have:,} bytes are in {part}, and the same command goes on from there" if have else ""
            raise UserError(f"{url}: found no way to fetch it ({reason}), expected a network{kept}")
        say(f"{reason} after {have:,} bytes; going on")
        time.sleep(PAUSE)
    try:
        require_sha256(part, sha256, "what was fetched has been removed; the same command fetches it again")
    except UserError:
        with suppress(OSError):
            part.unlink()
        raise
    with reporting("write", path):
        move(part, path)
        fsync_folder(path.parent)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch(url: str, part: Path, most: int) -> bool:
    """Append to ``part`` what is missing, over one connection, and tell whether all of it is there then."""
    have = _size(part)
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:
            raise
        with error:
            if have == _total_of(error.headers.get("Content-Range")):
                return True
        with reporting("write", part):  # longer than the file: something else
            part.unlink()
        return _fetch(url, part, most)
    with response:
        if have and not _continues(response, have):
            have = 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        with progress(f"fetching {url}", total, have) as advance:
            with reporting("write", part):
                part.parent.mkdir(parents=True, exist_ok=True)
                file = open(part, "ab" if have else "wb")
            with file:
                begun, before = time.monotonic(), have
                while content := response.read1(BLOCK):  # what has come, so that nothing is lost when it breaks off
                    have += len(content)
                    if have > most:
                        raise UserError(f"{url}: found more than {most:,} bytes, expected at most as many")
                    with reporting("write", part):
                        file.write(content)
                    advance(len(content))
                    if time.monotonic() - begun >= PATIENCE:
                        if have - before < SLOWEST * PATIENCE:
                            raise TooSlowError(f"less than {SLOWEST:,} bytes per second")
                        begun, before = time.monotonic(), have
                with reporting("write", part):
                    file.flush()
                    os.fsync(file.fileno())
    return total is None or have >= total


def _continues(response: HTTPResponse, have: int) -> bool:
    """Tell whether an answer starts where ``part`` ends; a server that knows no ranges sends everything."""
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return response.status == 206 and start is not None and int(start[1]) == have


def _total_of(content_range: str | None) -> int | None:
    total = (content_range or "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None
