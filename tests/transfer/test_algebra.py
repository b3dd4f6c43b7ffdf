"""Transfer: what is applied is what was inferred, edited as asked for, and it moves images as the model's flow does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import STEPS, TinyData
from torch import Tensor
from visualize_tools import Clips, SparseData, sticks_out, texts, tiny_model

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.base import SequenceData
from ffrl.data.catalogue import DATA_SETS
from ffrl.data.synthesis.moves import parse_moves
from ffrl.models.activity import ActivityKind
from ffrl.models.frame_kind import PIXELS
from stf.plot.compute.assignment import assign
from stf.plot.compute.roles import FieldRole
from stf.transfer import algebra as transfer
from stf.transfer import run as transfer_run
from stf.transfer.algebra import apply, edit, followed_by, parts_for, together_with
from stf.transfer.animation import ARROW, GAP, MARGIN, TOP, animate
from stf.transfer.figure import Transfer, draw_transfer, drawn_rows
from stf.transfer.run import Request, compute
from stf.transfer.sources import Source, Sources, Targets

MODES = ["unsupervised", "weak", "supervised"]
ACTIVITY = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0]])


def test_edits_scale_switch_off_and_reverse() -> None:
    assert torch.equal(edit(ACTIVITY, 3), ACTIVITY)
    assert edit(ACTIVITY, 3, scale=-2.0).tolist() == [[-2, 0, -1], [0, -4, 0]]
    assert edit(ACTIVITY, 3, without=[0, 1]).tolist() == [[0, 0, 0.5], [0, 0, 0]]
    assert edit(ACTIVITY, 3, reverse=True).tolist() == [[0, -2, 0], [-1, 0, -0.5]]
    assert edit(ACTIVITY, 3, scale=0.5, reverse=True, without=[2]).tolist() == [[0, -1, 0], [-0.5, 0, 0]]


def test_a_field_is_switched_off_with_both_its_parts() -> None:
    both = torch.cat([ACTIVITY, ACTIVITY + 1], dim=1)
    off = edit(both, 3, without=[1])
    assert off[:, [1, 4]].abs().max() == 0 and torch.equal(off[:, [0, 2, 3, 5]], both[:, [0, 2, 3, 5]])


def test_a_reversed_activity_is_without_negative_zeros() -> None:
    assert not torch.signbit(edit(ACTIVITY, 3, reverse=True)[0, 0])


def test_activities_follow_each_other_or_add_up() -> None:
    other = torch.tensor([[0.0, 0.0, 1.0]])
    assert followed_by(ACTIVITY, other).tolist() == [[1, 0, 0.5], [0, 2, 0], [0, 0, 1]]
    for pair in ((ACTIVITY, other), (other, ACTIVITY)):
        assert together_with(*pair).tolist() == [[1, 0, 1.5], [0, 2, 0]]


def images(count: int = 5) -> Tensor:
    return torch.rand(count, *TinyData.image_shape, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
def test_images_are_moved_by_the_flow_of_the_model(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(mode)
    expected = model.decode(model.flow(model.encode(images()), ACTIVITY.expand(5, -1, -1)))
    assert torch.allclose(apply(model, images(), ACTIVITY), expected, atol=1e-6)
    assert (expected[:, 1:] - expected[:, :1]).abs().max() > 1e-3
    monkeypatch.setattr(transfer, "BATCH_VALUES", 2 * expected[0].numel())  # two images at a time
    assert torch.allclose(apply(model, images(), ACTIVITY), expected, atol=1e-6)


@torch.no_grad()
def test_parts_are_smaller_steps_of_the_same_flow() -> None:
    model, fine = tiny_model(), tiny_model(substeps=3)
    fine.load_state_dict(model.state_dict())
    assert torch.allclose(apply(model, images(), ACTIVITY, parts=3), apply(fine, images(), ACTIVITY), atol=1e-5)
    assert (apply(model, images(), ACTIVITY, parts=3) - apply(model, images(), ACTIVITY)).abs().max() > 1e-4


@torch.no_grad()
def test_a_reversed_activity_undoes_the_original() -> None:
    model = tiny_model(integrator="rk4", substeps=16)
    there = apply(model, images(), ACTIVITY)
    both = apply(model, images(), followed_by(ACTIVITY, edit(ACTIVITY, 3, reverse=True)))
    assert torch.allclose(both[:, 2:], there.flip(1), atol=1e-4)
    assert (there[:, -1] - there[:, 0]).abs().max() > 1e-2


def test_only_fields_without_time_are_integrated_in_parts() -> None:
    assert [parts_for(tiny_model(), scale) for scale in (0.0, 1.0, 1.01, -3.0)] == [1, 1, 2, 3]
    assert parts_for(tiny_model("weak", time_dependent=True), 3.0) == 1


def test_more_than_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MOST_VALUES", 50)
    with pytest.raises(UserError, match="found 5 images times 3 frames"):
        apply(tiny_model(), images(), ACTIVITY)


def carried(model: Any, request: Request, data: SequenceData | None = None) -> tuple[Transfer, Tensor]:
    """The transfer that a request makes on tiny data, and the activity it applies."""
    data = data or SparseData()
    name = data.name if data.name in DATA_SETS else "mnist"
    with torch.no_grad():
        result = compute(model, DataConfig(name=name, num_steps=data.num_steps), lambda: data, request)
    return result[0], result[1]


@torch.no_grad()
@pytest.mark.parametrize("control", ["single", "separate"])
def test_what_is_inferred_from_one_sequence_moves_other_images(control: str) -> None:
    model, data = tiny_model(control=control), SparseData()
    made, controls = carried(model, Request(seed=2))
    frames = made.sources[0].frames
    inferred = model.infer(frames[None])[0]
    assert torch.equal(controls, inferred) and inferred.abs().max() > 0
    moved = model.decode(model.flow(model.encode(made.targets.images), inferred.expand(len(made.frames), -1, -1)))
    assert torch.allclose(made.frames, moved, atol=1e-6)
    indices = made.targets.indices
    assert torch.equal(made.targets.images, data.images("validation", indices))
    again, _ = carried(model, Request(seed=2))
    assert torch.equal(again.frames, made.frames)
    assert not torch.equal(carried(model, Request(seed=3))[0].targets.indices, indices)


@torch.no_grad()
def test_files_are_read_and_edited_as_asked_for(tmp_path: Path) -> None:
    model, data = tiny_model(), SparseData()
    batch = data.mixed("validation", torch.arange(4), torch.Generator().manual_seed(0))
    one, two = batch.frames[0], batch.frames[1, :3]
    for name, array in (("one", one), ("two", two), ("images", batch.frames[:, 0])):
        np.save(tmp_path / f"{name}.npy", array.numpy())
    first, second = (model.infer(frames[None])[0] for frames in (one, two))
    assert first.abs().max() > 0 and second.abs().max() > 0
    names = {"source": str(tmp_path / "one.npy"), "to": str(tmp_path / "images.npy")}
    other = str(tmp_path / "two.npy")
    for change, expected in (
        ({}, first),
        ({"scale": 2.0}, 2 * first),
        ({"reverse": True}, -first.flip(0)),
        ({"without": "0, 2"}, first * torch.tensor([0.0, 1.0, 0.0])),
        ({"then": other}, torch.cat([first, second])),
        ({"plus": other, "scale": -1.0}, -first - torch.cat([second, torch.zeros(2, 3)])),
        (
            {"then": other, "reverse": True, "without": "1"},
            -torch.cat([first, second]).flip(0) * torch.tensor([1, 0, 1]),
        ),
    ):
        made, controls = carried(model, replace(Request(**names), **change))
        assert torch.allclose(controls, expected), change
        parts = 2 if change.get("scale") == 2.0 else 1
        assert torch.allclose(made.frames, apply(model, batch.frames[:, 0], expected, parts), atol=1e-6)
        assert np.allclose(made.applied, expected) and np.allclose(made.activities[0], first)
        assert made.truth is None and made.true_frames is None


@torch.no_grad()
def test_an_activity_is_applied_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "activity.json"
    path.write_text(json.dumps({"speeds": ACTIVITY.tolist()}))
    for mode in MODES:
        made, controls = carried(tiny_model(mode), Request(source=str(path), to="mnist:5,1"))
        assert torch.equal(controls, ACTIVITY) and made.verb == "given"
        assert made.targets.indices.tolist() == [5, 1] and made.frames.shape[:2] == (2, 3)


@pytest.mark.parametrize("text", ["[]", "{}", '{"speeds": []}', '{"speeds": [[1, 2]]}', '{"speeds": [[1, 2, "3"]]}'])
def test_an_activity_that_does_not_fit_is_one_line(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text)


@pytest.mark.parametrize("number", ["NaN", "1e400", "true", "null", "1" + "0" * 400, "1001"])
def test_an_activity_of_other_than_speeds_is_one_line(tmp_path: Path, number: str) -> None:
    refused(tmp_path, f'{{"speeds": [[0, 1, {number}]]}}')


def refused(folder: Path, text: str) -> None:
    path = folder / "activity.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        carried(tiny_model(), Request(source=str(path)))
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["weak", "supervised"])
def test_the_other_modes_see_one_transformation_at_a_time(mode: str) -> None:
    model = tiny_model(mode)
    made, controls = carried(model, Request())
    truth = made.sources[0].truth
    assert torch.equal(truth, truth[:1].expand_as(truth)) and truth.sum() == len(truth)
    expected = truth if mode == "supervised" else model.infer(made.sources[0].frames[None])[0]
    assert torch.equal(controls, expected)
    assert made.verb == ("given" if mode == "supervised" else "inferred")
    fields = {int(carried(model, Request(seed=seed))[0].sources[0].truth[0].argmax()) for seed in range(8)}
    assert fields == {0, 1, 2}


def test_a_supervised_model_infers_nothing_from_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 1, 2, 2)))
    with pytest.raises(UserError, match="^--from: found .*a.npy', but a supervised model infers no activity; expected"):
        carried(tiny_model("supervised"), Request(source=str(tmp_path / "a.npy")))


def test_fields_go_by_their_transformation_and_stay_unknown_without_data(tmp_path: Path) -> None:
    model = tiny_model("supervised")
    _, controls = carried(model, Request(source="mnist:4", without="hue rotation,scaling"))
    assert controls.abs().max() == 0
    with pytest.raises(
        UserError, match="--without: found '3', expected fields: numbers from 0 to 2, scaling, rotation"
    ):
        carried(model, Request(without="3"))
    with pytest.raises(UserError, match="--without: found no field"):
        carried(model, Request(without=" , "))

    def missing() -> SequenceData:
        raise UserError("no data")

    path = tmp_path / "images.npy"
    np.save(path, images().numpy())
    (tmp_path / "a.json").write_text(json.dumps({"speeds": ACTIVITY.tolist()}))
    request = Request(source=str(tmp_path / "a.json"), to=str(path))
    _, _, roles, names = compute(model, DataConfig(), missing, request)
    assert names == () and [role.transformation for role in roles] == [None] * 3
    for needing, needed in ((request, True), (replace(request, to=None), False)):
        with pytest.raises(UserError, match="no data"):
            compute(model, DataConfig(), missing, needing, needed)
    with pytest.raises(UserError, match="--without: found 'hue', expected fields: numbers from 0 to 2$"):
        compute(model, DataConfig(), missing, replace(request, without="hue"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("mnist:9", ["'9'", "0 to 8"]),
        ("mnist:-1", ["'-1'"]),
        ("mnist:x", ["'x'"]),
        ("mnist:", []),
        ("mnist:1,2", ["'1,2'", "expected one"]),
        ("minst:1", ["'minst:1'", "'mnist:NUMBER MOVES'"]),
        ("mnist:1 spin 3", ["'spin'", "did you mean"]),
    ],
)
def test_sequences_that_are_not_there_are_one_line(text: str, parts: list[str]) -> None:
    reader = Sources(tiny_model(), DataConfig(), SparseData)
    if not parts:
        assert reader.sequence(text, "--from").frames.shape == (STEPS + 1, 1, 2, 2)
        return
    with pytest.raises(UserError) as error:
        reader.sequence(text, "--from")
    assert str(error.value).startswith("--from: ") and all(part in str(error.value) for part in parts)


@torch.no_grad()
def test_the_truth_is_edited_like_the_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows everything has no error left, however it is edited."""

    class Knowing:
        """Latents are states of one image; field k does transformation 2 - k."""

        image_shape, num_fields, num_controls = (3, 28, 28), 3, 3
        activity_kind, timed = ActivityKind.FREE, False
        frame_kind = PIXELS

        def __init__(self) -> None:
            self.data, self.index = load(DataConfig()), torch.tensor([11])

        def parameters(self) -> Any:
            return iter([torch.zeros(1)])

        def infer(self, frames: Tensor) -> Tensor:
            return self.speeds.flip(-1)[None]

        def encode(self, frames: Tensor) -> Tensor:
            return self.start.expand(len(frames), -1)

        def flow(self, z: Tensor, g: Tensor) -> Tensor:
            return torch.cat([z[:, None], z[:, None] + g.flip(-1).cumsum(1)], 1)

        def decode(self, z: Tensor) -> Tensor:
            return self.data.in_states("validation", self.index.expand(len(z)), z)

    model, names = Knowing(), ("scaling", "rotation", "hue")
    roles = [FieldRole(2 - row, row, name) for row, name in enumerate(names)]
    moves = "rotation 2, hue 2 at 1.5, scaling+hue 1"
    model.speeds = parse_moves(moves, names, 8)
    monkeypatch.setattr(transfer_run, "_roles", lambda *_: (roles, names))
    for change, before in (
        ({}, None),
        ({"scale": 1.5}, None),
        ({"without": "hue"}, None),
        ({"reverse": True, "scale": 0.5}, "scaling+rotation+hue 4"),
        ({"then": f"mnist:5 {moves}"}, None),
        ({"plus": f"mnist:5 {moves}", "without": "0,1"}, "hue 2"),
    ):
        model.start = torch.zeros(1, 3) if before is None else parse_moves(before, names, 8).sum(0)[None]
        to = "mnist:11" if before is None else f"mnist:11 {before}"
        made, _ = carried(model, Request(source=f"mnist:7 {moves}", to=to, **change), model.data)
        moved, still = made.errors()
        assert moved[0] < 0.05 < 10 < still[0], change
        assert np.allclose(made.truth, made.applied[:, ::-1], atol=1e-6)
        assert torch.equal(made.frames[0, 0], made.targets.images[0])


