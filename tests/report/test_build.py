"""From a run folder to its figures, animations and report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import torch
from engine_tiny import tiny_config
from matplotlib.figure import Figure
from PIL import Image
from report_tools import Page, check
from rich.console import Console
from torch import Tensor
from visualize_tools import SIZE, TRANSFORMATIONS, SparseData, axes_of, picture, pictures, silenced, texts, tiny_model

from cli.main import main
from ffrl.core.errors import UserError
from ffrl.data.base import SequenceBatch
from ffrl.evaluation.evaluate import evaluate
from ffrl.training.checkpoint import TrainingState, save_checkpoint
from ffrl.training.config_io import encode_config
from stf import api, report
from stf.discovery.moves_text import quantity
from stf.plot import motion
from stf.plot.compute import assignment
from stf.plot.compute.observed import Observed, move_images
from stf.plot.drawing import style
from stf.report import all_figures, build, captions, field_captions, field_figures
from stf.report.build import evaluated
from stf.report.tables import evaluation_tables
from stf.run import Run, build_model

NAMES = {
    "unsupervised": ["overview", "alignment", "raster", "traversals"],
    "sta": ["overview", "alignment", "raster", "traversals"],
    "weak": ["overview", "alignment", "traversals"],
    "supervised": ["overview", "traversals"],
}
SPARSE = ("unsupervised", "sta")
LATENT = ["field-planes", "composition", "landscape", "differential"]


def make_run(folder: Path, mode: str) -> Path:
    """A run folder with an untrained model and three lines of metrics; models with sparse activity are silent."""
    config = tiny_config(mode, steps=30)
    model = dataclasses.replace(config.model, time_dependent=False, **SIZE)
    config = dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, num_steps=2))
    model = build_model(config, (3, 28, 28))
    if mode in SPARSE:
        silenced(model)
    folder.mkdir(exist_ok=True)
    save_checkpoint(folder, model, encode_config(config), TrainingState({}, {"step": 30}), 1)
    metrics = [{"step": step, "validation/l1": 9.0 / step, "seconds": 3.0 * step} for step in (10, 20, 30)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in metrics))
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse pictures and few sequences."""
    monkeypatch.setattr(style, "DPI", 40)
    monkeypatch.setattr(motion, "DPI", 40)
    monkeypatch.setattr(build, "MEASURED", 6)
    monkeypatch.setattr(assignment, "SEQUENCES", 12)
    monkeypatch.setattr(all_figures, "MEASURED", 4)


@pytest.fixture
def one_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move images by one field only, to save time."""
    monkeypatch.setattr(all_figures, "move_images", lambda *arguments: move_images(*arguments)[:1])


@pytest.fixture
def no_latent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures of latent space, to save time."""
    monkeypatch.setattr(all_figures, "field_exhibits", lambda *arguments: iter(()))


