from __future__ import annotations

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from pose_tools import NODES, columns, walk, write_csv, write_hdf5

from ffrl.core.errors import UserError
from ffrl.data.poses.deeplabcut import read_deeplabcut, skeleton_of, strings
from ffrl.data.poses.files import read_poses


@pytest.mark.parametrize("write", [write_csv, write_hdf5])
@pytest.mark.parametrize("animals", [(), ("mouse 1", "mouse 2")])
def test_what_was_written_is_read(tmp_path: Path, write, animals: tuple[str, ...]):
    points = [walk(7, seed) for seed in range(max(1, len(animals)))]
    path = write(tmp_path / ("a.csv" if write is write_csv else "a.h5"), points, animals)
    (found,) = read_poses(path)
    assert found.skeleton.nodes == NODES == skeleton_of(path).nodes
    assert [one.name for one in found.tracks] == list(animals or ("animal",))
    for one, expected in zip(found.tracks, points, strict=True):
        np.testing.assert_array_equal(one.points, expected)
        assert one.first == 0 and (one.scores == 0.9).all()


def test_frames_that_are_not_there_are_missing(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", [walk(5)], first=40)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5] + lines[6:]))
    (one,) = read_deeplabcut(path).tracks
    assert one.first == 40 and np.isnan(one.points).all((1, 2)).tolist() == [False, False, True, False, False]


def test_nothing_between_commas_is_missing(tmp_path: Path):
    points = walk(4)
    points[2, 1] = np.nan
    (one,) = read_deeplabcut(write_csv(tmp_path / "a.csv", [points])).tracks
    np.testing.assert_array_equal(one.points, points)


def test_scores_may_be_missing(tmp_path: Path):
    lines = ["scorer,me,me", "bodyparts,nose,nose", "coords,x,y", "0,1,2", "1,3,4"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    (one,) = read_deeplabcut(tmp_path / "a.csv").tracks
    assert one.points.tolist() == [[[1, 2]], [[3, 4]]] and np.isnan(one.scores).all()


def test_points_that_are_there_once_are_no_animal(tmp_path: Path):
    path = write_csv(tmp_path / "a.csv", [walk(4), walk(4, 1)], ("mouse", "single"))
    assert [one.name for one in read_deeplabcut(path).tracks] == ["mouse"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found '' in its first line"),
        ("x,y\n1,2\n", "found 'x,y' in its first line"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\n", "no frames"),
        ("scorer,me,me\nbodyparts,a\ncoords,x,y\n0,1,2\n", "in its first line"),
        (
            "scorer,me,me\nbodyparts,a,a\ncoords,x,y\nlabeled-data/v/img1.png,1,2\n",
            "line 4: found 'labeled-data/v/img1",
        ),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\n0,1\n", "line 4: found '0,1'"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\n0,1,two\n", "line 4: found could not convert"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\n0,1,2\n0,1,2\n", "a frame twice"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,x\n0,1,2\n", "a column twice"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,likelihood\n0,1,2\n", "no y"),
        ("scorer,me,me,me\nbodyparts,a,a,a\ncoords,x,y,z\n0,1,2,3\n", "coords: found 'z'"),
    ],
)
def test_other_tables_are_refused_in_one_line(tmp_path: Path, text: str, said: str):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_poses(path)
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_animals_have_the_same_points(tmp_path: Path):
    text = "scorer,me,me,me,me\nindividuals,a,a,b,b\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n0,1,2,3,4\n"
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match="b: found 'tail', expected nose, as of a"):
        read_deeplabcut(tmp_path / "a.csv")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_names_are_read_of_every_protocol(protocol: int):
    names = columns(("mouse 1", "mouse 2"))
    assert strings(pickle.dumps(names, protocol), "a.h5") == names


class Trap:
    """What runs a command where it is unpickled."""

    def __reduce__(self):
        return os.system, ("false",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_that_is_pickled_is_run(tmp_path: Path, protocol: int, monkeypatch: pytest.MonkeyPatch):
    kind = pickle.dumps([("me", "nose", Trap())], protocol)
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("it was run"))
    path = write_hdf5(tmp_path / "a.h5", [walk(3)], kind=kind)
    with pytest.raises(UserError, match="a.h5: found a pickle with"):
        read_poses(path)


@pytest.mark.parametrize("kind", [b"", b"(lp0\n", b"(lp0\ng7\na.", b"N.", pickle.dumps(["x"], 0), pickle.dumps("x", 0)])
def test_damaged_names_are_one_line(tmp_path: Path, kind: bytes):
    path = write_hdf5(tmp_path / "a.h5", [walk(3)], kind=kind)
    with pytest.raises(UserError, match="a.h5") as caught:
        read_poses(path)
    assert "\n" not in str(caught.value)


def test_tables_of_pandas_are_read(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    values = np.random.default_rng(0).random((6, len(columns(("a", "b")))))
    levels = pandas.MultiIndex.from_tuples(columns(("a", "b")), names=["scorer", "individuals", "bodyparts", "coords"])
    frame = pandas.DataFrame(values, columns=levels)
    frame.to_hdf(tmp_path / "a.h5", key="df_with_missing", format="table", mode="w")
    frame.to_csv(tmp_path / "a.csv")
    for name in ("a.h5", "a.csv"):
        found = read_deeplabcut(tmp_path / name)
        whole = np.concatenate(
            [np.r_["-1", one.points, one.scores[..., None]].reshape(6, -1) for one in found.tracks], 1
        )
        np.testing.assert_array_equal(whole, values)


def test_tables_in_other_files_or_not_stored_are_refused(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "b.h5", [walk(8)])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["df_with_missing"] = h5py.ExternalLink("b.h5", "df_with_missing")
    with pytest.raises(UserError, match="a.h5: df_with_missing: found a link to b.h5"):
        read_poses(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        kind, table = dict(file["df_with_missing/table"].attrs), file["df_with_missing/table"].dtype
        del file["df_with_missing/table"]
        file["df_with_missing"].create_dataset("table", (2**33,), table, chunks=(8,))[:8] = 0
        file["df_with_missing/table"].attrs.update(kind)
    with pytest.raises(UserError, match="b.h5: df_with_missing/table: found 1 of 1,073,741,824 chunks"):
        read_poses(tmp_path / "b.h5")


def test_long_names_make_no_long_messages(tmp_path: Path) -> None:
    long = "x" * 5000
    path = write_csv(tmp_path / "a.csv", [walk(8), walk(8)], ("a", "b"))
    lines = path.read_text().replace(",head,head,head", f",{long},head,head", 1)
    path.write_text(lines)
    with pytest.raises(UserError) as error:
        read_poses(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 700 + len(str(path))