@pytest.mark.parametrize("mode", ["unsupervised", "weak"])
def test_the_activity_of_a_clip_moves_other_clips(mode: str) -> None:
    data = Clips()
    model = tiny_model(mode, num_fields=4, data=data)
    made, controls = carried(model, Request(source="sequences:2", to="sequences:5,1"), data)
    clip = data.mixed("validation", torch.tensor([2]), None).frames
    with torch.no_grad():
        speeds = model.infer(clip)[0]
        images = data.images("validation", torch.tensor([5, 1]))
        expected = model.decode(model.flow(model.encode(images), speeds.expand(2, -1, -1)))
    assert torch.equal(controls, speeds) and speeds.abs().max() > 0
    assert torch.equal(made.sources[0].frames, clip[0]) and torch.allclose(made.frames, expected, atol=1e-6)
    assert made.sources[0].about == "my clips validation clip 2"
    assert made.targets.about == "my clips validation clips 5, 1"
    assert made.truth is None and made.true_frames is None and made.sources[0].truth is None
    drawn = drawn_rows(made, compute_roles(model, data), ())
    acting = [field for field in range(4) if speeds[:, field].any()]
    assert [lane.role.field for lane in drawn] == acting
    assert all(lane.transformation is None and lane.role.used is not None for lane in drawn)
    figure = draw_transfer(made, compute_roles(model, data), ())
    assert "unknown" not in texts(figure) and "unit steps" not in texts(figure) and "true" not in texts(figure)
    assert not sticks_out(figure)


