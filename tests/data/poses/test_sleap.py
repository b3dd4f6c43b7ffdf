from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from pose_tools import NODES, config, walk

from ffrl.core.errors import UserError
from ffrl.data.poses.files import frame_shape, read_poses, sequences, skeleton_of

EDGES = ((1, 0), (1, 2), (1, 3))


def save(
    path: Path, animals: dict[str | None, np.ndarray], corrected: dict[tuple[str | None, int], np.ndarray] | None = None
) -> Path:
    """A file of SLEAP with predicted poses by their track, and poses that somebody has corrected."""
    sleap = pytest.importorskip("sleap_io")
    skeleton = sleap.Skeleton(nodes=list(NODES), edges=list(EDGES))
    tracks = {name: sleap.Track(name) if name else None for name in animals}
    video = sleap.Video("walk.mp4", open_backend=False)
    frames = []
    for number in range(max(map(len, animals.values()))):
        poses = []
        for name, points in animals.items():
            for part in points[number].reshape(-1, len(NODES), 2) if number < len(points) else ():
                scores = np.linspace(0.1, 0.9, len(NODES))
                options = dict(skeleton=skeleton, track=tracks[name], point_scores=scores, score=0.5)
                if not np.isnan(part).all():
                    poses.append(sleap.PredictedInstance.from_numpy(part, **options))
            if (name, number) in (corrected or {}):
                own = corrected[name, number]
                poses.append(sleap.Instance.from_numpy(own, skeleton=skeleton, track=tracks[name]))
        frames.append(sleap.LabeledFrame(video=video, frame_idx=number, instances=poses))
    labels = sleap.Labels(frames)
    if path.name.endswith(".slp"):
        sleap.save_slp(labels, str(path), embed=False)
    else:
        sleap.save_analysis_h5(labels, str(path))
    return path


@pytest.mark.parametrize("name", ["walk.slp", "walk.analysis.h5"])
def test_what_was_written_is_read(tmp_path: Path, name: str):
    flies = {"a": walk(6), "b": walk(4, 1)}
    flies["a"][2, 3], flies["a"][4] = np.nan, np.nan
    path = save(tmp_path / name, flies)
    (found,) = read_poses(path)
    assert found.name == name and found.loose == 0
    assert found.skeleton == skeleton_of(path)
    assert found.skeleton.nodes == NODES and found.skeleton.edges == EDGES
    for one in found.tracks:
        np.testing.assert_allclose(one.points, flies[one.name], atol=1e-9)
        assert one.first == 0
    known = ~np.isnan(found.tracks[0].scores[0])
    np.testing.assert_allclose(found.tracks[0].scores[0][known], np.linspace(0.1, 0.9, 4)[known])


def test_a_file_that_does_not_say_its_format_is_read(tmp_path: Path):
    flies = {"a": walk(6)}
    path = save(tmp_path / "new.slp", flies)
    with h5py.File(path, "r+") as file:
        rows = file["instances"][()]
        older = [name for name in rows.dtype.names if name != "tracking_score"]
        del file["metadata"].attrs["format_id"], file["instances"]
        file["instances"] = rows[older].astype([(name, rows.dtype[name]) for name in older])
    before = path.read_bytes()
    (found,) = read_poses(path.rename(tmp_path / "old.h5"))
    np.testing.assert_allclose(found.tracks[0].points, flies["a"] - 0.5, atol=1e-9)  # a pixel then began at 0
    assert (tmp_path / "old.h5").read_bytes() == before


def test_a_corrected_pose_stands_for_the_predicted_one_and_is_trusted(tmp_path: Path):
    own = walk(1, 9)[0]
    path = save(tmp_path / "a.slp", {"a": walk(3), "b": walk(3, 1)}, {("a", 1): own})
    first, second = read_poses(path)[0].tracks
    np.testing.assert_allclose(first.points[1], own)
    assert np.isnan(first.scores[1]).all() and not np.isnan(second.scores).any()


def test_one_animal_needs_no_tracks(tmp_path: Path):
    path = save(tmp_path / "a.slp", {None: walk(5)})
    (one,) = read_poses(path)[0].tracks
    np.testing.assert_allclose(one.points, walk(5))


def test_several_animals_do(tmp_path: Path):
    path = save(tmp_path / "a.slp", {None: np.stack([walk(5), walk(5, 1)], 1)})
    with pytest.raises(UserError, match=r"a\.slp: found '2 poses without a track in frame 0', expected tracks"):
        read_poses(path)


def test_poses_of_no_track_are_counted(tmp_path: Path):
    path = save(tmp_path / "a.slp", {"a": walk(30), None: walk(2, 1)})
    data = sequences(config(path))
    assert read_poses(path)[0].loose == 2
    assert data.about.endswith(", 2 poses left out that belong to no track")


def test_clips_keep_the_skeleton(tmp_path: Path):
    path = save(tmp_path / "a.slp", {"a": walk(60)})
    options = dict(align="start", centre="thorax", heading="head", nodes="head,thorax,tail-tip")
    data = sequences(config(path, **options))
    assert frame_shape(config(path, **options)) == data.image_shape == (6,)
    assert data.features is not None and data.features.skeleton is not None
    assert data.features.skeleton.edges == ((1, 0), (1, 2))
    first = data.mixed("validation", torch.arange(data.size("validation"))).frames[:, 0]
    torch.testing.assert_close(first[:, [2, 3, 1]], torch.zeros(len(first), 3, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["a.slp", "a.h5"])
def test_damaged_files_are_one_line(tmp_path: Path, name: str):
    pytest.importorskip("sleap_io")
    path = tmp_path / name
    path.write_bytes(b"no file of SLEAP")
    with pytest.raises(UserError, match=rf"{name}: found damaged data") as caught:
        read_poses(path)
    assert "\n" not in str(caught.value)


def test_other_files_in_hdf5_are_one_line(tmp_path: Path):
    pytest.importorskip("sleap_io")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("metadata")
    with pytest.raises(UserError, match=r"a\.h5: found damaged data") as caught:
        read_poses(tmp_path / "a.h5")
    assert "\n" not in str(caught.value)


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    path = tmp_path / "a.slp"
    path.touch()
    with pytest.raises(UserError) as caught:
        read_poses(path)
    assert str(caught.value) == (
        f"{path}: found no package sleap-io, expected it for files of SLEAP: "
        "pip install 'sparse-transformation-flow[poses]'"
    )
