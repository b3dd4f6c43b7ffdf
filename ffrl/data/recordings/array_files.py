"""What is in an ``.npy``, ``.npz`` or HDF5 file, found from its header alone; nothing read can execute code."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ffrl.core.errors import UserError
from ffrl.data.recordings.pictures import reason

KEY = "frames"
"""The array that is read from a file that holds several."""
ACTIVITY, NAMES = "activity", "transformations"
"""Arrays beside the frames: true speeds, and the names of what they are the speeds of."""


class Header(NamedTuple):
    """Shape, order and type of the values of an array in a file."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever is raised on damaged data inside the context into a UserError that names the file.

    Raises:
        UserError: in place of every exception but those of the operating system.

    Example:
        >>> with damage_named(Path("a.npy")):
        ...     raise ValueError("no header")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: a.npy: found damaged data (no header), expected an .npy file
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # numpy, zipfile and h5py raise many kinds on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        expected = f"an {path.suffix} file"
        raise UserError(f"{path}: found damaged data ({reason(error)}), expected {expected}") from None


def read_header(file: IO[bytes], source: str) -> Header:
    """Return the header of an open ``.npy`` file, and leave the file where its values begin.

    Raises:
        UserError: another version of the format, or values that are neither uint8 nor floating point.

    Example:
        >>> from io import BytesIO
        >>> file = BytesIO()
        >>> np.save(file, np.zeros((9, 4, 4), np.uint8))
        >>> _ = file.seek(0)
        >>> read_header(file, "clip.npy").shape, file.tell()
        ((9, 4, 4), 128)
    """
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise UserError(f"{source}: found version {version} of the .npy format, expected 1.0 or 2.0")
    header = Header(*readers[version](file))
    check_type(header.dtype, source)
    return header


def check_type(dtype: np.dtype, source: str) -> None:
    """Raise UserError unless values of ``dtype`` can be pixels: uint8 or floating point.

    Example:
        >>> check_type(np.dtype(bool), "clip.npy")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: clip.npy: found values of type bool, expected uint8 or floating point
    """
    if dtype != np.uint8 and dtype.kind != "f":
        raise UserError(f"{source}: found values of type {dtype}, expected uint8 or floating point")


def member(archive: zipfile.ZipFile, path: Path) -> str:
    """Return which member of an ``.npz`` file is read: ``frames``, or the only array.

    What is called ``activity`` or ``transformations`` is never taken for frames.

    Raises:
        UserError: there is none, or there are several and none is called ``frames``.

    Example:
        >>> from io import BytesIO
        >>> file = BytesIO()
        >>> np.savez(file, images=np.zeros(3), frames=np.zeros(3))
        >>> member(zipfile.ZipFile(file), Path("clip.npz"))
        'frames.npy'
    """
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    return _chosen([name.removesuffix(".npy") for name in names], path) + ".npy"


def dataset(file: Any, path: Path) -> Any:
    """Return which dataset of an open HDF5 file is read: ``frames``, or the only one of four or five dimensions.

    What is called ``activity`` or ``transformations`` is never taken for frames.

    Raises:
        UserError: there is none, or there are several and none is called ``frames``; or its type is of no use.

    Example:
        >>> import h5py
        >>> with h5py.File("clip.h5", "w", driver="core", backing_store=False) as file:
        ...     file["labels"], file["images"] = np.zeros(9), np.zeros((9, 4, 4, 3), np.uint8)
        ...     dataset(file, Path("clip.h5")).name
        '/images'
    """
    import h5py

    found: dict[str, Any] = {}

    def note(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and (name == KEY or len(thing.shape or ()) in (4, 5)):
            found[name] = thing

    file.visititems(note)
    chosen = found[_chosen(list(found), path)]
    check_type(chosen.dtype, f"{path}: {chosen.name.removeprefix('/')}")
    return chosen


def _chosen(names: list[str], path: Path) -> str:
    names = [name for name in names if name.rpartition("/")[2] not in (ACTIVITY, NAMES)]
    if KEY in names:
        return KEY
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise UserError(f"{path}: found arrays {found}, expected one called {KEY!r}, or only one")
    return names[0]
