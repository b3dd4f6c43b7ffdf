"""What DeepLabCut's analyze_videos writes: .csv, and .h5 without running what is pickled in it."""

from __future__ import annotations

import csv
import pickletools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError, require
from ffrl.data.poses.tracks import Track, Tracked
from ffrl.data.recordings.array_files import require_all_stored
from ffrl.data.skeleton import Skeleton

HEAD = ("scorer", "individuals", "bodyparts", "coords")
"""What the lines above the numbers are; that of individuals only where there may be several."""
COORDS = ("x", "y", "likelihood")
UNIQUE = "single"
"""The individual that has the points which are there once, and which is no animal."""
EXPECTED = "poses as DeepLabCut's analyze_videos writes them"
Columns = list[tuple[str, ...]]


def read_deeplabcut(path: Path) -> Tracked:
    """The animals of a file.

    Raises:
        UserError: it is no file of predicted poses.

    Example:
        >>> import tempfile
        >>> head = "scorer,DLC,DLC,DLC\\nbodyparts,nose,nose,nose\\ncoords,x,y,likelihood\\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.csv").write_text(head + "0,5,6,0.9\\n")
        ...     read_deeplabcut(Path(folder, "a.csv")).tracks[0].points.tolist()
        [[[5.0, 6.0]]]
    """
    columns, frames, values = (_from_csv if path.suffix.lower() == ".csv" else _from_hdf5)(path)
    return _tracked(path, columns, frames, values)


def columns_of(path: Path) -> Columns:
    """Individual, body part and coordinate of every column, without the numbers.

    Raises:
        UserError: it is no file of predicted poses.
    """
    return (_head if path.suffix.lower() == ".csv" else _table)(path)[0]


def skeleton_of(path: Path) -> Skeleton:
    """The body parts of a file, of which none are joined."""
    return _skeleton(path, columns_of(path))[0]


def _skeleton(path: Path, columns: Columns) -> tuple[Skeleton, list[str]]:
    """Body parts, which all individuals have, and the individuals."""
    individuals = list(dict.fromkeys(column[0] for column in columns))
    if len(individuals) > 1:
        individuals = [name for name in individuals if name != UNIQUE]
    parts = {name: list(dict.fromkeys(column[1] for column in columns if column[0] == name)) for name in individuals}
    nodes = parts[individuals[0]]
    for name, own in parts.items():
        found, expected = (", ".join(names) for names in (own, nodes))
        require(own == nodes, f"{path}: {name:.80}", f"{found:.200}", f"{expected:.200}, as of {individuals[0]:.80}")
    wrong = [column[2] for column in columns if column[2] not in COORDS][:1]
    require(not wrong, f"{path}: coords", "".join(wrong)[:80], "x, y and likelihood")
    return Skeleton(tuple(nodes)), individuals


def _tracked(path: Path, columns: Columns, frames: Sequence[int], values: NDArray[np.float64]) -> Tracked:
    skeleton, individuals = _skeleton(path, columns)
    require(len(columns) == len(set(columns)), str(path), "a column twice", EXPECTED)
    places = {column: place for place, column in enumerate(columns)}
    rows = np.asarray(frames) - min(frames)
    require(len(set(frames)) == len(frames), str(path), "a frame twice", EXPECTED)
    tracks = []
    for name in individuals:
        whole = np.full((int(rows.max()) + 1, len(skeleton.nodes), len(COORDS)), np.nan)
        for node, part in enumerate(skeleton.nodes):
            for axis, coord in enumerate(COORDS):
                if (name, part, coord) in places:
                    whole[rows, node, axis] = values[:, places[name, part, coord]]
                else:
                    require(coord == "likelihood", f"{path}: {part:.80}", f"no {coord}", EXPECTED)
        tracks.append(Track(name, min(frames), whole[..., :2], whole[..., 2]))
    return Tracked(path.name, skeleton, tracks)


