"""The reliability figure: what it draws, value by value, and of which models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lacking import lack
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import Tensor
from visualize_tools import (
    TRANSFORMATIONS,
    Clips,
    SparseData,
    axes_of,
    batch,
    part,
    silenced,
    sticks_out,
    texts,
    tiny_model,
)

from ffrl.evaluation.matching import align
from ffrl.evaluation.measures.calibration import calibrate
from stf import report
from stf.models.sparse_flow import SparseTransformationFlow
from stf.plot.calibration import MOST_POINTS, draw_reliability
from stf.plot.compute import assignment
from stf.plot.compute.certainty import Certainty
from stf.plot.compute.observed import Observed, observe
from stf.plot.drawing.style import field_style
from stf.report import all_figures
from stf.report.exhibits.reliability import of_reliability

Material = tuple[dict[str, Any], dict[str, Any], Observed]


def material(names: tuple[str, ...], num_fields: int, sign: float = 1.0, count: int = 100) -> Material:
    """Transformation j is done by field K - 1 - j, if there is one; the posterior is nearly right."""
    generator, shape = np.random.default_rng(0), (count, 8, len(names))
    p, mean = generator.beta(0.2, 0.5, shape), generator.uniform(0.5, 1.5, shape)
    deviation = generator.uniform(0.05, 0.2, shape)
    truth = np.where(generator.random(shape) < p, generator.normal(mean, deviation), 0.0)
    probability, speeds, deviations = (np.full((count, 8, num_fields), value) for value in (0.02, 0.0, 0.1))
    for j in range(min(num_fields, len(names))):
        field = num_fields - 1 - j
        probability[..., field], deviations[..., field] = p[..., j], deviation[..., j]
        speeds[..., field] = np.where(p[..., j] > 0.5, sign * mean[..., j], 0.0)
    found = align(speeds, truth, names)
    observed = Observed(torch.zeros(0), speeds, truth, None, Certainty(probability, deviations))
    return calibrate(probability, speeds, deviations, truth, found), found, observed


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_reliability_and_speeds_are_drawn(sign: float) -> None:
    calibration, alignment, observed = material(TRANSFORMATIONS, 5, sign)
    figure = draw_reliability(calibration, alignment, observed)
    assert f"ECE {calibration['pooled']['ece']:.3f}" in figure.get_suptitle()
    for j, name in enumerate(TRANSFORMATIONS):
        one, field = calibration["transformations"][name], 4 - j
        (above,), (bars,), (below,) = (axes_of(figure, f"{kind}-{j}") for kind in ("reliability", "pairs", "speed"))
        for gid, shown in (("bins", one), ("pooled", calibration["pooled"])):
            bins = shown["reliability"]
            points = [(p, f) for p, f in zip(bins["probability"], bins["frequency"], strict=True) if p is not None]
            assert np.allclose(part(above, gid).get_xydata(), points)
        assert to_hex(part(above, "bins").get_color()).upper() == field_style(field).colour
        assert any(np.array_equal(line.get_xydata(), [[0, 0], [1, 1]]) for line in above.lines)
        assert [bar.get_y() + bar.get_height() for bar in bars.patches] == one["reliability"]["count"]
        assert above.get_title("left") == f"ECE {one['ece']:.3f}"
        both = (observed.inferred[..., field] != 0) & (observed.truth[..., j] != 0)
        points = part(below, "points").get_xydata()
        every = np.stack([observed.truth[..., j][both], sign * observed.inferred[..., field][both]], -1)
        assert len(points) == min(MOST_POINTS, len(every)) > 50
        assert {tuple(point) for point in points} <= {tuple(point) for point in every}
        rmse = alignment["transformations"][name]["speed_rmse"]
        assert below.get_title("left").startswith(f"RMSE {rmse:.2f}, ") and f"field {field}" in texts(figure)
    labels = {"observed frequency", "steps", "inferred speed [unit steps]", "true speed [unit steps]"}
    assert labels < set(texts(figure).split("\n")) and "all pooled" in texts(figure)


@pytest.mark.parametrize(("count", "fields"), [(1, 1), (3, 14), (3, 2), (9, 12)])
def test_nothing_sticks_out_of_the_page(count: int, fields: int) -> None:
    names = tuple(f"lighting_direction_{j}" for j in range(count))
    figure = draw_reliability(*material(names, fields))
    assert not sticks_out(figure)
    assert ("No field matches\nlighting_direction_2." in texts(figure)) == (fields == 2)


def test_at_most_so_many_steps_are_drawn() -> None:
    (axes,) = axes_of(draw_reliability(*material(("hue",), 1, count=400)), "speed-0")
    assert len(part(axes, "points").get_xydata()) == MOST_POINTS


def test_what_is_undefined_is_said() -> None:
    truth = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 1.0]])[None]
    speeds = np.array([[1.1, 0.0], [1.2, 0.0], [0.0, 0.0], [0.0, 0.0]])[None]
    found = align(speeds, truth, ["flat", "lost"])
    seen = Observed(torch.zeros(0), speeds, truth, None, Certainty(0.9 * (speeds != 0), 0.1 + 0 * speeds))
    made = calibrate(seen.certainty.probability, speeds, seen.certainty.deviation, truth, found)
    text = texts(draw_reliability(made, found, seen))
    assert "true speeds do not vary" in text and "RMSE undefined" in text and "No field matches\nlost." in text
    nothing = align(0 * speeds, truth, ["flat", "lost"])
    none = calibrate(0 * speeds, 0 * speeds, speeds, truth, nothing)
    figure = draw_reliability(none, nothing, seen)
    assert "ECE undefined" in texts(figure) and not sticks_out(figure)


def believing(model: Any) -> Any:
    """The same model with a posterior that is sure to 3/4 of what it infers, and of deviations of 1/5."""
    own = SparseTransformationFlow.activity

    def infer(frames: Tensor) -> Tensor:
        return own(model, frames).mean_on()

    def activity(frames: Tensor) -> SimpleNamespace:
        g = infer(frames)
        return SimpleNamespace(
            probability=torch.where(g != 0, 0.75, 0.25), speed=torch.where(g != 0, g, 1.0), deviation=0.2 + 0 * g
        )

    model.activity, model.infer = activity, infer
    return model


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is drawn, to save time."""
    monkeypatch.setattr(all_figures, "field_exhibits", lambda *arguments: iter(()))
    for name in ("draw_overview", "draw_raster", "draw_alignment", "draw_traversals", "draw_strip"):
        monkeypatch.setattr(all_figures, name, lambda *arguments: Figure())


