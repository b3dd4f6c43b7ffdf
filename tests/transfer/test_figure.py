"""The figure and the animation of a transfer show what was computed, value by value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import STEPS
from matplotlib.colors import to_hex
from visualize_tools import TRANSFORMATIONS, artists, as_drawn, axes_of, part, picture, pictures, sticks_out, texts

from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import field_style
from stf.transfer.animation import MOST_FRAMES, animate, durations, times
from stf.transfer.figure import Transfer, draw_transfer
from stf.transfer.sources import Source, Targets

ROLES = [FieldRole(2, 1, "rotation"), FieldRole(0, 0, "scaling", direction=-1.0), FieldRole(1, silent=True)]


def frames(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, 1, 2, 2)


def speeds(steps: int, columns: int = 3) -> np.ndarray:
    """Speeds of which about half are zero; each column acts in the first step."""
    on = torch.rand(steps, columns) < 0.5
    on[0] = True
    return (on * (torch.rand(steps, columns) + 0.5)).double().numpy()


def made(count: int = 2, **changes: Any) -> Transfer:
    """A transfer of one sequence to some images, all of it known."""
    steps = changes.pop("steps", STEPS)
    activity, truth = speeds(steps), speeds(steps)
    source = Source("mnist", "image 3, random moves", frames(steps + 1), torch.from_numpy(truth))
    targets = Targets("mnist", "images 1, 2", frames(count), torch.arange(count))
    values = dict(sources=[source], activities=[activity], join=None, applied=activity, edits="", reverse=False)
    values |= dict(targets=targets, frames=frames(count, steps + 1), truth=truth, true_frames=frames(count, steps + 1))
    return Transfer(**(values | changes))


def joined(join: str, **changes: Any) -> Transfer:
    """A transfer of two sequences, of 4 and of 2 steps."""
    one = made()
    two, other = speeds(2), Source("b.gif", "b.gif, 3 frames", frames(3))
    first = one.activities[0]
    applied = np.concatenate([first, two]) if join == "then" else first + np.concatenate([two, np.zeros((2, 3))])
    values = dict(sources=[*one.sources, other], activities=[first, two], join=join, applied=applied, truth=None)
    values |= dict(frames=frames(2, len(applied) + 1), true_frames=None)
    return replace(one, **(values | changes))


def drawn_rows(figure: Any) -> list[tuple[list[float] | None, list[float] | None]]:
    """Drawn speeds and true speeds of all rows, block by block."""
    found = []
    for axes in (row for block in figure.axes for row in block.child_axes):
        drawn = {artist.get_gid(): artist.get_data().values.tolist() for artist in axes.patches if artist.get_gid()}
        found.append((drawn.get("inferred"), drawn.get("truth")))
    return found


def test_every_picture_is_the_frame_it_stands_for() -> None:
    transfer = made()
    figure = draw_transfer(transfer, ROLES, TRANSFORMATIONS)
    expected = {f"source-0/{t}": transfer.sources[0].frames[t] for t in range(STEPS + 1)}
    expected |= {f"image-{n}": transfer.targets.images[n] for n in range(2)}
    expected |= {f"moved-{n}/{t}": transfer.frames[n, t] for n in range(2) for t in range(STEPS + 1)}
    expected |= {f"true-1/{t}": transfer.true_frames[1, t] for t in range(STEPS + 1)}
    assert pictures(figure) == set(expected)
    for gid, frame in expected.items():
        assert np.array_equal(picture(figure, gid), as_drawn(frame)), gid
    assert not sticks_out(figure)


def test_rows_are_the_activity_in_the_direction_of_the_transformation() -> None:
    transfer = made()
    figure = draw_transfer(transfer, ROLES, TRANSFORMATIONS)
    activity, truth = transfer.activities[0], transfer.truth
    assert drawn_rows(figure) == [
        (pytest.approx(-activity[:, 0]), pytest.approx(truth[:, 0])),
        (pytest.approx(activity[:, 2]), pytest.approx(truth[:, 1])),
        (None, pytest.approx(truth[:, 2])),
        (pytest.approx(activity[:, 1]), None),  # matches nothing, but acts here
    ]
    (axes,) = axes_of(figure, "row-1")
    assert to_hex(part(axes, "inferred").get_facecolor()) == field_style(2).colour.lower()
    assert "black line: true speed" in texts(figure) and "What is applied" not in texts(figure)


def test_errors_are_those_of_the_frames() -> None:
    transfer = made()
    printed = artists(draw_transfer(transfer, ROLES, TRANSFORMATIONS), "error-")
    moved, still = transfer.errors()
    for n in range(2):
        true = transfer.true_frames[n, 1:]
        assert moved[n] == pytest.approx((transfer.frames[n, 1:] - true).abs().sum().item() / STEPS)
        assert still[n] == pytest.approx((transfer.frames[n, :1] - true).abs().sum().item() / STEPS)
        assert printed[f"error-{n}"].get_text() == f"{moved[n]:.0f}"
    assert made(true_frames=None).errors() is None
    assert "error" not in texts(draw_transfer(made(true_frames=None), ROLES, TRANSFORMATIONS))


@pytest.mark.parametrize("join", ["then", "and"])
def test_two_sequences_and_what_they_make_have_rows_of_their_own(join: str) -> None:
    transfer = joined(join, edits="speeds × 2")
    figure = draw_transfer(transfer, ROLES, TRANSFORMATIONS)
    blocks = [*transfer.activities, transfer.applied]
    found = drawn_rows(figure)
    for number, activity in enumerate(blocks):
        assert [inferred for inferred, _ in found[4 * number : 4 * number + 4]] == [
            pytest.approx(-activity[:, 0]),
            pytest.approx(activity[:, 2]),
            None,
            pytest.approx(activity[:, 1]),
        ]
    assert all(truth is not None for _, truth in found[:3]) and all(truth is None for _, truth in found[4:])
    heading = {"then": "one after the other", "and": "added step by step"}[join]
    assert f"What is applied: {heading}, speeds × 2" in texts(figure)
    for t in range(3):
        assert np.array_equal(picture(figure, f"source-1/{t}"), as_drawn(transfer.sources[1].frames[t]))
    assert not sticks_out(figure)


def test_a_given_activity_has_no_frames_and_nothing_to_compare_with() -> None:
    activity = speeds(STEPS)
    source = Source("a.json", "a.json", speeds=torch.from_numpy(activity))
    transfer = made(sources=[source], activities=[activity], applied=activity, truth=None, true_frames=None)
    figure = draw_transfer(transfer, ROLES, TRANSFORMATIONS)
    assert not [gid for gid in pictures(figure) if gid.startswith("source")]
    assert all(truth is None for _, truth in drawn_rows(figure))
    assert "Colour: given speed" in texts(figure) and "black line" not in texts(figure)


def test_fields_whose_transformation_is_unknown_are_drawn_if_they_act() -> None:
    activity = speeds(STEPS)
    activity[:, 1] = 0
    source = Source("a.gif", "a.gif", frames(STEPS + 1))
    transfer = made(sources=[source], activities=[activity], applied=activity, truth=None, true_frames=None)
    figure = draw_transfer(transfer, [FieldRole(k) for k in range(3)], ())
    assert drawn_rows(figure) == [(pytest.approx(activity[:, 0]), None), (pytest.approx(activity[:, 2]), None)]
    silent = replace(transfer, activities=[0 * activity], applied=0 * activity)
    for roles, names in ((ROLES[2:], ()), ([FieldRole(k, silent=True) for k in range(3)], TRANSFORMATIONS)):
        assert "no field acts" in texts(draw_transfer(silent, roles, names)) and animate(silent, roles, names)


def test_long_sequences_and_many_images_are_thinned_out() -> None:
    transfer = made(count=9, steps=40)
    figure = draw_transfer(transfer, ROLES, TRANSFORMATIONS)
    assert "the first 6 of 9" in texts(figure) and not sticks_out(figure)
    shown = {int(gid.split("/")[1]) for gid in pictures(figure) if gid.startswith("moved-5/")}
    assert len(shown) < 15 and 0 in shown
    assert np.array_equal(picture(figure, f"moved-5/{max(shown)}"), as_drawn(transfer.frames[5, max(shown)]))


def pasted(canvas: np.ndarray, frame: torch.Tensor) -> int:
    """How many squares of 112 pixels of an animation's frame show this tiny frame, each pixel 56 times as large."""
    expected = (255 * as_drawn(frame)).round().astype(np.uint8).repeat(56, 0).repeat(56, 1)
    row = canvas[34:146]
    return sum(np.array_equal(row[:, x : x + 112], expected) for x in range(20, row.shape[1] - 111, 2))


