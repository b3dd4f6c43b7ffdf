"""Reading JSON and TOML that anyone may have written: what cannot be used is refused in one line, at no great cost."""

from __future__ import annotations

import io
import json
import re
import stat
import tomllib
from collections import Counter
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

from ffrl.core.errors import UserError, reason_of
from ffrl.core.files import reporting

MOST_BYTES = 64 * 2**20
"""Size of the largest JSON file that is read."""
MOST_TOML_BYTES = 2**20
"""Size of the largest TOML file that is read."""
MOST_LOG_BYTES = 512 * 2**20
"""Size of the largest file of JSON lines that is read."""
MOST_LINE_BYTES = 4 * 2**20
"""Length of its longest line."""
MOST_DEPTH = 32
"""Sections within sections."""
MOST_VALUES = 2**22
"""Values in one JSON text."""
MOST_INTEGER = 2**63
"""No integer is as large as this; most machines have none either."""
MOST_NUMBER = 1e100
"""Size of the largest number: what is computed from it stays finite."""
BLOCK = 2**20
SHOWN = 60
"""Characters of what was found that a message repeats."""

_JSON_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOML_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL
)
_BRACKET = re.compile(r"[\[\]{}]")
_DOTTED = re.compile(rf"(?:\.[^.=\[\]{{}},\n]*){{{MOST_DEPTH},}}")
_OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the contents of a file of at most ``most`` bytes.

    Raises:
        UserError: it cannot be read, is larger, or is no file but a folder or a device.
    """
    with reporting("read", path):
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_fifo():
            kind = "folder" if path.is_dir() else "device"
            raise UserError(f"{path}: found a {kind}, expected a file")
        with path.open("rb") as file:
            content = read_at_most(file, most + 1)
    if len(content) > most:
        raise UserError(f"{path}: found more than {most:,} bytes, expected at most as many")
    return content


def read_at_most(file: IO[bytes], most: int) -> bytes:
    """Return what is left of an open file, but no more than ``most`` bytes; memory is taken as bytes come.

    Example:
        >>> read_at_most(io.BytesIO(b"abc"), 2)
        b'ab'
    """
    found = io.BytesIO()
    while content := file.read(min(BLOCK, most - found.tell())):
        found.write(content)
    return found.getvalue()


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``, see :func:`json_object`.

    Raises:
        UserError: it cannot be read, or holds no such object.
    """
    return json_object(read_bytes(path), str(path))


def json_object(content: bytes, source: str) -> dict[str, Any]:
    r"""Return the JSON object that a file holds: in UTF-8, each key once, all numbers finite, nested a little.

    Args:
        content: of the file, with or without a byte order mark.
        source: named in messages.

    Raises:
        UserError: it is something else; the message names the line, and the key if one is at fault.

    Example:
        >>> json_object(b'{"step": 3}', "a.json")
        {'step': 3}
        >>> json_object(b'{\n "step": 3,\n "step": 4}', "a.json")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: a.json: line 3: found key 'step' twice, expected it once
    """
    data = _json(_decoded(content, source), source)
    if not isinstance(data, dict):
        raise UserError(f"{source}: found a JSON {type(data).__name__}, expected a JSON object")
    return data


def _json(text: str, source: str) -> Any:
    _require_depth(_JSON_STRING.sub('""', text), source)
    values = text.count(",") + text.count("[") + text.count("{")
    if values > MOST_VALUES:
        raise UserError(f"{source}: found up to {values:,} values, expected at most {MOST_VALUES:,}")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            key = next(key for key, count in Counter(key for key, _ in found).items() if count > 1)
            _refuse(source, text, json.dumps(key), f"found key {shown(key)} twice, expected it once", 2)
        return made

    def number(written: str) -> float:
        value = float(written)
        if not abs(value) <= MOST_NUMBER:
            _refuse(source, text, written, f"found {written[:SHOWN]}, expected numbers up to {MOST_NUMBER:g}")
        return value

    def integer(written: str) -> int:
        if len(written) > 20 or abs(int(written)) >= MOST_INTEGER:
            _refuse(source, text, written, f"found {written[:SHOWN]}, expected integers below 2**63")
        return int(written)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_constant=number, parse_int=integer)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{source}: found no valid JSON ({error.msg}: {line}), expected a JSON object") from None


class JsonLines(NamedTuple):
    """The entries of a file of JSON lines, and whether its last line was finished."""

    entries: list[dict[str, Any]]
    finished: bool


def read_json_lines(path: Path) -> JsonLines:
    """Return the JSON objects in the lines of a file; a last line that a killed writer left unfinished is passed over.

    Raises:
        UserError: it cannot be read, or another line is no JSON object; the message has its number.
    """
    *lines, rest = read_bytes(path, MOST_LOG_BYTES).split(b"\n")
    entries = []
    for number, line in enumerate(lines, start=1):
        if len(line) > MOST_LINE_BYTES:
            raise UserError(f"{path}: found {len(line):,} bytes in line {number}, expected at most {MOST_LINE_BYTES:,}")
        entries.append(json_object(line, f"{path}: line {number}"))
    return JsonLines(entries, not rest)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file, in UTF-8 with or without a byte order mark.

    Raises:
        UserError: it cannot be read, is too large or nested too deeply, or is not TOML; the message has the position.
    """
    text = _decoded(read_bytes(path, MOST_TOML_BYTES), str(path))
    bare = _TOML_STRING.sub('""', text)
    _require_depth(bare, str(path))
    if deep := _DOTTED.search(bare):
        line = bare.count("\n", 0, deep.start()) + 1
        raise UserError(f"{path}: line {line}: found a key of more than {MOST_DEPTH} parts, expected fewer")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: found invalid TOML, {reason_of(error)}") from None


def shown(value: object) -> str:
    """Return what a message says of a value: as Python writes it, a long one cut off.

    Example:
        >>> shown("a" * 100)
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    written = repr(value)
    return written if len(written) <= SHOWN else written[:SHOWN] + "..."


def _decoded(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith(_OTHER_ENCODINGS):
            found = "UTF-16 or UTF-32"
        else:
            line = content.count(b"\n", 0, error.start) + 1
            found = f"byte 0x{content[error.start]:02x} in line {line}"
        raise UserError(f"{source}: found {found}, expected UTF-8") from None


def _require_depth(bare: str, source: str) -> None:
    """Raise a UserError if a text without its strings has brackets too deep in one another."""
    if bare.count("[") + bare.count("{") <= MOST_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.finditer(bare):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MOST_DEPTH:
            line = bare.count("\n", 0, bracket.start()) + 1
            raise UserError(f"{source}: line {line}: found more than {MOST_DEPTH} levels of nesting, expected fewer")


def _refuse(source: str, text: str, sign: str, message: str, times: int = 1) -> NoReturn:
    """Raise a UserError, with the line of the last ``sign`` if the text has it so many times and no more."""
    places = [place.start() for place in re.finditer(re.escape(sign), text)]
    line = f"line {text.count(chr(10), 0, places[-1]) + 1}: " if "\n" in text and len(places) == times else ""
    raise UserError(f"{source}: {line}{message}")
