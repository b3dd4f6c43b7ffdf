"""Figures of a model with a posterior of its activity show how sure it is; those of other models are as they were."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lacking import lack
from matplotlib.colors import to_rgba
from visualize_tools import (
    TRANSFORMATIONS,
    SparseData,
    artists,
    axes_of,
    batch,
    part,
    sticks_out,
    texts,
    tiny_model,
)

from ffrl.config import DataConfig
from stf.models.sparse_flow import SparseTransformationFlow
from stf.plot.composition import draw_composition
from stf.plot.compute.certainty import certainty
from stf.plot.compute.field_context import field_context
from stf.plot.compute.observed import Observed, count_distribution, observe
from stf.plot.compute.roles import FieldRole
from stf.plot.compute.transported_density import transported_density
from stf.plot.drawing.certainty import PALER, opacity
from stf.plot.drawing.style import field_style
from stf.plot.overview import draw_overview
from stf.plot.raster import draw_raster
from stf.report.all_figures import _typical
from stf.transfer.animation import animate
from stf.transfer.figure import draw_transfer, drawn_rows
from stf.transfer.run import Request, compute

ROLES = [FieldRole(2, 1, "rotation"), FieldRole(0, 0, "scaling"), FieldRole(1)]


def sure(model: Any) -> Any:
    """The same model with a made posterior, of which what it infers is the outcome."""
    own = SparseTransformationFlow.activity

    def infer(frames: torch.Tensor) -> torch.Tensor:
        return own(model, frames).mean_on()

    def activity(frames: torch.Tensor) -> SimpleNamespace:
        speeds = infer(frames)
        uniform = torch.rand(speeds.shape, generator=torch.Generator().manual_seed(frames.shape[0]))
        probability = torch.where(speeds != 0, 0.5 + 0.5 * uniform, 0.5 * uniform)
        return SimpleNamespace(probability=probability, speed=speeds, deviation=0.05 + 0.2 * uniform)

    model.activity, model.infer = activity, infer
    return model


@torch.no_grad()
def observed(model: Any, count: int = 9) -> Observed:
    return observe(model, [batch(count)])


def check_lane(axes: Any, speeds: np.ndarray, probability: np.ndarray, deviation: np.ndarray, field: int) -> int:
    """Assert what a lane shows of a field, ``(T,)`` each, and return at how many steps it is on."""
    assert np.allclose(part(axes, "inferred").get_data().values, speeds, atol=1e-6)
    assert not part(axes, "inferred").get_fill()
    on = np.flatnonzero(speeds)
    boxes = {patch.get_gid(): patch for patch in axes.patches if (patch.get_gid() or "").startswith("on-")}
    assert set(boxes) == {f"on-{step + 1}" for step in on}
    for step in on:
        box = boxes[f"on-{step + 1}"]
        expected = to_rgba(field_style(field).colour, 0.2 + 0.8 * (2 * probability[step] - 1))
        assert box.get_facecolor() == pytest.approx(expected)
        assert (box.get_x(), box.get_width(), box.get_height()) == pytest.approx((step, 1, speeds[step]))
    ends = [segment.tolist() for segment in part(axes, "deviation").get_segments()]
    low, high = speeds - deviation, speeds + deviation
    assert np.allclose(ends, [[[t + 0.5, low[t]], [t + 0.5, high[t]]] for t in on]) if len(on) else ends == []
    assert all(axes.get_ylim()[0] <= low[t] and high[t] <= axes.get_ylim()[1] for t in on)
    return len(on)


def test_opacity_tells_probable_from_doubtful_activity() -> None:
    assert opacity(0.6) < 0.5 < 0.95 < opacity(0.99) <= 1
    assert opacity([0.0, 0.5]).tolist() == [0.2, 0.2]


def test_the_raster_shows_how_sure_the_activity_is() -> None:
    found = observed(sure(tiny_model(slab="signed")))
    shown = replace(found, frames=found.frames[:3])
    figure = draw_raster(shown, ROLES, TRANSFORMATIONS, count_distribution([0.5] * 3))
    total = 0
    for lane, field in enumerate((0, 2, None, 1)):
        for n, axes in enumerate(axes_of(figure, f"row-{lane}") if field is not None else ()):
            rows = (found.inferred, found.certainty.probability, found.certainty.deviation)
            total += check_lane(axes, *(values[n, :, field] for values in rows), field)
    assert total > 5 and PALER in texts(figure) and not sticks_out(figure)
    (agreement,) = axes_of(figure, "agreement")
    both = (found.inferred[..., 2] != 0) & (found.truth[..., 1] != 0)
    points = part(agreement, "field-2")
    assert np.allclose(points.get_offsets(), np.column_stack([found.truth[..., 1][both], found.inferred[..., 2][both]]))
    assert np.allclose(points.get_alpha(), 0.7 * opacity(found.certainty.probability[..., 2][both]))
    assert "means ± s.d." in agreement.get_title("left")


def test_means_of_inferred_speeds_have_the_mean_deviation_as_bars() -> None:
    found = observed(sure(tiny_model()))
    certain = replace(found.certainty, deviation=np.full_like(found.certainty.deviation, 0.25))
    inferred, truth = np.ones_like(found.inferred), np.ones_like(found.truth)
    shown = Observed(found.frames[:1], inferred, truth, certainty=certain)
    figure = draw_raster(shown, ROLES, TRANSFORMATIONS, count_distribution([0.5] * 3))
    bars = part(axes_of(figure, "agreement")[0], "deviation-2").get_segments()
    assert [bar.tolist() for bar in bars] == [[[1, 0.75], [1, 1.25]]]


def test_the_drawn_sequences_keep_their_certainty() -> None:
    found = observed(sure(tiny_model()))
    shown = _typical(found)
    for inferred, probability in zip(shown.inferred, shown.certainty.probability, strict=True):
        (number,) = np.flatnonzero((found.inferred == inferred).all((1, 2)))
        assert np.array_equal(probability, found.certainty.probability[number])


def test_parts_under_separate_control_have_the_probability_of_the_likelier_one() -> None:
    model = sure(tiny_model(control="separate"))
    found = observed(model)
    with torch.no_grad():
        full = certainty(model, batch(9).frames)
    expected = np.maximum(full.probability[..., :3], full.probability[..., 3:])
    assert found.certainty.probability.shape == found.inferred.shape
    assert np.array_equal(found.certainty.probability, expected)


def test_the_overview_shows_how_sure_the_activity_is() -> None:
    found = observed(sure(tiny_model()))
    one = (found.inferred[0], found.truth[0])
    options = dict(traversals=[], roles=ROLES, transformations=TRANSFORMATIONS)
    figure = draw_overview(found.frames[0], found.frames[0], *one, certainty=found.certainty[0], **options)
    for lane, field in enumerate((0, 2)):
        (axes,) = axes_of(figure, f"row-{lane}")
        rows = (one[0], found.certainty.probability[0], found.certainty.deviation[0])
        check_lane(axes, *(values[:, field] for values in rows), field)
    assert PALER in texts(figure) and not sticks_out(figure)
    assert PALER not in texts(draw_overview(found.frames[0], found.frames[0], *one, **options))


@torch.no_grad()
@pytest.mark.parametrize("posterior", [False, True])
def test_the_composition_shows_how_sure_the_activity_is(posterior: bool) -> None:
    model = tiny_model()
    lack(model, "activity")
    model = sure(model) if posterior else model
    shown = observed(model)
    context = field_context(model, SparseData(), shown, "validation", "trajectories", 0)
    found = transported_density(model, context, shown, ROLES)
    figure = draw_composition(found)
    bars = artists(figure, "speed-")
    assert bars and "speeds inferred" in texts(figure) and (PALER in texts(figure)) == posterior
    assert set(artists(figure, "deviation-")) == {gid.replace("speed", "deviation") for gid in bars if posterior}
    for gid, bar in bars.items():
        t, control = (int(word) for word in gid.removeprefix("speed-").split("/"))
        if not posterior:
            assert bar.get_alpha() is None
            continue
        assert bar.get_alpha() == pytest.approx(opacity(found.certainty.probability[t - 1, control]))
        ((low, high),) = part(figure.axes[-1], gid.replace("speed", "deviation")).get_segments()
        middle, spread = bar.get_height(), found.certainty.deviation[t - 1, control]
        assert (low[1], high[1]) == pytest.approx((middle - spread, middle + spread))


@torch.no_grad()
def test_a_transfer_shows_how_sure_the_inferred_activity_is() -> None:
    transfer, _, roles, names = compute(sure(tiny_model()), DataConfig(), SparseData, Request())
    figure = draw_transfer(transfer, roles, names)
    (known,) = transfer.certainties
    drawn = [(number, lane.role) for number, lane in enumerate(drawn_rows(transfer, roles, names)) if lane.role]
    assert len(drawn) >= 2
    for number, role in drawn:
        (axes,) = axes_of(figure, f"row-{number}")
        rows = (role.direction * transfer.applied, known.probability, known.deviation)
        check_lane(axes, *(values[:, role.field] for values in rows), role.field)
    assert PALER in texts(figure) and not sticks_out(figure)
    assert transfer.certainty is known and len(animate(transfer, roles, names)) == 5
    edited, _, roles, names = compute(sure(tiny_model()), DataConfig(), SparseData, Request(scale=2.0))
    assert edited.certainty is None  # what is applied is what the user says
    both = axes_of(draw_transfer(edited, roles, names), f"row-{drawn[0][0]}")
    assert [len(axes.findobj(lambda artist: artist.get_gid() == "deviation")) for axes in both] == [1, 0]


@torch.no_grad()
def test_other_models_are_drawn_as_before() -> None:
    model = tiny_model()
    lack(model, "activity")
    assert certainty(model, batch(2).frames) is None and observed(model).certainty is None
    found = observed(model)
    figure = draw_raster(found, ROLES, TRANSFORMATIONS, count_distribution([0.5] * 3))
    assert PALER not in texts(figure) and not artists(figure, "deviation")
    transfer, _, roles, names = compute(model, DataConfig(), SparseData, Request())
    assert transfer.certainties == [None] and PALER not in texts(draw_transfer(transfer, roles, names))
