"""Changes of the bytes of a file, or of what they stand for: JSON, tensors, archives, chunks of PNG, HDF5, tables."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st

Draw = Callable[..., Any]
NASTY: list[Any] = [
    *(None, True, -1, 0, 2**31, 2**62, 2**63, 10**400, -1e308, 1e-320, float("nan"), float("inf"), 0.5),
    *("", "x", "\ud800", "[red]\x1b[31m", "../..", "/dev/zero", "$\\foo$"),
    *([], [[]], {}, {"": {}}, [None], {"mean": "x"}),
]
"""Values that something may not be ready for."""
BYTES = [
    *(b"\x00", b"\xff", b"[" * 5000, b'{"a":' * 5000, b"\n", b'"', b"\xef\xbb\xbf"),
    *(b"NaN", b"9" * 5000, b"1e999", b"-"),
]
CELLS = [
    *("", "nan", "inf", "-1e308", "1e308", "1e999", "9" * 400, "0x10", "1_000", "1,5", "x", "coords", "single"),
    *("\x00", "\x1b[31m", '"', ";", "\t", "é", "一", "=1+1", "-0", " ", "2020-01-01"),
]
"""What may stand in a cell of a table."""
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**64 - 1)
"""Lengths, offsets and counts at which something may break."""
TYPES = ("u1", "i1", ">u2", "u4", "i8", "u8", "f2", "f4", ">f8", "f16", "?", "c8", "S4", "U3", "M8[s]", "V5", "O")
CHUNKS = (b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"fdAT", b"eXIf")
ATTRIBUTES = [0, -1, 1e308, "x", b"\xff\x00", "[" * 5000, np.zeros((0, 3)), h5py.Empty("f")]
UNDONE = (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
SIZES = (0, 1, 2, 3, 7, 2**16, 2**31, 2**33, 2**62)


@st.composite
def mutated(draw: Draw, content: bytes, shape: str) -> bytes:
    """The contents of a file, changed in its structure or byte by byte."""
    if shape and draw(st.booleans()):
        return STRUCTURES[shape](draw, content)
    return _bytes(draw, content)


def _bytes(draw: Draw, content: bytes) -> bytes:
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(made) - 1)))
        length = draw(st.integers(0, 16))
        match draw(st.sampled_from(("flip", "cut", "insert", "repeat", "number", "end"))):
            case "flip" if made:
                made[start] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del made[start : start + length]
            case "insert":
                made[start:start] = draw(st.sampled_from(BYTES) | st.binary(max_size=8))
            case "repeat":
                made[start:start] = made[start : start + length]
            case "number":
                size, order = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from(("little", "big")))
                number = draw(st.sampled_from(NUMBERS)) % 2 ** (8 * size)
                made[start : start + size] = number.to_bytes(size, order)
            case "end":
                del made[start:]
    return bytes(made)


def _json(draw: Draw, content: bytes) -> bytes:
    return _dumped(_changed(draw, json.loads(content)))


def _lines(draw: Draw, content: bytes) -> bytes:
    """Lines of JSON, one of them changed."""
    every = content.splitlines(keepends=True)
    place = draw(st.integers(0, len(every) - 1))
    every[place] = _dumped(_changed(draw, json.loads(every[place]))) + b"\n"
    return b"".join(every)


def _tensors(draw: Draw, content: bytes) -> bytes:
    """A safetensors file with another header."""
    (length,) = struct.unpack("<Q", content[:8])
    header = _dumped(_changed(draw, json.loads(content[8 : 8 + length])))
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def _table(draw: Draw, content: bytes) -> bytes:
    """Text in columns, some cells of which say something else, or are more or fewer."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        place = draw(st.integers(0, len(row) - 1)) if row else 0
        match draw(st.sampled_from(("replace", "leave out", "more", "row", "column"))):
            case "replace" if row:
                row[place] = draw(st.sampled_from(CELLS))
            case "leave out" if row:
                del row[place]
            case "more":
                row.insert(place, draw(st.sampled_from(CELLS)))
            case "row":
                rows.insert(draw(st.integers(0, len(rows))), list(draw(st.sampled_from(rows))))
            case "column":
                cell = draw(st.sampled_from(CELLS))
                rows = [[cell if number == place else word for number, word in enumerate(one)] for one in rows]
    return draw(st.sampled_from(("\n", "\r\n", "\r"))).join(",".join(row) for row in rows).encode() + b"\n"


def _npy(draw: Draw, content: bytes) -> bytes:
    """An array whose header says another type, shape or order than its values have."""
    file = io.BytesIO(content)
    np.lib.format.read_magic(file)
    shape, order, dtype = np.lib.format.read_array_header_1_0(file)
    values = file.read()
    if draw(st.booleans()):
        dtype = np.dtype(draw(st.sampled_from(TYPES)))
    if draw(st.booleans()):
        shape = tuple(draw(st.lists(st.sampled_from((*SIZES, *shape)), max_size=6)))
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": draw(st.booleans()), "shape": shape}
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + values


