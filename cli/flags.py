"""Flags of configuration dataclasses: checked here, so that a mistake is one line; built and explained by tyro."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import tyro

from ffrl.core.errors import UserError

T = TypeVar("T")


class Flag(NamedTuple):
    """The type of a flag's value, and for a switch (which takes none) the flag that undoes it."""

    hint: Any
    opposite: str | None = None


class Arguments(NamedTuple):
    """A command line taken apart: values by flag (None for a switch; the last of several wins), and the rest."""

    flags: dict[str, str | None]
    positional: list[str]


def flags_of(command: type, prefix: str = "") -> dict[str, Flag]:
    """Return the flags of a dataclass by name; a switch has two, ``--x`` and ``--no-x``, a section joins by a dot.

    Example:
        >>> from ffrl.config import StillConfig
        >>> flags_of(StillConfig)["--fraction"]
        Flag(hint=<class 'float'>, opposite=None)
    """
    result: dict[str, Flag] = {}
    hints = typing.get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        hint, marks = hints[field.name], ()
        if typing.get_origin(hint) is typing.Annotated:
            hint, *marks = typing.get_args(hint)
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(hint):
            result.update(flags_of(hint, f"{prefix}{name}."))
        elif hint is bool:
            on, off = f"--{prefix}{name}", f"--{prefix}no-{name}"
            result.update({on: Flag(hint, off), off: Flag(hint, on)})
        elif tyro.conf.Positional not in marks:
            result[f"--{prefix}{name}"] = Flag(hint)
    return result


def nearest(flag: str, known: Iterable[str]) -> str:
    """Return the known flag that ``flag`` most likely stands for.

    Example:
        >>> nearest("--num-fields", ["--data.num-steps", "--model.num-fields"])
        '--model.num-fields'
    """
    known = list(known)
    same_name = [other for other in known if other.rpartition(".")[2] == flag.removeprefix("--")]
    return (same_name or difflib.get_close_matches(flag, known, n=1, cutoff=0.0))[0]


def split(
    arguments: Sequence[str], known: Mapping[str, Flag], positional: Sequence[str] = (), optional: Iterable[str] = ()
) -> Arguments:
    """Take a command line apart and check every flag and its value.

    Args:
        arguments: What follows the command; ``--a b`` and ``--a=b`` both work, and ``_`` for ``-`` within names.
        known: The flags there are.
        positional: Names of the positional arguments there may be.
        optional: Flags whose value may be left out; it is then the empty string.

    Raises:
        UserError: an unknown flag, a value that is missing, superfluous or of the wrong type, or too many positional
            arguments.

    Example:
        >>> split(["--seed=3", "--steps", "10"], {"--seed": Flag(int), "--steps": Flag(int)}).flags
        {'--seed': '3', '--steps': '10'}
    """
    result, queue = Arguments({}, []), list(reversed(arguments))
    while queue:
        token = queue.pop()
        if not token.startswith("-"):
            result.positional.append(token)
            if len(result.positional) > len(positional):
                expected = f"only {' '.join(positional)} and flags" if positional else "only flags"
                raise UserError(f"found unexpected argument {token!r}, expected {expected}")
            continue
        name, equals, value = token.partition("=")
        name = name.replace("_", "-")
        if name not in known:
            raise UserError(f"found unknown flag {name!r}, did you mean {nearest(name, known)!r}?")
        hint, opposite = known[name]
        if opposite is not None:
            if equals:
                raise UserError(f"{name}: found value {value!r}, expected none: the flag alone, or {opposite}")
            result.flags.pop(opposite, None)
            result.flags[name] = None
            continue
        if not equals and queue and not queue[-1].startswith("--"):
            value, equals = queue.pop(), "="
        if name not in optional or value:
            if not equals:
                raise UserError(f"{name}: found no value, expected {describe(hint)}")
            _check(name, hint, value)
        result.flags[name] = value
    return result


def build(command: type[T], default: T, arguments: Arguments) -> T:
    """Return ``default`` with the arguments of :func:`split` put over it.

    Raises:
        UserError: values that the dataclass refuses.
    """
    flags = [name if value is None else f"{name}={value}" for name, value in arguments.flags.items()]
    config = (tyro.conf.DisallowNone,)
    return tyro.cli(command, args=[*flags, *arguments.positional], default=default, config=config)


def peek(arguments: Sequence[str], flag: str, choices: Iterable[str], default: str) -> str:
    """Return which of ``choices`` a command line names with ``flag``, before it is taken apart; else the default.

    Example:
        >>> peek(["--mode", "weak", "--help"], "--mode", ["supervised", "weak"], "supervised")
        'weak'
    """
    words = " ".join(arguments).replace(f"{flag} ", f"{flag}=").split()
    return next((choice for choice in choices if f"{flag}={choice}" in words), default)


def wants_help(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for help."""
    return any(token in ("-h", "--help") for token in arguments)


def show_help(command: type, default: Any, prog: str, description: str) -> NoReturn:
    """Print the flags of ``command`` with the values of ``default`` and raise SystemExit."""
    config = (tyro.conf.DisallowNone,)
    tyro.cli(command, prog=prog, description=description, args=["--help"], default=default, config=config)
    raise AssertionError("tyro returned from --help")


def describe(hint: Any) -> str:
    """Say what a flag of type ``hint`` takes.

    Example:
        >>> describe(int | None)
        'an integer'
    """
    hint = _inner(hint)
    if typing.get_origin(hint) is typing.Literal:
        *others, last = typing.get_args(hint)
        return f"{', '.join(others)} or {last}" if others else last
    return {int: "an integer", float: "a number", str: "a name", Path: "a path"}[hint]


def _inner(hint: Any) -> Any:
    """Return X for ``X | None``."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    return hint


def _check(name: str, hint: Any, value: str) -> None:
    """Raise a UserError unless ``value`` is text of type ``hint``."""
    inner = _inner(hint)
    try:
        if typing.get_origin(inner) is typing.Literal:
            fits = value in typing.get_args(inner)
        elif inner in (int, float):
            inner(value)
            fits = True
        else:
            fits = value != ""
    except ValueError:
        fits = False
    if not fits:
        raise UserError(f"{name}: found {value!r}, expected {describe(hint)}")
