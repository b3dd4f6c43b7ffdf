"""Readers of JSON and TOML: what is read, and one line at little cost for everything else."""

from __future__ import annotations

import time

import pytest
from run_tools import within

from ffrl.core import reading
from ffrl.core.errors import UserError
from ffrl.core.reading import json_object, read_bytes, read_json_lines, read_json_object, read_toml


def complaint(read, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, mark):
    (tmp_path / "a.json").write_bytes(mark + '{"a": "\u00e9"}'.encode())
    assert read_json_object(tmp_path / "a.json") == {"a": "\u00e9"}
    (tmp_path / "a.toml").write_bytes(mark + b"steps = 3\n")
    assert read_toml(tmp_path / "a.toml") == {"steps": 3}


JSON = {
    "deep lists": (b"[" * 100_000, "line 1: found more than 32 levels of nesting, expected fewer"),
    "deep objects": (b'{"a":' * 100_000, "line 1: found more than 32 levels of nesting, expected fewer"),
    "twice": (b'{\n"a": 1,\n"a": 2}', "line 3: found key 'a' twice, expected it once"),
    "twice inside": (b'{"b": {"a": 1, "a": 2}}', "found key 'a' twice, expected it once"),
    "not a number": (b'{"a":\n NaN}', "line 2: found NaN, expected numbers up to 1e+100"),
    "infinity": (b'{"a": -Infinity}', "found -Infinity, expected numbers up to 1e+100"),
    "too large": (b'{"a": 1e999}', "found 1e999, expected numbers up to 1e+100"),
    "large": (b'{"a": -1e308}', "found -1e308, expected numbers up to 1e+100"),
    "long integer": (b'{"a": 1' + b"0" * 5000 + b"}", "expected integers below 2**63"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "found UTF-16 or UTF-32, expected UTF-8"),
    "Latin-1": (b'{"a":\n"\xe9"}', "found byte 0xe9 in line 2, expected UTF-8"),
    "half": (b'{"a": 1,\n "b"', "found no valid JSON (Expecting ':' delimiter: line 2, column 5)"),
    "list": (b"[1]", "found a JSON list, expected a JSON object"),
    "empty": (b"", "found no valid JSON"),
}


@pytest.mark.parametrize("case", JSON)
def test_what_is_no_json_object_is_one_line(case):
    content, message = JSON[case]
    assert complaint(json_object, content, "a.json").startswith(f"a.json: {message}") or message in complaint(
        json_object, content, "a.json"
    )


def test_brackets_in_texts_are_no_nesting():
    assert json_object(b'{"a": "' + b"[" * 1000 + b'\\"{"}', "a.json")["a"].startswith("[[[")


def test_many_values_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(reading, "MOST_VALUES", 1000)
    assert "found up to 1,502 values" in complaint(json_object, b'{"a": [' + b"1," * 1500 + b"1]}", "a.json")


def test_files_are_read_up_to_their_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert read_bytes(path, 100) == b"x" * 100
    assert complaint(read_bytes, path, 99) == f"{path}: found more than 99 bytes, expected at most as many"
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(2**40)
    assert "found more than 67,108,864 bytes" in complaint(read_json_object, tmp_path / "sparse")
    assert complaint(read_json_object, tmp_path) == f"{tmp_path}: found a folder, expected a file"
    assert complaint(read_json_object, tmp_path / "no") == f"cannot read {tmp_path}/no: No such file or directory"
    assert "found a device, expected a file" in complaint(read_json_object, tmp_path.joinpath("/dev/zero"))


TOML = {
    "dotted": ("a" + ".b" * 20_000 + " = 1", "line 1: found a key of more than 32 parts"),
    "dotted, quoted": ("\n" + "'a'" + '."b"' * 20_000 + " = 1", "line 2: found a key of more than 32 parts"),
    "section": ("[a" + ".b" * 20_000 + "]", "line 1: found a key of more than 32 parts"),
    "lists": ("a = " + "[" * 20_000, "line 1: found more than 32 levels of nesting"),
    "tables": ("a = " + "{a = " * 20_000, "line 1: found more than 32 levels of nesting"),
    "twice": ("a = 1\na = 2", "found invalid TOML, Cannot overwrite a value"),
    "UTF-16": ("a = 1".encode("utf-16"), "found UTF-16 or UTF-32, expected UTF-8"),
    "half": ("a = [", "found invalid TOML, "),
}


@pytest.mark.parametrize("case", TOML)
def test_what_is_no_toml_is_one_line_and_costs_little(tmp_path, case):
    content, message = TOML[case]
    path = tmp_path / "a.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    begun = time.process_time()
    with within(20 * 2**20):
        assert complaint(read_toml, path).startswith(f"{path}: {message}")
    assert time.process_time() - begun < 2


def test_numbers_of_lists_are_no_key(tmp_path):
    (tmp_path / "a.toml").write_text("a = [" + "1.5, " * 100 + "]\n" + "b = 'x" + ".y" * 100 + "'  # " + "z." * 100)
    assert len(read_toml(tmp_path / "a.toml")["a"]) == 100


def test_lines_are_read_and_an_unfinished_one_is_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a')
    assert read_json_lines(path) == ([{"a": 1}, {"a": 2}], False)
    path.write_bytes(b'{"a": 1}\n' + b"[" * 10**5 + b"\n")
    assert complaint(read_json_lines, path).startswith(f"{path}: line 2: ")
    path.write_bytes(b'{"a": 1}\n{"a": "' + b"x" * reading.MOST_LINE_BYTES + b'"}\n')
    assert "bytes in line 2, expected at most 4,194,304" in complaint(read_json_lines, path)
