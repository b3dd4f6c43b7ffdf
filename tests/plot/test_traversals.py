"""Traversals show what single fields do to real images, next to the truth, value by value."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import STEPS, TinyData, tiny_config
from visualize_tools import (
    INDICES,
    ROLES,
    SIZE,
    artists,
    as_drawn,
    axes_of,
    moved,
    part,
    picture,
    pictures,
    texts,
    tiny_model,
)

from ffrl.config import DataConfig, ModelConfig
from ffrl.data.base import SequenceBatch
from ffrl.data.digits.mnist import MnistSequences
from ffrl.models.frame_kind import PIXELS
from stf.config import SparseModelConfig
from stf.plot.compute.observed import (
    error_curve,
    move_images,
    true_frames,
)
from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import field_style
from stf.plot.traversals import draw_strip, draw_traversals
from stf.run import build_model


@torch.no_grad()
@pytest.mark.parametrize("control", ["single", "separate"])
def test_traversals_show_the_decoded_flow_of_one_field(control: str) -> None:
    model, data = tiny_model(control=control), TinyData()
    figure = draw_traversals(move_images(model, data, "validation", INDICES, ROLES), ROLES)
    images = data.single("validation", INDICES, torch.zeros(2, dtype=torch.long)).frames[:, 0]
    steps = range(-2, 7)
    expected = {f"field-{k}/image-{n}/{place}" for k in (0, 2) for n in (0, 1) for place in range(len(steps))}
    assert {gid for gid in pictures(figure) if "/image-" in gid} == expected
    seen = []
    for k, direction in ((2, 1.0), (0, -1.0)):
        columns = [k] if control == "single" else [k, k + 3]
        for n, (place, step) in product((0, 1), enumerate(steps)):
            speed = direction if step >= 0 else -direction
            frame = moved(model, images[n], columns, speed, abs(step))
            drawn = picture(figure, f"field-{k}/image-{n}/{place}")
            assert np.allclose(drawn, as_drawn(frame), atol=1e-6)
            seen.append(drawn)
    assert np.std(seen, axis=0).max() > 1e-3
    assert np.array_equal(picture(figure, "field-2/input-1"), as_drawn(images[1]))


@torch.no_grad()
def test_traversals_print_the_error_against_the_true_transformation() -> None:
    class Large(TinyData):
        """The same sequences, each pixel repeated, so that errors of whole numbers differ."""

        image_shape = (1, 32, 32)

        def images(self, split: str, indices: torch.Tensor) -> torch.Tensor:
            return super().images(split, indices).repeat_interleave(16, -1).repeat_interleave(16, -2)

        def _batch(self, split: str, indices: torch.Tensor, speeds: torch.Tensor) -> SequenceBatch:
            frames, activity = super()._batch(split, indices, speeds)
            return SequenceBatch(frames.repeat_interleave(16, -1).repeat_interleave(16, -2), activity)

    class Copy:
        """Adds 0.01 per step of field 0 to an image, twice that per step of field 2."""

        num_fields = num_controls = 3
        frame_kind, image_shape = PIXELS, (1, 32, 32)

        def encode(self, frames: torch.Tensor) -> torch.Tensor:
            return frames.flatten(1)

        def flow(self, z: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
            speeds = g @ torch.tensor([0.01, 0.0, 0.02])
            return z[:, None] + torch.cat([torch.zeros(len(z), 1), speeds.cumsum(1)], 1)[..., None]

        def decode(self, z: torch.Tensor) -> torch.Tensor:
            return z.unflatten(-1, Large.image_shape)

    data = Large()
    roles = [*ROLES[:2], FieldRole(1)]
    figure = draw_traversals(move_images(Copy(), data, "validation", INDICES, roles), roles)
    printed = artists(figure, "field-")
    errors = {gid: artist.get_text() for gid, artist in printed.items() if "/error-" in gid}
    assert set(errors) == {
        f"field-{k}/error-{n}/{step}" for k, n, step in product((0, 2), (0, 1), range(STEPS + 1))
    }  # nothing for field 1, which matches no transformation, and nothing backwards or beyond T
    for k, row, rate in ((0, 0, -0.01), (2, 1, 0.02)):
        truth = data.single("validation", INDICES, torch.full((2,), row)).frames
        for n, step in product((0, 1), range(STEPS + 1)):
            error = (truth[n, 0] + rate * step - truth[n, step]).abs().sum()
            assert errors[f"field-{k}/error-{n}/{step}"] == f"{error:.0f}"
            assert np.array_equal(picture(figure, f"field-{k}/true/{step}"), as_drawn(truth[-1, step]))
    assert len(set(errors.values())) > STEPS


DIGITS = MnistSequences(DataConfig(num_steps=4))


def digit_model(mode: str = "unsupervised", **size: Any) -> Any:
    """A tiny untrained model of digits whose fields move visibly."""
    kind = SparseModelConfig if mode == "unsupervised" else ModelConfig
    config = replace(tiny_config(mode), model=kind(**(SIZE | size | dict(num_fields=3))))
    model = build_model(config, DIGITS.image_shape).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("row", [0, 1, 2])
def test_true_frames_go_on_from_those_of_the_data(row: int) -> None:
    frames = DIGITS.single("validation", INDICES, torch.full((2,), row)).frames
    found = true_frames(DIGITS, "validation", INDICES, row, range(-4, 9))
    assert list(found) == list(range(-4, 9))
    for step in range(5):
        assert torch.equal(found[step], frames[:, step])
    longer = MnistSequences(DataConfig(num_steps=8)).single("validation", INDICES, torch.full((2,), row)).frames
    for step in range(5, 9):
        assert torch.equal(found[step], longer[:, step])


def test_true_frames_go_backwards_and_end_where_they_are_not_known() -> None:
    start = DIGITS.single("validation", INDICES, torch.zeros_like(INDICES)).frames[:, 0]
    quarter = true_frames(DIGITS, "validation", INDICES, 1, [-9])[-9]
    assert torch.allclose(quarter, start.rot90(-1, (-2, -1)), atol=1e-4)
    blue = true_frames(DIGITS, "validation", INDICES, 2, [-6])[-6]
    assert torch.allclose(blue[:, 2], start[:, 0], atol=1e-5) and blue[:, :2].max() < 1e-5
    assert list(true_frames(DIGITS, "validation", INDICES, 0, [-9, -10, 0])) == [-9, 0]
    tiny = true_frames(TinyData(), "validation", INDICES, 1, range(-2, STEPS + 3))
    frames = TinyData().single("validation", INDICES, torch.ones(2, dtype=torch.long)).frames
    assert list(tiny) == list(range(STEPS + 1)) and all(torch.equal(tiny[t], frames[:, t]) for t in tiny)


@torch.no_grad()
@pytest.mark.parametrize("role", [FieldRole(1, 2, "hue"), FieldRole(2, 1, "rotation", direction=-1.0)])
def test_errors_are_those_of_each_image_moved_by_the_field_alone(role: FieldRole) -> None:
    model = digit_model()
    curve = error_curve(model, DIGITS, "validation", INDICES, role)
    assert curve.steps.tolist() == list(range(-2, 7)) and curve.flow.shape == (2, 9)
    truth = true_frames(DIGITS, "validation", INDICES, role.row, range(-2, 7))
    for place, step in enumerate(curve.steps):
        speed = role.direction * np.sign(step)
        for n in range(2):
            frames = {
                "flow": moved(model, truth[0][n], [role.field], speed, abs(step)),
                "unmoved": moved(model, truth[0][n], [role.field], 0.0, 0),
                "reconstruction": model.decode(model.encode(truth[int(step)][n][None]))[0],
            }
            for name, frame in frames.items():
                error = (frame - truth[int(step)][n]).abs().sum().item()
                assert getattr(curve, name)[n, place] == pytest.approx(error, rel=1e-4)
    assert curve.mean(1, 4) == pytest.approx(curve.flow[:, 3:7].mean())


@torch.no_grad()
def test_a_strip_shows_every_image_with_its_truth_and_the_mean_errors() -> None:
    model, role = digit_model(), FieldRole(1, 2, "hue")
    (one,) = move_images(model, DIGITS, "validation", INDICES, [role, FieldRole(0, silent=True)])
    curve = error_curve(model, DIGITS, "validation", torch.arange(6), role)
    figure = draw_strip(one, curve)
    truth = true_frames(DIGITS, "validation", INDICES, 2, one.steps)
    printed = {gid: artist.get_text() for gid, artist in artists(figure, "error-").items()}
    for n, (place, step) in product((0, 1), enumerate(one.steps)):
        frame = moved(model, truth[0][n], [1], float(np.sign(step)), abs(step))
        assert np.allclose(picture(figure, f"image-{n}/{place}"), as_drawn(frame), atol=1e-5)
        assert np.array_equal(picture(figure, f"true-{n}/{step}"), as_drawn(truth[step][n]))
        assert printed.pop(f"error-{n}/{step}") == f"{(frame - truth[step][n]).abs().sum():.0f}"
    assert printed == {}
    (axes,) = axes_of(figure, "errors")
    for name in ("flow", "unmoved", "reconstruction"):
        line = part(axes, name)
        assert line.get_xdata().tolist() == list(range(-2, 7))
        assert line.get_ydata() == pytest.approx(getattr(curve, name).mean(0))
    assert part(axes, "flow").get_color() == field_style(1).colour
    assert "mean over 6" in texts(figure) and "Traversal of field 1: hue" in texts(figure)
    for place, step in enumerate(one.steps):  # errors stand under the pictures of their step
        x = axes.transData.transform((step, 0))[0] / figure.dpi
        (image,) = (image for image in figure.axes[0].images if image.get_gid() == f"image-0/{place}")
        assert np.mean(image.get_extent()[:2]) == pytest.approx(x, abs=1e-6)


def test_a_strip_of_an_unmatched_field_has_no_errors() -> None:
    (one,) = move_images(tiny_model(), TinyData(), "validation", INDICES, [FieldRole(2)])
    figure = draw_strip(one)
    assert axes_of(figure, "errors") == [] and artists(figure, "error-") == {}
    assert "matches no transformation" in texts(figure)
    assert not any(gid.startswith("true") for gid in pictures(figure))


@torch.no_grad()
def test_long_traversals_are_thinned_out_around_the_start() -> None:
    class Long(TinyData):
        num_steps = 40

        def single(self, split: str, indices: torch.Tensor, which: torch.Tensor) -> SequenceBatch:
            batch = super().single(split, indices, which)
            return SequenceBatch(batch.frames[:, :1].expand(-1, 41, -1, -1, -1), batch.activity)

    model = tiny_model()
    (one,) = move_images(model, Long(), "validation", INDICES, [FieldRole(1)])
    assert len(one.steps) <= 18 and 0 in one.steps and one.steps[0] < 0 and one.steps[-1] > 40
    image = one.inputs[0]
    for place in (0, len(one.steps) - 1):
        step = one.steps[place]
        expected = moved(model, image, [1], 1.0 if step > 0 else -1.0, abs(step))
        assert torch.allclose(one.frames[0, place], expected, atol=1e-5)


def test_silent_fields_are_listed_and_not_drawn() -> None:
    figure = draw_traversals(move_images(tiny_model(), TinyData(), "validation", INDICES, ROLES), ROLES)
    assert not any(gid.startswith("field-1") for gid in pictures(figure))
    assert "Silent, not drawn: field 1." in texts(figure)
