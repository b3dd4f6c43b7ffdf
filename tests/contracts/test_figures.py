"""What every panel and figure keeps to: it draws where it is told to, leaves the rest alone, and is repeatable."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from engine_tiny import STEPS
from field_tools import composed, planes, scene
from field_tools import exact as exactly
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from visualize_tools import TRANSFORMATIONS, Clips, SparseData, batch, tiny_model

import stf.plot
from ffrl.core.evaluation_mode import evaluation_mode
from stf.plot.compute.assignment import assign
from stf.plot.drawing.style import encode
from stf.report import all_figures

SOLID = {"plot_landscape"}
"""Panels of three dimensions."""


def entries(steps: int = 3) -> list[dict[str, Any]]:
    start = {"move": "start", "fields": [], "alive": [0], "accepted": True, "evidence": -2.0}
    return [{"step": 0, "search": start}] + [
        {"step": step, "train/loss": 1.0 / step, "train/log_evidence": -1.0 / step} for step in range(1, steps + 1)
    ]


def numbers(fields: int, steps: int, images: int, tensors: bool) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """What each panel draws: of so many fields, transitions and images, as arrays or tensors."""
    random = np.random.default_rng(fields + steps)
    wrap: Callable[[Any], Any] = (lambda a: torch.tensor(a, requires_grad=True)) if tensors else np.asarray
    x = np.linspace(-1.0, 1.0, 9)
    speeds = random.random((images, steps, fields)).round(1) + 0.1
    truth, frames = speeds + 0.1, random.random((steps + 1, 1, 6, 10))
    grid = random.random((9, 9))
    posterior = SimpleNamespace(
        probability=wrap(random.random((1, steps, fields))), speed=wrap(speeds[:1]), deviation=wrap(0.1 * speeds[:1])
    )
    path = random.random((steps + 1, 2))
    names = [f"transformation {k}" for k in range(fields)]
    pairs = (wrap(random.random(images)), wrap(random.random(images)))
    return {
        "plot_agreement": ((wrap(speeds), wrap(truth)), {}),
        "plot_alignment": ((wrap(random.random((2, fields))), ["scaling", "hue"]), {}),
        "plot_count": ((wrap(speeds),), {}),
        "plot_curve": ((entries(steps), "loss"), {"ends": {"search ends": 1}}),
        "plot_density": ((wrap(x), wrap(x), wrap(grid)), {"path": wrap(path), "moves": {0: wrap([0.1, 0.2])}}),
        "plot_errors": ((np.arange(steps + 1), wrap(random.random((images, steps + 1)))), {}),
        "plot_evidence": ((entries(steps),), {}),
        "plot_feature": ((wrap(path[:, 0]), wrap(path[:, 1])), {"name": "x", "period": 1.0}),
        "plot_field": ((wrap(x), wrap(x), wrap(random.random((9, 9, 2)))), {"potential": wrap(grid), "path": path}),
        "plot_frames": ((wrap(frames),), {"names": ["one"]}),
        "plot_image": ((wrap(frames[0]),), {}),
        "plot_landscape": ((wrap(x), wrap(x), wrap(grid)), {"moves": wrap(random.random((9, 9, 2))), "path": path,
                                                           "heights": path[:, 0]}),
        "plot_map": ((wrap(x), wrap(x), wrap(grid)), {"path": wrap(path)}),
        "plot_norms": (({k: pairs for k in range(fields)},), {}),
        "plot_raster": ((posterior, wrap(frames), names), {"truth": wrap(truth[:1])}),
        "plot_reliability": ((wrap(random.random((images, steps))), random.random((images, steps)) > 0.5), {}),
        "plot_search": ((entries(steps),), {}),
        "plot_shares": (({k: {"expansion": 0.2, "shear": 0.5, "rotation": 0.3} for k in range(fields)},), {}),
        "plot_speed_errors": ((wrap(speeds[..., 0].ravel()), wrap(0.1 * truth[..., 0].ravel()),
                               wrap(truth[..., 0].ravel())), {}),
        "plot_speeds": ((wrap(speeds),), {"truth": wrap(truth)}),
        "plot_usage": ((wrap(speeds),), {}),
    }  # fmt: skip


PANELS = sorted(name for name in stf.plot.__all__ if name.startswith("plot_"))
SIZES = {"usual": (3, 5, 4, False), "one of each": (1, 1, 1, True)}


def drawn(name: str, size: str = "usual", ax: Axes | None = None) -> Axes:
    arguments, options = numbers(*SIZES[size])[name]
    return getattr(stf.plot, name)(*arguments, ax=ax, **options)


def own(name: str, count: int = 2) -> tuple[Figure, Axes, list[Axes]]:
    """A figure of one's own: one of its axes, and the others."""
    figure = Figure(figsize=(5.0 * count, 4), layout="constrained", dpi=50)
    FigureCanvasAgg(figure)
    kind = {"projection": "3d"} if name in SOLID else {}
    axes = [figure.add_subplot(1, count, place + 1, **(kind if place == 0 else {})) for place in range(count)]
    return figure, axes[0], axes[1:]


def state() -> tuple[Any, ...]:
    """All that drawing could change for others."""
    return dict(matplotlib.rcParams), pyplot.get_fignums(), matplotlib.get_backend()


