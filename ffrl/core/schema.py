"""Whether values that were read from a file are what their kind of file holds, as Python's types say it."""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any

from ffrl.core.errors import UserError
from ffrl.core.reading import shown

NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a text", dict: "an object", list: "a list"}


def check(value: Any, kind: Any, source: str) -> None:
    """Raise a UserError unless ``value``, as JSON has it, is of a type.

    Args:
        value: dicts, lists, texts, numbers, booleans and None.
        kind: ``int``, ``float`` (whole numbers too), ``str``, ``bool``, ``None``, ``Any``, ``list[X]``,
            ``dict[str, X]``, a ``Literal``, a ``TypedDict`` (further keys are allowed), or ``X | Y`` of these.
        source: where it is from; the message adds the keys that lead to what is wrong.

    Raises:
        UserError: it is of another type, or lacks a key.

    Example:
        >>> check({"points": [{"step": 1}, {"step": "x"}]}, dict[str, list[dict[str, int]]], "curve.json")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: curve.json: points[1].step: found 'x', expected an integer
    """
    found = _fault(value, kind, "")
    if found is not None:
        raise UserError(f"{source}: {found}")


def fits(value: Any, kind: Any) -> bool:
    """Whether :func:`check` finds nothing.

    Example:
        >>> fits([1, 2.5], list[float]), fits([1, None], list[float])
        (True, False)
    """
    return _fault(value, kind, "") is None


def _fault(value: Any, kind: Any, key: str) -> str | None:
    """What is wrong, None for nothing."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return None
    if origin in (typing.Required, typing.NotRequired, typing.Annotated):
        return _fault(value, options[0], key)
    if origin is typing.Literal:
        same = any(value == option and type(value) is type(option) for option in options)
        return None if same else _wrong(value, key, " or ".join(map(repr, options)))
    if origin in (typing.Union, types.UnionType):
        faults = [_fault(value, option, key) for option in options]
        if None in faults:
            return None
        alike = [option for option in options if _alike(value, option)]  # what it was meant to be
        return _fault(value, alike[0], key) if alike else _wrong(value, key, " or ".join(map(_name, options)))
    if not _alike(value, kind):
        return _wrong(value, key, _name(kind))
    if origin is list:
        items = (_fault(item, options[0], f"{key}[{place}]") for place, item in enumerate(value))
        return next((fault for fault in items if fault is not None), None)
    if origin is dict:
        items = (_fault(item, options[1], f"{key}.{name}" if key else name) for name, item in value.items())
        return next((fault for fault in items if fault is not None), None)
    if typing.is_typeddict(kind):
        hints, required = _keys(kind)
        for name, hint in hints.items():
            inner = f"{key}.{name}" if key else name
            if name in value:
                fault = _fault(value[name], hint, inner)
                if fault is not None:
                    return fault
            elif name in required:
                return f"found no key {inner!r}, expected one"
    return None


@cache
def _keys(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    optional = {name for name, hint in hints.items() if typing.get_origin(hint) is typing.NotRequired}
    return hints, frozenset(hints.keys() - optional if kind.__total__ else ())


def _plain(kind: Any) -> Any:
    """The type of the values that a hint may be of."""
    return dict if typing.is_typeddict(kind) else typing.get_origin(kind) or kind


def _alike(value: Any, kind: Any) -> bool:
    kind = _plain(kind)
    if kind in (None, types.NoneType):
        return value is None
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is kind


def _name(kind: Any) -> str:
    plain = _plain(kind)
    return "nothing" if plain in (None, types.NoneType) else NAMES.get(plain, str(plain))


def _wrong(value: Any, key: str, expected: str) -> str:
    return f"{key}: found {shown(value)}, expected {expected}" if key else f"found {shown(value)}, expected {expected}"
