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
