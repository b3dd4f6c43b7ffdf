"""Tables of numbers in text files: how columns are divided, what they are called, and what is missing."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ffrl.core.errors import UserError, require

DELIMITERS = "\t;, "
"""What may divide columns, in the order in which it is looked for: a comma may also be in numbers, a blank in names."""
MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
"""What a table says where a value is missing."""


def read_numbers(path: Path, columns: Sequence[str] = ()) -> tuple[Tensor, tuple[str, ...]]:
    """Numbers of a text file with tabs, semicolons, commas or blanks between its columns, and their names.

    Its first line is one of names unless a number is in it; nothing, NA, NaN, null and none are missing values. Columns
    that are not taken may hold anything.

    Args:
        path: UTF-8.
        columns: names of those to take, in this order; all of them for none.

    Returns:
        ``(S, F)``, float64 with NaN where a value is missing, and F names.

    Raises:
        UserError: it is no such table; the message names the line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.csv")
        ...     _ = path.write_text("day;x;y\\n2020-02-03;1;2\\n2020-02-04;3;\\n")
        ...     values, names = read_numbers(path, ["x", "y"])
        >>> names, values.tolist()
        (('x', 'y'), [[1.0, 2.0], [3.0, nan]])
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _numbers(_rows(file), path, columns)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: found {error}, expected a table of numbers as text in UTF-8") from None


def places_of(
    names: Sequence[str], count: int, columns: Sequence[str], path: Path
) -> tuple[tuple[str, ...], list[int]]:
    """Names and places of the columns to take from ``count`` columns; ``feature 1``, ... if they have no names.

    Raises:
        UserError: another number of names, a column without one or with that of another one, or none of that name.

    Example:
        >>> places_of(("t", "x", "y"), 3, ("y", "x"), Path("a.csv"))
        (('y', 'x'), [2, 1])
    """
    known = tuple(" ".join(name.split()) for name in names) or tuple(f"feature {place + 1}" for place in range(count))
    if len(known) != count:
        raise UserError(f"{path}: found {len(known)} names of features, expected {count}, one for each column")
    for name in columns:
        require(name in known, "data.vectors.columns", name, f"names of columns: {', '.join(known):.300}")
    taken = tuple(columns) or known
    if "" in taken:
        expected = "a name for each, or those to take in data.vectors.columns"
        raise UserError(f"{path}: found no name for column {known.index('') + 1}, expected {expected}")
    place = {name: position for position, name in enumerate(known)}
    twice = [name for position, name in enumerate(known) if place[name] != position and name in taken]
    if twice:
        raise UserError(f"{path}: found several columns called {twice[0]!r}, expected different names")
    require(len(set(taken)) == len(taken), "data.vectors.columns", list(taken), "each name once")
    return taken, [place[name] for name in taken]


def _rows(file: IO[str]) -> Iterator[tuple[int, list[str]]]:
    """Cells of lines, with their numbers."""
    first = list(islice((line for line in file if line.strip()), 2))
    file.seek(0)
    outside = ["".join(line.split('"')[::2]).strip(" \r\n") for line in first]  # of quotes
    mark = next((mark for mark in DELIMITERS if outside and all(mark in line for line in outside)), ",")
    blank = mark == " "
    reader = csv.reader(
        (" ".join(line.split()) for line in file) if blank else file, delimiter=mark, skipinitialspace=not blank
    )
    for row in reader:
        if row:
            yield reader.line_num, [cell.strip() for cell in row]


def _numbers(
    rows: Iterator[tuple[int, list[str]]], path: Path, columns: Sequence[str]
) -> tuple[Tensor, tuple[str, ...]]:
    """See :func:`read_numbers`."""
    start, head = next(rows, (0, []))
    if not head:
        raise UserError(f"{path}: found no lines, expected a table of numbers")
    read = {word: _number(word) for word in head}
    texts = [word for word, value in read.items() if value is None]
    beside = [word for word, value in read.items() if value is not None and not math.isnan(value)]
    if texts and beside:
        expected = "a line of names, none of which is a number, or a line of numbers"
        raise UserError(f"{path}: line {start}: found {texts[0]!r:.60} beside {beside[0]!r:.60}, expected {expected}")
    if texts and head[0].startswith("#"):  # as numpy.savetxt writes them
        head = head[1:] if head[0] == "#" else [head[0].lstrip("#").strip(), *head[1:]]
    names, places = places_of(head if texts else (), len(head), columns, path)
    values = array("d")
    for line, row in rows if texts else chain([(start, head)], rows):
        if row == [""] and len(head) > 1:
            continue
        if len(row) != len(head):
            found = f"{len(row)} value{'' if len(row) == 1 else 's'}"
            raise UserError(f"{path}: line {line}: found {found}, expected {len(head)}, as in the first line")
        for place in places:
            value = _number(row[place])
            if value is None:
                expected = "a number, nothing if it is missing, or other columns in data.vectors.columns"
                raise UserError(f"{path}: line {line}: found {row[place]!r:.60}, expected {expected}")
            values.append(value)
    if not values:
        raise UserError(f"{path}: found a line of names alone, expected lines of numbers")
    return torch.from_numpy(np.array(values).reshape(-1, len(places))), names


def _number(word: str) -> float | None:
    """What a cell says, NaN if it is missing; None if it is no number."""
    if word.lower() in MISSING:
        return math.nan
    try:
        return None if "_" in word else float(word)
    except ValueError:
        return None
