"""Vector sequences in files: .csv, .npy, .npz and HDF5; nothing read can execute code."""

from __future__ import annotations

import csv
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ffrl.config import DataConfig, VectorsConfig
from ffrl.core.errors import UserError, require
from ffrl.core.files import reporting
from ffrl.data.given import checked_activity, named
from ffrl.data.recordings.array_files import (
    ACTIVITY,
    NAMES,
    damage_named,
    member_values,
    read_values,
    require_all_stored,
)
from ffrl.data.recordings.pictures import natural_key
from ffrl.data.vectors.sequences import Recording, VectorSequences, as_vectors, recordings_of
from ffrl.data.vectors.tables import places_of, read_numbers

KINDS = (".csv", ".npy", ".npz", ".h5", ".hdf5")
VALUES, FEATURES = "values", "features"
"""The array of a file that holds several, and the names of its columns."""


class Table(NamedTuple):
    """What a file of vectors holds.

    Args:
        path: the file.
        values: ``(S, F)`` or ``(N, S, F)``, float64 with NaN where one is missing.
        names: of the F features.
        activity: true speeds, None if they are not known.
        transformations: their names; none if they are not known.
    """

    path: Path
    values: Tensor
    names: tuple[str, ...]
    activity: Tensor | None
    transformations: tuple[str, ...]


def find_tables(root: Path) -> list[Path]:
    """The file that ``root`` is, or all below it, in natural order; hidden ones are left out.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    kinds = f"a file of vectors ({', '.join(KINDS)}), or a folder of them"
    if not root.exists():
        raise UserError(f"data.root: found nothing at {root}, expected {kinds}")
    require(root.is_dir() or root.is_file(), "data.root", f"no file {root}", kinds)
    paths = [
        path
        for path in (_below(root, {os.path.realpath(root)}) if root.is_dir() else [root])
        if path.suffix.lower() in KINDS
    ]
    require(bool(paths), "data.root", f"no vectors in {root}", kinds)
    return paths


def _below(folder: Path, seen: set[str]) -> Iterator[Path]:
    """Files below a folder, each once wherever links lead, without hidden ones."""
    with reporting("read", folder):
        paths = sorted(folder.iterdir(), key=lambda path: (natural_key(path.name), path.name))
    for path in paths:
        real = os.path.realpath(path)
        if real in seen or path.name.startswith("."):
            continue
        seen.add(real)
        if path.is_dir():
            yield from _below(path, seen)
        elif path.is_file():
            yield path


def read_table(path: Path, columns: Sequence[str] = ()) -> Table:
    """What is in a file.

    Args:
        path: ``.csv`` with a line of names or without one; ``.npy``; or ``.npz`` and HDF5, of which the array
            ``values`` is read, or the only one, with ``features``, ``activity`` and ``transformations`` beside it.
        columns: names of those to take, in this order; all of them for none.

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
    read = {".csv": _from_csv, ".npy": _from_npy, ".npz": _from_npz}.get(suffix, _from_hdf5)
    with reporting("read", path), damage_named(path):
        return read(path, columns)


def periods(texts: str) -> dict[str, float]:
    """Periods by name of features, from ``NAME`` (in radians) or ``NAME=PERIOD``, with commas between them.

    Raises:
        UserError: the period is no positive number.

    Example:
        >>> periods("heading=360,day=7")
        {'heading': 360.0, 'day': 7.0}
    """
    found: dict[str, float] = {}
    for text in _words(texts):
        name, equals, number = text.rpartition("=")
        try:
            period = float(number) if equals else 2 * math.pi
        except ValueError:
            period = math.nan
        name = name.strip() if equals else text
        expected = "NAME, or NAME=PERIOD with a positive period, each name once"
        require(0 < period < math.inf and name not in found, "data.vectors.periodic", text, expected)
        found[name] = period
    return found


def sequences(config: DataConfig, device: Any = "cpu") -> VectorSequences:
    """The vectors that ``config.root`` is or holds; ``device`` is ignored, batches are made on the CPU.

    Raises:
        UserError: none there, unreadable ones, or files that differ in their features.
    """
    if config.root is None:
        raise UserError("data.root: found none, expected a file of vectors or a folder of them")
    root, chosen = config.root, config.vectors
    tables = [_read(path, chosen.columns) for path in find_tables(root)]
    _read_once.cache_clear()
    first, recordings = tables[0], []
    for table in tables:
        _require_same(table, first, "columns", table.names, first.names)
        _require_same(table, first, "activity of", table.transformations, first.transformations)
        name = str(table.path.relative_to(root)) if table.path != root else root.name
        recordings += _of_table(table, chosen.stride, name)
    around = periods(chosen.periodic)
    for name in around:
        require(name in first.names, "data.vectors.periodic", name, f"one of {', '.join(first.names):.300}")
    title = f"vectors of {root.resolve().name}"
    split = (config.num_steps, chosen.hop, chosen.validation)
    return VectorSequences(recordings, *split, first.names, around, first.transformations, (), title, "vectors")


