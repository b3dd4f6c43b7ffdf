"""A clone that is called ``stf`` does not shadow the package for Python that is started in the folder above it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import ROOT

FINDER = f"""
import importlib.util, sys
class Finder:
    def find_spec(name, path=None, target=None):
        home = {{"stf": "stf", "ffrl": "ffrl", "stf.cli": "cli"}}.get(name)
        return home and importlib.util.spec_from_file_location(name, {str(ROOT)!r} + f"/{{home}}/__init__.py")
sys.meta_path.append(Finder)
"""
"""What ``pip install -e`` does for packages that are not all in one folder: it is asked last."""


def python(folder: Path, code: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a line of Python in a folder, whose files are the first that it finds."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def above(tmp_path: Path) -> Path:
    """A folder with a clone called ``stf`` in it, as far as imports see."""
    (tmp_path / "stf").mkdir()
    shutil.copy(ROOT / "__init__.py", tmp_path / "stf")
    for inside in ("stf", "ffrl", "cli"):
        (tmp_path / "stf" / inside).mkdir()
    return tmp_path


@pytest.mark.parametrize(("install", "path"), [("", str(ROOT)), (FINDER, "")], ids=["regular", "editable"])
def test_the_installed_package_is_found(above: Path, install: str, path: str) -> None:
    say = "import sys, stf, ffrl; print(stf.__file__, stf.fit.__name__, '' in sys.path)"
    process = python(above, f"import sys\n{install}\n{say}", path)
    assert process.stdout == f"{ROOT}/stf/__init__.py fit True\n", process.stderr


def test_an_editable_package_is_shadowed_without_that_file(above: Path) -> None:
    (above / "stf/__init__.py").unlink()
    assert python(above, f"{FINDER}\nimport stf; print(stf.__file__)").stdout == "None\n"


def test_what_is_not_installed_is_not_found(above: Path) -> None:
    hide = "import sys; sys.meta_path = [one for one in sys.meta_path if 'ditable' not in str(one)]"
    process = python(above, f"{hide}\nimport stf")
    assert process.stderr.endswith("ModuleNotFoundError: No module named 'stf'\n")