def test_the_animation_shows_source_and_images_at_every_step() -> None:
    transfer = made(count=3)
    shown = animate(transfer, ROLES, TRANSFORMATIONS)
    assert len(shown) == STEPS + 1 and len({canvas.shape for canvas in shown}) == 1
    for t, canvas in enumerate(shown):
        for frame in (transfer.sources[0].frames[t], *transfer.frames[:, t]):
            assert pasted(canvas, frame) == 1
    still = np.all([canvas == shown[0] for canvas in shown], axis=0).all(-1)
    assert still[:34].all() and not still[34:146].all()
    marks = [np.flatnonzero((canvas[190:-40] != shown[t - 1][190:-40]).any((0, 2))) for t, canvas in enumerate(shown)]
    middles = [mark.min() for mark in marks[1:]]
    assert np.ptp(np.diff(middles)) <= 1 and min(np.diff(middles)) > 20  # the mark moves on evenly


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("join", ["then", "and"])
def test_the_animation_runs_both_sequences_in_their_order(join: str, reverse: bool) -> None:
    transfer = joined(join, reverse=reverse)
    one, two = (source.frames for source in transfer.sources)
    if join == "then":
        order = [(frame,) for frame in (*one, *two[1:])]
    else:
        order = [(one[t], two[min(t, 2)]) for t in range(5)]
    for canvas, sources in zip(animate(transfer, ROLES, TRANSFORMATIONS), order[:: -1 if reverse else 1], strict=True):
        assert [pasted(canvas, frame) for frame in sources] == [1] * len(sources)


def test_long_animations_are_short() -> None:
    assert times(3) == [0, 1, 2, 3]
    long = times(5000)
    assert len(long) == MOST_FRAMES and (long[0], long[-1]) == (0, 5000)
    assert durations(1) == [1.2] and durations(2) == [0.9, 1.2]
    for count in (9, MOST_FRAMES):
        seconds = durations(count)
        assert len(seconds) == count and sum(seconds) < 9
