"""Likelihoods p(x | z) of the features of a vector, summed over those that are not missing."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian_log_density(error: Tensor, log_scale: Tensor) -> Tensor:
    r"""log N(error; 0, scale^2), elementwise: :math:`-e^2 / 2 s^2 - \log s - \tfrac12 \log 2\pi`.

    Args:
        error: ``(..., F)``.
        log_scale: ``(F,)``.

    Example:
        >>> gaussian_log_density(torch.zeros(1), torch.zeros(1))
        tensor([-0.9189])
    """
    return -0.5 * (error * torch.exp(-log_scale)).square() - log_scale - 0.5 * math.log(2 * math.pi)


def von_mises_log_density(cosine: Tensor, log_scale: Tensor) -> Tensor:
    r"""log of the von Mises density, elementwise: :math:`\kappa (\cos\delta - 1) - \log 2\pi I_0(\kappa) e^{-\kappa}`.

    With kappa = scale^-2 it is close to N(delta; 0, scale^2) where the scale is small (Mardia and Jupp 2000, 3.5.4).

    Args:
        cosine: of the angle delta from the mean, ``(..., F)``.
        log_scale: ``(F,)``.

    Example:
        >>> von_mises_log_density(torch.ones(1), torch.full((1,), 20.0))  # nearly uniform: -log 2 pi
        tensor([-1.8379])
    """
    kappa = torch.exp(-2 * log_scale)
    return kappa * (cosine - 1) - torch.log(2 * math.pi * torch.special.i0e(kappa))