@pytest.mark.parametrize("control", ["single", "separate"])
def test_the_posterior_is_observed_where_there_is_one(control: str) -> None:
    model = tiny_model(control=control)
    lack(model, "activity")
    with torch.no_grad():
        usual, seen = observe(model, [batch(), batch(3)]), observe(believing(model), [batch(), batch(3)])
    assert usual.certainty is None
    assert np.array_equal(
        seen.inferred, usual.inferred
    ) and seen.certainty.probability.shape == seen.inferred.shape == (9, 4, 3)
    assert np.array_equal(seen.certainty.probability, np.where(seen.inferred != 0, 0.75, 0.25))
    assert seen.certainty.deviation == pytest.approx(0.2)


@pytest.mark.usefixtures("few")
def test_only_a_model_with_a_posterior_has_a_reliability_figure() -> None:
    model, data = tiny_model(), SparseData()
    lack(model, "activity")
    assert "reliability" not in report.figures(model, data)
    believing(model)
    found = assignment.assign(model, data)
    told: list[str] = []
    with torch.no_grad():
        shown = {one.name: one for one in all_figures.exhibits(model, data, found, tell=told.append)}
        clips = believing(tiny_model(data=Clips()))
        unknown = assignment.assign(clips, Clips())
        assert "reliability" not in [one.name for one in all_figures.exhibits(clips, Clips(), unknown)]
    assert list(shown)[-1] == "reliability" == told[-1]
    one = shown["reliability"]
    assert one.caption == of_reliability(found.calibration, found.alignment) and len(one.alt) > 40
    assert f"ECE {found.calibration['pooled']['ece']:.3f}" in texts(one.figure)
    assert found.calibration == calibrate(
        found.observed.certainty.probability,
        found.observed.inferred,
        found.observed.certainty.deviation,
        found.observed.truth,
        found.alignment,
    )


@pytest.mark.usefixtures("few")
def test_a_silent_model_has_nothing_to_be_sure_of() -> None:
    figure = report.figures(believing(silenced(tiny_model())), SparseData())["reliability"]
    assert "ECE undefined" in texts(figure) and texts(figure).count("No field matches") == 3
