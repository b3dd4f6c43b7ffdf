"""Joint states of all controls: which of them are on, and with which sign."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class StateSpace:
    """M joint states of C controls, of which at most m are on.

    Args:
        values: sign of every control in every state, -1, 0 or 1: ``(M, C)``.
        members: the controls that are on, ``(M, m)``, filled up with C, which stands for a control that does nothing.
        signs: the values of ``members``, ``(M, m)``, 1 where filled up.
        signed: whether controls have both signs.
    """

    values: Tensor
    members: Tensor
    signs: Tensor
    signed: bool = False

    @property
    def num_states(self) -> int:
        """M."""
        return self.values.shape[0]

    @property
    def num_controls(self) -> int:
        """C."""
        return self.values.shape[1]

    @property
    def most(self) -> int:
        """m, the largest number of controls that are on at once."""
        return self.members.shape[1]

    @property
    def on(self) -> Tensor:
        """1 where a control is on, 0 elsewhere: ``(M, C)``."""
        return self.values.abs()


def subsets(
    num_controls: int,
    most: int,
    signed: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> StateSpace:
    """Every subset of at most ``most`` controls, the empty one first; with every combination of signs if ``signed``.

    There are :math:`\\sum_{j \\le m} \\binom{C}{j}` of them, times :math:`2^j` with signs.

    Example:
        >>> subsets(3, most=2).values.long().tolist()
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
        >>> subsets(2, most=1, signed=True).values.long().tolist()
        [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]
    """
    return _subsets(num_controls, min(most, num_controls), signed, torch.device(device), dtype)


@lru_cache(maxsize=64)
def _subsets(num_controls: int, most: int, signed: bool, device: torch.device, dtype: torch.dtype) -> StateSpace:
    size = max(most, 1)
    members, signs = [], []
    for count in range(most + 1):
        for chosen in itertools.combinations(range(num_controls), count):
            for sign in itertools.product((1.0, -1.0) if signed else (1.0,), repeat=count):
                members.append((*chosen, *[num_controls] * (size - count)))
                signs.append((*sign, *[1.0] * (size - count)))
    return _build(num_controls, members, signs, device, dtype)


def singletons(num_controls: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> StateSpace:
    """Exactly one control at a time, C states: the weakly supervised case.

    Example:
        >>> singletons(2).values.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    members: list[tuple[int, ...]] = [(control,) for control in range(num_controls)]
    return _build(num_controls, members, [(1.0,)] * num_controls, torch.device(device), dtype)


def log_signs(space: StateSpace) -> Tensor:
    """log-probability of the signs of every state given which controls are on, ``(M,)``: 1/2 each, or 1 without signs.

    Example:
        >>> log_signs(subsets(1, most=1, signed=True)).exp().tolist()
        [1.0, 0.5, 0.5]
    """
    return -math.log(2) * space.on.sum(-1) * space.signed


def _build(
    num_controls: int,
    members: list[tuple[int, ...]],
    signs: list[tuple[float, ...]],
    device: torch.device,
    dtype: torch.dtype,
) -> StateSpace:
    chosen = torch.tensor(members, device=device)
    sign = torch.tensor(signs, device=device, dtype=dtype)
    values = torch.zeros(len(members), num_controls + 1, device=device, dtype=dtype).scatter_(1, chosen, sign)
    signed = any(value < 0 for state in signs for value in state)
    return StateSpace(values[:, :num_controls].contiguous(), chosen, sign, signed)
