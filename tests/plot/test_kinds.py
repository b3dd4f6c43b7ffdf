"""Figures of every kind of data: nothing known of what acts, grids of whole states, many fields, one channel."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import tiny_config
from matplotlib.figure import Figure
from rich.console import Console
from visualize_tools import (
    Clips,
    Grid,
    SparseData,
    artists,
    as_drawn,
    axes_of,
    moved,
    part,
    picture,
    pictures,
    sticks_out,
    texts,
    tiny_model,
)

from ffrl.config import DataConfig
from ffrl.data.spec import DataSpec
from ffrl.evaluation.evaluate import evaluate
from ffrl.evaluation.protocol.data_summary import print_summary, summarise
from ffrl.evaluation.protocol.sequences import choose
from stf.discovery.moves_text import quantity
from stf.plot.compute.assignment import assign
from stf.plot.compute.field_context import field_context, plane_fields
from stf.plot.compute.numbers import percent
from stf.plot.compute.observed import error_curve, most_eventful, move_images, observe, starting_images, true_frames
from stf.plot.compute.roles import FieldRole, given_roles
from stf.plot.drawing import style
from stf.plot.overview import draw_overview
from stf.plot.samples import draw_samples, sample
from stf.plot.traversals import draw_strip, draw_traversals
from stf.report import all_figures, captions
from stf.report.build import evaluated
from stf.report.exhibit import Exhibit
from stf.report.html import Report, render_report
from stf.report.tables import configuration_table
from stf.run import Run

FORBIDDEN = ("true ", "no match", "matches no", "nmatched", "unit steps", "transformation", "ixed")
"""Words that speak of true transformations."""


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 40)


def drawn(model: Any, data: Any) -> dict[str, Exhibit]:
    """All exhibits by name."""
    with torch.no_grad():
        return {one.name: one for one in all_figures.exhibits(model, data, assign(model, data))}


@pytest.fixture(scope="module")
def clips() -> tuple[Any, dict[str, Exhibit]]:
    """A model of clips, and all that is drawn of it."""
    model = tiny_model(num_fields=4, data=Clips(), latent_dim=4)
    return model, drawn(model, Clips())


@pytest.fixture(scope="module")
def nine() -> tuple[Any, Grid, dict[str, Exhibit]]:
    """A model of nine transformations with twelve fields, and what is drawn of its activity."""
    data = Grid(9)
    model = tiny_model(num_fields=12, data=data, latent_dim=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(all_figures, "field_exhibits", lambda *arguments: iter(()))
        patch.setattr(all_figures, "draw_strip", lambda *arguments: Figure())
        patch.setattr(all_figures, "RASTERS", 2)
        return model, data, drawn(model, data)


def test_everything_but_the_alignment_is_drawn_of_unknown_transformations(clips: Any) -> None:
    model, exhibits = clips
    found = assign(model, Clips())
    fields = [f"traversal-field-{role.field}" for role in found.roles if not role.silent]
    latent = ["field-planes", "composition", "landscape", "helmholtz", "differential"]
    assert list(exhibits) == ["overview", "raster", "traversals", *fields, *latent] and len(fields) >= 3
    assert found.alignment is None and found.confusion is None
    shares = (found.observed.inferred != 0).mean((0, 1))
    assert [role.used for role in found.roles] == pytest.approx(sorted(shares, reverse=True))
    assert all(role.used == pytest.approx(shares[role.field]) for role in found.roles)
    for name, one in exhibits.items():
        spoken = f"{one.title} {one.caption} {one.alt}" + (
            texts(one.figure) if name in ("overview", "raster", "traversals", *fields) else ""
        )
        spoken = spoken.replace("Which transformations act, when", "")  # the title of the overview
        assert not [word for word in FORBIDDEN if word in spoken], (name, spoken)
        if name not in ("field-planes", "landscape", "differential", *fields[1:]):  # to save time
            assert not sticks_out(one.figure), name


def test_the_overview_of_a_clip_is_its_frames_its_activity_and_what_that_predicts(clips: Any) -> None:
    model, exhibits = clips
    figure = exhibits["overview"].figure
    frames = np.stack([picture(figure, f"input/{t}") for t in range(4)]).transpose(0, 3, 1, 2)
    real = Clips().mixed("validation", torch.arange(7), None).frames
    (number,) = (n for n in range(7) if np.array_equal(frames, real[n].numpy()))
    motion = [np.median(np.abs(np.diff(one.numpy(), axis=0)).mean((1, 2, 3))) for one in real]
    assert motion[number] == max(motion)
    with torch.no_grad():
        speeds = model.infer(real[number : number + 1])
        predicted = model.decode(model.flow(model.encode(real[number : number + 1, 0]), speeds))[0]
    for t in range(4):
        assert np.allclose(picture(figure, f"predicted/{t}"), as_drawn(predicted[t]), atol=1e-5)
    found = assign(model, Clips())
    acting = [role for role in found.roles if speeds[0, :, role.field].any()]
    for lane, role in enumerate(acting):
        (axes,) = axes_of(figure, f"row-{lane}")
        own = [artist.get_gid() for artist in axes.patches if not str(artist.get_gid()).startswith("on-")]
        assert own == ["inferred"]
        assert np.allclose(part(axes, "inferred").get_data().values, speeds[0, :, role.field])
    assert {int(gid.split("/")[0].removeprefix("field-")) for gid in pictures(figure) if "image-" in gid} == {
        role.field for role in found.roles if not role.silent
    }
    error, still = (float((one[1:] - real[number, 1:]).abs().sum((1, 2, 3)).mean())
                    for one in (predicted, predicted[:1].expand(4, -1, -1, -1)))  # fmt: skip
    assert f"error of {error:.0f} per frame, where standing still has {still:.0f}." in exhibits["overview"].caption


def test_a_single_cut_is_not_the_most_eventful() -> None:
    frames = torch.zeros(3, 6, 1, 1, 1)
    frames[0, 3:] = 1.0  # a cut
    frames[1] = 0.05 * torch.arange(6).view(-1, 1, 1, 1)
    frames[2] = 0.02 * torch.arange(6).view(-1, 1, 1, 1)
    assert most_eventful(frames, np.zeros((3, 5, 0))) == 1
    truth = np.zeros((3, 5, 2))
    truth[2, 0] = 1.0
    assert most_eventful(frames, truth) == 2


def test_the_raster_of_clips_shows_how_often_fields_act(clips: Any) -> None:
    model, exhibits = clips
    figure, found = exhibits["raster"].figure, assign(model, Clips())
    assert axes_of(figure, "agreement") == []
    (usage,), (speeds,), (count,) = (axes_of(figure, name) for name in ("usage", "speeds", "count"))
    for role in found.roles:
        if not role.silent:
            assert part(usage, f"field-{role.field}").get_width() == pytest.approx(role.used)
            assert part(speeds, f"field-{role.field}").get_data().values.sum() >= 0
    assert [bar for bar in count.patches if bar.get_gid() == "truth"] == []
    assert not [artist for artist in speeds.patches if artist.get_gid() == "truth"]
    most = found.roles[0]
    assert exhibits["raster"].caption.startswith(f"{sum(not role.silent for role in found.roles)} of 4 fields act: ")
    assert f"field {most.field} at {percent(most.used)} of the steps" in exhibits["raster"].caption


def test_weak_models_of_clips_have_roles_by_their_usage() -> None:
    model = tiny_model("weak", num_fields=4, data=Clips(), latent_dim=4)
    with torch.no_grad():
        found = assign(model, Clips())
        which = model.infer(Clips().mixed("validation", torch.arange(7), None).frames)[:, 0].argmax(-1)
    assert found.confusion is None
    for role in found.roles:
        assert role.used == pytest.approx((which == role.field).float().mean().item())
        assert role.silent == (role.used == 0)


@pytest.mark.parametrize("mode", ["unsupervised", "weak"])
def test_the_report_of_clips_leads_with_what_fields_are_for(mode: str, tmp_path: Path) -> None:
    model = tiny_model(mode, num_fields=4, data=Clips(), latent_dim=4)
    result = evaluate(model, Clips(), seed=3)
    config = dataclasses.replace(tiny_config(mode), data=DataConfig(name="sequences"))
    run = Run(tmp_path, config.steps, config, DataSpec.of(Clips()), model, Clips())
    found = evaluated(run, 3, lambda doing: None)
    assert [table.name for table in found.tables] == ["fields", "prediction", "likelihood"]
    errors = {kind: result["prediction"][kind]["mean_per_frame"]["mean"] for kind in ("flow", "copy", "raw_copy")}
    still = min(errors["copy"], errors["raw_copy"])
    off = f"off by an L1 error of {quantity(errors['flow'])} per frame, standing still by {quantity(still)}, and"
    assert off in found.verdict.found[-1]
    growth = {one["field"]: one["growth"]["mean"] for one in result["fields"]}
    best = max(growth, key=growth.get)
    alive = [one for one in result["fields"] if not one["silent"]]
    assert (
        found.verdict.found[0].startswith(f"{len(alive)} of 4 fields ") and len(found.verdict.found) == len(alive) + 2
    )
    (said,) = (sentence for sentence in found.verdict.found if sentence.startswith(f"Field {best} acts at "))
    certain = growth[best] > 2 * result["fields"][best]["growth"]["standard_error"]
    assert (f"gets {percent(growth[best] / errors['flow'])} worse." in said) == certain
    assert found.tables[0].rows[0].title.split(" (")[0] == f"{best}"
    assert "7 clips of the validation split" in found.source
    roles = assign(model, Clips()).roles
    page = render_report(
        Report("run", {}, found.verdict, roles, [], found.tables, found.source, configuration_table({}))
    )
    for role in roles:
        does = "silent" if role.silent else f"on {percent(role.used)}"
        assert f">field {role.field}</b> {does}</li>" in page
    assert "quivariance" not in page and ">no transformation" not in page


def test_grids_start_where_their_transformation_can_be_shown() -> None:
    data = Grid()
    indices = torch.tensor([0, 4])  # digits 0, 1, 2 and 4, 0, 1
    single = data.single("validation", indices, torch.tensor([0, 0])).frames
    found = true_frames(data, "validation", indices, 0, range(-2, 6))
    assert list(found) == [0, 1, 2, 3] and all(torch.equal(found[t], single[:, t]) for t in found)
    assert not torch.equal(found[0], data.images("validation", indices))
    low = torch.tensor([0, 0])  # digits 0, 1, 2: factors 0 and 1 have room for 3 steps, as they are
    shown = true_frames(data, "validation", low, 1, range(-2, 6))
    assert list(shown) == [-1, 0, 1, 2, 3] and torch.equal(shown[0], data.images("validation", low))
    assert torch.equal(starting_images(data, "validation", indices, 0), single[:, 0])
    assert torch.equal(starting_images(data, "validation", indices, None), data.images("validation", indices))


def test_a_shortened_sequence_is_true_as_long_as_it_goes_on() -> None:
    class Shortened(SparseData):
        def single(self, split: str, indices: torch.Tensor, which: torch.Tensor) -> Any:
            speeds = super().single(split, indices, which).activity.clone()
            speeds[1:, 2:] = 0
            return self._batch(split, indices, speeds)

    assert list(true_frames(Shortened(), "validation", torch.arange(3), 1, range(-1, 6))) == [0, 1, 2]


@torch.no_grad()
def test_traversals_of_a_grid_move_what_the_true_frames_start_from() -> None:
    data, indices = Grid(), torch.tensor([4, 3])
    model = tiny_model(num_fields=4, data=data, latent_dim=4)
    roles = [FieldRole(2, 0, "square-number-0"), FieldRole(1)]
    matched, other = move_images(model, data, "validation", indices, roles)
    truth = data.single("validation", indices, torch.tensor([0, 0])).frames
    assert torch.equal(matched.inputs, truth[:, 0]) and list(matched.truth) == [0, 1, 2, 3]
    assert torch.equal(other.inputs, data.images("validation", indices)) and not other.truth
    for one, field in ((matched, 2), (other, 1)):
        for place, step in enumerate(one.steps):
            expected = moved(model, one.inputs[1], [field], float(np.sign(step)), abs(step))
            assert torch.allclose(one.frames[1, place], expected, atol=1e-5)
    figure = draw_strip(matched, error_curve(model, data, "validation", indices, roles[0]))
    printed = {gid: artist.get_text() for gid, artist in artists(figure, "error-").items()}
    assert set(printed) == {f"error-{n}/{t}" for n in (0, 1) for t in range(4)}
    assert np.array_equal(picture(figure, "true-1/3"), as_drawn(truth[1, 3])) and not sticks_out(figure)
    assert not sticks_out(draw_traversals([matched, other], roles))


@torch.no_grad()
def test_paths_of_matched_fields_start_where_the_transformation_does() -> None:
    data, seen = Grid(), {}
    model = tiny_model(num_fields=4, data=data, latent_dim=4)
    roles = [FieldRole(2, 0, "square-number-0"), FieldRole(1)]
    observed = observe(model, [data.mixed("validation", torch.arange(9), torch.Generator().manual_seed(0))])
    context = field_context(model, data, observed, "validation", "trajectories", 0, roles)
    seen = {one.role.field: one.paths[:, 0] for one in plane_fields(context, roles)}
    indices = choose(data, "validation", 9, 0)
    for field, images in (
        (2, data.single("validation", indices, torch.zeros_like(indices)).frames[:, 0]),
        (1, data.images("validation", indices)),
    ):
        assert torch.allclose(seen[field], model.encode(images).double(), atol=1e-5)


def test_all_codes_are_kept_where_frames_are_too_large_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = tiny_model(), SparseData()
    batches = [data.mixed("validation", torch.arange(9)[n : n + 1], torch.Generator().manual_seed(n)) for n in range(9)]
    with torch.no_grad():
        observed = observe(model, batches)
        assert len(observed.frames) == 4 and len(observed.codes) == len(observed.inferred) == 9
        assert torch.allclose(observed.codes[7], model.encode(batches[7].frames)[0], atol=1e-6)
        context = field_context(model, data, observed, "validation", "pca", 0)
        assert context.encoded.shape == (9, 5, 3)


def test_nine_transformations_and_twelve_fields_fit(nine: Any) -> None:
    model, data, exhibits = nine
    for name in ("overview", "alignment", "raster", "traversals"):
        assert not sticks_out(exhibits[name].figure), name
        assert "square-number-8" in texts(exhibits[name].figure) or name == "traversals"
    found = assign(model, data)
    view = exhibits["overview"].figure
    matched = {role.field for role in found.roles if role.row is not None and not role.silent}
    shown = {int(gid.split("/")[0].removeprefix("field-")) for gid in pictures(view) if "image-" in gid}
    assert shown == matched and len(matched) >= 6
    looks = [style.field_style(field) for field in range(12)]
    assert len({look.colour for look in looks}) == 12 and not any(look.hatch for look in looks)


@pytest.mark.parametrize("side", [16, 64, 128])
def test_larger_images_are_drawn_larger_and_grey_ones_in_grey(side: int) -> None:
    data = Grid(2, 3, side)
    frames = data.mixed("validation", torch.arange(3), torch.Generator().manual_seed(0))
    figure = draw_overview(
        frames.frames[0], frames.frames[0], frames.activity[0].numpy(), frames.activity[0].numpy(), [],
        given_roles(data.transformations), data.transformations,
    )  # fmt: skip
    (image,) = (image for image in figure.axes[0].images if image.get_gid() == "input/1")
    left, right, *_ = image.get_extent()
    assert right - left == pytest.approx(0.6 * style.enlarged(side) - 0.02)
    pixels = picture(figure, "input/1")
    assert np.array_equal(pixels[..., 0], pixels[..., 2]) and np.allclose(pixels[..., 0], frames.frames[0, 1, 0])
    assert not sticks_out(figure)


def test_samples_of_clips_are_frames_alone() -> None:
    mixed, single = sample(Clips(), "validation")
    assert single is None
    figure = draw_samples(mixed, single, (), {}, "my clips")
    assert pictures(figure) == {f"sequence-{n}/{t}" for n in range(6) for t in range(4)}
    assert not any(axes.get_label().startswith("row") for axes in figure.axes) and "not known" in texts(figure)
    assert not sticks_out(figure)
    data = Grid(9)
    figure = draw_samples(
        *sample(data, "validation"), data.transformations, {"square-number-3": "much brighter"}, "grid"
    )
    assert not sticks_out(figure) and "one step: much brighter" in texts(figure)


@pytest.mark.parametrize(("data", "known"), [(Clips(), False), (Grid(9), True)])
def test_summaries_say_what_is_known(data: Any, known: bool) -> None:
    summary = summarise(data)
    assert list(summary["activity"]["transformations"]) == list(data.transformations)
    frames = (
        torch.cat([data.mixed("validation", choose(data, "validation", None, 0), None).frames]) if not known else None
    )
    if frames is not None:
        assert summary["pixels"]["mean"] == pytest.approx(frames.mean((0, 1, 3, 4)).tolist(), rel=1e-5)
    stream = StringIO()
    print_summary(summary | {"about": "One line [about] them."}, Console(file=stream, width=80))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text and "One line [about] them." in text
    assert ("is not known" in text) != known and ("validation clips" in text) != known
    assert all(name in text for name in data.transformations) and data.title in text


def test_captions_of_a_field_without_transformations() -> None:
    role = FieldRole(3, used=0.4)
    (one,) = move_images(tiny_model(num_fields=4, data=Clips()), Clips(), "validation", torch.arange(2), [role])
    assert captions.of_strip(one, None).startswith("Field 3 is on at 40 % of the steps, so that")
    assert captions.of_motion(one).startswith("Field 3 (on at 40 % of the steps) moves real images")
    assert "field 3 (on 40 %)" in captions.of_traversals([one], [role])
    assert dataclasses.replace(role, silent=True).caption == "on 40 %"
