"""Which factors of variation a frame has, and frames of which all factors are known and independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import LongTensor, Tensor

from ffrl.data.base import SequenceData, Split
from ffrl.data.factors import split_images
from ffrl.data.grid import GridSequences
from ffrl.data.mnist import MnistSequences
from ffrl.data.moving_mnist import ROOM, MovingMnistSequences
from ffrl.data.on_device import where_made
from ffrl.data.states import StateSequences
from ffrl.data.transform import parameters
from ffrl.errors import UserError, require

HUE_PERIOD = 10
"""Values of a hue of Shapes3D once round the colour circle."""
CATEGORIES = {"shapes3d": ("shape",), "isaac3d": ("object_shape", "object_color", "wall_color")}
"""Factors whose values have no order, by data set."""


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
        if self.circle:
            angle = 2 * np.pi * values / self.period
            return np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if self.category:
            return (values[:, None] == self.low + np.arange(self.count)).astype(np.float64)
        return values[:, None]


class Drawn(NamedTuple):
    """Factors, and for images in states drawn at random the states ``(B, N, J)`` and all values ``(B, N, F)``."""

    factors: tuple[Factor, ...]
    states: Tensor
    values: LongTensor


def made_from_states(data: SequenceData) -> StateSequences:
    """Return the sequences that make the frames of ``data`` from states.

    Raises:
        UserError: the factors of a frame are not known.

    Example:
        >>> from ffrl.config import DataConfig
        >>> made_from_states(MnistSequences(DataConfig())).name
        'mnist'
    """
    source = where_made(data)
    if not isinstance(source, StateSequences):
        expected = "data whose frames are made from states, such as 'mnist': the factors of a frame must be known"
        raise UserError(f"data.name: found {data.name!r}, expected {expected}")
    if isinstance(source, MovingMnistSequences):
        expected = "1: a frame does not tell which of several digits is which"
        require(source.config.digits == 1, "data.digits", source.config.digits, expected)
    return source


def moved_factors(data: StateSequences) -> tuple[Factor, ...]:
    """Return the factors that states determine, with the values that single-transformation sequences go through.

    One for each transformation: whole unit steps from 0 to T, at most once round; on a grid all values of the factor.
    Moving MNIST has two, the offsets from the centre to the right and down.

    Example:
        >>> from ffrl.config import DataConfig
        >>> [(factor.name, factor.count, factor.period) for factor in moved_factors(MnistSequences(DataConfig()))]
        [('scaling', 9, None), ('rotation', 9, 36.0), ('hue', 9, 18.0)]
    """
    if isinstance(data, GridSequences):
        names = zip(data.moved, data.transformations, strict=True)
        return tuple(_grid_factor(data, column, name) for column, name in names)
    if isinstance(data, MovingMnistSequences):
        room = int(ROOM)
        return tuple(Factor(name, -room, 2 * room + 1) for name in ("horizontal", "vertical"))
    periods: dict[str, float] = {}
    if isinstance(data, MnistSequences):
        unit = parameters(torch.ones(3), data.config.protocol)
        periods = {"rotation": 360 / unit.angle.item(), "hue": 360 / unit.hue.item()}
    steps = data.num_steps + 1
    return tuple(
        Factor(name, 0, int(min(steps, periods.get(name, steps))), periods.get(name)) for name in data.transformations
    )


def draw_factors(
    data: StateSequences, split: Split, indices: LongTensor, count: int, generator: torch.Generator
) -> Drawn:
    """Draw ``count`` states of every image, the values of all factors being independent and uniform.

    What the transformations of a grid do not move stays as the image has it; it is a factor too unless all images
    agree in it.

    Args:
        data: data whose frames are made from states.
        split: "train", "validation" or "test".
        indices: the images, ``(B,)``, on the device of ``data``.
        count: N.
        generator: source of all randomness, on the CPU, so that all devices see the same.

    Raises:
        UserError: the split is not there, or states that the data do not show.

    Example:
        >>> from ffrl.config import DataConfig
        >>> data = MnistSequences(DataConfig())
        >>> draw_factors(data, "validation", torch.arange(5), 2, torch.Generator().manual_seed(0)).values.shape
        torch.Size([5, 2, 3])
    """
    data.size(split)  # raises if it is not there
    factors = moved_factors(data)
    low, counts = (torch.tensor([getattr(factor, key) for factor in factors]) for key in ("low", "count"))
    share = torch.rand(len(indices), count, len(factors), generator=generator, dtype=torch.float64)
    values = (low + (share * counts).long()).to(indices.device)
    visited = values.float()
    if isinstance(data, MovingMnistSequences):
        visited = torch.stack((visited, -visited), dim=-1).clamp(min=0).flatten(-2)
    elif not isinstance(data, GridSequences):
        visited = visited + data.origin(split, indices)[:, None]
    if not data.showable(visited).all():
        raise UserError(f"codes: found states that {data.title} does not show, expected {data.limits}")
    if isinstance(data, GridSequences):
        digits = data.factors.digits(split_images(data.factors.count)[split].to(indices.device)[indices])
        for column, name in enumerate(data.factors.names):
            if column not in data.moved and len(digits[:, column].unique()) > 1:
                factors += (_grid_factor(data, column, name.replace("_", "-")),)
                values = torch.cat([values, digits[:, None, column, None].expand(-1, count, -1)], dim=-1)
    return Drawn(factors, visited, values)


def _grid_factor(data: GridSequences, column: int, name: str) -> Factor:
    own = data.factors.names[column]
    period = HUE_PERIOD if data.name == "shapes3d" and own.endswith("_hue") else None
    return Factor(name, 0, data.factors.sizes[column], period, own in CATEGORIES.get(data.name, ()))
