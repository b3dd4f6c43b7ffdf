"""Vectors in files: every kind gives the same numbers, and everything else is one line that names the file."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from vector_tools import walks

from ffrl.config import DataConfig, VectorsConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.catalogue import image_shape, transformations
from ffrl.data.vectors.files import find_tables, periods, read_table, recordings_in

VALUES = walks(1, 30, missing=0.1)[0]
NAMES = ("x", "y", "heading")


def config(root: Path, steps: int = 4, **options) -> DataConfig:
    return DataConfig(name="vectors", root=root, num_steps=steps, vectors=VectorsConfig(**options))


def frames(data, split: str = "train") -> torch.Tensor:
    return data.mixed(split, torch.arange(data.size(split))).frames


def cells(values: np.ndarray, mark: str = ",") -> str:
    return "".join(mark.join("" if value != value else repr(float(value)) for value in row) + "\n" for row in values)


def write(path: Path, values: np.ndarray = VALUES, names=NAMES, **beside) -> Path:
    """A file of the kind that its name says."""
    if path.suffix == ".csv":
        path.write_text(",".join(names) + "\n" * bool(names) + cells(values))
    elif path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, values=values, features=np.array(names), **beside)
    else:
        with h5py.File(path, "w") as file:
            file["values"], file["features"] = values, list(names)
            for name, value in beside.items():
                file[name] = value
    return path


def refused(path: Path, message: str, *columns: str) -> None:
    """Assert that a file cannot be read, in one line that begins with it."""
    with pytest.raises(UserError) as raised:
        read_table(path, columns)
    text = str(raised.value)
    assert text.startswith(f"{path}: ") and "\n" not in text, text
    assert message in text, text


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".h5", ".hdf5"])
def test_every_kind_of_file_gives_the_same_numbers(tmp_path: Path, suffix: str) -> None:
    table = read_table(write(tmp_path / f"a{suffix}"))
    assert table.values.dtype == torch.float64 and np.array_equal(table.values, VALUES, equal_nan=True)
    assert table.names == (NAMES if suffix != ".npy" else ("feature 1", "feature 2", "feature 3"))
    assert table.activity is None and table.transformations == ()
    last = table.names[2], table.names[0]
    some = read_table(tmp_path / f"a{suffix}", last)
    assert some.names == last and np.array_equal(some.values, VALUES[:, [2, 0]], equal_nan=True)
    assert image_shape(config(tmp_path)) == (3,) and image_shape(config(tmp_path, columns=last[0])) == (1,)
    data = load(config(tmp_path, columns=",".join(last), periodic=f"{last[0]}=360"))
    assert data.features.described == (f"{last[0]} (period 360)", last[1]) and data.name == "vectors"


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_activity_stands_beside_the_values(tmp_path: Path, suffix: str) -> None:
    clips, speeds = walks(6), np.random.default_rng(0).random((6, 4, 2))
    write(tmp_path / f"a{suffix}", clips, activity=speeds, transformations=["turn", "grow"])
    assert transformations(config(tmp_path)) == ("turn", "grow")
    data = load(config(tmp_path, validation=0.5))
    assert data.transformations == ("turn", "grow") and data.size("train") == data.size("validation") == 3
    batch = data.mixed("train", torch.arange(3))
    for clip, g in zip(batch.frames, batch.activity, strict=True):
        (place,) = (place for place in range(6) if np.array_equal(clips[place], clip))
        assert np.array_equal(g, speeds[place].astype(np.float32))
    with pytest.raises(UserError, match="^data.vectors.stride: found 2, expected 1 where activity is known"):
        load(config(tmp_path, stride=2))


DIALECTS = {
    "commas": ("x,y\n1,2\n3,\n", 2),
    "a byte order mark": ("\ufeffx,y\n1,2\n3,\n", 2),
    "semicolons": ("x;y\n1;2\n3;\n", 2),
    "tabs": ("x\ty\n1\t2\n3\t\n", 2),
    "blanks": ("  x   y\n  1   2\n  3 nan\n", 2),
    "a commented line of names": ("# x,y\n1,2\n3,nan\n", 2),
    "a commented line of names, blanks": ("# x y\n1 2\n3 nan\n", 2),
    "quotes": ('"x","y"\n"1","2"\n"3",""\n', 2),
    "commas in names": ('"x, left",y\n1,2\n3,\n', 2),
    "blanks in names": ("pos x,pos y\n1,2\n3,\n", 2),
    "line ends in names": ('"x\nm",y\n1,2\n3,\n', 2),
    "semicolons in names": ('"x; m",y\n1,2\n3,\n', 2),
    "carriage returns": ("x,y\r\n1,2\r\n3,\r\n", 2),
    "old line ends": ("x,y\r1,2\r3,\r", 2),
    "blank lines": ("\nx,y\n\n1,2\n3,\n\n\n", 2),
    "no last line end": ("x,y\n1,2\n3,NA", 2),
    "words for what is missing": ("x,y\n1,2\n3,NaN\nnull,N/A\n,None\n", 4),
    "a line without values": ("x,y\n1,2\n,\n3,\n", 3),
    "exponents": ("x,y\n1e0,+2.0\n.3E1,\n", 2),
}


@pytest.mark.parametrize("text, lines", DIALECTS.values(), ids=DIALECTS)
def test_tables_of_many_programs(tmp_path: Path, text: str, lines: int) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    values, names = read_table(path).values, read_table(path).names
    assert values.shape == (lines, 2) and len(names) == 2 and names[1].endswith("y") and names[0][-1] in "xtm"
    known = values[~values.isnan().all(1)]
    assert known[:, 0].tolist() == [1, 3] and known[0, 1] == 2 and known[1, 1].isnan()


@pytest.mark.parametrize(
    "text, expected, names",
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]], ("feature 1", "feature 2")),
        ("1.5\n2.5\n", [[1.5], [2.5]], ("feature 1",)),
        ("x\n1\n2\n", [[1], [2]], ("x",)),
        ("Na,K\n1,2\n3,4\n", [[1, 2], [3, 4]], ("Na", "K")),
        ("x_1,1_2\n1,2\n", [[1, 2]], ("x_1", "1_2")),
        ('"1,5","2"\n', None, None),
    ],
)
def test_the_first_line_is_one_of_names_unless_it_has_a_number(tmp_path: Path, text: str, expected, names) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    if expected is None:
        return refused(path, "line 1: found '1,5' beside '2', expected a line of names")
    assert read_table(path).values.tolist() == expected and read_table(path).names == names


BAD = {
    "empty": ("", "found no lines, expected a table of numbers"),
    "blank": ("\n\n", "found no lines, expected a table of numbers"),
    "names alone": ("x,y\n", "found a line of names alone, expected lines of numbers"),
    "ragged": ("x,y\n1,2\n3\n", "line 3: found 1 value, expected 2, as in the first line"),
    "longer": ("x,y\n1,2\n3,4,5\n", "line 3: found 3 values, expected 2"),
    "text": ("x,y\n1,2\n3,left\n", "line 3: found 'left', expected a number"),
    "decimal commas": ("x;y\n1,5;2,5\n", "line 2: found '1,5', expected a number"),
    "dates": ("day,x\n2020-02-03,1\n", "line 2: found '2020-02-03', expected a number, nothing if it is missing, or"),
    "dates without names": (
        "2020-02-03,1\n2020-02-04,2\n",
        "line 1: found '2020-02-03' beside '1', expected a line of",
    ),
    "one name twice": ("x,y,x\n1,2,3\n", "found several columns called 'x', expected different names"),
    "an index without a name": (",x\n0,1\n1,2\n", "found no name for column 1, expected a name for each, or those"),
    "a comma at the end": ("x,y,\n1,2,\n3,4,\n", "found no name for column 3"),
    "a long cell": ("x,y\n" + "1" * 140000 + ",2\n", "field larger than field limit"),
    "underscores": ("x,y\n1_000,2\n", "line 2: found '1_000', expected a number"),
    "quotes that never end": ('x,y\n"1,2\n3,4\n', "line 3: found 1 value, expected 2"),
}


@pytest.mark.parametrize("text, message", BAD.values(), ids=BAD)
def test_what_is_no_table_of_numbers_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    refused(path, message)


def test_names_in_another_order_are_refused_and_arrays_have_them_by_position(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("z,x,y\n1,2,3\n4,5,6\n")
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    with pytest.raises(UserError, match="a.csv: found features z, x, y, expected x, y, z"):
        recordings_in(tmp_path / "a.csv", VectorsConfig(), ("x", "y", "z"))
    (one,) = recordings_in(tmp_path / "a.csv", VectorsConfig(columns="x,y,z"), ("x", "y", "z"))
    assert one.values.tolist() == [[2, 3, 1], [5, 6, 4]]
    assert recordings_in(tmp_path / "a.npy", VectorsConfig(), ("x", "y", "z"))[0].values[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_one_line(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("é,y\n1,2\n".encode(encoding))
    refused(path, "expected a table of numbers as text in UTF-8")


def test_columns_that_are_not_taken_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('day,"x, m",y,y,\n2020-02-03,1,left,2,\n2020-02-04,3,,,\n')
    assert read_table(path, ["x, m"]).values.tolist() == [[1], [3]]
    refused(path, "found several columns called 'y'", "y", "x, m")
    walk = tmp_path / "walk.csv"
    walk.write_text('day,"x, m",y\n' + "".join(f"2020,{step**2},{step}\n" for step in range(20)))
    data = load(config(walk, columns='y, "x, m"', periodic='"x, m=360"'))
    assert data.features.described == ("y", "x, m (period 360)")
    for options, message in (
        ({"columns": "y,z"}, "data.vectors.columns: found 'z', expected names of columns: day, x, m, y"),
        ({"columns": "y,y"}, "data.vectors.columns: found ['y', 'y'], expected each name once"),
        ({"columns": "y", "periodic": "day"}, "data.vectors.periodic: found 'day', expected one of y"),
        ({"columns": "y", "periodic": "y=-1"}, "data.vectors.periodic: found 'y=-1', expected NAME, or NAME=PERIOD"),
    ):
        with pytest.raises(UserError) as raised:
            load(config(walk, **options))
        assert str(raised.value).startswith(message)


@pytest.mark.parametrize("text", ["x=0", "x=-360", "x=nan", "x=inf", "x=left", "x=", "x,x", "x=1,x=2"])
def test_periods_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="^data.vectors.periodic: found "):
        periods(text)


def test_periods_are_in_radians_unless_they_are_given() -> None:
    assert periods("a, b=360,c=d=2") == {"a": 2 * np.pi, "b": 360.0, "c=d": 2.0} and periods("") == {}


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_that_is_read_is_executed(tmp_path: Path) -> None:
    trap, sprung = Trap(tmp_path / "sprung"), tmp_path / "sprung"
    objects = np.array([[trap, trap]], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(trap))
    np.savez(tmp_path / "c.npz", values=objects)
    np.savez(tmp_path / "d.npz", values=VALUES, features=np.array([trap, 1, 2], dtype=object))
    np.savez(tmp_path / "e.npz", values=VALUES, activity=objects)
    (tmp_path / "f.npz").write_bytes(pickle.dumps(trap))
    (tmp_path / "g.csv").write_bytes(pickle.dumps(trap))
    (tmp_path / "h.h5").write_bytes(pickle.dumps(trap))
    paths = find_tables(tmp_path)
    assert len(paths) == 8
    for path in paths:
        refused(path, "found ")
    assert not sprung.exists()


def arrays_that_are_none(folder: Path) -> dict[Path, str]:
    """Files with what is said of them."""
    one, two = VALUES, {"a": VALUES, "b": VALUES}
    made: dict[str, tuple[object, str]] = {
        "complex.npy": (one + 1j, "found values of type complex128, expected numbers"),
        "text.npy": (np.array([["1", "2"]]), "found values of type <U1, expected numbers"),
        "records.npy": (np.zeros(4, [("x", "f8"), ("y", "f8")]), "found values of type [('x', '<f8'), ('y', '<f8')]"),
        "line.npy": (one[:, 0], "found shape (30,), expected (S, F) or (N, T+1, F)"),
        "scalar.npy": (np.float64(3), "found shape (), expected"),
        "images.npy": (np.zeros((2, 3, 4, 4)), "found shape (2, 3, 4, 4), expected"),
        "rows.npy": (np.zeros((0, 3)), "found shape (0, 3), expected"),
        "columns.npy": (np.zeros((3, 0)), "found shape (3, 0), expected"),
        "several.npz": (two, "found 'arrays a, b', expected one called 'values', or only one"),
        "nothing.npz": ({"features": one}, "found 'arrays none', expected one called 'values'"),
        "names.npz": ({"values": one, "features": ["x"]}, "found 1 names of features, expected 3, one for each column"),
        "twice.npz": ({"values": one, "features": ["x", "x", "y"]}, "found several columns called 'x'"),
        "speeds.npz": ({"values": one, "activity": one[:, :1]}, "activity: found shape (30, 1), expected (29, J)"),
        "turns.npz": (
            {"values": one, "activity": np.zeros((29, 3)), "transformations": ["turn"]},
            "transformations: found ['turn'], expected 3 different names",
        ),
        "several.h5": (two, "found 'arrays a, b', expected one called 'values'"),
        "speeds.h5": ({"values": one, "activity": one[1:] * np.nan}, "activity: found 87 values that are not finite"),
    }
    for name, (value, _) in made.items():
        path = folder / name
        if path.suffix == ".npy":
            np.save(path, value)
        elif path.suffix == ".npz":
            np.savez(path, **value)
        else:
            with h5py.File(path, "w") as file:
                file.update(value)
    whole = write(folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.npy").write_bytes(write(folder / "whole.npy").read_bytes()[:-9])
    (folder / "packed.npy").write_bytes(whole)
    (folder / "empty.npy").touch()
    (folder / "empty.h5").touch()
    with h5py.File(folder / "nothing.h5", "w") as file:
        file["values"] = h5py.Empty("f8")
    others = dict.fromkeys(("cut.npz", "cut.npy", "packed.npy"), "found damaged data")
    others |= dict.fromkeys(("empty.npy", "empty.h5"), "found an empty file")
    others |= {"nothing.h5": "found values of type object"}
    return {folder / name: text for name, (_, text) in made.items()} | {folder / name: others[name] for name in others}


def test_files_of_other_things_are_one_line(tmp_path: Path) -> None:
    for path, message in arrays_that_are_none(tmp_path).items():
        refused(path, message)


def test_all_files_of_a_folder_in_natural_order_each_once(tmp_path: Path) -> None:
    for name in ("walk10.csv", "walk9.npy", ".hidden.csv", "notes.txt", "deep/er/WALK.CSV", ".cache/walk.csv"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (write(path) if path.suffix != ".txt" else path).touch()
    root = tmp_path / "data"
    write(tmp_path / "elsewhere.csv")
    (root / "again.csv").symlink_to(root / "walk10.csv")
    (root / "far.csv").symlink_to(tmp_path / "elsewhere.csv")
    (root / "round").symlink_to(root)
    (root / "broken.csv").symlink_to(tmp_path / "nothing.csv")
    (root / "itself.csv").symlink_to(root / "itself.csv")
    found = [str(path.relative_to(root)) for path in find_tables(root)]
    os.mkfifo(root / "pipe.csv")
    assert found == [str(path.relative_to(root)) for path in find_tables(root)], "files alone"
    assert found == ["again.csv", "deep/er/WALK.CSV", "far.csv", "walk9.npy"]
    assert find_tables(root / ".hidden.csv") == [root / ".hidden.csv"], "if it is asked for"
    for path, message in (
        (tmp_path / "nothing", "data.root: found nothing at .*nothing, expected a file of vectors"),
        (root / "notes.txt", "data.root: found 'no vectors in .*notes.txt', expected a file of vectors"),
        (root / "pipe.csv", "data.root: found 'no file .*pipe.csv', expected a file of vectors"),
        (root / "deep" / "er" / "..", None),
    ):
        if message is None:
            assert len(find_tables(path)) == 1
        else:
            with pytest.raises(UserError, match=message):
                find_tables(path)


def test_what_cannot_be_opened_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.csv")

    def denied(path: Path, *options: object, **named: object):
        raise PermissionError(13, "Permission denied", str(path))

    for method in ("open", "iterdir"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, denied)
            with pytest.raises(UserError, match=r"^cannot read .*: Permission denied$"):
                load(config(tmp_path))


def test_files_of_a_folder_have_to_be_alike(tmp_path: Path) -> None:
    def failing(first: Path, second: Path, message: str, **options) -> None:
        with pytest.raises(UserError, match=message) as raised:
            load(config(tmp_path, **options))
        assert str(raised.value).startswith(f"{second}: ") and str(raised.value).endswith(f", as in {first}")
        first.unlink()
        second.unlink()

    speeds = np.ones((29, 1))
    failing(
        write(tmp_path / "a.csv"),
        write(tmp_path / "b.csv", VALUES[:, [1, 0, 2]], ("y", "x", "heading")),
        "found columns y, x, heading, expected x, y, heading",
    )
    failing(write(tmp_path / "a.npy"), write(tmp_path / "b.npy", VALUES[:, :2]), "found columns feature 1, feature 2, ")
    failing(write(tmp_path / "a.npy", VALUES[:, :2]), write(tmp_path / "b.npy"), "feature 3, expected feature 1, fea")
    failing(write(tmp_path / "a.csv"), write(tmp_path / "b.npy"), "found columns feature 1, .*, expected x, y, heading")
    failing(
        write(tmp_path / "a.npz", activity=speeds),
        write(tmp_path / "b.npz"),
        "found activity of nothing known, expected transformation 1",
    )
    failing(
        write(tmp_path / "a.npz", activity=speeds, transformations=["turn"]),
        write(tmp_path / "b.npz", activity=speeds, transformations=["grow"]),
        "found activity of grow, expected turn",
    )
    write(tmp_path / "a.csv")
    write(tmp_path / "b.npz", VALUES[:, [2, 0, 1]], ("heading", "x", "y"))
    data = load(config(tmp_path, columns="x,y", hop=1))
    both = torch.cat([frames(data), frames(data, "validation")])
    assert data.features.names == ("x", "y") and torch.equal(both[:26].nan_to_num(), both[26:].nan_to_num())


def test_every_nth_vector(tmp_path: Path) -> None:
    values = np.arange(80.0).reshape(40, 2)
    data = load(config(write(tmp_path / "a.npy", values), steps=2, stride=3, hop=1))
    assert frames(data)[0].tolist() == [[0, 1], [6, 7], [12, 13]] and data.size("train") + data.size("validation") == 10
    with pytest.raises(UserError, match="^a.npy: found '1 vectors', expected at least 3, a clip of T"):
        load(config(tmp_path / "a.npy", steps=2, stride=50))
    with pytest.raises(UserError, match="^a.npy: found one recording with 40 frames, expected at least 42"):
        load(config(tmp_path / "a.npy", steps=20))


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ffrl.data.vectors.files as files

    read = []
    monkeypatch.setattr(files, "read_table", lambda path, columns: read.append(path) or read_table(path, columns))
    chosen = config(write(tmp_path / "a.csv"))
    assert (image_shape(chosen), transformations(chosen), load(chosen).image_shape) == ((3,), (), (3,))
    assert len(read) == 1
    write(tmp_path / "a.csv", VALUES[:, :2], NAMES[:2])
    assert image_shape(chosen) == (2,), "it has changed"


def test_many_features_and_many_lines(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(200, 500)).round(3)
    wide = write(tmp_path / "a.csv", values, [f"sensor {place}" for place in range(500)])
    assert np.array_equal(read_table(wide).values, values)
    (tmp_path / "b.csv").write_text("x\n" + "1\n2\n" * 50_000)
    assert read_table(tmp_path / "b.csv").values.shape == (100_000, 1)


def test_values_that_are_promised_and_not_there_take_no_memory(tmp_path: Path) -> None:
    promised = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 3)}
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, promised)
        file.write(bytes(240))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(tmp_path / "a.npy", "values.npy")
    for name in ("a.npy", "a.npz: values"):
        with pytest.raises(UserError, match=rf"{name}: found damaged data \(240 bytes of values\), expected 26,388"):
            read_table(tmp_path / name.partition(":")[0])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("values", (2**33, 3), "f8", chunks=(16, 3))[:16] = 1
    with pytest.raises(UserError, match="a.h5: values: found 1 of 536,870,912 chunks of an array stored"):
        read_table(tmp_path / "a.h5")


def test_links_of_hdf5_lead_to_no_other_file(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["values"] = VALUES if name == "b.h5" else h5py.ExternalLink("b.h5", "values")
    assert read_table(tmp_path / "b.h5").values.shape == (30, 3)
    with pytest.raises(UserError, match="a.h5: values: found a link to b.h5, expected the array in the file itself"):
        read_table(tmp_path / "a.h5")
