"""A finding, and the interface of what looks for a kind of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ffrl.core.errors import UserError

if TYPE_CHECKING:
    from ffrl.data.findings.seen import Seen

KEYS = ("kind", "where", "what", "do")


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong, and need not be.

    Args:
        kind: a word or two for what it is.
        where: the recordings, features or keys.
        what: what was found.
        do: what to do about it.

    Example:
        >>> str(Finding("dark", "a.npy", "no value above 1 of 255", "--data.sequences.range own stretches them"))
        'a.npy: found no value above 1 of 255; --data.sequences.range own stretches them'
    """

    kind: str
    where: str
    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.where}: found {self.what}; {self.do}"

    def plain(self) -> dict[str, str]:
        """JSON values."""
        return {key: getattr(self, key) for key in KEYS}

    @classmethod
    def read(cls, values: Any, source: str) -> Finding:
        """The inverse of :meth:`plain`.

        Raises:
            UserError: something is missing or no text.
        """
        if not isinstance(values, dict) or values.keys() != set(KEYS):
            raise UserError(f"{source}: found no finding, expected the keys {', '.join(KEYS)}")
        if not all(isinstance(text, str) for text in values.values()):
            raise UserError(f"{source}: found values that are no texts, expected those of a finding")
        return cls(**values)


class Check(ABC):
    """Looks for one kind of findings: it is shown recordings one after the other, and then says what it has found."""

    @abstractmethod
    def see(self, seen: Seen) -> None:
        """Look at a recording."""

    @abstractmethod
    def found(self) -> list[Finding]:
        """What looks wrong in those that were shown."""


def several(names: Sequence[str] | Mapping[str, Any]) -> str:
    """The first of some recordings, and how many others there are.

    Example:
        >>> several(["a.npy"]), several(["a.npy", "b.npy", "c.npy"])
        ('a.npy', 'a.npy and 2 other recordings')
    """
    first, *others = dict.fromkeys(names)
    return f"{first} and {len(others)} other recording{'s' if len(others) > 1 else ''}" if others else first