def compute_roles(model: Any, data: SequenceData) -> list[FieldRole]:
    with torch.no_grad():
        return assign(model, data).roles


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(source="sequences:3 hue 4"), ["--from: found moves 'hue 4'", "my clips is not known"]),
        (Request(to="sequences:3 hue 4"), ["--to: found moves 'hue 4'", "my clips is not known"]),
        (Request(source="sequences:7"), ["--from: found clip '7'", "0 to 6"]),
        (Request(source="sequences:1,2"), ["--from: found clips '1,2'", "expected one"]),
        (Request(source="nothing"), ["'sequences' or 'sequences:NUMBER'"]),
        (Request(source="sequences:1", without="hue"), ["--without: found 'hue'", "numbers from 0 to 2"]),
    ],
)
def test_what_clips_do_not_have_is_refused_in_one_line(request_: Request, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        carried(tiny_model(data=Clips()), request_, Clips())
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)


def test_very_large_images_are_animated_on_a_page_of_bounded_width() -> None:
    frames = torch.linspace(0, 1, 6 * 2 * 3).view(6, 2, 3, 1, 1).expand(-1, -1, -1, 700, 700)
    one = Transfer(
        sources=[Source("clip", "clip", frames[0])],
        activities=[np.ones((1, 1))],
        join=None,
        applied=np.ones((1, 1)),
        edits="",
        reverse=False,
        targets=Targets("images", "images", frames[:, 0]),
        frames=frames,
    )
    shown = animate(one, [FieldRole(0, used=1.0)], ())
    assert len(shown) == 2 and shown[0].shape[1] <= 1600
    side = -(-700 // 3)
    left = MARGIN + side + GAP + ARROW
    for number in range(2):
        block = shown[1][TOP : TOP + side, left + number * (side + GAP) :][:, :side]
        assert np.array_equal(block[0, 0], (255 * frames[number, 1, :, 0, 0].numpy()).round().astype(np.uint8))
        assert (block == block[0, 0]).all()
