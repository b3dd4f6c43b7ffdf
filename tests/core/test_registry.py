"""Registries: names without imports, packages that add to them, and one line for those that cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from distributions import installing

from ffrl.core.errors import UserError
from ffrl.core.registry import Registry, modules_in

BUILT_IN = {"round": "builtins:round", "sum": "builtins:sum"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put distributions with one module each and entry points of the group ``stf.trial`` on the path."""
    with installing(tmp_path, monkeypatch, "stf.trial") as add:
        yield add


def _registry() -> Registry:
    return Registry("stf.trial", "trial", BUILT_IN)


def test_what_comes_with_the_project_is_first_and_in_its_order(install) -> None:
    install("zeta", {"later": "zeta_module:value", "apart": "zeta_module:value"})
    registry = _registry()
    assert list(registry) == ["round", "sum", "apart", "later"]
    assert len(registry) == 4
    assert registry["sum"] is sum
    assert registry.source("sum") == ""
    assert registry.source("later") == "zeta"


def test_names_are_known_without_an_import(install) -> None:
    install("broken", {"bad": "broken_module:value"}, "raise RuntimeError('no\\nway')\n")
    registry = _registry()
    assert "bad" in registry
    assert "broken_module" not in sys.modules
    message = r"^broken: trial 'bad' at broken_module:value: cannot be imported: no way$"
    with pytest.raises(UserError, match=message):
        registry["bad"]
    assert registry["sum"] is sum


def test_an_object_is_imported_once(install) -> None:
    install("once", {"object": "once_module:value"}, "value = object()\n")
    registry = _registry()
    assert registry["object"] is registry["object"]


def test_a_name_is_taken_once(install) -> None:
    install("first", {"twice": "first_module:value", "sum": "first_module:value"})
    install("second", {"twice": "second_module:value"})
    registry = _registry()
    with pytest.raises(UserError, match=r"^trial 'twice': found in first and second, expected one package to add it$"):
        registry["twice"]
    with pytest.raises(UserError, match=r"^first: adds the trial 'sum', expected a name that is free$"):
        registry["sum"]


@pytest.mark.parametrize(
    ("name", "hint"), [("suum", r" \(did you mean sum\?\)"), ("other", ""), (3, ""), (None, ""), (["sum"], ".*")]
)
def test_unknown_names_get_one_line(name: object, hint: str) -> None:
    with pytest.raises(UserError, match=rf"^data\.name: found .*, expected one of round, sum{hint}$"):
        _registry().require("data.name", name)


def test_a_missing_object_of_a_package_gets_one_line(install) -> None:
    install("hollow", {"gone": "hollow_module:nothing"})
    with pytest.raises(UserError, match=r"^hollow: trial 'gone' at hollow_module:nothing: cannot be imported: "):
        _registry()["gone"]


def test_modules_of_a_package_are_found_by_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "many_module"
    folder.mkdir()
    for name in ("__init__", "two_words", "plain", "_helper"):
        (folder / f"{name}.py").write_text("raise RuntimeError\n" if name != "__init__" else "")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = modules_in("many_module", "THING")
    assert found == {"plain": "many_module.plain:THING", "two-words": "many_module.two_words:THING"}
    del sys.modules["many_module"]
