"""True activity beside the frames of ``.npz`` and HDF5 files; nothing read can execute code."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError, reason_of
from ffrl.data.given import checked_activity, named
from ffrl.data.recordings.array_files import (
    ACTIVITY,
    NAMES,
    MissingPackage,
    damage_named,
    dataset,
    in_the_file,
    member_values,
    require_stored,
)
from ffrl.data.recordings.array_frames import array_frames
from ffrl.data.recordings.find import BrokenRecording, find_recordings

FILES = (".npz", ".h5", ".hdf5")
"""Files with room for more than frames."""
PARALLEL = 1e-5
"""Largest ratio of singular values at which the speeds of several steps count as multiples of each other."""
MOST_BYTES = {ACTIVITY: 2**30, NAMES: 2**20}
"""Largest arrays that are read."""
HOW = ClipsConfig()


class Known(NamedTuple):
    """True activity of the recordings in a file: speeds ``(parts, steps, J)``, float32, and names of the J."""

    speeds: NDArray[np.float32]
    names: tuple[str, ...]


def known_activity(path: Path, how: ClipsConfig = HOW) -> Known | None:
    """Return the activity in a file of recordings; None if there is none.

    Args:
        path: a recording. Of ``.npz`` the arrays ``activity`` and ``transformations`` are read; of HDF5 the data sets
            of these names in the group of the frames, the latter also as an attribute of the former.
        how: which array the frames are, and what its axes are.

    Raises:
        BrokenRecording: a shape that does not fit the frames, values that are no finite numbers, or wrong names.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(Path(folder, "a.npz"), frames=np.zeros((9, 8, 8), np.uint8), activity=np.ones((8, 2)))
        ...     known = known_activity(Path(folder, "a.npz"))
        ...     known.speeds.shape, known.names
        ((1, 8, 2), ('transformation 1', 'transformation 2'))
    """
    if path.is_dir() or path.suffix.lower() not in FILES:
        return None
    try:
        with damage_named(path):
            values, names = _from_npz(path) if path.suffix.lower() == ".npz" else _from_hdf5(path, how.array)
        if values is None and names is None:
            return None
        if values is None:
            raise UserError(f"{path}: {NAMES}: found names alone, expected an array {ACTIVITY!r} beside the frames")
        layout = array_frames(path, how=how).layout
        several = (layout.parts,) if layout.parts > 1 or values.ndim == 3 else ()
        if values.dtype.kind not in "fiub":
            raise UserError(f"{path}: {ACTIVITY}: found values of type {values.dtype}, expected numbers")
        speeds = checked_activity(values, f"{path}: {ACTIVITY}", (*several, layout.frames - 1)).numpy()
        speeds = speeds.reshape(layout.parts, *speeds.shape[-2:])
        words = () if names is None else _words(names, f"{path}: {NAMES}")
        return Known(speeds, named(words, speeds.shape[-1], f"{path}: {NAMES}"))
    except MissingPackage:
        raise
    except UserError as error:
        raise BrokenRecording(str(error)) from error


def strided(known: Known, stride: int, path: Path) -> Known:
    """Return the activity between every ``stride``-th frame: the sums of the speeds of the steps from one to the next.

    Flows along the same sum of fields, at whatever speeds, add up: exp(aX) exp(bX) = exp((a + b)X). Flows along
    different ones do so only where they commute, which nobody has said, so that these are refused.

    Raises:
        UserError: between two frames that are taken, the speeds of one step are no multiple of those of another.

    Example:
        >>> known = Known(np.array([[[1, 0], [2, 0], [0, 1], [0, 1]]], np.float32), ("turn", "grow"))
        >>> strided(known, 2, Path("a.npz")).speeds.tolist()
        [[[3.0, 0.0], [0.0, 2.0]]]
    """
    parts, steps, kinds = known.speeds.shape
    taken = known.speeds[:, : steps // stride * stride].reshape(parts, -1, stride, kinds)
    mixed = np.argwhere(np.linalg.matrix_rank(taken.astype(np.float64), rtol=PARALLEL) > 1)
    if len(mixed):
        first = mixed[0, 1] * stride
        found = f"different transformations in steps {first + 1} to {first + stride}"
        expected = f"data.sequences.stride 1, or one at a time in every {stride} steps: other speeds add up only where "
        raise UserError(f"{path}: {ACTIVITY}: found {found}, expected {expected}transformations commute")
    return Known(taken.sum(2), known.names)


def agreed(found: Mapping[Path, Known | None]) -> tuple[str, ...]:
    """Return the names of the transformations in all files; none if their activity is not known.

    Raises:
        UserError: activity is known of some recordings only, or the names differ.

    Example:
        >>> agreed({Path("a.npz"): Known(np.ones((1, 8, 1), np.float32), ("turn",)), Path("b.mp4"): None})
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: b.mp4: found no activity, expected it in all recordings or none: a.npz has it
    """
    have = {path: known.names for path, known in found.items() if known is not None}
    if not have:
        return ()
    one, names = next(iter(have.items()))
    for path in found:
        if path not in have:
            raise UserError(f"{path}: found no {ACTIVITY}, expected it in all recordings or none: {one} has it")
        if have[path] != names:
            raise UserError(f"{path}: {NAMES}: found {list(have[path])}, expected {list(names)}, as in {one}")
    return names


def transformations_in(root: Path, how: ClipsConfig = HOW) -> tuple[str, ...]:
    """Return the names of the transformations whose activity is in the files under ``root``; none if it is not known.

    Only the first file that can be read and may hold activity is opened, as that of all recordings is known or of none.

    Raises:
        UserError: no recordings.
    """
    for path in find_recordings(root, how.cache, how.exclude).paths:
        if path.suffix.lower() in FILES:
            try:
                known = known_activity(path, how)
                return () if known is None else known.names
            except BrokenRecording:  # whoever loads the recordings refuses or skips it
                continue
    return ()


def _from_npz(path: Path) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Activity and names as they are."""
    with zipfile.ZipFile(path) as archive:

        def read(name: str) -> NDArray[Any] | None:
            if f"{name}.npy" in archive.namelist():
                _require_small(archive.getinfo(f"{name}.npy").file_size, name, path)
            try:
                return member_values(archive, name, path)
            except ValueError as error:
                raise UserError(f"{path}: {name}: found {reason_of(error)}, expected numbers or strings") from None

        return read(ACTIVITY), read(NAMES)