def _head(path: Path) -> tuple[Columns, int]:
    """Columns of a .csv, and how many lines are above its numbers."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = [line for line, _ in zip(csv.reader(file), HEAD, strict=False)]
    head = {line[0]: line[1:] for line in lines if line and line[0] in HEAD}
    wanted = [name for name in HEAD if name in head or name != "individuals"]
    found = "".join(",".join(line) for line in lines[:1])
    if list(head) != wanted or len({len(line) for line in head.values()}) != 1:
        raise UserError(f"{path}: found {found!r:.80} in its first line, expected {EXPECTED}")
    return _named(zip(*(head[name] for name in wanted), strict=True)), len(wanted)


def _named(columns: Iterable[tuple[str, ...]]) -> Columns:
    """Columns without the scorer, of an animal of no name where there is but one."""
    return [column[1:] if len(column) == len(HEAD) else ("animal", *column[1:]) for column in columns]


def _from_csv(path: Path) -> tuple[Columns, list[int], NDArray[np.float64]]:
    columns, above = _head(path)
    frames, rows = [], []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, line in enumerate(csv.reader(file), 1):
            if number <= above or not any(line):
                continue
            fits = line[0].isdecimal() and len(line) == len(columns) + 1
            require(fits, f"{path}: line {number}", ",".join(line)[:80], f"a frame number and {len(columns)} numbers")
            try:
                rows.append([float(word.strip() or "nan") for word in line[1:]])
            except ValueError as error:
                raise UserError(f"{path}: line {number}: found {error!s:.80}, expected {EXPECTED}") from None
            frames.append(int(line[0]))
    require(bool(rows), str(path), "no frames", EXPECTED)
    return columns, frames, np.array(rows)


def _table(path: Path) -> tuple[Columns, list[str], Any]:
    """Columns of an .h5, the blocks that they are in, and the rows: a table of PyTables, as pandas writes it."""
    import h5py

    with h5py.File(path, "r") as file:
        require_all_stored(file, path)
        tables = [group["table"] for group in file.values() if isinstance(group, h5py.Group) and "table" in group]
        require(len(tables) == 1 and tables[0].dtype.names is not None, str(path), "no table of poses", EXPECTED)
        table = tables[0]
        blocks = [name for name in table.dtype.names if name != "index"]
        columns: list[Any] = []
        for name in blocks:
            kind = table.attrs.get(f"{name}_kind")
            require(isinstance(kind, bytes), str(path), f"no columns of {name}", EXPECTED)
            columns += strings(kind, str(path))
        known = all(
            isinstance(column, tuple) and len(column) in (3, 4) and all(type(word) is str for word in column)
            for column in columns
        )
        require(known, str(path), f"columns {columns[:1]!s:.200}", EXPECTED)
        return _named(columns), blocks, table[()]


def _from_hdf5(path: Path) -> tuple[Columns, list[int], NDArray[np.float64]]:
    columns, blocks, rows = _table(path)
    require(len(rows) > 0, str(path), "no frames", EXPECTED)
    require(rows["index"].dtype.kind in "iu", str(path), "no frame numbers", EXPECTED)
    values = np.concatenate([rows[name].reshape(len(rows), -1) for name in blocks], 1).astype(np.float64)
    require(values.shape[1] == len(columns), str(path), f"{values.shape[1]} columns", f"{len(columns)}, as it names")
    return columns, rows["index"].tolist(), values


def strings(pickled: bytes, source: str) -> list[Any]:
    """Lists and tuples of strings out of a pickle, whose instructions are read and not run: any other is refused.

    Args:
        pickled: what PyTables keeps of the names of columns.
        source: for messages.

    Raises:
        UserError: there is something else in it.

    Example:
        >>> import pickle
        >>> strings(pickle.dumps([("nose", "x"), ("nose", "y")], 0), "a.h5")
        [('nose', 'x'), ('nose', 'y')]
    """
    stack: list[Any] = []
    marks: list[int] = []
    kept: dict[Any, Any] = {}
    try:
        for operation, argument, _ in pickletools.genops(pickled):
            name = operation.name
            if name in ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE"):
                stack.append(argument)
            elif name == "MARK":
                marks.append(len(stack))
            elif name in ("LIST", "TUPLE"):
                first = marks.pop()
                stack[first:] = [(list if name == "LIST" else tuple)(stack[first:])]
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                stack[-int(name[-1]) :] = [tuple(stack[-int(name[-1]) :])]
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "APPEND":
                last = stack.pop()
                stack[-1].append(last)
            elif name == "APPENDS":
                first = marks.pop()
                added = stack[first:]
                del stack[first:]
                stack[-1].extend(added)
            elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                kept[len(kept) if name == "MEMOIZE" else argument] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(kept[argument])
            elif name not in ("PROTO", "FRAME", "STOP"):
                raise UserError(f"{source}: found a pickle with {name}, expected names alone, which nothing runs")
        (made,) = stack
        require(isinstance(made, list), source, "a pickle of something else", "a list of names")
    except (ValueError, IndexError, KeyError, AttributeError, TypeError):
        raise UserError(f"{source}: found a damaged pickle, expected names of columns") from None
    return made
