from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pose_tools import NODES, config, walk, write_csv, write_hdf5

from ffrl.core.errors import UserError
from ffrl.data.poses.files import find_poses, frame_shape, sequences, shared_border
from ffrl.data.recordings.split import clip_count


def marked(frames: int, first: int = 0) -> np.ndarray:
    """Poses that say in which frame they are: x of every point is 1000 times its number."""
    points = walk(frames) % 1.0
    points[..., 0] += 1000 * np.arange(first, first + frames)[:, None]
    return points


def numbers(data, split: str) -> torch.Tensor:
    """Numbers of the frames of every clip, ``(clips, T+1)``."""
    return (data.mixed(split, torch.arange(data.size(split))).frames[..., 0] / 1000).floor().long()


def test_one_video_is_divided_in_time_for_all_its_animals(tmp_path: Path):
    other = marked(60)
    other[..., 1] += 5
    path = write_csv(tmp_path / "a.csv", [marked(60), other], ("a", "b"))
    data = sequences(config(path, hop=1))
    train, held = numbers(data, "train"), numbers(data, "validation")
    assert train.max() < held.min()
    assert (train.diff(dim=1) == 1).all() and (held.diff(dim=1) == 1).all()
    assert data.size("train") == 2 * (train.max() + 1 - 4) and held.max() == 59
    assert data.size("validation") / (data.size("train") + data.size("validation")) == pytest.approx(0.2, abs=0.02)


def test_of_several_videos_whole_ones_are_held_out(tmp_path: Path):
    for video in range(5):
        write_csv(tmp_path / f"video{video}.csv", [marked(20, 100 * video)] * 2, ("a", "b"))
    data = sequences(config(tmp_path))
    train, held = ({*numbers(data, split).flatten().div(100).long().tolist()} for split in ("train", "validation"))
    assert len(train) == 4 and len(held) == 1 and not train & held


def test_tracks_are_cut_where_a_pose_is_missing(tmp_path: Path):
    points = marked(80)
    points[[11, 12, 30]] = np.nan
    points[40, :3] = np.nan  # one point is left
    data = sequences(config(write_csv(tmp_path / "a.csv", [points]), hop=1))
    clips = torch.cat([data.mixed(split, torch.arange(data.size(split))).frames for split in data.parts])[..., 6]
    border = int(numbers(data, "validation").min())
    whole = [n for n in range(76) if not {11, 12, 30} & set(range(n, n + 5)) and (n + 4 < border or n >= border)]
    assert (clips[:, 0] / 1000).floor().tolist() == whole and not clips.isnan().any()
    assert "% of the coordinates missing" in data.about


def test_points_of_low_confidence_are_missing(tmp_path: Path):
    scores = np.full((40, 4), 0.9)
    scores[5, 2] = 0.3
    path = write_csv(tmp_path / "a.csv", [walk(40)], scores=scores)
    assert not sequences(config(path)).features.missing
    frames = sequences(config(path, confidence=0.5, hop=1)).mixed("train", torch.tensor([3])).frames[0]
    assert frames.isnan().nonzero().tolist() == [[2, 4], [2, 5]]


