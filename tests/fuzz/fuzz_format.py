"""A kind of file that is fuzzed, and what a refusal of one looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LONGEST = 600
"""Characters of a message beside the path of the file."""


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        make: writes a folder with a good file in it, and returns the file.
        read: reads it, as commands do.
        shape: what has a structure that can be changed: a key of :data:`fuzz_mutation.STRUCTURES`, or nothing.
        cost: examples are divided by it in the tests.
        needs: a package without which it is left out.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    shape: str = ""
    cost: int = 1
    needs: str = ""


def check_message(error: Exception, path: Path) -> None:
    """Assert that what refuses a file is one line, and no long one."""
    message = str(error)
    assert "\n" not in message and len(message) < LONGEST + 2 * len(str(path)), message[:1000]