def test_every_panel_is_tried_here() -> None:
    assert set(PANELS) == set(numbers(2, 2, 2, False)) and len(PANELS) >= 20


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PANELS)
def test_a_panel_draws_into_given_axes_and_nowhere_else(name: str, size: str) -> None:
    figure, ax, (other,) = own(name)
    outside = {id(artist) for artist in [*figure.get_children(), *other.get_children()]}
    before, blank = state(), len(ax.get_children())
    assert drawn(name, size, ax) is ax
    assert len(ax.get_children()) + len(ax.texts) > blank
    assert {id(artist) for artist in [*figure.get_children(), *other.get_children()]} == outside
    assert state() == before
    figure.canvas.draw()
    edge, beside, width = ax.get_tightbbox(), other.get_tightbbox(), figure.bbox
    assert edge.x0 >= -1 and edge.y0 >= -1 and edge.y1 <= width.y1 + 1
    assert edge.x1 <= beside.x0 + 1  # constrained layout found room for all of it


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_without_axes_is_a_figure_that_a_notebook_shows(name: str) -> None:
    before = state()
    ax = drawn(name)
    assert ax._repr_png_().startswith(b"\x89PNG") and ax.figure._repr_png_() == ax._repr_png_()
    assert encode(drawn(name).figure) == encode(ax.figure)
    assert state() == before


def test_axes_of_the_wrong_kind_are_refused() -> None:
    flat, solid = Figure().add_subplot(), Figure().add_subplot(projection="3d")
    with pytest.raises(TypeError, match="ax: found axes without three dimensions"):
        drawn("plot_landscape", ax=flat)
    with pytest.raises(TypeError, match="ax: found axes of three dimensions"):
        drawn("plot_curve", ax=solid)


def test_more_than_one_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"activity: found shape \(2, 3, 4\), expected one sequence"):
        stf.plot.plot_raster(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="search: found metrics without one"):
        stf.plot.plot_search([{"step": 1, "train/loss": 1.0}])


def test_a_panel_takes_what_a_model_says_of_frames() -> None:
    model, frames = tiny_model(), batch(1).frames
    with torch.no_grad():
        posterior, speeds = model.activity(frames), model.infer(frames)[0]
    ax = stf.plot.plot_raster(posterior, frames, TRANSFORMATIONS)
    rows = ax.child_axes[-1].child_axes
    assert [row.get_label() for row in rows] == [f"row-{k}" for k in range(3)]
    for k, row in enumerate(rows):
        (steps,) = (patch for patch in row.patches if patch.get_gid() == "inferred")
        assert np.allclose(steps.get_data().values, speeds[:, k])
        assert TRANSFORMATIONS[k] in {text.get_text() for text in row.texts}
    pictures = [inner.images[0] for inner in ax.child_axes[0].child_axes]
    assert len(pictures) == STEPS + 1
    assert np.array_equal(pictures[2].get_array()[..., 0], frames[0, 2, 0])


def test_a_panel_draws_the_numbers_of_the_whole_figure() -> None:
    (one, *_), figure = planes()
    moves = one.plane.components(one.whole)
    ax = stf.plot.plot_field(one.x, one.y, moves, path=one.plane.coordinates(one.path))
    (whole,) = (axes for axes in figure.axes if axes.get_label() == f"field-{one.role.field}/whole")
    quivers = [[part for part in axes.collections if part.get_gid() == "arrows"][0] for axes in (ax, whole)]
    assert np.array_equal(quivers[0].U, quivers[1].U) and np.array_equal(quivers[0].V, quivers[1].V)
    found, _ = composed()
    stf.plot.plot_density(found.x, found.y, found.density[0], path=found.plane.coordinates(found.path)[:1])
    z = one.plane.lift(torch.stack(torch.meshgrid(one.y, one.x, indexing="ij")[::-1], -1))
    potential = (
        one.role.direction * exactly(scene()[0]).field_model.potential_part()(z, 0.0)[..., one.role.field].detach()
    )
    assert stf.plot.plot_landscape(one.x, one.y, potential, moves=moves).name == "3d"


class OneStep(Clips):
    num_steps = 1


CASES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "known": lambda: (tiny_model(latent_dim=4), SparseData()),
    "unknown, one field": lambda: (tiny_model(num_fields=1, data=OneStep(), latent_dim=2), OneStep()),
    "weak": lambda: (tiny_model("weak", latent_dim=4), SparseData()),
}


@cache
def figures(case: str) -> dict[str, Figure]:
    model, data = CASES[case]()
    with evaluation_mode(model):
        found = assign(model, data)
        every = list(all_figures.exhibits(model, data, found))
    return {one.name: one.figure for one in every}


@pytest.mark.parametrize("case", CASES)
def test_figures_are_repeatable_and_leave_global_state_alone(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stf.plot.drawing.style.DPI", 40)
    before = state()
    first = {name: encode(figure) for name, figure in figures(case).items()}
    figures.cache_clear()
    again = {name: encode(figure) for name, figure in figures(case).items()}
    assert first == again and len(first) >= 6
    assert state() == before
    assert all(figure._repr_png_().startswith(b"\x89PNG") for figure in list(figures(case).values())[:2])


def test_a_notebook_shows_panels_and_figures_without_pyplot() -> None:
    pytest.importorskip("IPython")
    lines = (
        "import sys, stf.plot",
        "from IPython.core.interactiveshell import InteractiveShell",
        "shell = InteractiveShell.instance()",
        "ax = stf.plot.plot_usage([[0.0, 1.0]])",
        "for shown in (ax, ax.figure):",
        "    found, _ = shell.display_formatter.format(shown)",
        "    assert found['image/png'], found.keys()",
        "assert 'matplotlib.pyplot' not in sys.modules",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", ["agg", "svg"])
def test_panels_draw_into_axes_of_pyplot(backend: str) -> None:
    with matplotlib.rc_context():
        pyplot.switch_backend(backend)
        figure, ax = pyplot.subplots(dpi=50)
        assert drawn("plot_raster", ax=ax) is ax
        figure.canvas.draw()
        pyplot.close(figure)
