"""Figures of installed packages: they are in every report, and one that fails says so in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distributions import installing
from visualize_tools import SparseData, tiny_model

from ffrl.core.registry import Registry, modules_in
from stf.plot.compute import assignment
from stf.report import all_figures, exhibits

CODE = """
from matplotlib.figure import Figure
from stf.report.exhibit import WHICH, Exhibit

def number(shown):
    text = f"{shown.model.num_fields} fields, {shown.data.name}, seed {shown.seed}"
    return Exhibit("anything", WHICH, "Number", Figure(), text, "Nothing.")

def none(shown):
    return None

def failing(shown):
    raise IndexError("no such row")

wrong = 7
text = str
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install packages with figures, and read the entry points anew."""
    fresh = Registry("stf.figures", "figure", modules_in("stf.report.exhibits", "FIGURE"))
    monkeypatch.setattr("stf.report.exhibits.FIGURES", fresh)
    with installing(tmp_path, monkeypatch, "stf.figures") as add:
        yield add


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draw the figures that are one file each of a small model, some names being taken, by name."""
    model, data = tiny_model(), SparseData()

    def draw() -> dict[str, Any]:
        shown = exhibits.Shown(model, data, assignment.assign(model, data), 5)
        return {one.name: one for one in exhibits.own_exhibits(shown, lambda doing: None, {"overview"})}

    return draw


def test_a_figure_of_a_package_is_named_like_its_entry_point(install: Any, drawn: Any) -> None:
    install("counts", {"how-many": "counts_module:number", "nothing": "counts_module:none"}, CODE)
    found = drawn()
    assert found["how-many"].caption == "3 fields, tiny, seed 5" and found["how-many"].title == "Number"
    assert set(found) - {"reliability"} == {"how-many"}


def test_it_is_among_the_figures_of_a_model(install: Any) -> None:
    install("counts", {"how-many": "counts_module:number"}, CODE)
    made = all_figures.figures(tiny_model(), SparseData(), seed=5)
    assert list(made)[-1] == "how-many" and "overview" in made


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("how-many = failing", "counts: figure 'how-many': IndexError: no such row"),
        ("how-many = wrong", "counts: figure 'how-many': TypeError: 'int' object is not callable"),
        ("how-many = text", "figure: found 'str', expected an Exhibit or None"),
        ("how-many = missing", "counts: figure 'how-many' at counts_module:missing: cannot be imported: "),
        ("overview = number", "name: found 'overview', expected one that no other figure has"),
        ("how_many = number", "name: found 'how_many', expected letters, digits and hyphens"),
    ],
)
def test_one_that_fails_says_so_in_its_place(install: Any, drawn: Any, entry: str, said: str) -> None:
    name, value = entry.split(" = ")
    install("counts", {name: f"counts_module:{value}", "also": "counts_module:number"}, CODE)
    found = drawn()
    (failed,) = [one for one in found.values() if one.title == f"{name}: not drawn"]
    assert said in failed.caption and failed.name.startswith("not-drawn-") and "also" in found


def test_one_of_the_project_that_fails_is_a_bug(install: Any, monkeypatch: pytest.MonkeyPatch, drawn: Any) -> None:
    monkeypatch.setattr("stf.report.exhibits.reliability.FIGURE", lambda shown: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drawn()
