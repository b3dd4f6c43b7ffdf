"""Animations of traversals show the decoded flow, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_tiny import STEPS, TinyData
from matplotlib.colors import to_hex
from visualize_tools import artists, as_drawn, pictures, sticks_out, texts, tiny_model

from stf.plot.compute.observed import Traversal, move_images
from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import field_style, to_image
from stf.plot.motion import draw_moment, durations, motion_frames, order
from stf.plot.traversals import draw_strip, draw_traversals

INDICES = torch.tensor([4, 0])


@pytest.fixture(scope="module")
def one() -> Traversal:
    """Two images moved by field 2, which does rotation, from -2 to 6; the truth is known from 0 to 4."""
    return move_images(tiny_model(), TinyData(), "validation", INDICES, [FieldRole(2, 1, "rotation")])[0]


def drawn(figure: object, gid: str) -> np.ndarray:
    (image,) = (image for image in figure.axes[0].images if image.get_gid() == gid)
    return np.asarray(image.get_array())


@pytest.mark.parametrize(
    ("step", "state"),
    [(-2, "backwards"), (0, "decoded"), (3, "forwards"), (STEPS, "forwards"), (STEPS + 2, "beyond the trained length")],
)
def test_a_moment_shows_the_images_moved_so_far(one: Traversal, step: int, state: str) -> None:
    model, place = tiny_model(), one.steps.index(step)
    figure = draw_moment(one, place)
    assert pictures(figure) == {"image-0", "image-1", "true-0", "true-1"}
    truth = TinyData().single("validation", INDICES, torch.ones(2, dtype=torch.long)).frames
    activity = torch.zeros(1, max(abs(step), 1), 3)
    activity[..., 2] = float(np.sign(step))
    for n in (0, 1):
        with torch.no_grad():
            frame = model.decode(model.flow(model.encode(truth[n : n + 1, 0]), activity)[:, -1])[0]
        assert np.allclose(drawn(figure, f"image-{n}"), as_drawn(frame), atol=1e-5)
        if 0 <= step <= STEPS:
            assert np.array_equal(drawn(figure, f"true-{n}"), as_drawn(truth[n, step]))
        else:
            assert len(np.unique(drawn(figure, f"true-{n}"))) == 1  # grey: not known
    assert f"t = {step}, {state}".replace("-", "−") in texts(figure)


def test_the_mark_stands_at_the_step(one: Traversal) -> None:
    places = []
    for place, _ in enumerate(one.steps):
        mark = artists(draw_moment(one, place), "mark")["mark"]
        assert to_hex(mark.get_color()).upper() == field_style(2).colour
        places.append(mark.get_xdata()[0])
    assert np.allclose(np.diff(places), places[1] - places[0]) and places[1] > places[0]


def test_an_animation_is_every_moment_forwards_back_and_backwards(one: Traversal) -> None:
    frames = motion_frames(one)
    steps = [one.steps[place] for place in order(one.steps)]
    assert steps == [*range(7), *range(5, -3, -1), -1]
    assert len(frames) == len(steps) == len(durations(one.steps))
    assert all(abs(after - before) == 1 for before, after in zip(steps, steps[1:] + steps[:1], strict=True))
    for turn in (0, 5, 6, 10, len(steps) - 1):
        figure = draw_moment(one, one.steps.index(steps[turn]))
        figure.canvas.draw()
        assert np.array_equal(np.asarray(figure.canvas.buffer_rgba())[..., :3], frames[turn])
    assert len({frame.tobytes() for frame in frames}) == len(one.steps)
    held = [
        step for step, seconds in zip(steps, durations(one.steps), strict=True) if seconds > min(durations(one.steps))
    ]
    assert held == [0, 6, -2]


def test_a_field_without_a_transformation_has_no_true_row() -> None:
    (one,) = move_images(tiny_model(), TinyData(), "validation", INDICES, [FieldRole(1)])
    figure = draw_moment(one, 0)
    assert pictures(figure) == {"image-0", "image-1"} and "no match" in texts(figure)
    assert np.array_equal(drawn(figure, "image-0"), to_image(one.frames[0, 0]))


@pytest.mark.parametrize(("height", "width"), [(12, 20), (30, 12)])
@pytest.mark.parametrize("form", ["motion", "strip", "traversals"])
def test_images_that_are_not_square_keep_their_proportions(form: str, height: int, width: int) -> None:
    frames = torch.rand(2, 6, 1, height, width, generator=torch.Generator().manual_seed(0))
    truth = {step: frames[:, step + 1] for step in range(4)}
    role, steps = FieldRole(3, 0, "a transformation of some length"), tuple(range(-1, 5))
    one = Traversal(role, frames[:, 1], steps, frames, 3, truth)
    draw = {
        "motion": lambda: draw_moment(one, 5),
        "strip": lambda: draw_strip(one),
        "traversals": lambda: draw_traversals([one, one], [role]),
    }
    figure = draw[form]()
    sheet = figure.axes[0]
    boxes = [image.get_extent() for image in sheet.images]
    assert len(boxes) >= 4
    for left, right, bottom, top in boxes:
        assert (bottom - top) / (right - left) == pytest.approx(height / width)
    rows = sorted({round(top, 6) for _, _, _, top in boxes})
    gap = min(np.diff(rows)) - max(bottom - top for _, _, bottom, top in boxes)
    assert 0 <= gap < 0.4  # rows stand as close as those of squares
    assert not sticks_out(figure)
    if form == "motion":
        name, state = (next(t for t in sheet.texts if t.get_text().startswith(words)) for words in ("a trans", "t = "))
        assert name.get_window_extent().x1 < state.get_window_extent().x0
