"""A bound on the tensors that are made while a model is built, so that sizes in a file cannot ask for all memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ffrl.core.errors import UserError

SPARE_NUMBERS, SPARE_TENSORS = 2**24, 2**12
"""What a model may have beside its weights: tables that are not saved."""
TIMES = 4
_SHAPED = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.normal, torch.randint}
_RANGES = {torch.arange, torch.linspace, torch.logspace, torch.randperm}


class Room(TorchFunctionMode):
    """Inside the context no more tensors are made than some weights need, with room to spare.

    Args:
        weights: by name, as :func:`ffrl.storage.tensors.read_header` has them.
        source: what the sizes are from, for messages.

    Raises:
        UserError: more, or larger ones, are asked for; they are not made.

    Example:
        >>> with Room({"weight": torch.empty(2, device="meta")}, "config.json: model"):
        ...     torch.zeros(10**9)
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: config.json: model: found sizes of more than the 2 saved weights, expected theirs
    """

    def __init__(self, weights: Mapping[str, Tensor], source: str) -> None:
        super().__init__()
        self.weights, self.source = sum(tensor.numel() for tensor in weights.values()), source
        self.numbers, self.tensors = TIMES * self.weights + SPARE_NUMBERS, TIMES * len(weights) + SPARE_TENSORS

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count what a function makes before it does."""
        size = _size(func, args, kwargs or {})
        if size is not None:
            self.numbers -= size
            self.tensors -= 1
            if self.numbers < 0 or self.tensors < 0:
                found = f"found sizes of more than the {self.weights:,} saved weights"
                raise UserError(f"{self.source}: {found}, expected theirs")
        return func(*args, **kwargs or {})


def _size(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """How many numbers a function makes, None if it makes none from sizes alone."""
    if func in _RANGES:
        return max((abs(value) for value in args if isinstance(value, int)), default=0)
    if func is torch.eye:
        return math.prod([value for value in (*args, *args)[:2] if isinstance(value, int)])
    if func not in _SHAPED:
        return None
    shapes = [value for value in (*args, kwargs.get("size")) if isinstance(value, tuple | list)]
    sizes = shapes[0] if shapes else [value for value in args if isinstance(value, int)]
    return math.prod([value for value in sizes if isinstance(value, int)])
