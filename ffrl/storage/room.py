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


class Made(TorchFunctionMode):
    """Inside the context the numbers and tensors that are made from sizes are counted, before they are.

    Example:
        >>> with Made() as made:
        ...     _ = torch.empty(2, 3), torch.arange(4)
        >>> made.numbers, made.tensors
        (10, 2)
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers = self.tensors = 0

    def more(self) -> None:
        """What is done when more are about to be made."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count what a function makes before it does."""
        size = _size(func, args, kwargs or {})
        if size is not None:
            self.numbers += size
            self.tensors += 1
            self.more()
        return func(*args, **kwargs or {})


class Room(Made):
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
        self.most = TIMES * self.weights + SPARE_NUMBERS, TIMES * len(weights) + SPARE_TENSORS

    def more(self) -> None:
        """See :class:`Room`."""
        if self.numbers > self.most[0] or self.tensors > self.most[1]:
            found = f"found sizes of more than the {self.weights:,} saved weights"
            raise UserError(f"{self.source}: {found}, expected theirs")


class Watched(Made):
    """Inside the context it is told when more numbers are made than there is room for, before they are made.

    Args:
        most: how many there is room for; None for any number.
        tell: told once, with the number; it may raise.

    Example:
        >>> with Watched(10, lambda numbers: print(numbers)):
        ...     _ = torch.empty(8), torch.empty(8)
        16
    """

    def __init__(self, most: int | None, tell: Callable[[int], None]) -> None:
        super().__init__()
        self.most, self.tell = most, tell

    def more(self) -> None:
        """See :class:`Watched`."""
        if self.most is not None and self.numbers > self.most:
            self.most = None
            self.tell(self.numbers)


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
