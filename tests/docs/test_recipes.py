"""The files of CONTRIBUTING.md are whole, and run as they stand there."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_tools import ROOT

from stf.registry import CONFIGS
from stf.run import MODELS

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with all of the files; what they register, and their modules, are forgotten afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    kept = [(registry, dict(registry)) for registry in (CONFIGS, MODELS, sys.modules)]
    yield tmp_path
    for registry, before in kept:
        for name in registry.keys() - before.keys():
            if registry is not sys.modules or name + ".py" in FILES:
                del registry[name]


@pytest.mark.parametrize("name", FILES)
def test_recipes_run(name: str, folder: Path) -> None:
    __import__(Path(name).stem)


def test_every_extension_has_a_recipe() -> None:
    recipes = re.findall(r"^### (.+)$", PAGE, flags=re.MULTILINE)
    named = ["Encoder and decoder", "Data set", "Field", "Prior", "Baseline", "Measure", "Figure", "Training phase"]
    assert recipes == named and len(FILES) == len(named) + 1


def test_a_broken_recipe_fails(folder: Path) -> None:
    (folder / "broken.py").write_text(FILES["turning.py"].replace("self.matrix - self.matrix.mT", "self.matrix"))
    with pytest.raises(AssertionError):
        runpy.run_path(str(folder / "broken.py"))
