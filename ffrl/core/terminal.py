"""Text that others chose, such as names of files, on a terminal and in messages: shown, and never obeyed."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

import rich.console
from rich.segment import Segment

LONGEST = 2000
"""Characters of a message, of which a longer one loses its middle."""
PLAINER = {"±": "+-", "≤": "<=", "≥": ">=", "–": "-", "—": "-", "→": "->", "×": "x", "…": "...", "·": "-", "°": " deg"}
"""What stands for signs that a terminal does not have."""
ENCODING_ERRORS = "stf-plainer"


def printable(text: str) -> str:
    r"""Return ``text`` on one line, every sign that is not printed as a blank.

    Example:
        >>> printable("a\nb\x1b[31m")
        'a b [31m'
    """
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)


def as_argument(path: object) -> str:
    """Return a path as an argument of a command, in which what begins with a dash is taken for a flag.

    Example:
        >>> as_argument("-b/run"), as_argument("runs/a")
        ('./-b/run', 'runs/a')
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
    return f"./{text}" if text.startswith("-") else text


def visible(text: str) -> str:
    r"""Return ``text`` with signs that would steer a terminal written out; line breaks and bytes of names stay.

    Control characters, what reverses the direction of writing, and breaks of lines that are none of ``\n`` are written
    as Python writes them. A byte of a name that is not UTF-8, as Python has it, is left to who encodes it.

    Example:
        >>> visible("a\x1b[31mb"), visible("2 ± 1\n")
        ('a\\x1b[31mb', '2 ± 1\n')
    """
    if text.isprintable():
        return text
    return "".join(_visible(sign) for sign in text)


def _visible(sign: str) -> str:
    if sign == "\n" or sign.isprintable() or "\udca0" <= sign <= "\udcff":
        return sign
    if sign == "\u00a0" or unicodedata.category(sign) == "Zs":
        return sign
    return sign.encode("ascii", "backslashreplace").decode() if ord(sign) > 127 else f"\\x{ord(sign):02x}"


def one_line(text: str) -> str:
    r"""Return a message on one line, without anything that steers a terminal, and not too long.

    Example:
        >>> one_line("found 'a\n b', expected \x07")
        "found 'a b', expected \\x07"
    """
    line = visible(" ".join(text.split()))
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}"


class Console(rich.console.Console):
    r"""Rich's console, whose texts neither steer the terminal nor are taken for markup, whatever names are among them.

    Example:
        >>> Console(width=40).print("[red]a\x1b[2Jb")
        [red]a\x1b[2Jb
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False} | options)

    def on_broken_pipe(self) -> None:
        """Let whoever prints know: where Rich ends the process, files may be unwritten still."""
        raise

    def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
        """The pieces of what is printed."""
        for text, style, control in super().render(*arguments, **options):
            yield Segment(text if control else visible(text), style, control)


def _plainer(error: UnicodeError) -> tuple[bytes, int]:
    """Encode what an encoding lacks: bytes of names as they were, signs by plainer ones."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    made = b""
    for sign in error.object[error.start : error.end]:
        if "\udca0" <= sign <= "\udcff":
            made += bytes([ord(sign) - 0xDC00])
        else:
            made += PLAINER.get(sign, sign).encode("ascii", "backslashreplace")
    return made, error.end


def prepare_streams() -> None:
    """Let standard output and error take any text, whatever their encoding, and nothing end for want of a listener.

    One that is closed takes and loses everything, as standard error does that cannot be written: what it says is of
    less worth than the work that it is about. Standard output that cannot be written raises OSError.
    """
    codecs.register_error(ENCODING_ERRORS, _plainer)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # or the next file that is opened would be in its place
            os.open(os.devnull, os.O_RDWR)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", errors=ENCODING_ERRORS, closefd=False))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ENCODING_ERRORS)
    buffer = getattr(sys.stderr, "buffer", None)
    if io.FileIO in (type(buffer), type(getattr(buffer, "raw", None))):
        encoding, lossy = sys.stderr.encoding, io.BufferedWriter(_Lossy(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(lossy, encoding, ENCODING_ERRORS, line_buffering=True)


class _Lossy(io.FileIO):
    """A file that loses what it cannot write."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content) or 0
        except OSError:
            return len(content)


def say(text: str, error: bool = False) -> None:
    """Print a line on standard output, or on standard error, without anything that steers a terminal.

    Example:
        >>> say("runs/demo")
        runs/demo
    """
    print(visible(text), file=sys.stderr if error else sys.stdout)
