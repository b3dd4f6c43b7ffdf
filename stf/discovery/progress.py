"""Where a search stands, as plain values that a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stf.discovery.pairs import Pair

FORM, PAIRS, TRIAL, LONGER, SETTLE, POLISH = "form", "pairs", "trial", "longer", "settle", "polish"


@dataclass(frozen=True)
class Move:
    """A trial: two places merged into the first, or one deleted.

    Args:
        places: two for a merge, one for a deletion.
        gone: nats per transition lost when the field is simply left out.
    """

    places: tuple[int, ...]
    gone: float

    @property
    def kind(self) -> str:
        """``merge`` or ``delete``."""
        return "merge" if len(self.places) == 2 else "delete"


@dataclass
class Progress:
    """Where the search stands, as plain values."""

    stage: str = FORM
    done: int = 0
    length: int = 0
    round: int = 0
    places: list[int] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    finished: bool = False


def progress_from(numbers: dict[str, Any], steps: int, places_total: int) -> tuple[int, Progress]:
    """How many steps were taken and where a search stands, from its saved numbers.

    Args:
        numbers: ``taken`` and the values of :class:`Progress`.
        steps: how many steps the search has.
        places_total: how many places it has.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is no such search; the last two say what is wrong.
    """
    values = dict(numbers)
    taken = values.pop("taken")
    values["moves"] = [Move(tuple(move["places"]), float(move["gone"])) for move in values["moves"]]
    values["pairs"] = [(int(a), int(b), int(turned)) for a, b, turned in values["pairs"]]
    values["gone"] = [float(value) for value in values["gone"]]
    found = Progress(**values)
    places = found.places
    fits = {
        "taken": type(taken) is int and 0 <= taken < steps,
        "stage": found.stage in (FORM, PAIRS, TRIAL, LONGER, SETTLE, POLISH),
        "done": type(found.done) is type(found.length) is int and 0 <= found.done < found.length,
        "round": type(found.round) is int and found.round >= 0,
        "places": 0 < len(places) == len(set(places)) and set(places) <= set(range(places_total)),
        "before": len(found.before) == len(set(found.before)) and set(found.before) <= set(range(places_total)),
        "finished": found.finished is False,
    }
    if found.stage in (TRIAL, LONGER):
        known = all(move.places and set(move.places) <= set(places) for move in found.moves)
        fits["moves"] = bool(found.moves) and known
    if found.stage == PAIRS:
        known = all(max(a, b) < len(places) and min(a, b) >= 0 and abs(turned) == 1 for a, b, turned in found.pairs)
        fits["pairs"] = bool(found.pairs) and known
    for name, fit in fits.items():
        if not fit:
            raise ValueError(repr(name))
    return taken, found
