"""Mutated files of every format are read or refused in one line; ``make fuzz`` goes on for longer."""

from __future__ import annotations

import gc
import pickle
import socket
from contextlib import suppress
from pathlib import Path

import fuzz_watch
import pytest
from fuzz import FORMATS, fuzz
from fuzz_recordings import RECORDINGS

EXAMPLES, OF_RECORDINGS = 120, 48
"""Files of a format, divided by its cost."""


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_is_read_or_refused_in_one_line(name):
    counts = fuzz(name, (OF_RECORDINGS if name in RECORDINGS else EXAMPLES) // FORMATS[name].cost)
    assert counts["refused"] > 0 and counts.total() >= 10, counts


@pytest.mark.parametrize("what", ["time", "memory", "file", "network", "pickle"])
def test_what_no_file_may_do_is_seen(tmp_path, monkeypatch, what):
    folder = tmp_path / "inside"
    folder.mkdir()
    monkeypatch.setattr(fuzz_watch, "MOST_SECONDS", 0.2 if what == "time" else 20.0)
    monkeypatch.setattr(fuzz_watch, "MOST_BYTES", 2**27)

    def misbehave() -> None:
        match what:
            case "time":
                while True:
                    pass
            case "memory":
                bytearray(b"x") * (2**27 + 2**26)
            case "file":
                (tmp_path / "outside").touch()
            case "network":
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", 9), timeout=0.1)
            case _:
                pickle.loads(pickle.dumps(Path("x")))

    gc.collect()  # or what earlier tests left behind goes while the memory is watched, and hides what is taken
    with fuzz_watch.watched(folder):
        (folder / "a").touch()
        (folder / "a").unlink()
    said = {"time": "0.2 s", "memory": "GiB", "file": "outside", "network": "socket", "pickle": "pickle.find_class"}
    with pytest.raises(fuzz_watch.Forbidden, match=said[what]), fuzz_watch.watched(folder):
        misbehave()