def test_every_stride_th_frame_of_the_video(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", [marked(91, 4)], first=4)
    data = sequences(config(path, stride=3, hop=1))
    train, held = numbers(data, "train"), numbers(data, "validation")
    assert (train % 3 == 0).all() and (train.diff(dim=1) == 3).all() and (held.diff(dim=1) == 3).all()
    assert train.min() == 6 and train.max() < held.min()


def test_some_nodes_in_the_order_wanted_and_joined_as_wanted(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", [walk(40)])
    given = config(path, nodes="tail-tip, head", edges="thorax-head,thorax-tail-tip, head-left wing")
    data = sequences(given)
    assert data.features.skeleton.nodes == ("tail-tip", "head")
    assert data.features.skeleton.edges == ()
    data = sequences(config(path, edges="thorax-head,thorax-tail-tip, head-left wing"))
    assert data.features.skeleton.edges == ((1, 0), (1, 3), (0, 2))
    assert frame_shape(given) == (4,)


def test_nodes_of_files_may_be_in_another_order(tmp_path: Path):
    points = walk(20)
    write_csv(tmp_path / "a.csv", [points])
    write_csv(tmp_path / "b.csv", [points[:, ::-1]], nodes=NODES[::-1])
    data = sequences(config(tmp_path))
    firsts = [data.images(split, torch.tensor([0])) for split in ("train", "validation")]
    torch.testing.assert_close(*firsts)


@pytest.mark.parametrize("align", ["none", "start", "each"])
def test_the_shape_is_known_before_the_poses_are_read(tmp_path: Path, align: str):
    path = write_csv(tmp_path / "a.csv", [walk(40)])
    given = config(path, align=align, centre="thorax", heading="head")
    assert sequences(given).image_shape == frame_shape(given)


def test_a_border_is_as_near_as_a_brute_force_search_finds():
    source = np.random.default_rng(0)
    for _ in range(20):
        spans = [(int(source.integers(0, 50)), int(source.integers(5, 60))) for _ in range(4)] + [(0, 100)]
        length, hop, share = 6, int(source.integers(1, 5)), float(source.uniform(0.1, 0.5))

        def wrong(border: int, spans=spans, hop=hop, share=share) -> float:
            before = sum(clip_count(min(max(border - first, 0), size), 6, hop) for first, size in spans)
            after = sum(clip_count(size - min(max(border - first, 0), size), 6, hop) for first, size in spans)
            return abs(after / (before + after) - share) if before and after else np.inf

        found = shared_border(spans, length, hop, share, "flies")
        assert wrong(found) == min(map(wrong, range(120)))


def test_of_both_files_of_deeplabcut_one_is_read(tmp_path: Path):
    write_csv(tmp_path / "a.csv", [walk(9)])
    write_hdf5(tmp_path / "a.h5", [walk(9)])
    write_csv(tmp_path / "b.csv", [walk(9)])
    write_csv(tmp_path / ".c.csv", [walk(9)])
    (tmp_path / "a.mp4").touch()
    assert [path.name for path in find_poses(tmp_path)] == ["a.h5", "b.csv"]
    assert [path.name for path in find_poses(tmp_path / "a.csv")] == ["a.csv"]


@pytest.mark.parametrize("names", [("a.csv", "a_filtered.csv"), ("a.slp", "a.analysis.h5"), ("a.slp", "a.h5")])
def test_two_files_of_one_recording_are_refused(tmp_path: Path, names: tuple[str, str]):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="data.root: found .*, expected one file of each recording"):
        find_poses(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": "head,nose"}, "data.poses.nodes: found 'nose', expected one of head, thorax"),
        ({"nodes": "head,head"}, "nodes: found"),
        ({"edges": "head-nose"}, "data.poses.edges: found 'head-nose', expected NAME-NAME of head"),
        ({"edges": "head"}, "data.poses.edges: found 'head'"),
        ({"align": "start", "centre": "nose", "heading": "head"}, "data.poses.centre: found 'nose'"),
        ({"align": "start", "centre": "head", "heading": "head"}, "data.poses.heading: found 'head', expected another"),
        ({"align": "each", "centre": "head", "heading": "thorax", "nodes": "head"}, "data.poses.heading"),
        ({"confidence": 0.95}, "a.csv: found 'none', expected an animal that is followed for 5 frames"),
        ({"stride": 5}, "a.csv: found 'too few', expected frames for a clip of 5"),
    ],
)
def test_settings_that_do_not_fit_the_files_are_one_line(tmp_path: Path, options: dict, said: str):
    path = write_csv(tmp_path / "a.csv", [walk(40)])
    with pytest.raises(UserError) as caught:
        sequences(config(path, **options))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_files_with_other_nodes_are_named(tmp_path: Path):
    write_csv(tmp_path / "a.csv", [walk(20)])
    write_csv(tmp_path / "b.csv", [walk(20)[:, :2]], nodes=NODES[:2])
    with pytest.raises(UserError, match="b.csv: found 'no node left wing, tail-tip', expected those of the first file"):
        sequences(config(tmp_path))


def test_nothing_to_read_is_one_line(tmp_path: Path):
    for root, said in ((None, "found none"), (tmp_path / "nowhere", "found nothing at"), (tmp_path, "no poses in")):
        with pytest.raises(UserError, match=f"data.root: found.*{said.removeprefix('found ')}"):
            sequences(config(root))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"align": "start"}, "data.poses.centre: found ''"),
        ({"align": "each", "centre": "a"}, "data.poses.heading: found ''"),
        ({"confidence": -1.0}, "data.poses.confidence"),
        ({"confidence": float("nan")}, "data.poses.confidence"),
        ({"stride": 0}, "data.poses.stride"),
        ({"hop": -1}, "data.poses.hop"),
        ({"validation": 1.0}, "data.poses.validation"),
    ],
)
def test_settings_out_of_range_are_one_line(options: dict, said: str):
    with pytest.raises(UserError, match=said):
        config(Path("a.csv"), **options)
