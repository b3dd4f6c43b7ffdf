from __future__ import annotations

import numpy as np
import pytest
import torch
from pose_tools import NODES, walk

import stf
from ffrl.core.errors import UserError
from ffrl.data.features import Features
from ffrl.data.poses.align import each_aligned, start_aligned

EDGES = [("thorax", "head"), ("thorax", "tail-tip")]
ALIGNED = dict(nodes=NODES, centre="thorax", heading="head")


def every(data: stf.data.SequenceData, split: str) -> torch.Tensor:
    return data.mixed(split, torch.arange(data.size(split))).frames


def test_clips_as_they_are():
    clips = np.stack([walk(6, seed) for seed in range(10)])
    data = stf.data.poses(clips, nodes=NODES, edges=EDGES)
    assert data.num_steps == 5 and data.image_shape == (8,)
    assert data.features.names[:3] == ("x of head", "y of head", "x of thorax")
    assert data.features.skeleton.edges == ((1, 0), (1, 3))
    found = torch.cat([every(data, "train"), every(data, "validation")]).unflatten(-1, (4, 2)).numpy()
    assert {clip.tobytes() for clip in found} == {clip.tobytes() for clip in clips}


def test_from_the_start_of_every_clip_as_it_is_read():
    points = walk(60)
    data = stf.data.poses(points, align="start", num_steps=5, hop=2, **ALIGNED)
    windows = np.lib.stride_tricks.sliding_window_view(points, 6, 0).transpose(0, 3, 1, 2)
    expected = start_aligned(torch.from_numpy(windows.copy()), 1, 0).flatten(-2)
    found = torch.cat([every(data, "train"), every(data, "validation")])
    distances = torch.cdist(found.flatten(1), expected.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    assert distances.amin(1).max() < 1e-9
    chosen = torch.tensor([1, 0])
    part = data.stills("train", chosen, 3)
    torch.testing.assert_close(part, data.mixed("train", chosen).frames[:, [0, 2, 5]])
    torch.testing.assert_close(data.images("train", chosen), data.mixed("train", chosen).frames[:, 0])


def test_mean_and_scale_are_those_of_aligned_training_clips():
    data = stf.data.poses([walk(40, seed) for seed in range(4)], align="start", num_steps=5, **ALIGNED)
    values = every(data, "train").flatten(0, 1).numpy()
    np.testing.assert_allclose([one.mean for one in data.features.each], values.mean(0), atol=1e-9)
    np.testing.assert_allclose([one.scale for one in data.features.each], values.std(0), atol=1e-9)


def test_every_pose_on_its_own_has_no_coordinates_that_never_vary():
    points = walk(60)
    data = stf.data.poses(points, align="each", num_steps=5, **ALIGNED)
    assert data.features.names == ("x of head", *(f"{axis} of {node}" for node in NODES[2:] for axis in "xy"))
    expected = each_aligned(torch.from_numpy(points), 1, 0)
    shown = data.features.skeleton.points(every(data, "train"), data.features.names)
    torch.testing.assert_close(shown[0], expected[:6], rtol=0, atol=1e-9)


def test_no_frame_is_in_two_splits():
    points = walk(60)
    points[..., 0] += 1000 * np.arange(60)[:, None]  # the place says which frame it is
    data = stf.data.poses(points, nodes=NODES, num_steps=5, hop=1)
    train, held = (set((every(data, split)[..., 2] / 1000).round().flatten().tolist()) for split in data.parts)
    assert train and held and not train & held


def test_clips_that_cannot_be_aligned_are_left_out():
    points = walk(60)
    points[10, 0] = np.nan
    whole, data = (stf.data.poses(one, align="start", num_steps=5, hop=1, **ALIGNED) for one in (walk(60), points))
    assert data.size("train") == whole.size("train") - 1
    assert data.features.missing and ", 1 left out for want of them" in data.about
    assert not every(data, "train")[:, 0].isnan().all(-1).any()
    points[2:, 0] = np.nan

    with pytest.raises(UserError, match="in which thorax and head are not missing in the first frame"):
        stf.data.poses(points, align="start", num_steps=5, **ALIGNED)


def test_a_point_of_which_one_coordinate_is_missing_is_missing():
    points = walk(60)
    points[3, 2, 1] = np.nan
    frames = every(stf.data.poses(points, nodes=NODES, num_steps=5), "train")
    assert frames[0, 3].isnan().nonzero().flatten().tolist() == [4, 5]


def test_activity_and_sequences_that_are_held_out():
    clips, speeds = np.stack([walk(6, seed) for seed in range(10)]), np.ones((10, 5, 2))
    options = dict(align="start", transformations=("turn", "walk"), **ALIGNED)
    data = stf.data.poses(clips[:7], speeds[:7], validation=(clips[7:], speeds[7:] * 2), **options)
    batch = data.mixed("validation", torch.arange(3))
    assert data.transformations == ("turn", "walk") and (batch.activity == 2).all()
    expected = start_aligned(torch.from_numpy(clips[7:]), 1, 0).flatten(-2)
    torch.testing.assert_close(batch.frames, expected)


@pytest.mark.parametrize(
    ("points", "options", "said"),
    [
        (np.zeros((20, 4)), {}, "points: found \\(20, 4\\)"),
        (np.zeros((20, 4, 3)), {}, "points: found shape \\(20, 4, 3\\), expected \\(S, 4, 2\\)"),
        (np.zeros((0, 4, 2)), {}, "points: found \\(0, 4, 2\\)"),
        ("poses", {}, "points"),
        ([walk(9), walk(9)[:, :3]], {}, "points\\[1\\]: found shape \\(9, 3, 2\\)"),
        (walk(40), {"nodes": ("a", "b")}, "nodes: found \\['a', 'b'\\], expected 4 names"),
        (walk(40), {"nodes": ("a", "b", "c", "a")}, "nodes"),
        (walk(40), {"edges": [("1", "nose")]}, "edges: found 'nose'"),
        (walk(40), {"align": "start"}, "centre: found ''"),
        (walk(40), {"align": "each", "centre": "1", "heading": "x"}, "heading: found 'x'"),
        (walk(40), {"align": "each", "centre": "1", "heading": "1"}, "heading: found '1', expected another"),
        (walk(40), {"align": "all", "centre": "1", "heading": "2"}, "align: found 'all', expected one of none, start"),
        (walk(40).astype(complex), {}, "points"),
        (walk(40), {"validation": 2.0}, "validation"),
    ],
)
def test_what_cannot_be_used_is_one_line(points: object, options: dict, said: str):
    with pytest.raises(UserError, match=said) as caught:
        stf.data.poses(points, **options)
    assert "\n" not in str(caught.value)


def test_any_unit_gives_the_same_poses():
    points = walk(60)
    small, large = (stf.data.poses(factor * points, align="start", num_steps=5, **ALIGNED) for factor in (1, 1000))

    def standard(data: stf.data.SequenceData) -> torch.Tensor:
        features: Features = data.features
        centre, unit = (torch.tensor([getattr(one, key) for one in features.each]) for key in ("mean", "scale"))
        return (every(data, "train") - centre) / unit

    torch.testing.assert_close(standard(small), standard(large), rtol=0, atol=1e-5)
