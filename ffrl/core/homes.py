"""Where something is defined, as a string ``module:name``: named without importing it, which may be heavy."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def resolve(home: str) -> Any:
    """Import what is at ``home``.

    Example:
        >>> resolve("math:hypot")(3, 4)
        5.0
    """
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def deferred(home: str) -> Callable[..., Any]:
    """A function that imports the one at ``home`` when it is called.

    Example:
        >>> deferred("math:hypot")(3, 4)
        5.0
    """

    def call(*arguments: Any, **options: Any) -> Any:
        return resolve(home)(*arguments, **options)

    return call
