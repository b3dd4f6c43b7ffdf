"""What a run was trained on, as hashes, so that other contents under the same names and sizes are noticed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.core.errors import UserError
from ffrl.core.reading import shown
from ffrl.data.inventory import listed

DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""SHA-256 in hexadecimal digits."""


@dataclass(frozen=True)
class Contents:
    """SHA-256 of the parts of data, and of what is held out of them.

    Args:
        parts: by name: of a recording, a file, or an array.
        held_out: of the names and lengths of what is held out; empty where the parts say it.

    Example:
        >>> before = Contents({"a.csv": digest("1"), "b.csv": digest("2")})
        >>> before.change(Contents({"a.csv": digest("3"), "c.csv": digest("2")}))
        'changed: a.csv; gone: b.csv; new: c.csv'
        >>> Contents.read(before.plain(), "run.json") == before
        True
    """

    parts: Mapping[str, str]
    held_out: str = ""

    def change(self, other: Contents) -> str | None:
        """What is different in another one, in words; None for nothing. A single part may have another name."""
        if len(self.parts) == len(other.parts) == 1 and list(self.parts.values()) == list(other.parts.values()):
            return None if self.held_out == other.held_out else "others held out"
        both = self.parts.keys() & other.parts.keys()
        words = {
            "changed": sorted(name for name in both if self.parts[name] != other.parts[name]),
            "gone": sorted(self.parts.keys() - both),
            "new": sorted(other.parts.keys() - both),
        }
        said = [f"{what}: {listed(names)}" for what, names in words.items() if names]
        if not said and self.held_out != other.held_out:
            said = ["others held out"]
        return "; ".join(said) or None

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return {"sha256": dict(self.parts), "held_out": self.held_out}

    @classmethod
    def read(cls, values: Any, source: str) -> Contents:
        """The inverse of :meth:`plain`.

        Raises:
            UserError: something is missing or of another type.
        """
        inside = values if isinstance(values, dict) else {}
        parts, held = inside.get("sha256"), inside.get("held_out")
        if isinstance(parts, dict) and isinstance(held, str):
            if all(map(_is_digest, parts.values())) and (not held or _is_digest(held)):
                return cls(parts, held)
        raise UserError(f"{source}: found {shown(values)}, expected sha256 by name, and held_out")


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def digest(*values: Tensor | NDArray[Any] | str | Iterable[str]) -> str:
    """SHA-256 of arrays, with their shapes and types, and of texts.

    Example:
        >>> digest(np.zeros(3)) == digest(np.zeros(3)), digest(np.zeros(3)) == digest(np.zeros((3, 1)))
        (True, False)
    """
    total = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            total.update(f"{value.dtype} {tuple(value.shape)}\n".encode())
            total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, np.ndarray):
            total.update(f"{value.dtype.str} {value.shape}\n".encode())
            total.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        else:
            words = [value] if isinstance(value, str) else list(value)
            total.update(repr(words).encode(errors="surrogateescape"))
    return total.hexdigest()
