"""Frames of which all factors of variation are known and independent."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ffrl.core.errors import UserError
from ffrl.data.base import Split
from ffrl.data.synthesis.states import StateSequences
from ffrl.data.synthesis.variation import Factor


class Drawn(NamedTuple):
    """Factors, and for images in states drawn at random the states ``(B, N, J)`` and all values ``(B, N, F)``."""

    factors: tuple[Factor, ...]
    states: Tensor
    values: Tensor


def draw_factors(data: StateSequences, split: Split, indices: Tensor, count: int, generator: torch.Generator) -> Drawn:
    """Draw ``count`` states of every image, the values of all moved factors being independent and uniform.

    What no transformation moves stays as the image has it; it is a factor too unless all images agree in it.

    Args:
        data: data whose frames are made from states.
        split: "train", "validation" or "test".
        indices: the images, ``(B,)``, on the device of ``data``.
        count: N.
        generator: source of all randomness, on the CPU, so that all devices see the same.

    Raises:
        UserError: the split is not there, the factors are not known, or states that the data do not show.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data.digits.mnist import MnistSequences
        >>> data = MnistSequences(DataConfig())
        >>> draw_factors(data, "validation", torch.arange(5), 2, torch.Generator().manual_seed(0)).values.shape
        torch.Size([5, 2, 3])
    """
    data.size(split)  # raises if it is not there
    factors = data.moved_factors()
    low, counts = (torch.tensor([getattr(factor, key) for factor in factors]) for key in ("low", "count"))
    share = torch.rand(len(indices), count, len(factors), generator=generator, dtype=torch.float64)
    values = (low + (share * counts).long()).to(indices.device)
    visited = data.states_of(split, indices, values)
    if not data.showable(visited).all():
        raise UserError(f"codes: found states that {data.title} does not show, expected {data.limits}")
    for factor, kept in data.kept_factors(split, indices):
        if len(kept.unique()) > 1:
            factors += (factor,)
            values = torch.cat([values, kept[:, None, None].expand(-1, count, -1)], dim=-1)
    return Drawn(factors, visited, values)