def recordings_in(path: Path, config: VectorsConfig, names: Sequence[str] = ()) -> list[Recording]:
    """The recordings of one file, of the columns and at the stride that a configuration says.

    Args:
        path: the file.
        config: of the data.
        names: of the features that are expected; a file without names of its own has them by position.

    Raises:
        UserError: it cannot be read, is damaged, lacks a column, or has some of the names in other places.
    """
    table = read_table(path, _words(config.columns))
    if not set(names).isdisjoint(table.names) and tuple(names) != table.names:
        found, expected = (", ".join(each) for each in (table.names, names))
        raise UserError(f"{path}: found features {found:.200}, expected {expected:.200}")
    return _of_table(table, config.stride, path.name)


def frame_shape(config: DataConfig) -> tuple[int]:
    """(F,) of the first file; (1,) while it is not known where the files are.

    Raises:
        UserError: none there, or it cannot be read.
    """
    if config.root is None:
        return (1,)
    return (len(_read(find_tables(config.root)[0], config.vectors.columns).names),)


def transformations(config: DataConfig) -> tuple[str, ...]:
    """Names of those whose activity the first file holds; none if it holds none."""
    if config.root is None or not config.root.exists():
        return ()
    return _read(find_tables(config.root)[0], config.vectors.columns).transformations


def _of_table(table: Table, stride: int, name: str) -> list[Recording]:
    return [_strided(one, stride) for one in recordings_of(table.values, table.activity, name)]


def _read(path: Path, columns: str) -> Table:
    """What is in a file, read once for its shape, its names and its values."""
    with reporting("read", path):
        entry = path.stat()
    return _read_once(path, columns, entry.st_size, entry.st_mtime_ns)


@lru_cache(maxsize=1)
def _read_once(path: Path, columns: str, *state: int) -> Table:
    return read_table(path, _words(columns))


def _require_same(table: Table, first: Table, what: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Raise a UserError unless a file has the names that the first one has."""
    if found != expected:
        names = (f"{', '.join(each) or 'nothing known':.200}" for each in (found, expected))
        raise UserError("{}: found {} {}, expected {}, as in {}".format(table.path, what, *names, first.path))


def _words(text: str) -> list[str]:
    """Words with commas between them; one in double quotes may have commas of its own."""
    row = next(csv.reader([" ".join(text.split())], skipinitialspace=True), [])
    return [word.strip() for word in row if word.strip()]


def _strided(one: Recording, stride: int) -> Recording:
    """Every stride-th vector."""
    if stride == 1:
        return one
    expected = "1 where activity is known: speeds add up only where transformations commute"
    require(one.activity is None, "data.vectors.stride", stride, expected)
    return Recording(one.values[::stride], None, one.name)


def _taken(values: Any, names: Sequence[str], columns: Sequence[str], path: Path, read: Any = None) -> Table:
    """Some columns of values, with what ``read`` finds beside them."""
    tensor = as_vectors(values, str(path), (2, 3))
    words, places = places_of(names, tensor.shape[-1], columns, path)
    taken, activity = tensor[..., places], None if read is None else read(ACTIVITY)
    if activity is None:
        return Table(path, taken, words, None, ())
    speeds = checked_activity(activity, f"{path}: {ACTIVITY}", (*tensor.shape[:-2], tensor.shape[-2] - 1))
    return Table(path, taken, words, speeds, named(_texts(read(NAMES)), speeds.shape[-1], f"{path}: {NAMES}"))


def _from_csv(path: Path, columns: Sequence[str]) -> Table:
    return Table(path, *read_numbers(path, columns), None, ())


def _from_npy(path: Path, columns: Sequence[str]) -> Table:
    with path.open("rb") as file:
        return _taken(read_values(file, path.stat().st_size, str(path)), (), columns, path)


def _from_npz(path: Path, columns: Sequence[str]) -> Table:
    with zipfile.ZipFile(path) as archive:
        arrays = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]

        def read(name: str) -> Any:
            return member_values(archive, name, path)

        return _taken(read(_chosen(arrays, path)), _texts(read(FEATURES)), columns, path, read)


def _from_hdf5(path: Path, columns: Sequence[str]) -> Table:
    import h5py

    with h5py.File(path, "r") as file:
        require_all_stored(file, path)
        arrays = {name: thing for name, thing in file.items() if isinstance(thing, h5py.Dataset)}

        def read(name: str) -> Any:
            return arrays[name][()] if name in arrays else None

        return _taken(read(_chosen(list(arrays), path)), _texts(read(FEATURES)), columns, path, read)


def _texts(found: Any) -> tuple[str, ...]:
    """Names in an array of strings, none for None."""
    words = [] if found is None else np.ravel(found).tolist()
    return tuple(word.decode() if isinstance(word, bytes) else str(word) for word in words)


def _chosen(names: Sequence[str], path: Path) -> str:
    names = [name for name in names if name not in (FEATURES, ACTIVITY, NAMES)]
    if VALUES in names:
        return VALUES
    found = ", ".join(names) or "none"
    require(len(names) == 1, str(path), f"arrays {found}", f"one called {VALUES!r}, or only one")
    return names[0]
