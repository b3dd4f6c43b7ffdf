"""Running the command line in tests: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import main

ROOT = Path(__file__).parents[2]
TINY = (
    "--steps=2 --batch-size=4 --device=cpu --precision=float32 --data.num-steps=2 --model.latent-dim=4 --model.width=8 "
    "--model.depth=1 --model.potential-width=4 --model.num-fields=3"
).split()
"""Flags of a training that takes no time, in every mode."""
SEARCH = "--discovery.sequences=32 --discovery.held-out=16".split()
"""Further ones of the modes that discover their fields."""


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    """Run ``stf arguments``, assert that it fails with ``code`` and one line on stderr, and return that line."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    output = capsys.readouterr()
    assert output.out == ""
    return only_line(output.err)


def only_line(text: str) -> str:
    """Assert that ``text`` is one line of the kind ``stf`` complains with, and return it."""
    assert text.startswith("stf: error: ") and text.endswith("\n") and text.count("\n") == 1, text
    assert "Traceback" not in text
    return text.removeprefix("stf: error: ").rstrip("\n")


def stf(*arguments: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``stf arguments`` in a process of its own."""
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120} | options
    return subprocess.run(command, cwd=cwd, env=environment(), check=False, **streams)


def plain(page: str) -> str:
    """What a page of help says, on one line and without its boxes."""
    return " ".join(" ".join(line.strip("│ ") for line in page.splitlines()).split())


def environment() -> dict[str, str]:
    """Return the environment of a process that finds this checkout."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
