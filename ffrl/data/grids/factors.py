"""Grids of factors: every combination of digits once, in row-major order, the last factor fastest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.core.errors import UserError, reason_of
from ffrl.core.seed import generator
from ffrl.data.synthesis.variation import Factor

TOLERANCE = 1e-4
"""Largest difference between a stored label and its value; neighbouring values differ by 0.07 or more."""


@dataclass(frozen=True)
class Factors:
    """The factors of a data set and how many values each has; digit j of a factor is its j-th value.

    index = sum_f digit_f base_f with base_f = size_{f+1} ... size_F.

    Attributes:
        names: of the factors.
        sizes: how many values each has.
        circles: names of those whose last value is followed by the first one.
        categories: names of those whose values have no order.

    Example:
        >>> factors = Factors(("hue", "scale", "shape"), (10, 8, 4))
        >>> factors.count, factors.bases
        (320, (32, 4, 1))
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    circles: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of images."""
        return math.prod(self.sizes)

    @property
    def bases(self) -> tuple[int, ...]:
        """How far apart in the file two images are that differ by one digit of a factor."""
        return tuple(math.prod(self.sizes[column + 1 :]) for column in range(len(self.sizes)))

    def factor(self, column: int, name: str | None = None) -> Factor:
        """Return the factor of a column, called ``name``, or by its own name with hyphens.

        Example:
            >>> Factors(("floor_hue", "shape"), (10, 4), circles=("floor_hue",)).factor(0)
            Factor(name='floor-hue', low=0, count=10, period=10, category=False)
        """
        own, size = self.names[column], self.sizes[column]
        period = size if own in self.circles else None
        return Factor(name or own.replace("_", "-"), 0, size, period, own in self.categories)

    def digits(self, index: Tensor) -> Tensor:
        """Return the digits ``(..., F)`` of the images ``index (...)``.

        Example:
            >>> Factors(("hue", "scale", "shape"), (10, 8, 4)).digits(torch.tensor([33, 319])).tolist()
            [[1, 0, 1], [9, 7, 3]]
        """
        bases, sizes = _on(self.bases, index.device), _on(self.sizes, index.device)
        return index.unsqueeze(-1).div(bases, rounding_mode="floor").remainder(sizes)

    def index(self, digits: Tensor) -> Tensor:
        """Return the images ``(...)`` that have the digits ``(..., F)``, whole numbers of any type.

        A digit beyond its range would carry into the next factor, so it is refused. That check waits for the device.

        Raises:
            UserError: a digit that is not a whole number in range.

        Example:
            >>> Factors(("hue", "scale", "shape"), (10, 8, 4)).index(torch.tensor([0, 8, 0]))
            Traceback (most recent call last):
            ...
            ffrl.core.errors.UserError: state of scale: found 8, expected a whole number from 0 to 7
        """
        whole = digits.round().long() if digits.is_floating_point() else digits
        wrong = (whole != digits) | (whole < 0) | (whole >= _on(self.sizes, digits.device))
        if wrong.any():
            *place, column = wrong.nonzero()[0].tolist()
            found, last = digits[(*place, column)].item(), self.sizes[column] - 1
            name = self.names[column]
            raise UserError(f"state of {name}: found {found:g}, expected a whole number from 0 to {last}")
        return (whole * _on(self.bases, digits.device)).sum(-1)


@lru_cache(maxsize=64)
def _on(values: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)


def split_images(count: int) -> dict[str, Tensor]:
    """Return which images are the train and which the validation split: 80 % and 20 % of one fixed random order.

    Example:
        >>> {name: len(images) for name, images in split_images(10).items()}
        {'train': 8, 'validation': 2}
    """
    order = torch.randperm(count, generator=generator("cpu", 0, "factor-grid-split"))
    border = count * 8 // 10
    return {"train": order[:border], "validation": order[border:]}


def map_array(path: Path) -> NDArray[Any]:
    """Return the array in a file of ``.npy`` format, whatever its name, mapped into memory; it is never unpickled.

    Raises:
        UserError: the file is missing, damaged, in another format, or holds objects.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "a.npy"), np.arange(3))
        ...     map_array(Path(folder, "a.npy")).tolist()
        [0, 1, 2]
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise UserError(f"{path}: found no such file, expected an array in .npy format") from None
    except (ValueError, TypeError, SyntaxError, ArithmeticError, EOFError, OSError, TokenError) as error:
        reason = reason_of(error)
        raise UserError(f"{path}: found a file that cannot be read ({reason}), expected .npy format") from None


def check_labels(
    labels: NDArray[Any], factors: Factors, values: Sequence[Sequence[float] | NDArray[np.float64]], source: str
) -> None:
    """Raise a UserError unless row i of ``labels`` has the values of the digits of image i, up to rounding.

    Args:
        labels: ``(N, F)``.
        factors: the grid.
        values: the stored values of every factor, by digit.
        source: the file, for messages.

    Raises:
        UserError: another shape or type, or a wrong row, the first of which is named.

    Example:
        >>> grid = Factors(("hue", "scale"), (2, 2))
        >>> check_labels(np.array([[0, 0], [1, 0], [0, 1], [1, 1.0]]), grid, [(0, 1), (0, 1)], "f.npy")
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: f.npy: found [1 0] in row 1, expected [0 1] (hue, scale): images in another order
    """
    shape = (factors.count, len(factors.sizes))
    if labels.shape != shape or labels.dtype.kind != "f":
        found = f"{labels.dtype} labels of shape {tuple(labels.shape)}"
        raise UserError(f"{source}: found {found}, expected floating-point labels of shape {shape}")
    grid = np.asarray(labels).reshape(*factors.sizes, len(factors.sizes))
    good = np.ones(factors.sizes, dtype=bool)
    for column, row in enumerate(values):
        line = [1] * len(factors.sizes)
        line[column] = len(row)
        good &= np.abs(grid[..., column] - np.asarray(row, dtype=float).reshape(line)) <= TOLERANCE
    if good.all():
        return
    index = int(good.reshape(-1).argmin())
    digits = factors.digits(torch.tensor(index)).tolist()
    expected = _row([row[digit] for row, digit in zip(values, digits, strict=True)])
    names = ", ".join(factors.names)
    found = f"{_row(labels[index])} in row {index}"
    raise UserError(f"{source}: found {found}, expected {expected} ({names}): images in another order")


def _row(values: Sequence[float]) -> str:
    return "[" + " ".join(f"{value:.4g}" for value in values) + "]"
