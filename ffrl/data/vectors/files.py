"""Vector sequences in files: .csv, .npy, .npz and HDF5; nothing read can execute code."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.config import DataConfig, VectorsConfig
from ffrl.core.errors import UserError, require
from ffrl.core.files import reporting
from ffrl.data.given import checked_activity
from ffrl.data.recordings.array_files import ACTIVITY, NAMES, damage_named
from ffrl.data.recordings.pictures import natural_key
from ffrl.data.vectors.sequences import Recording, VectorSequences, as_vectors

KINDS = (".csv", ".npy", ".npz", ".h5", ".hdf5")
VALUES, FEATURES = "values", "features"
"""The array of a file that holds several, and the names of its columns."""
MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
"""What a table says where a value is missing."""


class Table:
    """What a file of vectors holds.

    Args:
        path: the file.
        values: ``(S, F)`` or ``(N, S, F)``.
        names: of the columns, none if it has none.
        activity: true speeds, None if they are not known.
        transformations: their names.
    """

    def __init__(
        self,
        path: Path,
        values: NDArray[Any],
        names: Sequence[str] = (),
        activity: NDArray[Any] | None = None,
        transformations: Sequence[str] = (),
    ) -> None:
        self.path, self.values, self.names = path, values, tuple(names)
        self.activity, self.transformations = activity, tuple(transformations)

    def recordings(self, columns: Sequence[int], name: str) -> list[Recording]:
        """Its recordings, of some of its columns."""
        tensor = as_vectors(self.values, str(self.path), (2, 3))[..., list(columns)]
        speeds = None
        if self.activity is not None:
            shape = (*tensor.shape[:-2], tensor.shape[-2] - 1)
            speeds = checked_activity(self.activity, f"{self.path}: {ACTIVITY}", shape)
        if tensor.ndim == 2:
            return [Recording(tensor, speeds, name)]
        parts = [None] * len(tensor) if speeds is None else list(speeds)
        return [Recording(part, parts[place], f"{name}[{place}]") for place, part in enumerate(tensor)]


def find_tables(root: Path) -> list[Path]:
    """The file that ``root`` is, or all below it, in natural order; hidden ones are left out.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    expected = f"a file of vectors ({', '.join(KINDS)}), or a folder of them"
    with reporting("read", root):
        if not root.exists():
            raise UserError(f"data.root: found nothing at {root}, expected {expected}")
        found = sorted(root.rglob("*"), key=lambda path: natural_key(str(path))) if root.is_dir() else [root]
        paths = [
            path
            for path in found
            if path.suffix.lower() in KINDS
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        ]
    require(bool(paths), "data.root", f"no vectors in {root}", expected)
    return paths


def read_table(path: Path) -> Table:
    """What is in a file.

    Args:
        path: ``.csv`` with a line of names or without one; ``.npy``; or ``.npz`` and HDF5, of which the array
            ``values`` is read, or the only one, with ``features``, ``activity`` and ``transformations`` beside it.

    Raises:
        UserError: it cannot be read, is damaged, or holds no numbers.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.csv").write_text("x, y\\n1, 2\\n3,\\n")
        ...     table = read_table(Path(folder, "a.csv"))
        >>> table.names, table.values.tolist()
        (('x', 'y'), [[1.0, 2.0], [3.0, nan]])
    """
    suffix = path.suffix.lower()
    with reporting("read", path):
        if suffix == ".csv":
            return _from_csv(path)
        with damage_named(path):
            if suffix == ".npy":
                return Table(path, np.load(path, allow_pickle=False))
            return (_from_npz if suffix == ".npz" else _from_hdf5)(path)


def periods(texts: str) -> dict[str, float]:
    """Periods by name of features, from ``NAME`` (in radians) or ``NAME=PERIOD``, with commas between them.

    Raises:
        UserError: the period is no positive number.

    Example:
        >>> periods("heading=360,day=7")
        {'heading': 360.0, 'day': 7.0}
    """
    found = {}
    for text in _words(texts):
        name, equals, number = text.rpartition("=")
        try:
            period = float(number) if equals else 2 * math.pi
        except ValueError:
            period = math.nan
        require(0 < period < math.inf, "data.vectors.periodic", text, "NAME, or NAME=PERIOD with a positive period")
        found[name if equals else text] = period
    return found


def sequences(config: DataConfig, device: Any = "cpu") -> VectorSequences:
    """The vectors that ``config.root`` is or holds; ``device`` is ignored, batches are made on the CPU.

    Raises:
        UserError: none there, unreadable ones, or files that differ in their features.
    """
    if config.root is None:
        raise UserError("data.root: found none, expected a file of vectors or a folder of them")
    root, chosen = config.root, config.vectors
    tables = [read_table(path) for path in find_tables(root)]
    names, recordings = recordings_of(tables, chosen, root)
    title = f"vectors of {root.resolve().name}"
    split = (config.num_steps, chosen.hop, chosen.validation)
    known = tables[0].transformations if recordings[0].activity is not None else ()
    return VectorSequences(recordings, *split, names, periods(chosen.periodic), known, (), title, "vectors")