@pytest.fixture
def only_overview(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out all figures but the overview, to save time."""
    nothing: Iterator[Any] = iter(())
    monkeypatch.setattr(all_figures, "field_exhibits", lambda *arguments: nothing)
    for name in ("draw_raster", "draw_alignment", "draw_confusion", "draw_traversals", "draw_strip"):
        monkeypatch.setattr(all_figures, name, lambda *arguments: Figure())
    monkeypatch.setattr("stf.report.exhibits.reliability.draw_reliability", lambda *arguments: Figure())


@pytest.mark.usefixtures("one_field")
@pytest.mark.parametrize("mode", NAMES)
def test_a_run_is_drawn_as_its_mode_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    latent = [*LATENT[:3], "helmholtz", LATENT[3]] if mode == "unsupervised" else []
    if not latent:  # to save time
        monkeypatch.setattr(all_figures, "field_exhibits", lambda *arguments: iter(()))
    run = make_run(tmp_path / "run", mode)
    before, state = dict(matplotlib.rcParams), torch.get_rng_state()
    progress = StringIO()
    written = api.report(run, console=Console(file=progress))
    folder = run / "figures"
    assert all(path.parent == folder for path in written) and written[-1] == folder / "report.html"
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in written)
    names = [path.stem for path in written if path.suffix == ".png"]
    fields = [name for name in names if name.startswith("traversal-field-")]
    own = ["reliability"] if mode == "unsupervised" else []
    assert names == [*NAMES[mode], *fields, *latent, *own, "curves"]
    moving = [path.stem for path in written if path.suffix == ".gif"]
    assert moving == [name.replace("traversal", "motion") for name in fields]
    assert bool(fields) == (mode not in SPARSE)  # those models are silent
    for path in written:
        if path.suffix == ".png":
            pixels = matplotlib.image.imread(path)[..., :3]
            assert pixels.shape[1] > 200 and 0.01 < pixels.std() < 0.5
    assert dict(matplotlib.rcParams) == before and torch.equal(torch.get_rng_state(), state)
    page = Page((folder / "report.html").read_text())
    check(page)
    assert list(page.figures) == [f"figure-{name}" for name in order(names, moving)]
    assert all(caption.endswith(".") and len(caption) > 40 for caption in page.figures.values())
    facts = dict(zip(page.words["dt"], page.words["dd"], strict=True))
    assert facts["mode"] == mode and facts["seed"] == "5"
    assert facts["training"] == "30 of 30 steps in 1.5 minutes"
    assert facts["data"] == "MNIST, protocol ffrl, T = 2"
    lines, _, verdict = progress.getvalue().partition("What was found\n")
    lines = lines.splitlines()
    assert "How sure that is\n" in verdict and "What to do next\n" in verdict
    assert lines[0] == "inferring activity" and lines[-1] == "evaluation" and len(lines) == len(set(lines))
    assert {"overview", *fields} <= set(lines)
    assert ({"field planes", "composition", "divergence and curl"} <= set(lines)) == bool(latent)


def order(names: list[str], moving: list[str]) -> list[str]:
    """Names as they come in the report: by section, and animations after the traversals of all fields."""
    which = [name for name in names if name == "reliability"]
    names = [name for name in names if name not in which]
    place = names.index("traversals")
    names = [*names[:place], *which, *names[place:]]
    place = names.index("traversals") + 1
    return [*names[:place], *moving, *names[place:]]


@pytest.mark.usefixtures("only_overview", "one_field")
def test_the_same_run_and_seed_give_the_same_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "supervised")
    (run / "metrics.jsonl").unlink()  # to save time
    first, again = (
        {path.name: path.read_bytes() for path in api.report(run, tmp_path / name)} for name in ("first", "again")
    )
    assert first == again and {"overview.png", "motion-field-0.gif", "report.html"} <= first.keys()


@pytest.mark.usefixtures("only_overview", "one_field")
def test_a_run_with_a_search_shows_it_before_its_curves(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "supervised")
    search = {"move": "start", "fields": [], "alive": [0, 1, 2], "accepted": True}
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 30, "search": search}) + "\n")
    written = api.report(run, motion="none")
    assert [path.name for path in written[-3:]] == ["search.png", "curves.png", "report.html"]
    assert '<a href="#figure-search">Search for the fields</a>' in written[-1].read_text()


@pytest.mark.usefixtures("only_overview", "one_field")
def test_figures_come_as_vectors_and_animations_as_png(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "supervised")
    written = api.report(run, form="svg", motion="png")
    folder = run / "figures"
    for name in [*NAMES["supervised"], "traversal-field-0", "curves"]:
        assert {folder / f"{name}.png", folder / f"{name}.svg"} <= set(written)
        assert (folder / f"{name}.svg").read_bytes().startswith(b"<?xml")
    with Image.open(folder / "motion-field-0.png") as image:
        assert image.n_frames == 8 and image.info["loop"] == 0  # from 0 to 3, back, and to -1
    assert not list(folder.glob("*.gif"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A supervised run on sequences in memory."""
    folder = make_run(tmp_path_factory.mktemp("tiny") / "run", "supervised")
    run = Run.open(folder)
    run.model, run.given = tiny_model("supervised"), SparseData()
    return run


def test_an_evaluation_of_the_same_checkpoint_is_read(tiny: Run, tmp_path: Path) -> None:
    run = dataclasses.replace(tiny, path=tmp_path)
    result = evaluate(run.model, run.data, sequences=3, samples=2) | {"step": 30}
    (tmp_path / "evaluation.json").write_text(json.dumps(result))
    told: list[str] = []
    found = evaluated(run, 0, told.append)
    assert found.source == "From evaluation.json of this run: 3 images of the validation split, seed 0." and not told
    assert found.tables == evaluation_tables(result)
    error = result["equivariance"]["hue"]["flow"]["mean_per_frame"]["mean"]
    assert f"hue: an image moved by it is off by an L1 error of {quantity(error)} per frame" in found.verdict.found[3]
    again = evaluated(dataclasses.replace(run, step=29), 0, told.append)
    assert again.source.startswith("Measured for this report: ")
    assert again.verdict.next[0].endswith(f"step 29 of 30: stf train --resume {tmp_path}.")
    other = result | {"data": result["data"] | {"title": "vectors of b.csv"}}
    (tmp_path / "evaluation.json").write_text(json.dumps(other))
    assert evaluated(run, 0, told.append).source.startswith("Measured for this report: "), "it is of other data"


@pytest.mark.parametrize("content", [None, '{"step": 30}', "{", "[]", '{"step": 30, "data": 3}'])
def test_without_one_the_model_is_measured(tiny: Run, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "evaluation.json").write_text(content)
    told: list[str] = []
    found = evaluated(dataclasses.replace(tiny, path=tmp_path), 1, told.append)
    assert found.source.startswith("Measured for this report: ") and told == ["evaluation"]
    assert found.tables == evaluation_tables(evaluate(tiny.model, tiny.data, "validation", 1, 6))


@pytest.mark.usefixtures("only_overview", "one_field")
def test_the_command_ends_with_the_path_of_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", "supervised")
    (run / "metrics.jsonl").unlink()  # to save time
    assert main(["visualize-fields", str(run), "--device=cpu", "--motion=none"]) == 0
    output = capsys.readouterr()
    assert output.out == f"{run / 'figures' / 'report.html'}\n"
    assert "evaluation" in output.err.splitlines() and "What to do next" in output.err.splitlines()
    assert output.err.splitlines()[-1] == f"next: stf transfer {run}"
    assert main(["visualize-fields", str(run), "--out", str(tmp_path / "out"), "--motion=none", "--format=pdf"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'report.html'}\n"
    assert (tmp_path / "out" / "overview.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--plane=0,9", "0 to 2"),
        ("--plane=depth", "depth"),
        ("--format=jpg", "png, svg or pdf"),
        ("--motion=mp4", "gif, png or none"),
        ("--seed=-1", "--seed"),
        ("--data.root=nowhere", "nowhere"),
    ],
)
def test_flags_that_cannot_be_used_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, words: str
) -> None:
    run = make_run(tmp_path / "run", "supervised")
    assert main(["visualize-fields", str(run), flag]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error
    assert not (run / "figures").exists()


@pytest.mark.usefixtures("no_latent")
def test_a_silent_model_is_drawn_and_says_so() -> None:
    drawn = report.figures(silenced(tiny_model()), SparseData())
    assert list(drawn) == [*NAMES["unsupervised"], "reliability"]
    assert "All fields are silent (fields 0, 1 and 2)" in texts(drawn["traversals"])
    assert pictures(drawn["traversals"]) == set()
    assert "No field matches a transformation yet." in texts(drawn["overview"])
    assert "All fields are silent" in texts(drawn["raster"])
    (axes,) = axes_of(drawn["alignment"], "matrix")
    assert axes.images[0].get_array().max() == 0


@pytest.mark.usefixtures("only_overview")
@pytest.mark.parametrize("mode", ["unsupervised", "weak"])
def test_the_overview_predicts_with_the_inferred_activity(mode: str) -> None:
    model, data = tiny_model(mode), SparseData()
    figure = report.figures(model, data)["overview"]
    count = len([gid for gid in pictures(figure) if gid.startswith("input/")])
    pixels = np.stack([picture(figure, f"input/{t}")[..., 0] for t in range(count)])
    frames = torch.from_numpy(pixels).unsqueeze(1)
    with torch.no_grad():
        speeds = model.infer(frames[None])
        predicted = model.decode(model.flow(model.encode(frames[:1]), speeds))[0]
    for t in range(count):
        assert np.allclose(picture(figure, f"predicted/{t}")[..., 0], predicted[t, 0].numpy(), atol=1e-5)
    drawn = figure.findobj(lambda artist: artist.get_gid() == "inferred")
    values = sorted(tuple(steps.get_data().values.round(4)) for steps in drawn)
    columns = sorted(tuple(column.astype(float).round(4)) for column in speeds[0].T.numpy())
    assert values and all(any(np.allclose(value, column, atol=1e-3) for column in columns) for value in values)


@pytest.mark.usefixtures("only_overview")
def test_the_caption_of_the_overview_tells_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(captions, "of_overview", lambda lanes, inferred, truth, *errors: told.extend(errors) or "")
    model, data = tiny_model(), SparseData()
    with torch.no_grad():
        model.decoder[-2].weight.mul_(8)  # so that motion is seen
    found = assignment.assign(model, data)
    with torch.no_grad():
        overview = next(all_figures.exhibits(model, data, found))
        count = len([gid for gid in pictures(overview.figure) if gid.startswith("input/")])
        frames, predicted = (
            np.stack([picture(overview.figure, f"{name}/{t}")[..., 0] for t in range(count)])
            for name in ("input", "predicted")
        )
    error = np.abs(predicted - frames)[1:].sum((1, 2)).mean()
    still = np.abs(predicted[:1] - frames)[1:].sum((1, 2)).mean()
    assert told == [pytest.approx(error, rel=1e-4), pytest.approx(still, rel=1e-4), False]
    assert error != pytest.approx(still, rel=1e-2)


@pytest.mark.usefixtures("only_overview")
def test_figures_leave_the_model_as_it_was_and_depend_on_the_seed_alone() -> None:
    model, data = tiny_model().train(), SparseData()
    first, again, other = (report.figures(model, data, seed)["overview"] for seed in (0, 0, 1))
    assert model.training and torch.is_grad_enabled()
    assert all(np.array_equal(picture(first, gid), picture(again, gid)) for gid in pictures(first))
    assert any(
        not np.array_equal(picture(first, gid), picture(other, gid)) for gid in pictures(first) & pictures(other)
    )


@pytest.mark.usefixtures("only_overview")
def test_the_drawn_sequences_keep_their_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    class Data(SparseData):
        """In the first three sequences at most one transformation acts."""

        def mixed(self, split: str, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
            activity = super().mixed(split, indices, generator).activity.clone()
            activity[:3, :, 1:] = 0
            return self._batch(split, indices, activity)

    shown: list[Observed] = []
    monkeypatch.setattr(all_figures, "draw_raster", lambda observed, *rest: shown.append(observed))
    model = tiny_model()
    report.figures(model, Data())
    (observed,) = shown
    assert len(observed.frames) == 4 and len(observed.truth) == 9 == len(observed.inferred)
    with torch.no_grad():
        assert np.allclose(model.infer(observed.frames).numpy(), observed.inferred[:4], atol=1e-6)
    several = (observed.truth != 0).any(1).sum(-1) >= 2
    assert several.tolist() == 6 * [True] + 3 * [False]


@pytest.mark.usefixtures("no_latent")
def test_supervised_fields_are_named_after_their_transformations() -> None:
    drawn = report.figures(tiny_model("supervised"), SparseData())
    assert list(drawn) == [*NAMES["supervised"], *(f"traversal-field-{k}" for k in range(3))]
    for field, name in enumerate(TRANSFORMATIONS):
        assert f"true {name}" in texts(drawn["traversals"])
        assert f"Traversal of field {field}: {name}" in texts(drawn[f"traversal-field-{field}"])
    assert "which is given" in texts(drawn["overview"])


def test_figures_of_latent_space_come_with_captions_of_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}

    def keeping(name: str) -> Any:
        return lambda shown, *rest: drawn.update({name: shown}) or Figure()

    for name in ("field_planes", "composition", "landscape", "helmholtz", "differential"):
        monkeypatch.setattr(field_figures, f"draw_{name}", keeping(name))
    model, data = tiny_model(), SparseData()
    found = assignment.assign(model, data)
    told: list[str] = []
    with torch.no_grad():
        shown = [
            *field_figures.field_exhibits(
                model, data, found.observed, found.roles, "validation", plane="0,2", tell=told.append
            )
        ]
    assert [one.name for one in shown] == ["field-planes", "composition", "landscape", "helmholtz", "differential"]
    assert len(told) == 5
    assert drawn["field_planes"] and drawn["field_planes"][0].plane.names == ("latent axis 0", "latent axis 2")
    assert [one.caption for one in shown] == [
        field_captions.of_planes(drawn["field_planes"]),
        field_captions.of_composition(drawn["composition"]),
        field_captions.of_landscape(drawn["landscape"]),
        field_captions.of_helmholtz(drawn["helmholtz"]),
        field_captions.of_differential(drawn["differential"]),
    ]


@pytest.mark.usefixtures("only_overview", "one_field")
def test_figures_go_where_they_are_sent(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "supervised")
    (run / "metrics.jsonl").unlink()
    out = tmp_path / "new" / "folder"
    written = api.report(run, out, motion="none")
    assert [path.name for path in written] == ["overview.png", "traversals.png", "traversal-field-0.png", "report.html"]
    assert sorted(out.iterdir()) == sorted(written)
    assert not (run / "figures").exists()


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "supervised")
    taken = tmp_path / "taken"
    taken.write_text("a file")
    for out in (taken, taken / "below"):
        with pytest.raises(UserError) as error:
            api.report(run, out)
        assert str(error.value).startswith(f"cannot write {out}: ") and "\n" not in str(error.value)


def test_a_missing_run_is_reported_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        api.report(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_figures_are_not_written_through_a_link_out_of_the_run(tmp_path: Path) -> None:
    run, other = make_run(tmp_path / "run", "supervised"), tmp_path / "other"
    other.mkdir()
    (run / "figures").symlink_to(other)
    for out in (None, run / "figures", run / "figures" / "new"):
        with pytest.raises(UserError, match=r"found a link out of the run to /.*other.*, expected a folder in it$"):
            api.report(run, out)
    assert list(other.iterdir()) == []
