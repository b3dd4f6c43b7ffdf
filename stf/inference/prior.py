"""The prior over activity: how many controls act at once, at which speeds, and how they switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stf.inference.chain import PathPosterior, factorial_prior, infer_constant, infer_paths
from stf.inference.states import StateSpace, singletons, subsets


@dataclass(frozen=True)
class ActivityPrior:
    r"""Spikes that are independent two-state chains and normal slabs; or one control throughout, at unit speed.

    Args:
        slab: ``positive`` for speeds :math:`s \sim N(1, \varsigma^2)`, ``signed`` for the same times a random sign,
            ``unit`` for speeds that are exactly 1.
        spread: :math:`\varsigma`.
        most: m, how many controls may be on at once.
        enumerated: beyond so many controls, only the best so many are enumerated in each sequence.
        constant: the weakly supervised case, exactly one control per sequence, which never changes.
    """

    slab: Literal["positive", "signed", "unit"] = "positive"
    spread: float = 0.3
    most: int = 3
    enumerated: int = 8
    constant: bool = False

    @property
    def speed_spread(self) -> float:
        """Standard deviation of a slab, 0 for unit speeds."""
        return 0.0 if self.slab == "unit" or self.constant else self.spread

    def space(self, num_controls: int, like: Tensor) -> StateSpace:
        """The joint states of ``num_controls`` controls, with device and precision of ``like``."""
        if self.constant:
            return singletons(num_controls, like.device, like.dtype)
        return subsets(num_controls, self.most, self.slab == "signed", like.device, like.dtype)

    def truncates(self, num_controls: int) -> bool:
        """Whether some of so many controls are left out of the enumeration."""
        return not self.constant and num_controls > self.enumerated

    def paths(self, log_likelihood: Tensor, space: StateSpace, on: Tensor, off: Tensor) -> PathPosterior:
        """Posterior over the paths of states, from log-likelihoods ``(B, T, M)`` and rates ``(C,)`` or ``(B, C)``."""
        if self.constant:
            return infer_constant(log_likelihood)
        return infer_paths(log_likelihood, factorial_prior(space, on, off))

    def log_silent(self, on: Tensor, off: Tensor, num_steps: int) -> Tensor:
        """log-probability that a control is off throughout, ``(C,)``.

        Example:
            >>> ActivityPrior().log_silent(torch.tensor([0.1]), torch.tensor([0.3]), 2).exp().item()
            0.675000011920929
        """
        return torch.log(off / (on + off)) + (num_steps - 1) * torch.log1p(-on)
