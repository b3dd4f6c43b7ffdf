"""Means with their standard errors, as plain numbers."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ffrl.core.device import exact


def estimate(values: Tensor) -> dict[str, float | None]:
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
