"""Figures show what the model computes: pictures, activity, matrices and curves, value by value."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import STEPS, TinyData
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from visualize_tools import (
    INDICES,
    ROLES,
    TRANSFORMATIONS,
    artists,
    as_drawn,
    axes_of,
    batch,
    moved,
    part,
    picture,
    pictures,
    sticks_out,
    texts,
    tiny_model,
)

from ffrl.config import StillConfig, SupervisedConfig
from ffrl.data.base import SequenceBatch
from ffrl.evaluation.matching import align
from ffrl.evaluation.measures.confusion import confusion
from stf.config import WeakConfig
from stf.plot.alignment import draw_alignment, draw_confusion
from stf.plot.compute.observed import (
    ErrorCurve,
    Observed,
    Traversal,
    count_distribution,
    eventful,
    move_images,
    observe,
    prior_counts,
    prior_on,
)
from stf.plot.compute.roles import FieldRole, activity_rows, aligned_roles, confused_roles, given_roles
from stf.plot.curves import draw_curves, phase_ends
from stf.plot.drawing.style import field_style
from stf.plot.motion import draw_moment
from stf.plot.overview import draw_overview
from stf.plot.raster import draw_raster, plot_agreement
from stf.plot.traversals import draw_strip, draw_traversals


def observed(model: Any, count: int = 6) -> Observed:
    with torch.no_grad():
        return observe(model, [batch(count)])


def test_the_raster_shows_inferred_and_true_speeds() -> None:
    model, data = tiny_model(slab="signed"), batch()
    found = observed(model)
    roles = [FieldRole(2, 1, "rotation"), FieldRole(0, 0, "scaling", direction=-1.0), FieldRole(1)]
    shown = Observed(found.frames[:3], found.inferred, found.truth)
    figure = draw_raster(shown, roles, TRANSFORMATIONS, count_distribution([0.5] * 3))
    with torch.no_grad():
        inferred = model.infer(data.frames).numpy()
    assert 0.2 < (inferred != 0).mean() < 0.9 and (inferred < 0).any()
    for lane, (field, sign, row) in enumerate([(0, -1, 0), (2, 1, 1), (None, 0, 2), (1, 1, None)]):
        every = axes_of(figure, f"row-{lane}")
        assert len(every) == 3
        for n, axes in enumerate(every):
            gids = {artist.get_gid() for artist in axes.patches}
            assert gids == {name for name, there in (("inferred", field), ("truth", row)) if there is not None}
            if field is not None:
                steps = part(axes, "inferred")
                assert np.allclose(steps.get_data().values, sign * inferred[n, :, field], atol=1e-6)
                assert np.array_equal(steps.get_data().edges, np.arange(STEPS + 1))
                assert to_hex(steps.get_facecolor()).upper() == field_style(field).colour
            if row is not None:
                assert np.allclose(part(axes, "truth").get_data().values, data.activity[n, :, row])
            for steps in axes.patches:
                low, high = axes.get_ylim()
                assert low <= steps.get_data().values.min() and steps.get_data().values.max() <= high
    for n, t in product(range(3), range(STEPS + 1)):
        assert np.array_equal(picture(figure, f"sequence-{n}/{t}"), as_drawn(data.frames[n, t]))


def test_the_raster_prints_mean_absolute_differences() -> None:
    model, data = tiny_model(), batch()
    roles = [FieldRole(2, 1, "rotation"), FieldRole(0, 0, "scaling")]
    found = observed(model)
    figure = draw_raster(
        Observed(found.frames[:1], found.inferred, found.truth), roles, TRANSFORMATIONS, count_distribution([0.5] * 3)
    )
    printed = {gid: artist.get_text() for gid, artist in artists(figure, "difference-").items()}
    with torch.no_grad():
        inferred = model.infer(data.frames)[0].double()
    inferred = torch.stack([inferred[:, 0], inferred[:, 2], torch.zeros(STEPS)], -1)
    differences = (inferred - data.activity[0]).abs().mean(0).tolist()
    assert printed == {f"difference-{j}": f"off by {value:.2f}" for j, value in enumerate(differences)}


def test_the_statistics_of_the_raster_count_every_step() -> None:
    found = observed(tiny_model(), 9)
    roles = [FieldRole(2, 1, "rotation"), FieldRole(0, 0, "scaling"), FieldRole(1)]
    prior = count_distribution([0.2, 0.3, 0.4])
    shown = Observed(found.frames[:2], found.inferred, found.truth)
    figure = draw_raster(shown, roles, TRANSFORMATIONS, prior)
    (speeds,), (agreement,), (count,) = (axes_of(figure, name) for name in ("speeds", "agreement", "count"))
    total = np.zeros(1)
    for field in (0, 2, 1):
        bars = part(speeds, f"field-{field}").get_data()
        counts = bars.values - bars.baseline
        on = found.inferred[..., field][found.inferred[..., field] != 0]
        assert np.array_equal(counts, np.histogram(on, bars.edges)[0]) and counts.sum() == len(on)
        assert np.all(bars.baseline == total)
        total = bars.values
    assert part(speeds, "truth").get_data().values.sum() == (found.truth != 0).sum()
    points = part(agreement, "field-2")
    both = (found.inferred[..., 2] != 0) & (found.truth[..., 1] != 0)
    assert np.array_equal(points.get_xdata(), found.truth[..., 1][both])
    assert np.array_equal(points.get_ydata(), found.inferred[..., 2][both])
    assert agreement.findobj(lambda artist: artist.get_gid() in ("field-1", "mean-1")) == []
    bars = {
        name: [bar.get_height() for bar in count.patches if bar.get_gid() == name] for name in ("inferred", "truth")
    }
    for name, activity in (("inferred", found.inferred), ("truth", found.truth)):
        active = (activity != 0).sum(-1)
        assert bars[name] == pytest.approx([(active == number).mean() for number in range(len(bars[name]))])
        assert sum(bars[name]) == pytest.approx(1)
    assert np.array_equal(part(count, "prior").get_ydata(), prior)


def test_mean_inferred_speeds_are_those_of_bins_of_true_speed() -> None:
    generator = np.random.default_rng(0)
    truth = generator.uniform(0.3, 1.7, (40, 4, 1))
    inferred = np.where(generator.random(truth.shape) < 0.8, -0.9 * truth, 0.0)
    truth[truth > 1.61] = 0
    rows = activity_rows([FieldRole(0, 0, "hue", direction=-1.0)], ["hue"])
    axes = plot_agreement(inferred, truth, rows=rows)
    both = (inferred != 0) & (truth != 0)
    x, y = truth[both], -inferred[both]
    bins = [(x >= 0.2 * number) & (x < 0.2 * (number + 1)) for number in range(1, 8)]
    expected = [(x[held].mean(), y[held].mean()) for held in bins]
    assert all(held.sum() >= 5 for held in bins)
    assert np.allclose(part(axes, "mean-0").get_xydata(), expected)


def test_the_prior_counts_fields_and_not_their_parts() -> None:
    probabilities = [0.1, 0.5, 0.7]
    expected = np.zeros(4)
    for case in product((0, 1), repeat=3):
        expected[sum(case)] += np.prod([p if on else 1 - p for p, on in zip(probabilities, case, strict=True)])
    assert count_distribution(probabilities) == pytest.approx(expected)
    single, separate = tiny_model(), tiny_model(control="separate")
    assert prior_on(single) == pytest.approx([0.1 / 0.4] * 3)
    assert prior_on(separate) == pytest.approx([1 - (0.3 / 0.4) ** 2] * 3)
    activity = single.activity_model
    activity.adopt([0, 2], activity.variance, activity.misfit)
    assert prior_on(single) == pytest.approx([0.1 / 0.4, 0.0, 0.1 / 0.4])
    activity.counts[2] = torch.tensor([[1e6, 1e6], [1e6, 1e6]])
    assert prior_on(single) == pytest.approx([0.1 / 0.4, 0.0, 0.5], abs=1e-4)
    assert prior_on(tiny_model("weak")) == pytest.approx([1 / 3] * 3)
    assert prior_counts(tiny_model("weak")).tolist() == [0.0, 1.0]
    four = tiny_model(num_fields=4)  # of four chains that are on in one of four steps, without all four at once
    assert prior_counts(four) == pytest.approx(np.array([81, 108, 54, 12]) / 255)


def test_activity_of_separate_parts_is_drawn_as_the_stronger_one() -> None:
    model = tiny_model(control="separate")
    with torch.no_grad():
        raw = model.infer(batch().frames).numpy()
    expected = np.where(np.abs(raw[..., :3]) >= np.abs(raw[..., 3:]), raw[..., :3], raw[..., 3:])
    assert np.allclose(observed(model).inferred, expected)


def test_the_example_is_chosen_by_what_happens_in_it() -> None:
    truth = np.zeros((4, 3, 2))
    truth[1, :, 0] = -9
    truth[2, :2, 0] = truth[2, 2, 1] = 1
    truth[3, :2, 0], truth[3, 2, 1] = 1, -1.5
    assert eventful(truth).tolist() == [3, 2, 1, 0]


def alignment() -> tuple[dict[str, Any], list[FieldRole]]:
    found = observed(tiny_model(num_fields=4), 9)
    truth = np.where(found.truth == found.truth.max(-1, keepdims=True), found.truth, 0)
    truth[..., 0] = 0  # the first row is unknown, so that matched rows and columns have different places
    result = align(found.inferred, truth, TRANSFORMATIONS)
    return result, aligned_roles(result, 4)


def test_the_alignment_figure_prints_and_colours_the_matrix() -> None:
    result, roles = alignment()
    figure = draw_alignment(result, roles)
    (axes,) = axes_of(figure, "matrix")
    assert [entry is None for entry in result["matrix"]] == [True, False, False]
    for j, row in enumerate(result["matrix"]):
        for k in range(4):
            text = part(axes, f"{j}/{k}")
            assert text.get_text() == ("–" if row is None else f"{row[k]:.2f}")
            assert text.get_position() == ([role.field for role in roles].index(k), j)
            if row is not None:
                assert axes.images[0].get_array()[j, text.get_position()[0]] == row[k]
    assert len({text.get_text() for text in axes.texts}) > 4
    for name in ("rotation", "hue"):
        assert f"{result['transformations'][name]['share']:.3f}" in texts(figure)


def test_matched_cells_are_outlined_in_the_colour_of_their_field() -> None:
    result, roles = alignment()
    (axes,) = axes_of(draw_alignment(result, roles), "matrix")
    outlined = set()
    for cell in axes.patches:
        colour = to_hex(cell.get_edgecolor()).upper()
        if colour != "#FFFFFF":
            x, y = np.add(cell.get_xy(), (cell.get_width() / 2, cell.get_height() / 2))
            outlined.add((round(y), roles[round(x)].field, colour))
    matched = {(j, entry["field"]) for j, entry in enumerate(result["transformations"].values())}
    expected = {(j, field, field_style(field).colour) for j, field in matched if field is not None}
    assert outlined == expected and len(expected) == 2


def test_the_confusion_figure_prints_shares() -> None:
    result = confusion([1, 1, 0, 1], [0, 0, 1, 1], 3, ["scaling", "rotation", "hue"])
    roles = confused_roles(result, 3)
    figure = draw_confusion(result, roles)
    (axes,) = axes_of(figure, "matrix")
    drawn = [[part(axes, f"{j}/{k}").get_text() for k in range(3)] for j in range(3)]
    assert drawn == [["0.00", "1.00", "0.00"], ["0.50", "0.50", "0.00"], ["–"] * 3]
    assert "75.0 %" in texts(figure)
    assert [(role.field, role.row, role.silent) for role in roles] == [(1, 0, False), (0, 1, False), (2, None, True)]


METRICS = [
    {"step": 10, "train/loss": 900.0, "train/kl_chain": 3.0, "learning_rate": 1e-3, "skipped_steps": 0},
    {"step": 20, "train/loss": -4.0, "train/kl_chain": None, "learning_rate": 1e-3, "skipped_steps": 1},
    {"step": 20, "validation/loss": -3.5},
    {"step": 100, "train/loss": -4.5, "train/kl_spike": 2.0, "learning_rate": 1e-5, "skipped_steps": 2},
    {"step": 100, "validation/loss": -4.0},
]


def test_curves_are_the_numbers_of_the_metrics() -> None:
    figure = draw_curves(METRICS, {"still frames end": 15.0, "warm-up ends": 40.0}, total=200)
    panels = {axes.get_label(): axes for axes in figure.axes if axes.get_label() != "sheet"}
    assert list(panels) == ["loss", "kl_chain", "kl_spike", "learning_rate"]
    lines = {
        (name, line.get_label()): (line.get_xdata(), line.get_ydata())
        for name, axes in panels.items()
        for line in axes.lines
    }
    for (name, label), key in {
        ("loss", "train"): "train/loss",
        ("loss", "validation"): "validation/loss",
        ("kl_chain", "train"): "train/kl_chain",
        ("kl_spike", "train"): "train/kl_spike",
        ("learning_rate", "train"): "learning_rate",
    }.items():
        steps = [entry["step"] for entry in METRICS if key in entry]
        values = [np.nan if entry[key] is None else entry[key] for entry in METRICS if key in entry]
        assert np.array_equal(lines[name, label][0], steps)
        assert np.array_equal(lines[name, label][1], values, equal_nan=True)
    assert all(list(lines[name, "warm-up ends"][0]) == [40, 40] for name in panels)
    assert all(list(lines[name, "still frames end"][0]) == [15, 15] for name in panels)
    assert len(lines) == 5 + 2 * len(panels)
    assert panels["learning_rate"].get_yscale() == "log" and panels["loss"].get_yscale() == "linear"
    assert "100 of 200 steps" in texts(figure) and "2 step(s) skipped" in texts(figure)


def test_the_later_course_of_a_curve_is_seen() -> None:
    (loss,) = axes_of(draw_curves(METRICS), "loss")
    low, high = loss.get_ylim()
    assert low < -4.5 and -3.5 < high < 10
    assert "start off the axis" in loss.get_title("right")


def test_phases_that_were_not_reached_are_not_marked() -> None:
    figure = draw_curves(METRICS, {"still frames end": 30.0, "warm-up ends": 400.0})
    assert "warm-up ends" not in texts(figure) and "still frames end" in texts(figure)
    assert {line.get_label() for axes in figure.axes for line in axes.lines} == {
        "train",
        "validation",
        "still frames end",
    }


def test_phases_end_where_the_configuration_says() -> None:
    short = dict(steps=1000, still=StillConfig(fraction=0.1))
    assert phase_ends(WeakConfig(**short))["still frames end"] == pytest.approx(100.0)
    assert list(phase_ends(SupervisedConfig(**short))) == ["still frames end"]
    assert phase_ends(SupervisedConfig(still=StillConfig(fraction=0.0))) == {}


def overview(model: Any, roles: list[FieldRole]) -> tuple[Figure, SequenceBatch, torch.Tensor]:
    data = batch(1)
    with torch.no_grad():
        speeds = model.infer(data.frames)
        predicted = model.decode(model.flow(model.encode(data.frames[:, 0]), speeds))[0]
        strips = move_images(model, TinyData(), "validation", INDICES, roles)
    figure = draw_overview(
        data.frames[0], predicted, speeds[0].numpy(), data.activity[0].numpy(), strips, roles, TRANSFORMATIONS
    )
    return figure, data, predicted


def test_the_overview_shows_frames_prediction_and_each_field() -> None:
    model, roles = tiny_model(), ROLES
    figure, data, predicted = overview(model, roles)
    for t in range(STEPS + 1):
        assert np.array_equal(picture(figure, f"input/{t}"), as_drawn(data.frames[0, t]))
        assert np.array_equal(picture(figure, f"predicted/{t}"), as_drawn(predicted[t]))
    images = TinyData().single("validation", INDICES, torch.zeros(2, dtype=torch.long)).frames[:, 0]
    shown = {gid for gid in pictures(figure) if gid.startswith("field-")}
    assert shown == {f"field-{k}/image-{n}/{t}" for k, n, t in product((0, 2), (0, 1), range(STEPS + 1))}
    with torch.no_grad():
        for n, t in product((0, 1), range(STEPS + 1)):
            frame = moved(model, images[n], [2], 1.0, t)
            assert np.allclose(picture(figure, f"field-2/image-{n}/{t}"), as_drawn(frame), atol=1e-6)
    assert "Silent: field 1." in texts(figure)


def test_a_field_has_one_colour_in_all_figures() -> None:
    model = tiny_model(num_fields=14)
    roles = [FieldRole(13, 0, "scaling"), FieldRole(1, 1, "rotation"), FieldRole(6, 2, "hue"), FieldRole(3)]
    found = observed(model)
    inferred = np.ones_like(found.inferred)
    seen: dict[int, set[tuple[str, Any]]] = {role.field: set() for role in roles}
    strips = move_images(model, TinyData(), "validation", INDICES, roles)
    raster = draw_raster(
        Observed(found.frames[:1], inferred, found.truth), roles, TRANSFORMATIONS, count_distribution([0.5] * 14)
    )
    for lane, role in enumerate(roles):
        (axes,) = axes_of(raster, f"row-{lane}")
        seen[role.field].add((to_hex(part(axes, "inferred").get_facecolor()), part(axes, "inferred").get_hatch() or ""))
        (panel,) = axes_of(raster, "speeds")
        bars = part(panel, f"field-{role.field}")
        seen[role.field].add((to_hex(bars.get_facecolor()), bars.get_hatch() or ""))
    view = draw_overview(found.frames[0], found.frames[0], inferred[0], found.truth[0], strips, roles, TRANSFORMATIONS)
    matrix = draw_alignment(align(inferred, found.truth, TRANSFORMATIONS), roles)
    for figure in (raster, view, draw_traversals(strips, roles), matrix):
        for text in figure.findobj(Text):
            if text.get_bbox_patch() is not None:
                field = int(text.get_text().removeprefix("field "))
                box = text.get_bbox_patch()
                seen[field].add((to_hex(box.get_facecolor()), box.get_hatch() or ""))
    expected = {k: {(field_style(k).colour.lower(), field_style(k).hatch)} for k in seen}
    assert seen == expected
    assert field_style(13).hatch and field_style(13).colour == field_style(1).colour


def test_borders_of_traversals_have_the_colour_of_their_field() -> None:
    figure = draw_traversals(move_images(tiny_model(), TinyData(), "validation", INDICES, ROLES), ROLES)
    borders = {
        (round(patch.get_x(), 6), round(patch.get_y(), 6)): to_hex(patch.get_edgecolor()).upper()
        for patch in figure.axes[0].patches
        if not patch.get_fill()
    }
    for image in figure.axes[0].images:
        gid, (left, _, _, top) = image.get_gid(), image.get_extent()
        colour = borders.pop((round(left, 6), round(top, 6)), None)
        expected = field_style(int(gid[6])).colour if "/image-" in gid else None
        assert colour == expected
    assert borders == {}


def strip(role: FieldRole, trained: int, frames: torch.Tensor) -> Traversal:
    steps = tuple(range(-1, trained + 2))
    drawn = frames[:1].expand(len(steps), -1, -1, -1)[None].expand(2, -1, -1, -1, -1)
    truth = {} if role.row is None else {step: drawn[:, place] for place, step in enumerate(steps) if step}
    return Traversal(role, frames[:2], steps, drawn, trained, truth)


def errors(one: Traversal) -> ErrorCurve:
    values = 1e5 * np.random.default_rng(1).random((3, 4, len(one.steps)))
    return ErrorCurve(np.array(one.steps), *values)


@pytest.mark.parametrize(("num_fields", "names", "steps"), [(2, 3, 20), (9, 5, 4)])
def test_nothing_sticks_out_of_the_page(num_fields: int, names: int, steps: int) -> None:
    generator = np.random.default_rng(0)
    truth = generator.random((5, steps, names)).round() * 1.5
    inferred = np.zeros((5, steps, num_fields))
    inferred[..., : min(num_fields, names)] = -truth[..., :num_fields]
    transformations = [f"lighting_direction_{j}" for j in range(names)]
    result = align(inferred, truth, transformations)
    roles = aligned_roles(result, num_fields)
    frames = torch.rand(steps + 2, 3, 4, 4)
    strips = [strip(role, steps, frames) for role in roles if not role.silent]
    shown = Observed(frames[None, : steps + 1].expand(2, -1, -1, -1, -1), inferred, truth)
    figures = [
        draw_traversals(strips, roles),
        draw_raster(shown, roles, transformations, count_distribution([0.1] * num_fields)),
        draw_alignment(result, roles),
        draw_overview(frames[: steps + 1], frames, inferred[0], truth[0], strips, roles, transformations),
        draw_curves(METRICS, {"still frames end": 20, "warm-up ends": 40}, 100, "a-run-with-quite-a-long-name"),
        *(draw_strip(one, errors(one) if one.truth else None) for one in (strips[0], strips[-1])),
        *(draw_moment(strips[0], place) for place in (0, -1)),
    ]
    for figure in figures:
        assert not sticks_out(figure)


def test_roles_put_matched_fields_first_and_silent_ones_last() -> None:
    truth = np.eye(3)[None].repeat(50, 0)
    inferred = np.zeros((50, 3, 5))
    inferred[..., 3], inferred[..., 1] = truth[..., 0], -truth[..., 1]
    inferred[:2, 0, 4] = 0.1
    inferred[:, 0, 2] = 0.2
    inferred[..., 2][truth[..., 2] != 0] = 0
    roles = aligned_roles(align(inferred, truth, TRANSFORMATIONS), 5)
    assert [(role.field, role.row, role.direction, role.silent) for role in roles] == [
        (3, 0, 1.0, False),
        (1, 1, -1.0, False),
        (2, None, 1.0, False),
        (0, None, 1.0, True),
        (4, None, 1.0, True),
    ]
    assert [(lane.row, lane.role and lane.role.field) for lane in activity_rows(roles, TRANSFORMATIONS)] == [
        (0, 3),
        (1, 1),
        (2, None),
        (None, 2),
    ]
    assert [role.field for role in given_roles(TRANSFORMATIONS)] == [0, 1, 2]
