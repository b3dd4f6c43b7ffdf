from __future__ import annotations

import numpy as np

from ffrl.data.poses.tracks import Track, confident, pieces, track


def test_gaps_between_frames_are_missing():
    made = track("fly", {12: (np.ones((2, 2)), [0.5, 0.6]), 10: (np.zeros((2, 2)), None)}, 2)
    assert made.first == 10 and made.points.shape == (3, 2, 2)
    assert np.isnan(made.points[1]).all() and np.isnan(made.scores[:2]).all()
    assert made.scores[2].tolist() == [0.5, 0.6]


def test_points_of_low_confidence_are_missing_and_unknown_scores_are_trusted():
    points = np.arange(16.0).reshape(2, 4, 2)
    points[1, 3, 0] = np.nan
    scores = np.array([[0.1, 0.5, 0.9, np.nan], [0.5, 0.49, np.nan, 1.0]])
    found = np.isnan(confident(Track("fly", 0, points, scores), 0.5))
    assert found[..., 0].tolist() == [[True, False, False, False], [False, True, False, True]]
    assert (found[..., 0] == found[..., 1]).all()


def test_tracks_are_cut_where_everything_is_missing():
    points = np.zeros((9, 3, 2))
    points[[0, 3, 4]] = np.nan
    points[6, 1] = np.nan
    assert list(pieces(points)) == [(1, 3), (5, 9)]
    assert list(pieces(np.full((4, 3, 2), np.nan))) == []
