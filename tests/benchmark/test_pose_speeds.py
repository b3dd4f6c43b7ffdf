"""What the benchmark of poses measures of the tracks, and how it compares that with the fields."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pose_tools import NODES, walk

import stf
from benchmarks.poses import apart, body_speeds, correlations

BODY = torch.tensor([[4.0, 0.0], [0.0, 0.0]], dtype=torch.float64)  # heading, centre


def test_speeds_are_those_that_poses_were_moved_with():
    source = np.random.default_rng(0)
    moved = torch.from_numpy(source.normal(size=(3, 6, 3)) * [2.0, 1.0, 0.5])
    clips = torch.empty(3, 7, 2, 2, dtype=torch.float64)
    for clip, speeds in zip(clips, moved, strict=True):
        place, angle = torch.tensor([50.0, 80.0], dtype=torch.float64), torch.tensor(2.5)
        for step in range(7):
            ahead = torch.stack([angle.cos(), angle.sin()]).double()
            aside = torch.stack([-ahead[1], ahead[0]])
            clip[step] = place + BODY[:, :1] * ahead + BODY[:, 1:] * aside
            if step < 6:
                place = place + speeds[step, 0] * ahead + speeds[step, 1] * aside
                angle = angle + speeds[step, 2]
    torch.testing.assert_close(body_speeds(clips, 1, 0), moved, rtol=0, atol=1e-5)


def test_a_missing_node_leaves_its_transitions_out():
    points = BODY.expand(1, 4, 2, 2).clone()
    points[0, 1, 0] = math.nan
    assert body_speeds(points, 1, 0)[0].isnan().any(-1).tolist() == [True, True, False]


def test_correlations_are_those_of_numpy():
    found, measured = torch.randn(50, 2).double(), torch.randn(50, 3).double()
    measured[4, 1] = math.nan
    kept = np.delete(np.arange(50), 4)
    expected = [[np.corrcoef(one[kept], other[kept])[0, 1] for other in measured.T] for one in found.T]
    np.testing.assert_allclose(correlations(found, measured), expected)


@pytest.mark.parametrize("hop", [1, 3, 4])
def test_clips_that_share_no_transition(hop: int):
    tracks = [walk(50, seed) for seed in range(4)]
    data = stf.data.poses(tracks, nodes=NODES, num_steps=4, hop=hop, validation=0.5)
    frames = data.mixed("validation", apart(data)).frames
    steps = {(clip[t].numpy().tobytes(), clip[t + 1].numpy().tobytes()) for clip in frames for t in range(4)}
    assert len(steps) == 4 * len(frames) and len(frames) >= 10
