"""What is in an ``.npy``, ``.npz`` or HDF5 file, found from its header alone; nothing read can execute code."""

from __future__ import annotations

import importlib
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError
from ffrl.data.recordings.checks import instead
from ffrl.data.recordings.pictures import reason

KEY = "frames"
"""The array that is read from a file that holds several."""
ACTIVITY, NAMES = "activity", "transformations"
"""Arrays beside the frames: true speeds, and the names of what they are the speeds of."""
FLAG = "--data.sequences.array"
LISTED = 5
"""Names of arrays in a message."""
HEAP_REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])
"""Where HDF5 keeps a text of any length: how long it is, and in which place of which heap."""
MOST_LINKS = 16
"""Links that are followed from one to the next."""


class MissingPackage(UserError):
    """A package is missing: no reason to go on without the recordings that need it."""


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
        other = instead(path)
        if other is not None:
            raise UserError(f"{path}: found {other}, expected {expected}") from None
        raise UserError(f"{path}: found damaged data ({reason(error)}), expected {expected}") from None


def read_header(file: IO[bytes], source: str) -> Header:
    """Return the header of an open ``.npy`` file, and leave the file where its values begin.

    Raises:
        UserError: another version of the format, or values that are no integers or floating-point numbers.

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


def read_values(file: IO[bytes], size: int, source: str) -> NDArray[Any]:
    """Return the array in an open ``.npy`` file of so many bytes, of any type but objects.

    Raises:
        UserError: the header promises more values than there are bytes.
        ValueError: it is no ``.npy`` file.

    Example:
        >>> from io import BytesIO
        >>> file = BytesIO()
        >>> np.save(file, np.arange(3))
        >>> _ = file.seek(0)
        >>> read_values(file, len(file.getvalue()), "a.npy")
        array([0, 1, 2])
    """
    reader = np.lib.format.read_array_header_1_0 if np.lib.format.read_magic(file) == (1, 0) else _later_header
    shape, _, dtype = reader(file)
    needed, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if needed > there:
        raise UserError(f"{source}: found damaged data ({there:,} bytes of values), expected {needed:,}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _later_header(file: IO[bytes]) -> Any:
    """The header of versions 2 and 3, which differ in the encoding of the names of fields."""
    return np.lib.format.read_array_header_2_0(file)


def member_values(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any] | None:
    """Return the array ``name`` of an open ``.npz`` file as :func:`read_values` does; None if there is none."""
    inside = f"{name}.npy"
    if inside not in archive.namelist():
        return None
    with archive.open(inside) as file:
        return read_values(file, archive.getinfo(inside).file_size, f"{path}: {name}")


def check_type(dtype: np.dtype, source: str) -> None:
    """Raise UserError unless values of ``dtype`` can be pixels: integers or floating point.

    Example:
        >>> check_type(np.dtype(bool), "clip.npy")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: clip.npy: found values of type bool, expected integers or floating point
    """
    if dtype.kind not in "uif":
        raise UserError(f"{source}: found values of type {dtype}, expected integers or floating point")


def member(archive: zipfile.ZipFile, path: Path, wanted: str | None = None) -> str:
    """Return which member of an ``.npz`` file is read: the wanted one, else ``frames``, or the only array.

    What is called ``activity`` or ``transformations`` is never taken for frames.

    Raises:
        UserError: there is none, or there are several and none is called ``frames``.

    Example:
        >>> from io import BytesIO
        >>> file = BytesIO()
        >>> np.savez(file, images=np.zeros(3), frames=np.zeros(3))
        >>> member(zipfile.ZipFile(file), Path("clip.npz")), member(zipfile.ZipFile(file), Path("clip.npz"), "images")
        ('frames.npy', 'images.npy')
    """
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    return _chosen([name.removesuffix(".npy") for name in names], path, wanted) + ".npy"


def dataset(file: Any, path: Path, wanted: str | None = None) -> Any:
    """Return which dataset of an open HDF5 file is read: the wanted one, else ``frames``, or the only one of its kind.

    Of its kind is one of four or five dimensions, or of three where there are none with more. What is called
    ``activity`` or ``transformations`` is never taken for frames. Values have to be in the file itself.

    Raises:
        UserError: there is none, or there are several and none is called ``frames``; its type is of no use; its values
            are in other files, or are not there; or a filter is missing that they need.

    Example:
        >>> import h5py
        >>> with h5py.File("clip.h5", "w", driver="core", backing_store=False) as file:
        ...     file["labels"], file["images"] = np.zeros(9), np.zeros((9, 4, 4, 3), np.uint8)
        ...     dataset(file, Path("clip.h5")).name
        '/images'
    """
    import h5py

    found: dict[int, list[str]] = {3: [], 4: []}

    def note(name: str, thing: Any) -> None:
        dimensions = len(thing.shape or ()) if isinstance(thing, h5py.Dataset) else 0
        if dimensions in (3, 4, 5):
            found[min(dimensions, 4)].append(name)

    def elsewhere(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink) and name.rpartition("/")[2] == KEY:
            found[4].append(name)

    file.visititems(note)
    file.visititems_links(elsewhere)
    kind = found[4] if any(name.rpartition("/")[2] not in (ACTIVITY, NAMES) for name in found[4]) else found[3]
    known = [KEY] if file.get(KEY, getlink=True) is not None else kind
    name = wanted if wanted is not None else _chosen(known, path)
    chosen = in_the_file(file, name, path, kind)
    if not isinstance(chosen, h5py.Dataset):
        raise UserError(f"{path}: {name}: found a group, expected an array")
    source = f"{path}: {name}"
    check_type(chosen.dtype, source)
    require_stored(chosen, source)
    return chosen


def in_the_file(file: Any, name: str, path: Path, known: Sequence[str] = ()) -> Any:
    """Return a thing of an open HDF5 file by its name; links lead to it within the file only.

    Raises:
        UserError: there is none, or it is in another file; the message has the names ``known``.

    Example:
        >>> import h5py
        >>> with h5py.File("clip.h5", "w", driver="core", backing_store=False) as file:
        ...     file["link"] = h5py.ExternalLink("/etc/passwd", "x")
        ...     in_the_file(file, "link", Path("clip.h5"))
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: clip.h5: link: found a link to /etc/passwd, expected the array in the file itself
    """
    import h5py

    waiting, place, followed = [part for part in name.split("/") if part], file, 0
    while waiting:
        part = waiting.pop(0)
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        _require_inside(link, name, path)
        if isinstance(link, h5py.SoftLink) and followed < MOST_LINKS:
            followed += 1
            place = file if link.path.startswith("/") else place
            waiting = [step for step in link.path.split("/") if step] + waiting
            continue
        if link is None or isinstance(link, h5py.SoftLink):
            raise UserError(f"{path}: found no array {name!r}, expected {_listed(list(known))}")
        place = place[part]
    return place


def require_stored(data: Any, source: str) -> None:
    """Raise a UserError unless the values of an HDF5 dataset are in its own file and can be decoded.

    Example:
        >>> import h5py
        >>> with h5py.File("clip.h5", "w", driver="core", backing_store=False) as file:
        ...     data = file.create_dataset("frames", (2**33, 64, 64, 3), "u1", chunks=(1, 64, 64, 3))
        ...     require_stored(data, "clip.h5: frames")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: clip.h5: frames: found an array of which nothing is stored, expected its values
    """
    import h5py

    if data.external or data.is_virtual:
        found = "an array whose values are in other files"
        raise UserError(f"{source}: found {found}, expected them in the file itself")
    if data.size and data.id.get_storage_size() == 0:
        raise UserError(f"{source}: found an array of which nothing is stored, expected its values")
    if data.size and data.chunks:
        needed = math.prod(-(-size // chunk) for size, chunk in zip(data.shape, data.chunks, strict=True))
        there = data.id.get_num_chunks()
        if there < needed:
            raise UserError(f"{source}: found {there:,} of {needed:,} chunks of an array stored, expected its values")
    text = h5py.check_string_dtype(data.dtype)
    if h5py.check_vlen_dtype(data.dtype) is not None or (text is not None and text.length is None):
        _require_heaps(data, source)
    made = data.id.get_create_plist()
    for place in range(made.get_nfilters()):
        number, _, _, name = made.get_filter(place)
        if not h5py.h5z.filter_avail(number) and not _plugins(number):
            called = name.decode(errors="replace").split(";")[0] or "without a name"
            found = f"an array compressed with filter {number} ({called}), which is not installed"
            raise MissingPackage(f"{source}: found {found}, expected it: pip install hdf5plugin has many")


def _require_heaps(data: Any, source: str) -> None:
    """Raise a UserError if texts of an HDF5 dataset are said to be in a heap that is larger than the file.

    HDF5 takes memory for the whole of it, gigabytes, before it notices. Only texts in one piece are looked at, as h5py
    writes them; where they are in chunks, nothing is known.
    """
    place, path = data.id.get_offset(), Path(data.file.filename)
    if not data.size or place is None or not path.is_file() or data.file.id.get_create_plist().get_sizes() != (8, 8):
        return
    end, begin = path.stat().st_size, data.file.userblock_size
    with open(path, "rb") as raw:
        raw.seek(place)
        references = np.fromfile(raw, HEAP_REFERENCE, data.size)
        for heap in np.unique(references["heap"][references["length"] > 0]).tolist():
            raw.seek(min(begin + heap, end))
            head = raw.read(16)
            size = int.from_bytes(head[8:], "little")
            if head[:4] != b"GCOL" or begin + heap + size > end:
                raise UserError(f"{source}: found damaged data (a heap of {size:,} bytes), expected an HDF5 file")


def require_all_stored(file: Any, path: Path) -> None:
    """Raise a UserError unless an open HDF5 file holds all that it names, for libraries that read it as a whole.

    Example:
        >>> import h5py
        >>> with h5py.File("a.h5", "w", driver="core", backing_store=False) as file:
        ...     file["there"], file["elsewhere"] = np.zeros(3), h5py.ExternalLink("b.h5", "x")
        ...     require_all_stored(file, Path("a.h5"))
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: a.h5: elsewhere: found a link to b.h5, expected the array in the file itself
    """
    import h5py

    links: list[tuple[str, Any]] = []
    things: list[tuple[str, Any]] = []
    file.visititems_links(lambda name, link: links.append((name, link)))  # what is raised in there is lost
    file.visititems(lambda name, thing: things.append((name, thing)))
    for name, link in links:
        _require_inside(link, name, path)
    for name, thing in things:
        if isinstance(thing, h5py.Dataset):
            require_stored(thing, f"{path}: {name}")


def _require_inside(link: Any, name: str, path: Path) -> None:
    """Raise a UserError for a link of HDF5 that leads to another file."""
    import h5py

    if isinstance(link, h5py.ExternalLink):
        raise UserError(f"{path}: {name}: found a link to {link.filename}, expected the array in the file itself")


def _plugins(number: int) -> bool:
    """Whether a filter is there once the package of filters is imported, if that is installed."""
    import h5py

    try:
        importlib.import_module("hdf5plugin")
    except ImportError:
        return False
    return bool(h5py.h5z.filter_avail(number))


def _chosen(names: list[str], path: Path, wanted: str | None = None) -> str:
    names = [name for name in names if name.rpartition("/")[2] not in (ACTIVITY, NAMES) or name == wanted]
    if wanted is not None and wanted not in names:
        raise UserError(f"{path}: found no array {wanted!r}, expected {_listed(names)}")
    if wanted is not None or KEY in names:
        return wanted or KEY
    if len(names) != 1:
        expected = f"one called {KEY!r}, or only one"
        hint = f"; {FLAG} NAME chooses" if names else " of three to five dimensions"
        raise UserError(f"{path}: found arrays {_listed(names)}, expected {expected}{hint}")
    return names[0]


def _listed(names: list[str]) -> str:
    """Some names, and how many others there are."""
    more = f" and {len(names) - LISTED} others" if len(names) > LISTED else ""
    return (", ".join(names[:LISTED]) or "none") + more
