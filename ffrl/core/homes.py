"""Where something is defined, as a string ``module:name``: named without importing it, which may be heavy."""

from __future__ import annotations

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
