"""What ``stf COMMAND --help`` prints: the flags that matter; ``--help-all`` prints every one."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shutil
import textwrap
import typing
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ffrl.core.registry import Registry

from .flags import Flag, flags_of, inner, names_of

ALL = "--help-all"
WIDEST, COLUMN, NARROW, INLINE = 100, 26, 64, 24
"""Characters: of a line, of the flags before what they mean, of a line below which that goes under its flag, and of
values that are named right after their flag."""


class Entry(NamedTuple):
    """A flag as help shows it: its name, what is typed, the section that it is in, and what it says."""

    name: str
    typed: str
    section: str
    text: str


def wants_help(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for help."""
    return any(token in ("-h", "--help", ALL) for token in arguments)


def show_help(
    arguments: Sequence[str],
    usage: str,
    about: str,
    commands: Sequence[tuple[type, Any]],
    short: Collection[str] = (),
    notes: Sequence[str] = (),
) -> int:
    """Print the flags of a command, and return the exit code.

    Args:
        arguments: that asked for it; with ``--help-all`` every flag is shown.
        usage: how the command is called.
        about: what it does.
        commands: dataclasses, each with an object of it that has the defaults to show, or None for none; of a flag that
            several have, the first is shown.
        short: the flags that matter; all of them if there are none.
        notes: paragraphs at the end.
    """
    found: dict[str, Entry] = {}
    for command, default in commands:
        found |= {entry.name: entry for entry in entries_of(command, default) if entry.name not in found}
    entries = sorted(found.values(), key=lambda entry: entry.section != "")
    shown = entries
    if short and ALL not in arguments:
        shown = [entry for name in short for entry in entries if entry.name == name]
        shown = [entry._replace(section="") for entry in shown]
        line = " ".join([*usage.split()[:2], ALL])
        notes = [*notes, f"These are the {len(shown)} flags that matter; {line} shows all {len(entries)}."]
    width = min(WIDEST, shutil.get_terminal_size().columns - 1)
    print(page(usage, about, shown, notes, width))
    return 0


def page(usage: str, about: str, entries: Sequence[Entry], notes: Sequence[str], width: int) -> str:
    """Lay help out in lines of so many characters.

    Example:
        >>> print(page("stf x", "Does x.", [Entry("--out", "--out DIR", "", "Folder.")], [], 70))
        usage: stf x
        <BLANKLINE>
        Does x.
        <BLANKLINE>
          --out DIR               Folder.
    """
    lines = [*_wrapped(f"usage: {usage}", width, after=7), "", *_wrapped(about, width), ""]
    section = ""
    for entry in entries:
        if entry.section != section:
            section = entry.section
            lines += ["", *_wrapped(section, width), ""]
        lines += _entry(entry, width)
    for note in notes:
        lines += ["", *_wrapped(note, width)]
    return "\n".join(lines)


def entries_of(command: type, default: Any = None) -> list[Entry]:
    """The flags of a dataclass, those of its sections last.

    Args:
        command: the dataclass.
        default: an object of it, whose values are shown; None to show none.

    Example:
        >>> from ffrl.config import StillConfig
        >>> entries_of(StillConfig, StillConfig())[0].typed
        '--fraction NUMBER'
    """
    texts, entries = _texts(command), []
    for name, flag in flags_of(command).items():
        if flag.opposite is not None and len(name) > len(flag.opposite):
            continue  # --no-x is told of with --x
        section = flag.field.rpartition(".")[0]
        title = f"--{section.replace('_', '-')}: {texts.get(section, '')}" if section else ""
        value = default
        for part in flag.field.split("."):
            value = getattr(value, part, None)
        text = " ".join([texts.get(flag.field, ""), *_choices(name, flag), *_default(flag, value)])
        entries.append(Entry(name, _typed(name, flag), title, text))
    return sorted(entries, key=lambda entry: entry.section != "")


def _typed(name: str, flag: Flag) -> str:
    if flag.opposite is not None:
        return f"{name}, {flag.opposite}"
    return flag.arg.metavar if flag.arg.positional else f"{name} {_metavar(name, flag)}"


def _metavar(name: str, flag: Flag) -> str:
    """What a value is called: its names, if they are few, else by its type."""
    if flag.arg.metavar:
        return flag.arg.metavar
    names = names_of(flag.hint)
    if not names:
        return {int: "INT", float: "NUMBER", str: "NAME", Path: "PATH"}[inner(flag.hint)]
    inline = "{" + ",".join(names) + "}"
    return inline if len(inline) <= INLINE else name.removeprefix("--").rpartition(".")[2].upper()


def _choices(name: str, flag: Flag) -> list[str]:
    """The names of a value, where they do not stand after the flag, those of installed packages with their package."""
    names = names_of(flag.hint)
    if not names or _metavar(name, flag).startswith("{"):
        return []
    registry = typing.get_args(flag.hint)[1] if typing.get_origin(flag.hint) is Annotated else None
    if isinstance(registry, Registry):
        names = [f"{one} (from {registry.source(one)})" if registry.source(one) else one for one in names]
    return [f"One of {', '.join(names)}."]


def _default(flag: Flag, value: Any) -> list[str]:
    """What is taken where a flag is left out, unless its text says so."""
    if value is None or value is False or value == "" or flag.arg.positional:
        return []
    return ["(default: yes)" if value is True else f"(default: {value})"]


def _texts(command: type, prefix: str = "") -> dict[str, str]:
    """The strings under the fields of a dataclass, and under the names of its sections what they are."""
    found = {prefix.rstrip("."): " ".join((inspect.getdoc(command) or "").split("\n\n")[0].split())}
    for kind in reversed(command.__mro__):
        if dataclasses.is_dataclass(kind):
            found |= {prefix + name: text for name, text in _own_texts(kind).items()}
    hints = typing.get_type_hints(command)
    for field in dataclasses.fields(command):
        if dataclasses.is_dataclass(hints[field.name]):
            found |= _texts(hints[field.name], f"{prefix}{field.name}.")
    return found


def _own_texts(kind: type) -> dict[str, str]:
    """The strings under the fields that a class adds, each on one line; none if its source is not there."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except OSError:
        return {}
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for statement, after in zip(body, body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
            found[ast.unparse(statement.target)] = " ".join(str(ast.literal_eval(after.value)).split())
    return found


def _entry(entry: Entry, width: int) -> list[str]:
    """A flag and what it means, beside it or under it."""
    indent = " " * (6 if width < NARROW else COLUMN)
    lines = _wrapped(indent + entry.text, width, after=len(indent))
    if width >= NARROW and len(entry.typed) + 4 <= COLUMN:
        return [f"  {entry.typed:<{COLUMN - 2}}{lines[0].lstrip()}", *lines[1:]]
    return [f"  {entry.typed}", *lines]


def _wrapped(text: str, width: int, after: int = 0) -> list[str]:
    """The lines of a paragraph, those but the first indented."""
    indent = " " * after
    return textwrap.wrap(text, max(width, 30), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
