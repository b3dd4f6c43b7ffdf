"""Means with their standard errors, as plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from torch import Tensor

from ffrl.core.device import exact


class Estimate(TypedDict):
    """A mean, and its standard error, which a single value has not."""

    mean: float
    standard_error: float | None


def estimate(values: Tensor) -> Estimate:
    r"""Mean over sequences and its standard error, :math:`\sqrt{\sum_i (x_i - \bar x)^2 / (n (n - 1))}`.

    Args:
        values: one number per sequence, ``(N,)``, N at least 1.

    Returns:
        ``mean`` and ``standard_error``; the latter is None for a single sequence.

    Example:
        >>> estimate(Tensor([1.0, 3.0]))
        {'mean': 2.0, 'standard_error': 1.0}
    """
    values = exact(values)
    count = len(values)
    error = None if count == 1 else values.std().item() / math.sqrt(count)
    return {"mean": values.mean().item(), "standard_error": error}


def plain(value: Any) -> Any:
    """The same nested dicts and lists with every number that is not finite replaced by None, which JSON can hold.

    Example:
        >>> plain({"a": [1.0, float("nan")], "b": float("inf")})
        {'a': [1.0, None], 'b': None}
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def storable(value: Any) -> Any:
    """Return :func:`plain` of a value that JSON can hold.

    Raises:
        TypeError: there is something in it that JSON cannot hold.

    Example:
        >>> storable({"a": (1.0, float("nan"))})
        {'a': [1.0, None]}
    """
    found = plain(value)
    json.dumps(found, allow_nan=False)
    return found


def leaves(value: Any, name: str) -> dict[str, Any]:
    """Return the numbers and estimates inside nested dicts, their keys joined by ``/``; lists and texts are left out.

    Example:
        >>> leaves({"a": {"mean": 1.0, "standard_error": None, "note": "x"}, "b": 2, "c": [3]}, "top")
        {'top/a': {'mean': 1.0, 'standard_error': None}, 'top/b': 2}
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Mapping)):
        return {}
    if not isinstance(value, Mapping):
        return {name: value}
    if _is_estimate(value):
        return {name: {"mean": value["mean"], "standard_error": value["standard_error"]}}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= leaves(item, f"{name}/{key}")
    return found


def mean_of(value: Any) -> float | None:
    """The mean of an estimate, or a number as it is; None for anything else.

    Example:
        >>> mean_of({"mean": 1.5, "standard_error": 0.1}), mean_of(2.0), mean_of(None)
        (1.5, 2.0, None)
    """
    value = value.get("mean") if isinstance(value, Mapping) else value
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def inside(value: Any, *keys: str) -> Any:
    """What is under ``keys`` in nested dicts, None where something is missing on the way.

    Example:
        >>> inside({"a": {"b": 1}}, "a", "b"), inside({"a": None}, "a", "b")
        (1, None)
    """
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def mean(values: Iterable[float | None]) -> float | None:
    """The mean, None if there is nothing or something is missing.

    Example:
        >>> mean([1.0, 2.0]), mean([1.0, None]), mean([])
        (1.5, None, None)
    """
    values = list(values)
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _is_estimate(value: Mapping[str, Any]) -> bool:
    numbers = (value.get(key) for key in ("mean", "standard_error"))
    return {"mean", "standard_error"} <= value.keys() and not any(isinstance(one, (list, Mapping)) for one in numbers)
