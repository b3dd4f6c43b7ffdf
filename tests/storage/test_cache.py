"""Files of a cache are whole or not there, and made by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ffrl.core.errors import UserError
from ffrl.storage.cache import CACHE_TAG, cache_home, caching, make_cache, one_at_a_time, whole_bytes, write_byte_header


def array(path: Path, values: np.ndarray) -> bytes:
    with open(path, "wb") as out:
        write_byte_header(out, values.shape)
        out.write(values.tobytes())
    return path.read_bytes()


def test_what_was_written_is_an_npy_file_and_whole(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    array(tmp_path / "a.npy", values)
    found = whole_bytes(tmp_path / "a.npy")
    assert found is not None and found[0] == (2, 3, 4)
    assert (np.memmap(tmp_path / "a.npy", np.uint8, "r", found[1], found[0]) == values).all()
    assert (np.load(tmp_path / "a.npy") == values).all()


def test_nothing_else_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    content = array(path, np.zeros((2, 3), np.uint8))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert whole_bytes(path) is None
    path.write_bytes(content + b"\0")
    assert whole_bytes(path) is None
    for values in (np.zeros(3), np.asfortranarray(np.zeros((2, 3), np.uint8))):
        np.save(path, values)
        assert whole_bytes(path) is None
    source = np.random.default_rng(0)
    for _ in range(300):
        bent = bytearray(content)
        bent[source.integers(len(content) - 6)] = source.integers(256)
        path.write_bytes(bytes(bent))
        found = whole_bytes(path)  # raises nothing
        assert found is None or np.prod(found[0]) + found[1] == len(content)


def test_another_process_waits(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from ffrl.storage.cache import one_at_a_time
print("begun", flush=True)
with one_at_a_time(Path({str(tmp_path)!r}, "a.npy")):
    print("in", flush=True)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with one_at_a_time(tmp_path / "a.npy"):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        assert other.stdout is not None and other.stdout.readline() == "begun\n"
        time.sleep(0.5)
        assert other.poll() is None
    assert other.communicate(timeout=60)[0] == "in\n"


def test_the_folder_says_what_it_is_and_errors_name_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_cache(folder)
    assert [path.name for path in folder.iterdir()] == [CACHE_TAG]
    (folder / CACHE_TAG).unlink()
    (folder / "own.txt").touch()
    make_cache(folder)
    assert [path.name for path in folder.iterdir()] == ["own.txt"], "a folder that has files is left as it is"
    with pytest.raises(UserError, match="^data.x.cache: found .*No space left.*, expected a folder with enough space"):
        with caching(folder, "data.x.cache"):
            raise OSError(28, "No space left on device")


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_home(None, "x") == tmp_path / "stf" and cache_home(Path("here"), "x") == Path("here")
