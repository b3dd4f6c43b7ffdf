"""Two lower bounds on a log-likelihood from importance weights: one logarithm per draw, or one for all draws."""

from __future__ import annotations

import math

from torch import Tensor


def elbo(log_weight: Tensor, log_case: Tensor) -> Tensor:
    r"""Evidence lower bound, :math:`\frac{1}{S} \sum_s \sum_m q_m \log w_{m,s}`.

    In expectation over the draws it is at most log p.

    Args:
        log_weight: log w = log p(x, draw) - log q(draw), M enumerated cases times S samples, ``(M, S, B)``.
        log_case: log q_m of the cases, ``(M, B)``; zero for a single one.

    Returns:
        ``(B,)`` nats per sequence.

    Example:
        >>> import torch
        >>> elbo(torch.tensor([[[0.0], [2.0]]]), torch.zeros(1, 1))
        tensor([1.])
    """
    return (log_case.exp().unsqueeze(1) * log_weight).sum(0).mean(0)


def iwae(log_weight: Tensor, log_case: Tensor) -> Tensor:
    r"""Importance-weighted bound, :math:`\log \frac{1}{S} \sum_s \sum_m q_m w_{m,s}`, one logarithm per sequence.

    At least the :func:`elbo` of the same draws; in expectation at most log p, which it reaches as S grows
    (Burda, Grosse and Salakhutdinov 2016, Eq. 8, with the cases summed exactly).

    Args:
        log_weight: as for :func:`elbo`, ``(M, S, B)``.
        log_case: as for :func:`elbo`, ``(M, B)``.

    Returns:
        ``(B,)`` nats per sequence.

    Example:
        >>> import torch
        >>> iwae(torch.tensor([[[0.0], [2.0]]]), torch.zeros(1, 1))
        tensor([1.4338])
    """
    samples = log_weight.shape[1]
    return (log_case.unsqueeze(1) + log_weight).logsumexp((0, 1)) - math.log(samples)