def recordings_of(
    tables: Sequence[Table], config: VectorsConfig, root: Path
) -> tuple[tuple[str, ...], list[Recording]]:
    """The names of the features that are taken, and the recordings of files.

    Args:
        tables: the files, all with the same columns.
        config: which columns, and which of their vectors.
        root: the file, or the folder of the files, from which on recordings are named.

    Raises:
        UserError: the files differ, or what they hold cannot be used.
    """
    names, columns = _columns(tables, _words(config.columns))
    recordings = []
    for table in tables:
        name = str(table.path.relative_to(root)) if table.path != root else root.name
        recordings += [_strided(one, config.stride) for one in table.recordings(columns, name)]
    return names, recordings


def frame_shape(config: DataConfig) -> tuple[int]:
    """(F,) of the first file; (1,) while it is not known where the files are.

    Raises:
        UserError: none there, or it cannot be read.
    """
    if config.root is None:
        return (1,)
    return (len(_columns([read_table(find_tables(config.root)[0])], _words(config.vectors.columns))[1]),)


def transformations(config: DataConfig) -> tuple[str, ...]:
    """Names of those whose activity the first file holds; none if it holds none."""
    if config.root is None or not config.root.exists():
        return ()
    table = read_table(find_tables(config.root)[0])
    if table.activity is None:
        return ()
    count = np.shape(table.activity)[-1] if np.ndim(table.activity) else 0
    return table.transformations or tuple(f"transformation {place + 1}" for place in range(count))


def _columns(tables: Sequence[Table], chosen: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Names and places of the columns that are taken."""
    first = tables[0]
    for table in tables:
        if table.names != first.names:
            found, expected = (", ".join(each.names) or "no names" for each in (table, first))
            raise UserError(f"{table.path}: found columns {found:.200}, expected {expected:.200}, as in {first.path}")
    count = np.shape(first.values)[-1] if np.ndim(first.values) else 0
    names = first.names or tuple(f"feature {place + 1}" for place in range(count))
    if len(names) != count:
        raise UserError(f"{first.path}: {FEATURES}: found {len(names)} names, expected {count}, one for each column")
    for name in chosen:
        require(name in names, "data.vectors.columns", name, f"names of columns: {', '.join(names):.300}")
    return tuple(chosen) or names, [names.index(name) for name in chosen or names]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _strided(one: Recording, stride: int) -> Recording:
    """Every stride-th vector."""
    if stride == 1:
        return one
    expected = "1 where activity is known: speeds add up only where transformations commute"
    require(one.activity is None, "data.vectors.stride", stride, expected)
    return Recording(one.values[::stride], None, one.name)


def _from_csv(path: Path) -> Table:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            dialect: Any = csv.Sniffer().sniff(file.read(4096), delimiters=",;\t ")
        except csv.Error:
            dialect = csv.excel
        file.seek(0)
        dialect.skipinitialspace = True
        try:
            lines = [
                (number, row) for number, row in enumerate(csv.reader(file, dialect), 1) if any(map(str.strip, row))
            ]
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}: found {error}, expected a table of numbers") from None
    require(bool(lines), str(path), "no lines", "a table of numbers")
    head = [word.strip() for word in lines[0][1]]
    named = any(_number(word) is None for word in head)
    rows = []
    for number, row in lines[1:] if named else lines:
        if len(row) != len(head):
            raise UserError(
                f"{path}: line {number}: found {len(row)} values, expected {len(head)}, as in the first line"
            )
        values = [_number(word) for word in row]
        if None in values:
            word = row[values.index(None)]
            raise UserError(
                f"{path}: line {number}: found {word!r:.60}, expected a number, or nothing if it is missing"
            )
        rows.append(values)
    require(bool(rows), str(path), "a line of names alone", "lines of numbers")
    return Table(path, np.array(rows, dtype=np.float64), head if named else ())


def _number(word: str) -> float | None:
    word = word.strip()
    if word.lower() in MISSING:
        return math.nan
    try:
        return float(word)
    except ValueError:
        return None


def _from_npz(path: Path) -> Table:
    with np.load(path, allow_pickle=False) as file:
        chosen = _chosen(file.files, path)
        return Table(path, file[chosen], *_beside(lambda name: file[name] if name in file.files else None))


def _from_hdf5(path: Path) -> Table:
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {name: thing for name, thing in file.items() if isinstance(thing, h5py.Dataset)}
        chosen = arrays[_chosen(list(arrays), path)]
        return Table(path, chosen[()], *_beside(lambda name: arrays[name][()] if name in arrays else None))


def _beside(read: Any) -> tuple[tuple[str, ...], NDArray[Any] | None, tuple[str, ...]]:
    """Names of features, activity and names of transformations."""

    def words(name: str) -> tuple[str, ...]:
        found = read(name)
        if found is None:
            return ()
        return tuple(word.decode() if isinstance(word, bytes) else str(word) for word in np.ravel(found).tolist())

    return words(FEATURES), read(ACTIVITY), words(NAMES)


def _chosen(names: Sequence[str], path: Path) -> str:
    names = [name for name in names if name not in (FEATURES, ACTIVITY, NAMES)]
    if VALUES in names:
        return VALUES
    found = ", ".join(names) or "none"
    require(len(names) == 1, str(path), f"arrays {found}", f"one called {VALUES!r}, or only one")
    return names[0]
