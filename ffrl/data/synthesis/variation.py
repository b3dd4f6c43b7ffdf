"""Factors of variation: what differs between the frames of a data set, and how its values are ordered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Factor:
    """One factor of variation, its value being a whole number.

    Attributes:
        name: that of its transformation, where it has one.
        low: the least value.
        count: how many values are drawn, from ``low`` on.
        period: after how many values it comes round, None if it does not.
        category: whether its values have no order.

    Example:
        >>> Factor("hue", 0, 10, period=10).circle, Factor("hue", 0, 9, period=18).circle
        (True, False)
    """

    name: str
    low: int
    count: int
    period: float | None = None
    category: bool = False

    @property
    def circle(self) -> bool:
        """Whether the values go all the way round; on a shorter arc they have an order, and count as they are."""
        return self.period is not None and self.count >= self.period

    def target(self, values: ArrayLike) -> NDArray[np.float64]:
        """What a regression predicts, values ``(N,)`` -> ``(N, M)``: the value; its cosine and sine; its indicators.

        Example:
            >>> Factor("hue", 0, 4, period=4).target([0, 1, 2, 3]).round(9).tolist()
            [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-0.0, -1.0]]
            >>> Factor("shape", 0, 3, category=True).target([2, 0]).tolist()
            [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
        """
        values = np.asarray(values, dtype=np.float64)
        if self.period is not None and self.circle:
            angle = 2 * np.pi * values / self.period
            return np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if self.category:
            return (values[:, None] == self.low + np.arange(self.count)).astype(np.float64)
        return values[:, None]