def _require_small(count: int, name: str, path: Path) -> None:
    """Raise a UserError for an array that is too large to be what it is called."""
    if count > MOST_BYTES[name]:
        raise UserError(f"{path}: {name}: found {count:,} bytes, expected at most {MOST_BYTES[name]:,}")


def _from_hdf5(path: Path, wanted: str | None) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Activity and names as they are."""
    import h5py

    def read(group: Any, name: str) -> Any:
        if group.get(name, getlink=True) is None:
            return None
        thing = in_the_file(group.file, f"{group.name}/{name}", path)
        if not isinstance(thing, h5py.Dataset):
            raise UserError(f"{path}: {name}: found a group, expected a data set")
        require_stored(thing, f"{path}: {name}")
        _require_small(thing.size * thing.dtype.itemsize, name, path)
        return thing

    with h5py.File(path, "r") as file:
        group = dataset(file, path, wanted).parent
        activity, listed = read(group, ACTIVITY), read(group, NAMES)
        values, names = (None if thing is None else np.asarray(thing[()]) for thing in (activity, listed))
        if names is None and activity is not None and NAMES in activity.attrs:
            names = np.asarray(activity.attrs[NAMES])
        return values, names


def _words(names: NDArray[Any], source: str) -> list[str]:
    """Names as strings."""
    words = [word.decode(errors="replace") if isinstance(word, bytes) else word for word in names.ravel().tolist()]
    if names.ndim != 1 or not words or not all(isinstance(word, str) and word.strip() for word in words):
        found = f"an array of shape {names.shape} and type {names.dtype}"
        raise UserError(f"{source}: found {found}, expected a list of strings that are not empty")
    return words
