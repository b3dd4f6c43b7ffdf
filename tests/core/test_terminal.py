"""Names of any kind on terminals of any encoding."""

from __future__ import annotations

import codecs
from io import StringIO

import pytest
from rich.table import Table

from ffrl.core.terminal import ENCODING_ERRORS, Console, one_line, prepare_streams, visible

ESCAPES = "esc\x1b[31m\x1b]0;pwned\x07\x9b1m\u202egnp.\u2028"


def test_nothing_in_a_text_steers_a_terminal():
    said = visible(f"a\n{ESCAPES}±")
    assert said == "a\nesc\\x1b[31m\\x1b]0;pwned\\x07\\x9b1m\\u202egnp.\\u2028±"
    assert "\n" not in one_line("a\nb\r\nc") and len(one_line("x" * 10**6)) < 2100


@pytest.mark.parametrize("force", [False, True])
def test_a_console_shows_names_as_they_are(force):
    stream = StringIO()
    console = Console(file=stream, force_terminal=force, color_system=None, width=200)
    table = Table(title=f"[x[/b]{ESCAPES}")
    table.add_column("[red]y")
    table.add_row(f"x/[x[/b] :smile: {ESCAPES}")
    console.print(table)
    console.print(f"[red]x {ESCAPES}")
    said = stream.getvalue()
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(said)
    assert all(part in said for part in ("[red]y", "x/[x[/b] :smile: esc\\x1b[31m", "[red]x esc"))


def test_what_an_encoding_lacks_is_written_plainly():
    prepare_streams()
    encode = codecs.getencoder("ascii")
    assert encode("2 ± 1 ≤ 4 – ✓", ENCODING_ERRORS)[0] == b"2 +- 1 <= 4 - \\u2713"
    assert "r/\udcff \udc9b".encode("utf-8", ENCODING_ERRORS) == b"r/\xff \\udc9b"
