"""What checks the code in one place is what checks it in another."""

from __future__ import annotations

import re
import tomllib

from cli_tools import ROOT


def test_ruff_has_one_version():
    (pinned,) = re.findall(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"ruff-pre-commit\n    rev: v(.+)\n", hooks) == [pinned]


def test_every_folder_of_modules_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for name in ("ffrl", "stf") for path in (ROOT / name).rglob("*.py")}
    here = {name for name in listed if name not in ("ffrl.assets", "stf.cli", "stf.configs")}  # from other folders
    assert here == {".".join(folder.parts) for folder in folders} and len(listed) == len(set(listed))


def test_modules_that_are_not_type_checked_are_there():
    """A name that is left in the list after its module has gone would hide nothing, and should go."""
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert {"cli", "ffrl", "stf"} <= set(checked["files"]) and checked["strict"] and "exclude" not in checked
    for name in (name for one in checked["overrides"] if one.get("ignore_errors") for name in one["module"]):
        path = ROOT / name.removesuffix(".*").replace(".", "/")
        assert path.is_dir() if name.endswith(".*") else path.with_suffix(".py").is_file(), name
    assert all((ROOT / package / "py.typed").is_file() for package in ("ffrl", "stf"))