def _npz(draw: Draw, content: bytes) -> bytes:
    """An archive with a changed member, whose checksum fits it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(members)))
    match draw(st.sampled_from(("change", "change", "rename", "leave out", "copy"))):
        case "change":
            members[name] = (_npy if draw(st.booleans()) else _bytes)(draw, members[name])
        case "rename":
            members[draw(st.sampled_from(("frames.npy", "a/b.npy", "../x.npy", "x", "é.npy")))] = members.pop(name)
        case "leave out":
            del members[name]
        case "copy":
            members["copy.npy"] = members[name]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _png(draw: Draw, content: bytes) -> bytes:
    """A picture with a changed chunk, whose checksum fits it."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    kinds = [kind for kind, _ in chunks]
    number = draw(st.integers(0, len(chunks) - 1))
    kind, data = chunks[number]
    match draw(st.sampled_from(("change", "change", "inside", "leave out", "repeat", "kind"))):
        case "inside" if kind == b"IDAT":
            data = zlib.compress(_bytes(draw, zlib.decompress(data)))
            chunks[number] = (kind, data)
        case "leave out":
            del chunks[number]
        case "repeat":
            chunks.insert(number, chunks[number])
        case "kind":
            kind = draw(st.sampled_from([*kinds, *CHUNKS]))
            chunks[number] = (kind, data)
        case _:
            chunks[number] = (kind, _bytes(draw, data))
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _hdf5(draw: Draw, content: bytes) -> bytes:
    """A whole HDF5 file that holds something else."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(draw(st.integers(1, 2))):
            with suppress(
                AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError
            ):  # what HDF5 does not do, stays as it is
                _changed_hdf5(draw, file, draw(st.sampled_from(names)))
    return buffer.getvalue()


def _changed_hdf5(draw: Draw, file: Any, name: str) -> None:
    """Change one thing of an open HDF5 file."""
    thing = file[name]
    what = draw(
        st.sampled_from(("leave out", "rename", "type", "shape", "unstored", "link", "group", "text", "attribute"))
    )
    if what == "attribute":
        for key in list(thing.attrs) or ["format_id"]:
            value = draw(st.sampled_from(ATTRIBUTES))
            thing.attrs[key] = value
        return
    if what == "rename":
        target = draw(st.sampled_from(("frames", "activity", "a/b", "values", "table")))
        if target not in file and not target.startswith(f"{name}/"):
            file.move(name, target)
        return
    small = isinstance(thing, h5py.Dataset) and 0 < (thing.size or 0) < 2**20
    old = np.asarray(thing[()]) if small else np.zeros((3, 2))
    chunks = getattr(thing, "chunks", None)
    del file[name]
    match what:
        case "type":
            kind = np.dtype(draw(st.sampled_from([kind for kind in TYPES if kind not in ("O", "U3", "M8[s]", "f16")])))
            with np.errstate(all="ignore"):
                file[name] = np.zeros(old.shape, kind) if kind.kind in "SV" or old.dtype.fields else old.astype(kind)
        case "shape":
            shape = tuple(draw(st.lists(st.sampled_from((0, 1, 2, 3, 5, 7)), max_size=6)))
            file[name] = np.resize(old, shape) if old.dtype.fields is None else np.zeros(shape, old.dtype)
        case "unstored":
            shape = tuple(draw(st.sampled_from(SIZES[1:])) for _ in range(max(1, old.ndim)))
            if np.prod([float(size) for size in shape]) < 2**62:
                small = tuple(min(size, 4) for size in shape)
                made = file.create_dataset(name, shape, "u1", chunks=chunks and small)
                if chunks:
                    made[tuple(slice(0, size) for size in small)] = 1
        case "link":
            file[name] = draw(
                st.sampled_from([h5py.SoftLink("/"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink("/etc/passwd", "x")])
            )
        case "group":
            file.create_group(name)
        case "text":
            file[name] = draw(st.sampled_from(["x", "[" * 5000, "é\n", np.array([b"\xff", b""]), h5py.Empty("f4")]))


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _changed(draw: Draw, value: Any) -> Any:
    """JSON values with one or two of them left out, replaced or moved."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(value))
        if not places:
            return draw(st.sampled_from(NASTY))
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(("replace", "leave out", "wrap", "copy"))):
            case "replace":
                holder[key] = copy.deepcopy(draw(st.sampled_from(NASTY)))
            case "leave out":
                del holder[key]
            case "wrap":
                holder[key] = [holder[key]]
            case "copy":
                other, place = draw(st.sampled_from(places))
                if place in (other if isinstance(other, dict) else range(len(other))):
                    holder[key] = copy.deepcopy(other[place])
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested values, as what holds it and its key."""
    if isinstance(value, dict | list):
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _places(item)


STRUCTURES: dict[str, Callable[[Draw, bytes], bytes]] = {
    "json": _json,
    "lines": _lines,
    "tensors": _tensors,
    "table": _table,
    "npy": _npy,
    "npz": _npz,
    "png": _png,
    "hdf5": _hdf5,
}
"""What changes a file and leaves its outer form whole, by the name of that form."""
