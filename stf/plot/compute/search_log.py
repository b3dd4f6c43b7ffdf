"""The search for fields as ``metrics.jsonl`` tells it: its moves, and when each field was there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError
from ffrl.core.schema import check
from stf.discovery.moves_text import cheapest
from stf.plot.compute.numbers import series

SEARCH = "search"
CHANGES = ("merge", "delete", "silent", "refill", "undo")
"""Moves that change which fields are alive."""
TRAINING = "train/log_evidence"
PLACES = 2**20
"""More fields than a model can have."""


class _Entry(TypedDict):
    """What :class:`Move` is read from."""

    move: str
    fields: NotRequired[list[int] | None]
    alive: NotRequired[list[int] | None]
    sources: NotRequired[list[int] | None]
    cost: NotRequired[float | None]
    ratio: NotRequired[float | None]
    evidence: NotRequired[float | None]
    accepted: NotRequired[bool]


@dataclass(frozen=True)
class Move:
    """One entry of the search.

    Args:
        step: optimisation steps made before it.
        kind: ``start``, ``choose``, ``merge``, ``delete``, ``silent``, ``refill``, ``undo``, ``keep`` or ``end``.
        fields: that it concerns; of ``merge`` the first stays.
        alive: fields after it.
        sources: what the fields of a ``refill`` were copied from.
        cost: held-out log evidence that it loses, nats per transition, where it is known.
        ratio: cost relative to what leaving the field out loses, where it is known.
        evidence: held-out log evidence after it, nats per transition, where it is known.
        accepted: whether it was made; trials of ``merge``, ``delete`` and ``undo`` may be refused.
    """

    step: float
    kind: str
    fields: tuple[int, ...]
    alive: tuple[int, ...]
    sources: tuple[int, ...] = ()
    cost: float | None = None
    ratio: float | None = None
    evidence: float | None = None
    accepted: bool = True

    @property
    def changes(self) -> bool:
        """Whether it changed which fields there are."""
        return self.accepted and self.kind in CHANGES


@dataclass(frozen=True)
class Life:
    """A field from when it began to when it ended.

    Args:
        field: its place.
        begin: step at which it began.
        end: step at which it ended, or up to which it is known to live.
        fate: ``merge``, ``delete``, ``silent`` or ``undo``; ``start`` where another start or another search replaced
            it; None while it lives.
        move: number of the move that ended it, None while it lives.
        other: what it merged into.
        source: what it was copied from.
    """

    field: int
    begin: float
    end: float
    fate: str | None = None
    move: int | None = None
    other: int | None = None
    source: int | None = None


@dataclass(frozen=True)
class Search:
    """A search for fields.

    Args:
        num_fields: K, the places for fields.
        moves: all entries in order, refused trials among them.
        steps: of the training log evidence, ``(N,)``; it may be empty.
        training: training log evidence, nats per transition, ``(N,)``.
        last: last step that is known of the search.

    Example:
        >>> entries = [
        ...     {"step": 0, "search": {"move": "start", "fields": [], "alive": [0, 1], "accepted": True}},
        ...     {"step": 5, "train/log_evidence": -2.0},
        ...     {"step": 9, "search": {"move": "merge", "fields": [0, 1], "alive": [0], "accepted": True}}]
        >>> search = read_search(entries)
        >>> search.outcome
        '2 fields allocated, 1 alive so far, after 1 move'
        >>> [(life.field, life.begin, life.end, life.fate) for life in search.lives()]
        [(1, 0, 9, 'merge'), (0, 0, 9, None)]
    """

    num_fields: int
    moves: tuple[Move, ...]
    steps: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    training: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    last: float = 0.0

    @property
    def first(self) -> float:
        """Step at which it began."""
        return self.moves[0].step

    @property
    def ended(self) -> bool:
        """Whether it came to its end."""
        return self.moves[-1].kind == "end"

    @property
    def alive(self) -> tuple[int, ...]:
        """Fields that are there at the end."""
        return self.moves[-1].alive

    @property
    def outcome(self) -> str:
        """How many fields there were, how many are left, and how many moves that took."""
        count, moves = self.num_fields, sum(move.changes for move in self.moves)
        what = f"{count} field{'' if count == 1 else 's'} allocated, {len(self.alive)} alive"
        made = f"{moves} move{'' if moves == 1 else 's'}"
        return f"{what} after {made}" if self.ended else f"{what} so far, after {made}"

    def again(self, move: Move) -> bool:
        """Whether a move begins another search, after the end of one."""
        number = next(number for number, other in enumerate(self.moves) if other is move)
        return move.kind == "start" and number > 0 and self.moves[number - 1].kind == "end"

    @property
    def searches(self) -> list[tuple[Move, ...]]:
        """The moves of every search, of which the last one counts: each begins from fresh fields."""
        begins = [0, *(number for number, move in enumerate(self.moves) if self.again(move)), len(self.moves)]
        return [self.moves[begin:end] for begin, end in itertools.pairwise(begins)]

    def lives(self) -> list[Life]:
        """Every field that there was, those that ended first, in the order of their ends."""
        begun: dict[int, tuple[float, int | None]] = {}
        lives: list[Life] = []

        def end(place: int, number: int, fate: str, other: int | None = None) -> None:
            if place in begun:
                begin, source = begun.pop(place)
                lives.append(Life(place, begin, self.moves[number].step, fate, number, other, source))

        for number, move in enumerate(self.moves):
            if not move.accepted:
                continue
            if move.kind == "start":
                last = number - 1 if self.again(move) else number  # joint training lies between two searches
                for place in sorted(begun):
                    end(place, last, "start")
            elif move.kind == "merge" and len(move.fields) == 2:
                end(move.fields[1], number, "merge", self._heir(number))
            elif move.kind in ("delete", "silent"):
                for place in move.fields:
                    end(place, number, move.kind)
            elif move.kind == "refill":
                sources = move.sources or (None,) * len(move.fields)
                for place, source in zip(move.fields, sources, strict=True):
                    end(place, number, "silent")
                    begun[place] = (move.step, source)
            for place in sorted(set(begun) - set(move.alive)):  # what the entry says is what counts
                end(place, number, "undo" if move.kind == "undo" else "delete")
            for place in sorted(set(move.alive) - set(begun)):
                begun[place] = (move.step, None)
        left = [Life(place, begin, self.last, source=source) for place, (begin, source) in sorted(begun.items())]
        return lives + left

    def _heir(self, number: int) -> int:
        """What the field of a merge is part of in the end, where others follow at the same step."""
        kept, step = self.moves[number].fields[0], self.moves[number].step
        for move in self.moves[number + 1 :]:
            if move.step == step and move.kind == "merge" and move.accepted and move.fields[1] == kept:
                kept = move.fields[0]
        return kept

    def refused(self) -> list[Move]:
        """The best refused trial of every round: of the smallest ratio, or else of the smallest cost."""
        best: list[Move] = []
        trials: list[Move] = []
        for move in self.moves:
            if not move.accepted:
                trials.append(move)
            else:
                best, trials = best + _best(trials), []
        return best + _best(trials)


def read_search(metrics: Sequence[Mapping[str, Any]]) -> Search | None:
    """Return the search of a run, None if it had none.

    Args:
        metrics: entries of ``metrics.jsonl``, in order.

    Raises:
        UserError: an entry of the search is none; the message names its step.
    """
    moves = tuple(_read(entry["step"], entry[SEARCH]) for entry in metrics if entry.get(SEARCH) is not None)
    if not moves:
        return None
    steps, training = series(metrics, TRAINING)
    places = {place for move in moves for place in (*move.alive, *move.fields)}
    ended = [move.step for move in moves if move.kind == "end"]
    last = ended[-1] if ended else max([move.step for move in moves] + steps.tolist()[-1:])
    within = steps <= last
    return Search(max(places, default=-1) + 1, moves, steps[within], training[within], last)


def _read(step: float, entry: Any) -> Move:
    source = f"metrics.jsonl: step {step}"
    check({SEARCH: entry}, dict[str, _Entry], source)
    for name in ("fields", "alive", "sources"):
        wrong = [place for place in entry.get(name) or () if not 0 <= place < PLACES]
        if wrong:
            raise UserError(f"{source}: {SEARCH}.{name}: found {wrong[0]}, expected the number of a field")
    return Move(
        step=step,
        kind=entry["move"],
        fields=tuple(entry.get("fields") or ()),
        alive=tuple(entry.get("alive") or ()),
        sources=tuple(entry.get("sources") or ()),
        cost=entry.get("cost"),
        ratio=entry.get("ratio"),
        evidence=entry.get("evidence"),
        accepted=entry.get("accepted", True),
    )


def _best(trials: Sequence[Move]) -> list[Move]:
    found = cheapest([{"ratio": trial.ratio, "cost": trial.cost, "trial": trial} for trial in trials])
    return [] if found is None else [found["trial"]]
