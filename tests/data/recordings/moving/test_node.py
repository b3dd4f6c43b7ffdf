"""Windows around a point of an animal: its poses are read beside the recording, frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recording_tools import settings

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.moving.following import following
from ffrl.data.recordings.moving.node import way_of


def save_poses(path: Path, animals: dict[str, dict[int, tuple[float, float]]]) -> None:
    """A file of DeepLabCut with the points ``tail``, always at 0, and ``nose``, at x and y by frame, of animals."""
    head = [["scorer"], ["individuals"], ["bodyparts"], ["coords"]]
    for name in animals:
        for part in ("tail", "nose"):
            for coord in ("x", "y", "likelihood"):
                for row, word in zip(head, ("DLC", name, part, coord), strict=True):
                    row.append(word)
    rows = []
    for frame in range(1 + max(max(places) for places in animals.values())):
        row = [str(frame)]
        for places in animals.values():
            place = places.get(frame)
            row += ["0", "0", "0.9", *(("", "", "") if place is None else (str(place[0]), str(place[1]), "0.9"))]
        rows.append(row)
    path.write_text("".join(",".join(row) + "\n" for row in [*head, *rows]))


def frames_of(count: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 20, 30, 3), dtype=np.uint8)


def test_the_way_is_that_of_the_animal_that_is_seen_most(tmp_path: Path) -> None:
    seen = {frame: (3.0 + frame, 5.0) for frame in range(20) if frame != 7}
    save_poses(tmp_path / "a.csv", {"one": {frame: (1.0, 1.0) for frame in range(9)}, "two": seen})
    way = way_of(tmp_path / "a.mp4", "nose", np.arange(0, 24, 1))
    assert way[3].tolist() == [5.0, 6.0] and np.flatnonzero(np.isnan(way[:, 0])).tolist() == [7, 20, 21, 22, 23]
    assert way_of(tmp_path / "a.mp4", "nose", np.arange(0, 20, 4))[:, 1].tolist() == [3.0, 7.0, 11.0, 15.0, 19.0]


@pytest.mark.parametrize("stride", [1, 3])
def test_windows_are_around_the_point(tmp_path: Path, stride: int) -> None:
    frames = frames_of()
    np.save(tmp_path / "a.npy", frames)
    save_poses(tmp_path / "a.csv", {"one": {frame: (4.0 + frame, 9.0) for frame in range(30)}})
    config = ClipsConfig(follow=7, follow_node="nose", follow_smooth=0.0, stride=stride)
    shown = list(following(tmp_path / "a.npy", config))
    assert len(shown) == len(range(0, 30, stride))
    for number, one in zip(range(0, 30, stride), shown, strict=True):
        left = min(1 + number, 23)
        assert np.array_equal(one.frame, frames[number, 6:13, left : left + 7])


def test_other_poses_are_prepared_anew(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    np.save(tmp_path / "r" / "a.npy", frames_of())
    found = []
    for x in (10.0, 20.0):
        save_poses(tmp_path / "r" / "a.csv", {"one": dict.fromkeys(range(30), (x, 10.0))})
        config = settings(tmp_path / "r", follow=10, follow_node="nose", size=10)
        found.append(ClipSequences(config).read(ClipSequences(config).parts["train"][:1], [0]).frames)
    wanted = [frames_of()[0, 6:16, left : left + 10].transpose(2, 0, 1) / 255 for left in (6, 16)]
    assert all(np.allclose(one[0, 0], true, atol=1e-6) for one, true in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("poses", "message"),
    [
        (None, r"a\.npy: found no file of poses beside it, expected one of a\.slp, a\.h5, a\.csv \(--data\.sequences"),
        ({"one": {3: (4.0, 4.0)}}, r"data\.sequences\.follow-node: found 'thorax', expected one of tail, nose, as in "),
        ("scorer,x\n", r"a\.csv: found 'scorer,x' in its first line, expected poses as DeepLabCut's"),
    ],
)
def test_what_has_no_such_point_is_refused(tmp_path: Path, poses: object, message: str) -> None:
    (tmp_path / "r").mkdir()
    np.save(tmp_path / "r" / "a.npy", frames_of())
    if isinstance(poses, str):
        (tmp_path / "r" / "a.csv").write_text(poses)
    elif isinstance(poses, dict):
        save_poses(tmp_path / "r" / "a.csv", poses)
    with pytest.raises(UserError, match=message):
        ClipSequences(settings(tmp_path / "r", follow=8, follow_node="thorax"))
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_a_point_without_a_window_is_refused() -> None:
    for more in ({}, {"follow": 9, "fps": 5.0}):
        with pytest.raises(UserError, match=r"^data\.sequences\.follow-node: found 'nose', expected none, or a window"):
            ClipsConfig(follow_node="nose", **more)
