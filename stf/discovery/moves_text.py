"""One sentence for each move of the search for fields, from the entries of ``metrics.jsonl``; for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HARDLY = 0.03
"""Noise alone switches a field on in about so large a share of the steps."""


def describe_move(
    entry: Mapping[str, Any], num_fields: int | None = None, refused: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Say what a move of the search did, without a full stop; fields are counted from 0.

    Args:
        entry: a line of ``metrics.jsonl`` with a ``search``, or what stands under that key. Costs are in nats per
            transition.
        num_fields: K, to say of how many fields those alive are.
        refused: the refused trials of the same round, of which the cheapest is told where no move was made.

    Example:
        >>> alive = {"alive": [0, 1, 2, 3, 4], "accepted": True}
        >>> describe_move({"move": "merge", "fields": [2, 7], "cost": 1.31} | alive, 8)
        '5 of 8 fields alive: merged 2 and 7, cost 1.3 nats'
        >>> describe_move({"move": "refill", "fields": [3, 5], "sources": [0, 1]} | alive)
        '5 fields alive: refilled 3 from 0 and 5 from 1'
        >>> trial = {"move": "merge", "fields": [1, 4], "cost": 12.0, "accepted": False}
        >>> describe_move({"move": "keep", "fields": []} | alive, 8, [trial])
        '5 of 8 fields alive: kept all 5, the cheapest trial, merging 1 and 4, would cost 12 nats'
        >>> describe_move({"move": "end", "fields": [], "alive": [2], "on": [0.0]})
        "1 field alive: the search ended, no field is ever on: no motion beyond the encoder's noise was found"
    """
    move = _move(entry)
    alive = len(move["alive"]) if move.get("alive") is not None else None
    if alive is None:
        return _deed(move, 0, refused)
    of = "" if num_fields is None else f" of {num_fields}"
    noun = "field" if (num_fields or alive) == 1 else "fields"
    return f"{alive}{of} {noun} alive: {_deed(move, alive, refused)}"


def cheapest(trials: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the trial that comes closest to being accepted: of the smallest ratio, else of the smallest cost.

    Args:
        trials: lines of ``metrics.jsonl`` with a ``search``, or what stands under that key.

    Example:
        >>> cheapest([{"ratio": 0.9, "cost": 1.0}, {"ratio": 0.3, "cost": 2.0}, {"cost": 0.1}])["cost"]
        2.0
    """
    return min(trials, key=lambda trial: _rank(_move(trial)), default=None)


def quantity(value: float) -> str:
    """Return a number with two digits, as many before the point as it has.

    Example:
        >>> quantity(1.31), quantity(12.4), quantity(1234.5), quantity(0.0412), quantity(-0.3), quantity(1e-9)
        ('1.3', '12', '1,234', '0.041', '−0.3', '0')
    """
    if abs(value) < 5e-5:
        return "0"
    return (f"{value:,.0f}" if abs(value) >= 9.95 else f"{value:.2g}").replace("-", "−")


def _move(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry.get("search", entry)


def _rank(move: Mapping[str, Any]) -> tuple[bool, bool, float]:
    ratio, cost = move.get("ratio"), move.get("cost")
    return ratio is None, cost is None, (ratio if ratio is not None else cost or 0.0)


def _deed(move: Mapping[str, Any], alive: int, refused: Sequence[Mapping[str, Any]]) -> str:
    name, fields, cost = move["move"], list(move.get("fields") or ()), move.get("cost")
    if name in ("merge", "delete"):
        price = "" if cost is None else f"{quantity(cost)} nats"
        if move.get("accepted", True):
            verb = "merged" if name == "merge" else "deleted"
            return f"{verb} {_joined(fields)}" + (f", cost {price}" if price else "")
        verb = "merge" if name == "merge" else "delete"
        return f"did not {verb} {_joined(fields)}" + (f", which would cost {price}" if price else "")
    if name == "undo":
        price = "" if cost is None else f"{quantity(cost)} nats"
        if move.get("accepted", True):
            return "took the refill back" + (f", cost {price}" if price else "")
        return "did not take the refill back" + (f", which would cost {price}" if price else "")
    if name == "silent":
        return f"dropped {_joined(fields)}, hardly ever on"
    if name == "refill":
        sources = move.get("sources")
        if sources is None:
            return f"refilled {_joined(fields)}"
        return "refilled " + _joined([f"{field} from {source}" for field, source in zip(fields, sources, strict=True)])
    if name == "keep":
        kept = "kept it" if alive == 1 else f"kept all {alive}"
        return kept + _trial(cheapest(refused))
    evidence = move.get("evidence")
    known = "" if evidence is None else f", held-out log evidence {_signed(evidence)} nats per transition"
    if name == "end" and move.get("on") and max(move["on"]) < HARDLY:
        return "the search ended, no field is ever on: no motion beyond the encoder's noise was found"
    words = {"start": "start of the search", "choose": "took the best of several starts", "end": "the search ended"}
    return words.get(name, name) + known


def _trial(trial: Mapping[str, Any] | None) -> str:
    if trial is None:
        return ""
    move = _move(trial)
    fields = _joined(move["fields"])
    what = {"merge": f"merging {fields}", "undo": "taking the refill back"}.get(move["move"], f"deleting {fields}")
    price = "" if move.get("cost") is None else f" would cost {quantity(move['cost'])} nats"
    return f", the cheapest trial, {what},{price}" if price else f", the cheapest trial was {what}"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _joined(parts: Sequence[Any]) -> str:
    *head, last = map(str, parts) if parts else ("none",)
    return f"{', '.join(head)} and {last}" if head else last
