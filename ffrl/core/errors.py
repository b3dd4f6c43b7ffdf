"""The one exception that reaches a user: a single line naming what was found and what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Input that cannot be used; the command line prints its message as one line and exits with code 2.

    The message names the file, key or flag, what was found there, and what was expected.

    Example:
        >>> raise UserError("model.num-fields: found 0, expected an integer of at least 1")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: model.num-fields: found 0, expected an integer of at least 1
    """


def require(condition: bool, key: str, found: object, expected: str) -> None:
    """Raise :class:`UserError` naming ``key``, ``found`` and ``expected`` unless ``condition`` holds."""
    if not condition:
        raise UserError(f"{key}: found {found!r}, expected {expected}")


def reason_of(error: BaseException) -> str:
    """Return what an error says, on one line; its type if it says nothing.

    Example:
        >>> reason_of(OSError("no\\n  space")), reason_of(KeyError())
        ('no space', 'KeyError')
    """
    return " ".join(str(error).split()) or type(error).__name__


LONGEST_REASON = 200
"""Characters of what a library says of a file, which may repeat what is in it."""


def shortened(text: str) -> str:
    """Return the beginning of a text that is long.

    Example:
        >>> shortened("a" * 300)[-5:]
        'aa...'
    """
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + "..."


_NO_MEMORY = ("DefaultCPUAllocator", "out of memory", "bad_alloc", "Unable to allocate", "not enough memory")
_SIZES = (
    "Storage size calculation overflowed",
    "numel: integer multiplication overflow",
    "Overflow when unpacking long",
    "negative dimension",
    "array is too big",
    "Maximum allowed dimension exceeded",
)


def memory_lack(error: BaseException) -> str | None:
    """Return what could not be had if an error says that there is no memory, or no such size; else None.

    It is a :class:`MemoryError`, or what torch and C++ raise in its place.

    Example:
        >>> memory_lack(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9000 bytes."))
        'no memory for 9,000 bytes'
        >>> memory_lack(RuntimeError("odd"))
    """
    said = str(error)
    if isinstance(error, RuntimeError | ValueError) and any(sign in said for sign in _SIZES):
        return "more bytes than there can be"
    if not isinstance(error, MemoryError) and not any(sign in said for sign in _NO_MEMORY):
        return None
    found = re.search(r"allocate (\d[\d.]* ?(?:bytes|[KMGT]i?B))", said)
    if found is None:
        return "no memory"
    count, _, unit = found[1].partition(" ")
    return f"no memory for {f'{int(count):,} {unit}' if unit == 'bytes' else found[1]}"


@contextmanager
def fitting(what: str) -> Iterator[None]:
    """Turn the lack of memory inside the context into a :class:`UserError` that says what was too large.

    Args:
        what: names it, and its sizes.

    Example:
        >>> with fitting("a step (batch-size 10000000)"):
        ...     raise MemoryError
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: a step (batch-size 10000000): found no memory, expected something smaller
    """
    try:
        yield
    except (MemoryError, RuntimeError, ValueError) as error:
        lack = memory_lack(error)
        if lack is None:
            raise
        raise UserError(f"{what}: found {lack}, expected something smaller") from None
