"""A few kills of a run without supervision and of one of vectors; ``make torture`` makes as many as are wanted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cli_tools import ROOT

KILLS, CASES = 5, "unsupervised,vectors"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
def test_killed_runs_equal_an_uninterrupted_one(tmp_path):
    path = os.pathsep.join([str(ROOT), *(str(ROOT / "tests" / "support" / name) for name in (".", "data"))])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(ROOT / "tests" / "torture" / "torture.py"), "--kills", str(KILLS), "--cases", CASES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line[:20].rstrip(): line[20:].split() for line in done.stdout.splitlines() if "  " in line}
    assert int(rows["all"][-1]) == KILLS and int(rows["runs finished"][-1]) >= 1 and rows["faults"][-1] == "0"
