"""Flags of configuration dataclasses: checked here, so that a mistake is one line; built by tyro."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import tyro

from ffrl.core.errors import UserError

T = TypeVar("T")
SHORT_FORMS = {"lr": "learning-rate", "bs": "batch-size", "epochs": "steps", "wd": "weight-decay", "gpu": "device"}
"""What other programs call some flags."""


class Flag(NamedTuple):
    """A field as the command line has it.

    Args:
        hint: type of its value, ``Annotated`` with the names it may have: an iterable that has ``require``, such as a
            :class:`~ffrl.core.registry.Registry`.
        opposite: for a switch (which takes no value) the flag that undoes it.
    """

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
    key: Any = command
    return _flags_of(key, prefix)


@functools.cache
def _flags_of(command: Any, prefix: str) -> dict[str, Flag]:
    result: dict[str, Flag] = {}
    for _, name, hint, marks in fields_of(command):
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            result.update(flags_of(hint, f"{prefix}{name}."))
        elif hint is bool:
            on, off = f"--{prefix}{name}", f"--{prefix}no-{name}"
            result.update({on: Flag(hint, off), off: Flag(hint, on)})
        elif tyro.conf.Positional not in marks:
            named = next((mark for mark in marks if hasattr(mark, "require")), None)
            result[f"--{prefix}{name}"] = Flag(hint if named is None else Annotated[hint, named])
    return result


def flag_name(token: str) -> str:
    """Return which flag a word of a command line is.

    Example:
        >>> flag_name("--batch_size=3")
        '--batch-size'
    """
    return token.partition("=")[0].replace("_", "-")


class Field(NamedTuple):
    """A field of a dataclass: its name in Python and on the command line, its type, and what ``Annotated`` adds."""

    field: str
    name: str
    hint: Any
    marks: Sequence[Any]


def fields_of(command: type) -> Iterator[Field]:
    """Yield the fields of a dataclass.

    Example:
        >>> from ffrl.config import StillConfig
        >>> [name for _, name, _, _ in fields_of(StillConfig)]
        ['fraction']
    """
    hints = typing.get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        hint, *marks = parts(hints[field.name])
        renamed = [mark.name for mark in marks if getattr(mark, "name", None)]
        yield Field(field.name, renamed[0] if renamed else field.name.replace("_", "-"), hint, marks)


def parts(hint: Any) -> Sequence[Any]:
    """Return a type, and after it what ``Annotated`` adds.

    Example:
        >>> parts(Annotated[int, "even"])
        (<class 'int'>, 'even')
    """
    return typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)


def nearest(flag: str, known: Iterable[str]) -> str:
    """Return the known flag that ``flag`` most likely stands for.

    Example:
        >>> nearest("--num-fields", ["--data.num-steps", "--model.num-fields"])
        '--model.num-fields'
    """
    known = list(known)
    short = [other for other in known if other.rpartition(".")[2].lstrip("-") == SHORT_FORMS.get(flag.lstrip("-"))]
    if short:
        return short[0]
    same_name = [other for other in known if other.rpartition(".")[2] == flag.removeprefix("--")]
    return (same_name or difflib.get_close_matches(flag, known, n=1, cutoff=0.0))[0]


def split(
    arguments: Sequence[str],
    known: Mapping[str, Flag],
    positional: Sequence[str] = (),
    optional: Iterable[str] = (),
    expected: Iterable[str] = (),
) -> Arguments:
    """Take a command line apart and check every flag and its value.

    Args:
        arguments: What follows the command; ``--a b`` and ``--a=b`` both work, and ``_`` for ``-`` within names.
        known: The flags there are.
        positional: Names of the positional arguments there may be, as messages have them.
        optional: Flags whose value may be left out; it is then the empty string.
        expected: Flags one of which an unknown flag is taken for; all that are known for none.

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
        _, equals, value = token.partition("=")
        name = flag_name(token)
        if name not in known:
            raise UserError(f"found unknown flag {name!r}, did you mean {nearest(name, expected or known)!r}?")
        opposite = known[name].opposite
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
                raise UserError(f"{name}: found no value, expected {describe(known[name].hint)}")
            _check(name, known[name].hint, value)
        result.flags[name] = value
    return result


def build(default: T, arguments: Arguments) -> T:
    """Return a dataclass with the arguments of :func:`split` put over it.

    Raises:
        UserError: values that it refuses.

    Example:
        >>> from ffrl.config import DataConfig
        >>> build(DataConfig(), Arguments({"--num-steps": "3"}, [])).num_steps
        3
    """
    paths = {name for name, flag in flags_of(type(default)).items() if inner(parts(flag.hint)[0]) is Path}
    given = {name: at_home(value) if name in paths else value for name, value in arguments.flags.items()}
    flags = [name if value is None else f"{name}={value}" for name, value in given.items()]
    config = (tyro.conf.DisallowNone,)
    return tyro.cli(type(default), args=[*flags, *map(at_home, arguments.positional)], default=default, config=config)


def at_home(value: Any) -> Any:
    """Return a path with ``~`` at its beginning as the home folder; shells leave that of ``--out=~/runs`` as it is.

    Example:
        >>> at_home("runs/a"), at_home("~/a") != "~/a"
        ('runs/a', True)
    """
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~") else value


def peek(arguments: Sequence[str], flag: str) -> str | None:
    """Return what a command line has for a flag, before it is taken apart; None for nothing.

    Example:
        >>> peek(["--mode", "weak", "--help"], "--mode")
        'weak'
    """
    found = None
    for token, after in zip(arguments, [*arguments[1:], None], strict=False):
        _, equals, value = token.partition("=")
        if flag_name(token) == flag:
            found = value if equals else after
    return found


def describe(hint: Any) -> str:
    """Say what a flag of type ``hint`` takes.

    Example:
        >>> describe(int | None)
        'an integer'
    """
    names = names_of(hint)
    if names:
        *others, last = names
        return f"{', '.join(others)} or {last}" if others else last
    return {int: "an integer", float: "a number", str: "a name", Path: "a path"}[inner(hint)]


def names_of(hint: Any) -> list[str]:
    """What a value of type ``hint`` may be called; nothing where that is not settled.

    Example:
        >>> names_of(typing.Literal["a", "b"] | None), names_of(int)
        (['a', 'b'], [])
    """
    hint, *known = parts(hint)
    if known:
        return list(known[0])
    hint = inner(hint)
    return list(typing.get_args(hint)) if typing.get_origin(hint) is typing.Literal else []


def inner(hint: Any) -> Any:
    """Return X for ``X | None``.

    Example:
        >>> inner(int | None)
        <class 'int'>
    """
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    return hint


def _check(name: str, hint: Any, text: str) -> None:
    """Raise a UserError unless ``text`` is a value of type ``hint``."""
    hint, *known = parts(hint)
    if known:
        known[0].require(name, text)
        return
    names = names_of(hint)
    try:
        if text and (text in names if names else inner(hint)(text) is not None):
            return
    except ValueError:
        pass
    raise UserError(f"{name}: found {text!r}, expected {describe(hint)}")
