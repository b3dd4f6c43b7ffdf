"""Checks of single values; an error names the key, what was found and what is expected."""

from __future__ import annotations

import math

from ffrl.core.errors import require

LARGEST = 2**20
"""Of what a layer has of anything; memory ends before."""


def positive(key: str, value: float) -> None:
    """Raise a UserError unless ``value`` is finite and above 0."""
    require(math.isfinite(value) and value > 0, key, value, "a number above 0")


def non_negative(key: str, value: float) -> None:
    """Raise a UserError unless ``value`` is finite and at least 0."""
    require(math.isfinite(value) and value >= 0, key, value, "a number of at least 0")


def at_least(key: str, value: int, least: int) -> None:
    """Raise a UserError unless ``value`` is at least ``least``."""
    require(value >= least, key, value, f"an integer of at least {least}")


def probability(key: str, value: float) -> None:
    """Raise a UserError unless ``value`` is strictly between 0 and 1."""
    require(0.0 < value < 1.0, key, value, "a probability strictly between 0 and 1")


def size(key: str, value: int) -> None:
    """Raise a UserError unless ``value`` is a size that a network can have."""
    at_least(key, value, 1)
    require(value <= LARGEST, key, value, f"an integer of at most {LARGEST:,}")
