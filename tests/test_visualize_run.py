"""From a run folder to its figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import torch
from engine_tiny import tiny_config
from torch import Tensor
from visualize_tools import SIZE, TRANSFORMATIONS, SparseData, axes_of, picture, pictures, silenced, texts, tiny_model

from ffrl.config import ModelConfig
from ffrl.data.base import SequenceBatch
from ffrl.engine.checkpoint import TrainingState, save_checkpoint
from ffrl.engine.config_io import encode_config
from ffrl.errors import UserError
from stf import visualize
from stf.config import SparseModelConfig
from stf.run import build_model
from stf.visualize import figures, style
from stf.visualize.material import Observed

NAMES = {
    "unsupervised": ["alignment", "raster", "traversals", "overview"],
    "weak": ["alignment", "traversals", "overview"],
    "supervised": ["traversals", "overview"],
}


def make_run(folder: Path, mode: str) -> Path:
    """A run folder with an untrained model and three lines of metrics; the unsupervised model is silent."""
    config = tiny_config(mode, steps=30)
    kind = SparseModelConfig if mode == "unsupervised" else ModelConfig
    config = dataclasses.replace(
        config, model=kind(num_fields=3, **SIZE), data=dataclasses.replace(config.data, num_steps=2)
    )
    model = build_model(config, (3, 28, 28))
    if mode == "unsupervised":
        silenced(model)
    save_checkpoint(folder, model, encode_config(config), TrainingState({}, {"step": 30}), 1)
    metrics = [{"step": step, "train/loss": 1.0 / step} for step in (10, 20, 30)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in metrics))
    return folder


@pytest.fixture
def only_overview(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the other figures, to save time."""
    for name in ("draw_raster", "draw_alignment", "draw_confusion", "draw_traversals"):
        monkeypatch.setattr(visualize, name, lambda *arguments: None)


@pytest.mark.parametrize("mode", ["unsupervised", "weak", "supervised"])
def test_a_run_is_drawn_as_its_mode_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(style, "DPI", 40)
    run = make_run(tmp_path / "run", mode)
    before, state = dict(matplotlib.rcParams), torch.get_rng_state()
    written = visualize.run(run)
    assert written == [run / "figures" / f"{name}.png" for name in [*NAMES[mode], "curves"]]
    assert sorted(path.name for path in (run / "figures").iterdir()) == sorted(path.name for path in written)
    for path in written:
        pixels = matplotlib.image.imread(path)[..., :3]
        assert pixels.shape[1] > 200 and 0.01 < pixels.std() < 0.5
    assert dict(matplotlib.rcParams) == before and torch.equal(torch.get_rng_state(), state)


def test_a_silent_model_is_drawn_and_says_so() -> None:
    drawn = figures(silenced(tiny_model()), SparseData())
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
    figure = figures(model, data)["overview"]
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
def test_figures_leave_the_model_as_it_was_and_depend_on_the_seed_alone() -> None:
    model, data = tiny_model().train(), SparseData()
    first, again, other = (figures(model, data, seed)["overview"] for seed in (0, 0, 1))
    assert model.training and torch.is_grad_enabled()
    assert all(np.array_equal(picture(first, gid), picture(again, gid)) for gid in pictures(first))
    assert any(
        not np.array_equal(picture(first, gid), picture(other, gid)) for gid in pictures(first) & pictures(other)
    )


def test_the_drawn_sequences_keep_their_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    class Data(SparseData):
        """In the first three sequences at most one transformation acts."""

        def mixed(self, split: str, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
            activity = super().mixed(split, indices, generator).activity.clone()
            activity[:3, :, 1:] = 0
            return self._batch(split, indices, activity)

    shown: list[Observed] = []
    monkeypatch.setattr(visualize, "draw_raster", lambda observed, *rest: shown.append(observed))
    model = tiny_model()
    figures(model, Data())
    (observed,) = shown
    assert len(observed.frames) == 4 and len(observed.truth) == 9 == len(observed.inferred)
    with torch.no_grad():
        assert np.allclose(model.infer(observed.frames).numpy(), observed.inferred[:4], atol=1e-6)
    several = (observed.truth != 0).any(1).sum(-1) >= 2
    assert several.tolist() == 6 * [True] + 3 * [False]


def test_supervised_fields_are_named_after_their_transformations() -> None:
    drawn = figures(tiny_model("supervised"), SparseData())
    assert list(drawn) == NAMES["supervised"]
    for name in TRANSFORMATIONS:
        assert f"true {name}" in texts(drawn["traversals"])
    assert "which is given" in texts(drawn["overview"])


def test_figures_go_where_they_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 40)
    run = make_run(tmp_path / "run", "supervised")
    (run / "metrics.jsonl").unlink()
    out = tmp_path / "new" / "folder"
    assert visualize.run(run, out) == [out / "traversals.png", out / "overview.png"]
    assert sorted(path.name for path in out.iterdir()) == ["overview.png", "traversals.png"]
    assert not (run / "figures").exists()


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "supervised")
    taken = tmp_path / "taken"
    taken.write_text("a file")
    for out in (taken, taken / "below"):
        with pytest.raises(UserError) as error:
            visualize.run(run, out)
        assert str(error.value).startswith(f"cannot write {out}: ") and "\n" not in str(error.value)


def test_a_missing_run_is_reported_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        visualize.run(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
