"""What recordings a run was trained on, so that it is noticed when they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ffrl.core.errors import UserError

LISTED = 3
"""Names of recordings in a message."""


@dataclass(frozen=True)
class Inventory:
    """Recordings by name, and which of them are held out.

    Args:
        sizes: by name: frames, and bytes of the file or folder.
        held_out: names of the validation split; none where a single recording is divided in time.

    Example:
        >>> before = Inventory({"a.npy": (90, 5000), "b.npy": (90, 5000)}, ("b.npy",))
        >>> before.change(Inventory({"a.npy": (90, 5000), "c.npy": (90, 5000)}, ("a.npy",)))
        'gone: b.npy; new: c.npy; others held out: a.npy'
        >>> Inventory.read(before.plain(), "run.json") == before
        True
    """

    sizes: Mapping[str, tuple[int, int]]
    held_out: tuple[str, ...] = ()

    def change(self, other: Inventory) -> str | None:
        """What is different in another one, in words; None for nothing. A single recording may have another name."""
        if len(self.sizes) == len(other.sizes) == 1 and not self.held_out and not other.held_out:
            same = list(self.sizes.values()) == list(other.sizes.values())
            return None if same else f"changed: {listed(list(other.sizes))}"
        both = self.sizes.keys() & other.sizes.keys()
        words = {
            "gone": sorted(self.sizes.keys() - both),
            "new": sorted(other.sizes.keys() - both),
            "changed": sorted(name for name in both if self.sizes[name] != other.sizes[name]),
            "others held out": sorted(set(other.held_out) - set(self.held_out)),
        }
        return "; ".join(f"{what}: {listed(names)}" for what, names in words.items() if names) or None

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return {"sizes": {name: list(size) for name, size in self.sizes.items()}, "held_out": list(self.held_out)}

    @classmethod
    def read(cls, values: Any, source: str) -> Inventory:
        """The inverse of :meth:`plain`.

        Raises:
            UserError: something is missing or of another type.
        """
        inside = values if isinstance(values, dict) else {}
        sizes, held = inside.get("sizes"), inside.get("held_out")
        if isinstance(sizes, dict) and isinstance(held, list):
            if all(map(_is_size, sizes.values())) and all(isinstance(name, str) for name in held):
                return cls({name: (size[0], size[1]) for name, size in sizes.items()}, tuple(held))
        raise UserError(f"{source}: found no sizes by name and names held out, expected both")


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value)


def listed(names: Sequence[str]) -> str:
    """Some names, and how many others there are."""
    more = f" and {len(names) - LISTED} others" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
