"""Sequences as the encoder sees them: what the fields are learnt on, without any decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def whitening(variance: Tensor) -> Tensor:
    r"""Units in which the posterior's own noise of a difference of two latents is 1: ``(D,)`` -> ``(D,)``.

    .. math:: \lambda_d = (2 E[\sigma_d^2])^{-1/2}

    Example:
        >>> whitening(torch.tensor([0.5, 0.125])).tolist()
        [1.0, 2.0]
    """
    return (2 * variance.clamp_min(1e-6)).rsqrt()


@dataclass(frozen=True)
class Encoded:
    """Encoded sequences.

    Args:
        means: posterior means of the frames, ``(N, T+1, D)``.
        unit: the whitening, ``(D,)``.
    """

    means: Tensor
    unit: Tensor

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, index: Tensor | slice) -> Encoded:
        return Encoded(self.means[index], self.unit)

    @property
    def displacement(self) -> Tensor:
        """Whitened displacements, ``(N, T, D)``."""
        return self.means.diff(dim=1) * self.unit

    @property
    def beginnings(self) -> Encoded:
        """The first transition of every sequence."""
        return Encoded(self.means[:, :2], self.unit)

    def to(self, device: torch.device | str) -> Encoded:
        """The same sequences elsewhere."""
        return Encoded(self.means.to(device), self.unit.to(device))
