"""What checks the code in one place is what checks it in another."""

from __future__ import annotations

import re
import tomllib

from cli_tools import ROOT


def test_ruff_has_one_version():
    (pinned,) = re.findall(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"ruff-pre-commit\n    rev: v(.+)\n", hooks) == [pinned]


def test_modules_that_are_not_type_checked_are_there():
    """A name that is left in the list after its module has gone would hide nothing, and should go."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    (unchecked,) = (one["module"] for one in overrides if one.get("ignore_errors"))
    for name in unchecked:
        path = ROOT / name.removesuffix(".*").replace(".", "/")
        assert path.is_dir() if name.endswith(".*") else path.with_suffix(".py").is_file(), name
    assert all((ROOT / package / "py.typed").is_file() for package in ("ffrl", "stf"))
