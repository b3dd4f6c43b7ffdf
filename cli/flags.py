"""Flags of configuration dataclasses: what there is, what a command line gives, and the dataclass that comes of it."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from ffrl.core.errors import UserError
from ffrl.training.config_io import sections

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Arg:
    """How a field is given, in ``Annotated``, where that is not by its own name.

    Args:
        metavar: what help calls its value.
        name: of the flag.
        positional: without a flag.
    """

    metavar: str = ""
    name: str = ""
    positional: bool = False


class Flag(NamedTuple):
    """A field as the command line has it.

    Args:
        hint: type of its value, ``Annotated`` with the names it may have: an iterable that has ``require``, such as a
            :class:`~ffrl.core.registry.Registry`.
        opposite: for a switch (which takes no value) the flag that undoes it.
        field: dotted name within the dataclass.
        arg: how it is given.
    """

    hint: Any
    opposite: str | None = None
    field: str = ""
    arg: Arg = Arg()


class Arguments(NamedTuple):
    """A command line taken apart: values by flag (None for a switch; the last of several wins), and the rest."""

    flags: dict[str, str | None]
    positional: list[str]


def flags_of(command: type, prefix: str = "") -> dict[str, Flag]:
    """Return the flags of a dataclass by name; a switch has two, ``--x`` and ``--no-x``, a section joins by a dot.

    A positional argument is there by the name of its field.

    Example:
        >>> from ffrl.config import StillConfig
        >>> flags_of(StillConfig)["--fraction"].hint
        <class 'float'>
    """
    result: dict[str, Flag] = {}
    hints = typing.get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        hint, arg = hints[field.name], Arg()
        if typing.get_origin(hint) is Annotated:
            hint, *marks = typing.get_args(hint)
            arg = next((mark for mark in marks if isinstance(mark, Arg)), arg)
            hint = next((Annotated[hint, mark] for mark in marks if hasattr(mark, "require")), hint)
        name, dotted = arg.name or field.name.replace("_", "-"), prefix.replace("-", "_") + field.name
        if dataclasses.is_dataclass(hint):
            result.update(flags_of(hint, f"{prefix}{name}."))
        elif hint is bool:
            on, off = f"--{prefix}{name}", f"--{prefix}no-{name}"
            result.update({on: Flag(hint, off, dotted), off: Flag(hint, on, dotted)})
        else:
            result[name if arg.positional else f"--{prefix}{name}"] = Flag(hint, None, dotted, arg)
    return result


def nearest(flag: str, known: Iterable[str]) -> str:
    """Return the known flag that ``flag`` most likely stands for.

    Example:
        >>> nearest("--num-fields", ["--data.num-steps", "--model.num-fields"])
        '--model.num-fields'
    """
    known = [other for other in known if other.startswith("--")]
    same_name = [other for other in known if other.rpartition(".")[2] == flag.removeprefix("--")]
    return (same_name or difflib.get_close_matches(flag, known, n=1, cutoff=0.0))[0]


def split(
    arguments: Sequence[str], known: Mapping[str, Flag], positional: Sequence[str] = (), optional: Iterable[str] = ()
) -> Arguments:
    """Take a command line apart and check every flag and its value.

    Args:
        arguments: What follows the command; ``--a b`` and ``--a=b`` both work, and ``_`` for ``-`` within names.
        known: The flags there are.
        positional: Names of the positional arguments there may be, as messages have them.
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
            value_of(name, known[name], value)
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
    known = flags_of(type(default))
    places = [name for name, flag in known.items() if flag.arg.positional]
    given = dict(zip(places, arguments.positional, strict=False)) | arguments.flags
    return updated(default, {known[name].field: value_of(name, known[name], text) for name, text in given.items()})


def updated(config: T, values: Mapping[str, Any]) -> T:
    """Return a dataclass with other values, by their dotted names.

    Raises:
        UserError: values that it refuses.

    Example:
        >>> from ffrl.config import RunConfig
        >>> updated(RunConfig(), {"data.sequences.size": 32, "steps": 5}).data.sequences.size
        32
    """
    own = {
        name: updated(getattr(config, name), value) if isinstance(value, Mapping) else value
        for name, value in sections(values).items()
    }
    return dataclasses.replace(config, **own)  # type: ignore[type-var]


def peek(arguments: Sequence[str], flag: str) -> str | None:
    """Return what a command line has for a flag, before it is taken apart; None for nothing.

    Example:
        >>> peek(["--mode", "weak", "--help"], "--mode")
        'weak'
    """
    found = None
    for token, after in zip(arguments, [*arguments[1:], None], strict=False):
        name, equals, value = token.partition("=")
        if name.replace("_", "-") == flag:
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
    if typing.get_origin(hint) is Annotated:
        return list(typing.get_args(hint)[1])
    hint = inner(hint)
    return list(typing.get_args(hint)) if typing.get_origin(hint) is typing.Literal else []


def inner(hint: Any) -> Any:
    """Return X for ``X | None`` and for ``Annotated`` of it.

    Example:
        >>> inner(int | None)
        <class 'int'>
    """
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    return hint


def value_of(name: str, flag: Flag, text: str | None) -> Any:
    """Return the value that a flag is given.

    Args:
        name: of the flag.
        flag: from :func:`flags_of`.
        text: what it is given; None for a switch.

    Raises:
        UserError: it is none of the flag's type, or none of its names.

    Example:
        >>> value_of("--steps", Flag(int | None), "3")
        3
    """
    if flag.opposite is not None:
        return len(name) < len(flag.opposite)  # --x and --no-x
    if typing.get_origin(flag.hint) is Annotated:
        typing.get_args(flag.hint)[1].require(name, text)
        return text
    kind, names = inner(flag.hint), names_of(flag.hint)
    try:
        if text and (text in names or not names):
            return text if names else kind(text)
    except ValueError:
        pass
    raise UserError(f"{name}: found {text!r}, expected {describe(flag.hint)}")
