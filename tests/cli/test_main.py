"""The entry point: help, speed, unknown commands, and streams that close."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cli_tools import ROOT, complaint, environment, only_line, stf

import cli.visualize
from cli.main import COMMANDS, main
from stf import __version__

HELPS = [["--help"], *([command, "--help"] for command in COMMANDS), ["train", "--mode=weak", "--help-all"]]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(capsys, arguments):
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert all(command in output for command in COMMANDS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"stf {__version__}\n"


TYPOS = [("trian", "train"), ("visualise-fields", "visualize-fields"), ("--halp", "--help")]


@pytest.mark.parametrize(("typed", "meant"), TYPOS)
def test_unknown_command_is_one_line_with_the_nearest(capsys, typed, meant):
    line = complaint(capsys, typed)
    assert repr(typed) in line and repr(meant) in line


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import json, sys; from cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'filelock', 'safetensors'} & set(sys.modules);"
        "print(json.dumps([code, sorted(heavy)]), file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert json.loads(process.stderr) == [0, []]


def test_a_full_disk_behind_stdout_is_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with open("/dev/full", "w") as full:
        process = stf("--help", cwd=tmp_path, stdout=full)
    assert process.returncode == 1
    assert only_line(process.stderr) == "standard output: No space left on device"


def test_a_reader_that_leaves_is_not_an_error(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    process = stf("train", "--help", cwd=tmp_path, stdout=writer)
    os.close(writer)
    assert process.returncode == 141
    assert process.stderr == ""


def test_an_error_in_its_own_process_is_one_line(tmp_path):
    process = stf("train", "--mode", "weak", "--stepz", "3", cwd=tmp_path)
    assert process.returncode == 2
    assert process.stdout == ""
    assert only_line(process.stderr) == "found unknown flag '--stepz', did you mean '--steps'?"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (PermissionError(13, "Permission denied", "some/file"), 1, "stf: error: some/file: Permission denied\n"),
        (OSError("odd"), 1, "stf: error: odd\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=repr,
)
def test_system_errors_and_interruptions(capsys, monkeypatch, error, code, shown):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli.visualize, "main", fail)
    assert main(["visualize-fields"]) == code
    assert capsys.readouterr().err == shown


def test_cli_only_parses_and_calls():
    heavy = ("import torch", "import numpy", "import matplotlib", "from torch")
    for path in (ROOT / "cli").glob("*.py"):
        assert not any(line.strip().startswith(heavy) for line in path.read_text().splitlines()), path
