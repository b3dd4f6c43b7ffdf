"""The one exception that reaches a user: a single line naming what was found and what was expected."""

from __future__ import annotations


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
