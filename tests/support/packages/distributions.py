"""Installed packages that a test makes up: one module each, with entry points."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def installing(folder: Path, monkeypatch: pytest.MonkeyPatch, group: str) -> Iterator[Callable[..., None]]:
    """Yield a function that puts a distribution with one module ``NAME_module`` and entry points on the path."""
    added: list[str] = []

    def add(package: str, points: dict[str, str], code: str = "value = 7\n") -> None:
        added.append(f"{package}_module")
        site = folder / package
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}_module.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        monkeypatch.syspath_prepend(str(site))

    yield add
    for name in added:
        sys.modules.pop(name, None)
