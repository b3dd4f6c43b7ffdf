"""Two objects and six transformations: frames, activity and states agree, and the files are what the reader expects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recording_tools import settings
from two_objects import (
    PROCESSES,
    SIDE,
    STEPS,
    TRANSFORMATIONS,
    UNIT,
    TwoObjects,
    draw,
    save_sequences,
    switching,
    two_objects,
)

from ffrl.data.recordings.clips import ClipSequences


@pytest.fixture(scope="module")
def made() -> TwoObjects:
    return two_objects(400, seed=1)


def test_frames_are_grey_and_in_range(made):
    assert made.frames.shape == (400, STEPS + 1, SIDE, SIDE)
    assert made.frames.min() >= 0 and 0.9 < made.frames.max() <= 1
    assert made.frames[:, :, :, 0].max() < 0.9 and np.isfinite(made.frames).all()


def test_sequences_depend_on_the_seed_alone(made):
    again, other = two_objects(400, seed=1), two_objects(400, seed=2)
    assert np.array_equal(again.frames, made.frames) and np.array_equal(again.activity, made.activity)
    assert not np.array_equal(other.frames, made.frames)


def test_two_or_three_transformations_act_at_their_speeds(made):
    on = made.activity != 0
    assert on.shape == (400, STEPS, len(TRANSFORMATIONS)) and set(on.sum(-1).ravel()) == {PROCESSES, PROCESSES + 1}
    assert (on.sum(-1) == 3).mean() == pytest.approx(0.1, abs=0.02)
    assert on.mean((0, 1)) == pytest.approx(2.1 / 6, abs=0.04)
    speeds = made.activity[on]
    assert 0.3 <= speeds.min() < 0.31 and 1.69 < speeds.max() <= 1.7 and speeds.mean() == pytest.approx(1, abs=0.02)


def test_a_transformation_goes_on_with_its_probability():
    on = switching(np.random.default_rng(0), 20000)
    two = on.sum(-1) == 2
    both = two[:, :-1] & two[:, 1:]
    kept = (on[:, :-1] & on[:, 1:]).sum(-1)[both] / 2
    assert kept.mean() == pytest.approx(0.85, abs=0.01)
    assert np.allclose(on.mean((0, 1)), 0.35, atol=0.01)


def test_states_follow_the_activity(made):
    moved = np.diff(made.states, axis=1).reshape(400, STEPS, 6)
    assert np.allclose(moved, made.activity * np.tile(UNIT, 2))
    first = made.states[:, 0]
    assert first[..., 0].min() >= -10 and first[..., 0].max() <= -8 + 4 * 1.3
    assert first[..., 1].min() >= 0 and first[..., 1].max() <= 0.3 + 4 * 0.2
    assert first[..., 2].min() >= 1 - 4 * 0.055 and ((first[..., 2] == 1).mean((0, 1)) == pytest.approx(0.5, abs=0.06))
    assert made.states[..., 2].min() > 0
    assert np.all(np.abs(made.rows - [-7, 7]) <= 1)


def test_frames_show_the_states(made):
    """Centre of mass, brightness and orientation of each half of the picture are those of its object."""
    at = np.arange(SIDE) - (SIDE - 1) / 2
    for thing, half in enumerate((slice(0, 16), slice(16, 32))):
        alone = made.states.copy()
        alone[:, :, 1 - thing, 2] = 0
        frames = draw(alone, made.rows)
        inside = np.abs(made.states[:, :, thing, 0]) < 7
        mass = frames.sum((-2, -1))
        x = (frames * at).sum((-2, -1)) / mass
        y = (frames * at[:, None]).sum((-2, -1)) / mass
        assert np.abs(x - made.states[:, :, thing, 0])[inside].max() < 0.1
        assert np.abs(y - made.rows[:, None, thing])[inside].max() < 0.1
        dx, dy = at - x[..., None, None], at[:, None] - y[..., None, None]
        xx, yy, xy = ((frames * part).sum((-2, -1)) for part in (dx * dx, dy * dy, dx * dy))
        angle = 0.5 * np.arctan2(2 * xy, xx - yy)
        off = (angle - made.states[:, :, thing, 1] + np.pi / 2) % np.pi - np.pi / 2
        assert np.abs(off)[inside].max() < 0.05
        ratio = frames.max((-2, -1)) / made.states[:, :, thing, 2]
        assert 0.9 < ratio.min() and ratio.max() <= 1
        assert frames[..., half, :].sum() > 0.9 * frames.sum()


def test_only_what_acts_changes_the_frames(made):
    changed = np.abs(np.diff(made.frames, axis=1))
    for thing, half in enumerate((slice(0, 11), slice(21, 32))):
        rests = (made.activity[:, :, 3 * thing : 3 * thing + 3] == 0).all(-1)
        alone = made.states.copy()
        alone[:, :, 1 - thing, 2] = 0
        still = np.abs(np.diff(draw(alone, made.rows), axis=1)).max((-2, -1))
        assert still[rests].max() == 0 and still[~rests].min() > 0.005
        assert changed[..., half, :].max((-2, -1))[~rests].min() > 0


def test_files_are_read_as_they_were_written(tmp_path):
    path = save_sequences(tmp_path / "sequences", 6, seed=3)
    with np.load(path) as file:
        stored, activity, names = file["frames"], file["activity"], tuple(file["transformations"])
    made = two_objects(6, seed=3)
    assert stored.shape == (6, STEPS + 1, SIDE, SIDE, 1) and stored.dtype == np.uint8
    assert np.abs(stored[..., 0] / 255 - made.frames).max() <= 0.5 / 255 + 1e-9
    assert np.array_equal(activity, made.activity) and names == TRANSFORMATIONS
    data = ClipSequences(settings(tmp_path / "sequences", STEPS, size=SIDE))
    sizes = {split: data.size(split) for split in ("train", "validation")}
    assert sum(sizes.values()) == 6
    batches = [data.mixed(split, torch.arange(size), torch.Generator().manual_seed(0)) for split, size in sizes.items()]
    clips, speeds = (torch.cat([getattr(batch, part) for batch in batches]) for part in ("frames", "activity"))
    pixels = [tuple((255 * clip[:, 0]).round().long().flatten().tolist()) for clip in clips]
    known = {tuple(map(int, clip.ravel())): torch.tensor(of) for clip, of in zip(stored, made.activity, strict=True)}
    assert set(pixels) == set(known)
    for clip, speed in zip(pixels, speeds, strict=True):
        torch.testing.assert_close(speed.double(), known[clip], rtol=0, atol=1e-6)
