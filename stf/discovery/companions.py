"""What fields that act together have to do with each other, from how often two of them are on at once."""

from __future__ import annotations

import torch
from torch import Tensor

COMPANIONS = 0.85
"""From this Jaccard index of their activity on two fields are parts of one transformation: nothing tells them apart."""

PART = 0.9
"""A field that is on in so large a share of its steps beside another one may be a part of what that one does."""


def companions(joint: Tensor) -> Tensor:
    """Which fields are parts of one transformation, each with itself, ``(K, K)`` of 0 and 1.

    Args:
        joint: how often two are on at once, on the diagonal how often each one is, ``(K, K)``.

    Example:
        >>> companions(torch.tensor([[0.5, 0.48, 0.2], [0.48, 0.52, 0.2], [0.2, 0.2, 0.4]])).tolist()
        [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    rates = joint.diagonal()
    either = rates.unsqueeze(0) + rates.unsqueeze(1) - joint
    together = (joint >= COMPANIONS * either.clamp_min(1e-6)).to(joint.dtype)
    return together.fill_diagonal_(1.0)


def least_missed(joint: Tensor) -> Tensor:
    r"""What one field in the place of two that have nothing in common misses at least, ``(K, K)``.

    Of two orthogonal fields with as much energy, one that points halfway between them and moves at any speed explains
    all of a step on which both are on and half of it where one is. As a share of what the lack of the rarer one costs,

    .. math:: \frac{P(a \wedge \neg b) + P(b \wedge \neg a)}{2 \min(P(a), P(b))}, \quad \text{at most } 1,

    so that where many fields act at a time, a small loss says little for a merge. 1 for parts of one another.

    Args:
        joint: as for :func:`companions`.

    Example:
        >>> least_missed(torch.tensor([[0.5, 0.25], [0.25, 0.5]])).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    rates = joint.diagonal()
    rarer = torch.minimum(rates.unsqueeze(0), rates.unsqueeze(1))
    alone = rates.unsqueeze(0) + rates.unsqueeze(1) - 2 * joint
    share = (alone / (2 * rarer.clamp_min(1e-6))).clamp_max(1.0)
    return torch.where(joint >= PART * rarer, 1.0, share).fill_diagonal_(1.0)
