"""The folders of recordings: what in them is hidden, the system's, this package's own, excluded or out of reach."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ffrl.core.errors import UserError
from ffrl.core.files import PACKAGE, reporting
from ffrl.storage.cache import CACHE_TAG

SYSTEM = ("lost+found", "$recycle.bin", "recycler", "system volume information", "found.000") + (
    "@eadir",
    "@recycle",
    "#recycle",
    "@recently-snapshot",
    "#snapshot",
    "__macosx",
)
"""Folders of file systems and network storage, in lower case: thumbnails, bins, snapshots."""
MARKERS = ("config.json", "activity.json", "suite.json")
"""Files that say that a folder is a run, a transfer, a benchmark or figures of this package."""
SAMPLES = ("samples.png", "summary.json")
"""What ``stf data`` writes."""
REPORT, GENERATOR = "report.html", f'<meta name="generator" content="{PACKAGE}">'
"""What stands beside figures, and what is in its first lines."""
MOST_MARKER = 2**22


class Folder(NamedTuple):
    """A folder and the names of its files, those of links that lead nowhere among them."""

    path: Path
    names: list[str]


def excluded(path: Path, patterns: str | None) -> bool:
    """Tell whether one of some patterns, with commas between them, matches a path, from its right end.

    Example:
        >>> excluded(Path("walks/raw/1_mask.png"), "*_mask.png"), excluded(Path("walks/raw/1.png"), "old/*, raw/*.png")
        (True, True)
    """
    return patterns is not None and any(path.match(one.strip()) for one in patterns.split(",") if one.strip())


def made_here(folder: Path, names: list[str]) -> bool:
    """Tell whether a folder holds results of this package, or a cache, which are no recordings.

    Example:
        >>> made_here(Path("data-sequences"), ["samples.png", "summary.json"])
        True
    """
    if CACHE_TAG in names or set(SAMPLES) <= set(names):
        return True
    if REPORT in names and GENERATOR.encode() in _beginning(folder / REPORT, 4096):
        return True
    return any(name in names and _is_ours(folder / name) for name in MARKERS)


def folders(
    root: Path, besides: Path | None, patterns: str | None, trouble: Callable[[str], None], left: Callable[[], None]
) -> Iterator[Folder]:
    """Yield all folders from ``root`` down, each once even if links lead in circles.

    Args:
        root: where to begin; whatever it is, it is looked into.
        besides: a folder that is not looked into.
        patterns: see :func:`excluded`.
        trouble: told, in one line, of folders that cannot be read and of links to folders that are not there.
        left: called for every folder of this package's results.

    Raises:
        UserError: ``root`` cannot be read.
    """
    seen: set[Path] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        real = folder.resolve()
        if real in seen or real == besides:
            continue
        seen.add(real)
        try:
            with reporting("read", folder), os.scandir(folder) as entries:
                kept = [entry for entry in entries if not entry.name.startswith(".")]
                inside = [entry.name for entry in kept if entry.is_dir()]
                names = sorted(entry.name for entry in kept if entry.is_file() or _leads_nowhere(entry))
        except UserError as error:
            if folder == root:
                raise
            trouble(str(error))
            continue
        if folder != root and made_here(folder, names):
            left()
            continue
        for name in inside:
            if name.lower() not in SYSTEM and not excluded(folder / name, patterns):
                waiting.append(folder / name)
        yield Folder(folder, [name for name in names if not excluded(folder / name, patterns)])


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _is_ours(path: Path) -> bool:
    """Whether a JSON file names this package."""
    try:
        found = json.loads(_beginning(path, MOST_MARKER))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("package") == PACKAGE


def _beginning(path: Path, count: int) -> bytes:
    """The first bytes of a file; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""
