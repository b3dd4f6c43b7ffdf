"""Tensors on disk, as safetensors: read from bytes, so that no name of a file and no size in it is trusted."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ffrl.core.errors import UserError, fitting, reason_of
from ffrl.core.files import reporting
from ffrl.core.reading import json_object, shown
from ffrl.core.schema import check

MOST_HEADER_BYTES = 16 * 2**20
"""Length of the longest header that is read."""
MOST_AXES = 8
TYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""Types of tensors by their names in the format."""


class _Described(TypedDict):
    dtype: str
    shape: list[int]
    data_offsets: NotRequired[list[int]]


def encode_tensors(tensors: dict[str, Tensor]) -> bytes:
    """Return a safetensors file; of tensors that share memory, which the format has no place for, each is written."""
    dense = torch.contiguous_format
    return save({name: tensor.detach().to("cpu", copy=True, memory_format=dense) for name, tensor in tensors.items()})


def read_header(path: Path) -> dict[str, Tensor]:
    """Return what a safetensors file says of its tensors, as tensors on the device ``meta``, which take no memory.

    Raises:
        UserError: unreadable or damaged.
    """
    with reporting("read", path):
        size = os.stat(path).st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            content = file.read(length) if 0 < length <= min(MOST_HEADER_BYTES, size - 8) else None
    if content is None:
        raise _damaged(path, f"a header of {length:,} bytes in a file of {size:,}")
    described = json_object(content, f"{path}: header")
    described.pop("__metadata__", None)
    check(described, dict[str, _Described], f"{path}: header")
    found = {}
    for name, one in described.items():
        shape, kind = one["shape"], TYPES.get(one["dtype"])
        count = math.prod(shape)
        if kind is None or len(shape) > MOST_AXES or min(shape, default=0) < 0 or count * kind.itemsize > size:
            raise _damaged(path, f"{shown(name)} of type {shown(one['dtype'])} and shape {shown(shape)}")
        found[name] = torch.empty(shape, dtype=kind, device="meta")
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file on the CPU.

    Raises:
        UserError: missing, unreadable or damaged.
    """
    read_header(path)
    with reporting("read", path), fitting(str(path)):
        content = path.read_bytes()
    try:
        with fitting(str(path)):
            return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(path, reason_of(error)) from None


def require_alike(path: Path, name: str, found: Tensor, expected: Tensor) -> None:
    """Raise a UserError naming ``path`` unless two tensors have the same shape and type."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        kinds = [f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in (found, expected)]
        raise UserError(f"{path}: found {name!r} of shape {kinds[0]}, expected {kinds[1]}")


def require_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    """Raise a UserError naming ``path`` and the first of some tensors in which there are infinite numbers or nan."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            wrong = int((~tensor.isfinite()).sum())
            raise UserError(f"{path}: found {wrong:,} numbers in {name!r} that are not finite, expected none")


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: found a damaged file ({reason}), expected safetensors")
