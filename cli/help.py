"""What ``stf COMMAND --help`` prints, laid out by tyro: the flags that matter; ``--help-all`` prints every one."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import textwrap
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any

import docstring_parser
import tyro

from ffrl.core.registry import Registry

from .flags import fields_of, flags_of

ALL = "--help-all"


def wants_help(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for help."""
    return any(token in ("-h", "--help", ALL) for token in arguments)


def show_help(
    arguments: Sequence[str],
    command: str,
    *defaults: Any,
    about: str = "",
    short: Collection[str] = (),
    notes: Iterable[str] = (),
) -> int:
    """Print the flags of a command, and return the exit code.

    Args:
        arguments: that asked for it; with ``--help-all`` every flag is shown.
        command: how it is called.
        defaults: objects of dataclasses, whose values are shown; of a flag that several have, that of the first.
        about: what it does; what the first dataclass says of itself, if it is left out.
        short: the flags that matter; all of them if there are none.
        notes: paragraphs at the end.
    """
    flags = {name: flag for default in defaults for name, flag in flags_of(type(default)).items()}
    names = {name for name, flag in flags.items() if flag.opposite is None or len(name) < len(flag.opposite)}
    if short and ALL not in arguments:
        notes = [*notes, f"These are the {len(short)} flags that matter; {command} {ALL} shows all {len(names)}."]
        names = set(short)
    fields: dict[str, Any] = {}
    for default in reversed(defaults):
        own = _fields(default, names)
        fields = own | fields | own
    _print([about or inspect.getdoc(defaults[0]) or "", ""])
    with suppress(SystemExit):
        kind = dataclasses.make_dataclass("Flags", fields.values())
        tyro.cli(kind, prog=command, description="", args=["--help"], config=(tyro.conf.DisallowNone,))
    _print(notes)
    return 0


def _print(paragraphs: Iterable[str]) -> None:
    """Print paragraphs in lines that fit the terminal."""
    for text in paragraphs:
        print(textwrap.fill(text, shutil.get_terminal_size().columns - 1, break_on_hyphens=False))


def _fields(default: Any, names: Collection[str], prefix: str = "") -> dict[str, tuple[str, Any, Any]]:
    """The flags in ``names`` and the positional arguments by field, as tyro is given them; sections are dataclasses."""
    texts = texts_of(type(default))
    result: dict[str, tuple[str, Any, Any]] = {}
    for field, name, hint, marks in fields_of(type(default)):
        value = getattr(default, field)
        if dataclasses.is_dataclass(hint):
            inside = _fields(value, names, f"{prefix}{name}.").values()
            about = {"__doc__": (inspect.getdoc(hint) or "").partition("\n\n")[0]}
            section = dataclasses.make_dataclass(field, inside, namespace=about)
            result |= {field: (field, section, dataclasses.field(default_factory=section))} if inside else {}
        elif f"--{prefix}{name}" in names or tyro.conf.Positional in marks:
            registry = next((mark for mark in marks if hasattr(mark, "require")), None)
            metavar = None if registry is None else name.upper()
            after = " ".join([*_choices(registry or ()), *_default(value)])
            told = tyro.conf.arg(help=texts.get(field, ""), help_behavior_hint=after, metavar=metavar)
            result[field] = (field, Annotated[hint, told, *marks], dataclasses.field(default=value))
    return result


def _choices(registry: Iterable[str]) -> list[str]:
    """The names that a value may have, those of installed packages with their package."""
    names = list(registry)
    if isinstance(registry, Registry):
        names = [f"{name} (from {registry.source(name)})" if registry.source(name) else name for name in names]
    return [f"One of {', '.join(names)}."] if names else []


def _default(value: Any) -> list[str]:
    """What is taken where a flag is left out, unless its text says so."""
    return [] if value is None or value is False or value == "" else [f"(default: {value})"]


def texts_of(kind: type) -> dict[str, str]:
    """Return the strings under the fields of a dataclass, each on one line; tyro would keep their line breaks.

    Example:
        >>> from ffrl.config import RunConfig
        >>> texts_of(RunConfig)["batch_size"]
        'B, sequences per step.'
    """
    found = [text for base in reversed(kind.__mro__[:-1]) for text in docstring_parser.parse_from_object(base).params]
    return {text.arg_name: " ".join((text.description or "").split()) for text in found}
