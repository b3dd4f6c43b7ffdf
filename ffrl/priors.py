"""Priors in closed form: Gaussian, its diffusion, and Markov chains over discrete activity."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian_log_prob(z: Tensor, sigma: Tensor | float = 1.0) -> Tensor:
    """log N(z; 0, sigma^2 I), ``z (..., D)``, ``sigma (...)`` -> ``(...)`` nats."""
    sigma = torch.as_tensor(sigma, dtype=z.dtype, device=z.device)
    dim = z.shape[-1]
    return -0.5 * z.square().sum(-1) / sigma.square() - dim * (torch.log(sigma) + 0.5 * math.log(2 * math.pi))


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL[N(mean, diag exp(log_variance)) || N(0, I)], ``(..., D)`` -> ``(...)`` nats (Kingma, Welling 2014, App. B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)


def diffused_sigma(g: Tensor, kappa: Tensor) -> Tensor:
    r"""Standard deviations of the prior carried along its own diffusion.

    The prior flow :math:`\psi^k = -\kappa_k \log p(z_t)` (FFRL, "Prior") is linear for a Gaussian, so that p_t stays
    N(0, sigma_t^2 I) with :math:`\sigma_t = \sigma_{t-1} (1 + d_t / \sigma_{t-1}^2)`,
    :math:`d_t = \sum_k |g_t^k| \kappa_k`.

    Args:
        g: activity, ``(..., T, C)``.
        kappa: diffusion coefficients, ``(C,)``, positive.

    Returns:
        sigma_1 .. sigma_T, ``(..., T)``, starting from sigma_0 = 1.

    Example:
        >>> diffused_sigma(torch.ones(1, 2, 1), torch.tensor([1.0]))
        tensor([[2.0000, 2.5000]])
    """
    sigma = torch.ones_like(g[..., 0, 0])
    sigmas = []
    for d in (g.abs() @ kappa).unbind(-1):
        sigma = sigma + d / sigma
        sigmas.append(sigma)
    return torch.stack(sigmas, dim=-1)


def categorical_chain_kl(log_q: Tensor, stay: float) -> Tensor:
    r"""KL between a factorised categorical posterior and a sticky Markov chain, exactly.

    The chain starts uniform, keeps its state with probability ``stay`` and otherwise moves to any other state alike:
    :math:`KL[q_1 \| U] + \sum_{t \ge 2} \sum_j q_{t-1}(j)\, KL[q_t \| p(\cdot|j)]` (the posterior factorises over time,
    so the expectation over z_{t-1} is a sum).

    Args:
        log_q: log-probabilities, ``(..., T, K)``.
        stay: probability of keeping the state; for K = 1 the chain is constant and the KL zero.

    Returns:
        ``(...)`` nats.

    Example:
        >>> bool(categorical_chain_kl(torch.full((1, 3, 4), 0.25).log(), stay=0.25).abs() < 1e-6)
        True
    """
    num_states = log_q.shape[-1]
    if num_states == 1:
        return log_q.sum((-2, -1)) * 0.0
    q = log_q.exp()
    negative_entropy = (q * log_q).sum((-2, -1))
    log_stay, log_move = math.log(stay), math.log((1 - stay) / (num_states - 1))
    same = (q[..., 1:, :] * q[..., :-1, :]).sum(-1)
    cross = log_move + (log_stay - log_move) * same
    return negative_entropy + math.log(num_states) - cross.sum(-1)


def categorical_kl_uniform(log_q: Tensor) -> Tensor:
    """KL[q || uniform], ``(..., K)`` log-probabilities -> ``(...)`` nats."""
    return (log_q.exp() * log_q).sum(-1) + math.log(log_q.shape[-1])
