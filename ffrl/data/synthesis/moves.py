"""Activity in words: moves such as ``rotation 4, hue 2 at 1.5``."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ffrl.core.errors import UserError

STILL = "still"
"""The move in which nothing acts."""
MOST_STEPS, FASTEST = 1000, 1e3
FORM = re.compile(r"(?P<names>[^\s+]+(?:\s*\+\s*[^\s+]+)*?)(?:\s+(?P<steps>\d+))?(?:\s+at\s+(?P<speed>\S+))?")


def parse_moves(text: str, transformations: Sequence[str], num_steps: int, source: str = "moves") -> Tensor:
    """Return the activity that moves such as ``rotation 4, scaling+hue 2 at 1.5, still 1`` describe, ``(T, J)``.

    A move is one or several transformations, for how many steps (left out: ``num_steps``), at which speed in unit
    steps per transition (left out: 1; negative: backwards). Moves follow each other.

    Args:
        text: moves, separated by commas.
        transformations: the J names there are, besides ``still``.
        num_steps: steps of a move that does not say.
        source: what the text is, for messages.

    Raises:
        UserError: an unknown name, no move, a speed that is no number, or more than a thousand steps.

    Example:
        >>> parse_moves("hue 2 at 0.5, scaling+hue 1", ["scaling", "hue"], 8).tolist()
        [[0.0, 0.5], [0.0, 0.5], [1.0, 1.0]]
    """
    rows: list[list[float]] = []
    for move in text.split(","):
        found = FORM.fullmatch(move.strip())
        if found is None:
            raise UserError(f"{source}: found move {move.strip()!r}, expected one like 'rotation 4' or 'hue 2 at 1.5'")
        names = re.split(r"\s*\+\s*", found["names"])
        for name in names:
            if name not in (*transformations, STILL):
                (nearest,) = difflib.get_close_matches(name, [*transformations, STILL], n=1, cutoff=0.0)
                raise UserError(f"{source}: found unknown transformation {name!r}, did you mean {nearest!r}?")
        steps, speed = num_steps if found["steps"] is None else int(found["steps"]), _speed(found["speed"], source)
        if not 1 <= steps <= MOST_STEPS - len(rows):
            raise UserError(f"{source}: found {steps} steps in {move.strip()!r}, expected 1 to {MOST_STEPS} in all")
        rows += steps * [[speed if name in names else 0.0 for name in transformations]]
    return torch.tensor(rows)


def _speed(text: str | None, source: str) -> float:
    try:
        speed = 1.0 if text is None else float(text)
    except ValueError:
        speed = math.nan
    if not abs(speed) <= FASTEST:
        raise UserError(f"{source}: found speed {text!r}, expected a number from -{FASTEST:g} to {FASTEST:g}")
    return speed
