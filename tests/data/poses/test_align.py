from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pose_tools import BODY, walk

from ffrl.data.poses.align import each_aligned, moved, start_aligned

CENTRE, HEADING = 1, 0


def by_complex_numbers(points: np.ndarray, centre: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """The same in other words: divided by the direction of the heading, as numbers of the complex plane."""
    plane, origin, ahead = (each[..., 0] + 1j * each[..., 1] for each in (points, centre, heading))
    way = (ahead - origin) / np.abs(ahead - origin)
    found = (plane - origin[..., None]) / way[..., None]
    return np.stack([found.real, found.imag], -1)


def test_every_pose_as_complex_numbers_say():
    points = walk(30)
    found = each_aligned(torch.from_numpy(points), CENTRE, HEADING).numpy()
    expected = by_complex_numbers(points, points[:, CENTRE], points[:, HEADING])
    np.testing.assert_allclose(found, expected, atol=1e-11)
    np.testing.assert_allclose(found[:, CENTRE], 0, atol=1e-11)
    np.testing.assert_allclose(found[:, HEADING, 1], 0, atol=1e-11)
    assert (found[:, HEADING, 0] > 0).all()


def test_clips_by_their_first_pose_alone():
    clips = np.stack([walk(6, seed) for seed in range(5)])
    found = start_aligned(torch.from_numpy(clips), CENTRE, HEADING).numpy()
    for clip, made in zip(clips, found, strict=True):
        expected = by_complex_numbers(clip, np.tile(clip[0, CENTRE], (6, 1)), np.tile(clip[0, HEADING], (6, 1)))
        np.testing.assert_allclose(made, expected, atol=1e-11)


def test_distances_stay_and_nothing_is_mirrored():
    points = torch.from_numpy(walk(20))
    found = each_aligned(points, CENTRE, HEADING)
    torch.testing.assert_close(torch.cdist(found, found), torch.cdist(points, points), rtol=0, atol=1e-6)
    body = each_aligned(torch.from_numpy(BODY) * 1.0, CENTRE, HEADING)
    torch.testing.assert_close(body, torch.from_numpy(BODY))


def test_where_the_picture_is_and_how_it_lies_does_not_matter():
    points = torch.from_numpy(walk(12)).unsqueeze(0)
    c, s = math.cos(2.1), math.sin(2.1)
    elsewhere = points @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64) + torch.tensor([4e5, -3e5])
    for align in (each_aligned, start_aligned):
        torch.testing.assert_close(align(elsewhere, CENTRE, HEADING), align(points, CENTRE, HEADING), rtol=0, atol=1e-8)


def test_a_way_forward_and_a_way_to_the_right():
    still = torch.from_numpy(BODY) + torch.tensor([50.0, 60.0])
    clip = torch.stack([still, still + torch.tensor([2.0, 0.0]), still + torch.tensor([0.0, 3.0])])[None]
    found = start_aligned(clip, CENTRE, HEADING)[0, :, CENTRE]
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]], dtype=torch.float64))


@pytest.mark.parametrize("node", [CENTRE, HEADING])
def test_a_pose_without_centre_or_heading_is_missing(node: int):
    points = torch.from_numpy(walk(3))
    points[1, node] = math.nan
    found = each_aligned(points, CENTRE, HEADING)
    assert found[1].isnan().all() and not found[[0, 2]].isnan().any()


def test_another_missing_point_is_alone_missing():
    points = torch.from_numpy(walk(3))
    points[1, 3] = math.nan
    assert each_aligned(points, CENTRE, HEADING).isnan().nonzero()[:, :2].unique(dim=0).tolist() == [[1, 3]]


def test_a_heading_at_the_centre_says_nothing():
    points = torch.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    assert moved(points, points[0], points[1]).isnan().all()
