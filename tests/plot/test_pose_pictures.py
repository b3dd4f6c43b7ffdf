from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pose_tools import NODES, walk

import stf
from ffrl.data.features import Feature, Features
from ffrl.data.skeleton import Skeleton
from ffrl.models.frame_kind import FeatureValues
from stf.plot.compute.pictures import as_pictures, pictures
from stf.plot.compute.pose_pictures import REACH, SIDE, pose_pictures

ONE = Features((Feature("x of a", 0.0, 4.0), Feature("y of a", 0.0, 4.0)), skeleton=Skeleton(("a",)))
TWO = Features(
    tuple(Feature(f"{axis} of {node}", 0.0, 4.0) for node in "ab" for axis in "xy"),
    skeleton=Skeleton(("a", "b"), ((0, 1),)),
)


def weights(image: torch.Tensor) -> torch.Tensor:
    """How dark each pixel is, summing to 1."""
    dark = (1 - image).sum(-3)
    return dark / dark.sum((-2, -1), keepdim=True)


def middle(image: torch.Tensor) -> tuple[float, float]:
    """Where what is drawn is, x and y in pixels."""
    level = torch.arange(SIDE) + 0.5
    return float((weights(image).sum(-2) * level).sum()), float((weights(image).sum(-1) * level).sum())


def test_a_point_is_where_it_says_between_pixels_too():
    unit = (SIDE - 5) / (2 * REACH * 4)  # deviations of 4, and margins
    for x, y in ((0.0, 0.0), (3.3, 0.0), (-2.0, 5.1)):
        found = middle(pose_pictures(torch.tensor([x, y]), ONE))
        assert found == pytest.approx((SIDE / 2 + unit * x, SIDE / 2 + unit * y), abs=0.05)


def test_y_goes_down_as_in_pictures():
    image = pose_pictures(torch.tensor([0.0, 8.0]), ONE)
    assert (1 - image[:, : SIDE // 2]).sum() == 0 and (1 - image[:, SIDE // 2 :]).sum() > 0


def test_a_line_joins_points():
    image = pose_pictures(torch.tensor([-8.0, -8.0, 8.0, 8.0]), TWO)
    between = torch.arange(SIDE // 4, 3 * SIDE // 4)
    assert (image[:, between, between] < 0.8).all()
    assert torch.equal(image[:, between, SIDE - 1 - between][:, :8], torch.ones(3, 8))
    unjoined = pose_pictures(torch.tensor([-8.0, -8.0, 8.0, 8.0]), Features(TWO.each, skeleton=Skeleton(("a", "b"))))
    assert torch.equal(unjoined[:, SIDE // 2], torch.ones(3, SIDE))


def test_what_is_missing_is_not_drawn():
    both = torch.tensor([[-8.0, -8.0, math.nan, math.nan], [math.nan] * 4, [-8.0, -8.0, 8.0, math.nan]])
    images = pose_pictures(both, TWO)
    assert images[0].min() < 0.5 and torch.equal(images[1], torch.ones(3, SIDE, SIDE))
    assert torch.equal(images[0], images[2]) and not images.isnan().any()


def test_frames_of_a_figure_have_one_scale():
    frames = torch.randn(2, 3, 4)
    together = pose_pictures(frames, TWO)
    apart = torch.stack([torch.stack([pose_pictures(frame, TWO) for frame in row]) for row in frames])
    assert torch.equal(together, apart)


def test_points_of_poses_that_stand_still_are_at_the_origin():
    features = Features((Feature("x of b", 10.0, 1.0),), skeleton=Skeleton(("a", "b"), ((0, 1),)))
    x, y = middle(pose_pictures(torch.tensor([10.0]), features))
    assert y == pytest.approx(SIDE / 2, abs=0.05)
    wide = 10 + REACH  # from 0 to the farthest of the other
    assert x == pytest.approx(SIDE / 2 + (5 - wide / 2) * (SIDE - 5) / wide, abs=1.0)


def test_poses_are_drawn_where_bars_of_other_vectors_are():
    options = dict(nodes=NODES, align="start", centre="thorax", heading="head")
    data = stf.data.poses(np.stack([walk(5, seed) for seed in range(8)]), edges=[("thorax", "head")], **options)
    batch = data.mixed("train", torch.arange(2))
    shown = as_pictures(data, batch)
    assert shown.frames.shape == (2, 5, 3, SIDE, SIDE)
    assert torch.equal(shown.frames, pictures(batch.frames, FeatureValues(data.features)))
    assert 0 <= shown.frames.min() < 0.5 and shown.frames.max() == 1
