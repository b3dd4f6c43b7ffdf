r"""Log evidence of every state of one transition, and the posterior over its speeds, in closed form.

With the whitened displacement Delta of the latent means and the mean V of the whitened fields over the transition
(:mod:`stf.inference.quadrature`),

.. math::
    \Delta | y, s \sim N(\sum_{k \in S} s_k V^k, \tau I), \quad
    \tau = \tau_0 + \epsilon^2 \|\Delta\|^2 / D, \quad s_k \sim N(\pm 1, \varsigma^2),

the speeds of a subset S are linear-Gaussian. With :math:`P_S = G_S/\tau + I/\varsigma^2` and
:math:`h_S = b_S/\tau \pm 1/\varsigma^2`,

.. math::
    s | S \sim N(P_S^{-1} h_S, P_S^{-1}), \quad
    \log p(\Delta|S) = -\tfrac12 [\|\Delta\|^2/\tau + |S|/\varsigma^2 - h_S^T P_S^{-1} h_S + \log|P_S|
    + |S| \log \varsigma^2 + D \log(2\pi\tau)].

The error of the fields is relative to what moves, and taken from the displacement itself, not from the fields of S:
there, a strong field would be switched on at next to no speed for the noise that it brings.

Subsets smaller than m are filled up with a control whose field is zero: its speed keeps its prior, and its terms
cancel. Transitions are the last axes of every array, so that all states of all transitions are computed at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stf.inference.states import StateSpace

FLOOR = 0.5
r"""tau_0: a whitened displacement has the encoder's noise, twice the variance of its posterior, as its unit."""
LEAST_MISFIT, LARGEST_MISFIT = 0.01, 4.0
"""Bounds of the relative misfit."""


def relative_misfit(residual: Tensor, energy: Tensor) -> Tensor:
    r"""The relative misfit of fields, from the mean expected squared residual r and the mean squared displacement e.

    .. math:: \epsilon^2 = \max(r - \tau_0, r / 100) / e

    within bounds; both are per dimension, in whitened units.

    Example:
        >>> round(relative_misfit(torch.tensor(0.9), torch.tensor(4.0)).item(), 4)
        0.1
    """
    beyond = torch.maximum(residual - FLOOR, LEAST_MISFIT * residual)
    return (beyond / energy.clamp_min(1e-3)).clamp(LEAST_MISFIT, LARGEST_MISFIT)


@dataclass(frozen=True)
class Transitions:
    r"""What inference needs to know of transitions: inner products of whitened fields and displacements.

    Args:
        gram: :math:`G_{kl} = V^k \cdot V^l`, ``(C, C, *batch)``.
        cross: :math:`b_k = V^k \cdot \Delta`, ``(C, *batch)``.
        energy: :math:`\|\Delta\|^2`, ``(*batch)``.
        dim: D.
    """

    gram: Tensor
    cross: Tensor
    energy: Tensor
    dim: int


def transitions(fields: Tensor, displacement: Tensor) -> Transitions:
    """Inner products of whitened fields ``(*batch, C, D)`` and displacements ``(*batch, D)``.

    Example:
        >>> transitions(torch.ones(5, 2, 3), torch.ones(5, 3)).cross.tolist()[0]
        [3.0, 3.0, 3.0, 3.0, 3.0]
    """
    gram = (fields @ fields.mT).movedim((-2, -1), (0, 1))
    cross = (fields @ displacement.unsqueeze(-1)).squeeze(-1).movedim(-1, 0)
    return Transitions(gram, cross, displacement.square().sum(-1), fields.shape[-1])


@dataclass(frozen=True)
class Noise:
    r"""The observation model's noise and the prior over speeds.

    Args:
        floor: :math:`\tau_0`, the encoder's noise in whitened units: one half, for a unit is its standard deviation
            of a difference.
        misfit: :math:`\epsilon^2`, squared error of the fields relative to the displacement, ``()`` or broadcastable to
            the batch.
        spread: :math:`\varsigma`, standard deviation of a speed around 1 under the prior; 0 for unit speeds.
    """

    floor: Tensor | float
    misfit: Tensor | float
    spread: float


@dataclass(frozen=True)
class Evidence:
    r"""Every state of every transition.

    Args:
        log: :math:`\log p(\Delta | S)` in nats, ``(M, *batch)``.
        noise: :math:`\tau`, ``(*batch)``.
        mean: posterior means of the members' speeds, ``(m, M, *batch)``.
        covariance: their posterior covariance, ``(m, m, M, *batch)``.
    """

    log: Tensor
    noise: Tensor
    mean: Tensor
    covariance: Tensor


def invert(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse and log-determinant of symmetric positive matrices ``(m, m, *batch)``, by elimination without pivoting.

    Vectorised over the last axes, which is what makes it fast: m is at most a handful, the batch is large.

    Example:
        >>> inverse, log_det = invert(torch.tensor([[4.0, 2.0], [2.0, 2.0]])[..., None])
        >>> inverse[..., 0].tolist(), round(log_det.item(), 4)
        ([[0.5, -0.5], [-0.5, 1.0]], 1.3863)
    """
    inverse = matrix.clone()
    log_det = torch.zeros_like(matrix[0, 0])
    for pivot in range(matrix.shape[0]):
        diagonal = inverse[pivot, pivot].clone()
        log_det += diagonal.log()
        column, row = inverse[:, pivot] / diagonal, inverse[pivot].clone()
        inverse -= column.unsqueeze(1) * row.unsqueeze(0)
        inverse[pivot], inverse[:, pivot] = row / diagonal, -column
        inverse[pivot, pivot] = diagonal.reciprocal()
    return inverse, log_det


def evidence(data: Transitions, space: StateSpace, noise: Noise) -> Evidence:
    """Log evidence and speeds of every state; see the module.

    Example:
        >>> from stf.inference.states import subsets
        >>> data = transitions(torch.eye(2).unsqueeze(0), torch.tensor([[1.0, 0.0]]))
        >>> found = evidence(data, subsets(2, most=2), Noise(floor=0.5, misfit=0.01, spread=0.3))
        >>> int(found.log[:, 0].argmax())
        1
    """
    batch = data.energy.shape
    scale = noise.floor + noise.misfit * (data.energy / data.dim)
    log_scale = data.dim * torch.log(2 * math.pi * scale)
    size, column = space.most, space.members.T
    signs = space.signs.T.reshape(size, -1, *[1] * len(batch))
    gram = torch.nn.functional.pad(data.gram, (0, 0) * len(batch) + (0, 1, 0, 1))
    gram = gram[column.unsqueeze(1), column.unsqueeze(0)]
    cross = torch.nn.functional.pad(data.cross, (0, 0) * len(batch) + (0, 1))[column]
    if noise.spread == 0:
        explained = 2 * (signs * cross).sum(0) - (signs.unsqueeze(1) * signs.unsqueeze(0) * gram).sum((0, 1))
        log = -0.5 * ((data.energy - explained) / scale + log_scale)
        return Evidence(log, scale, signs.expand_as(cross), torch.zeros_like(gram))
    precision = 1 / noise.spread**2
    gram = gram / scale
    gram.diagonal(dim1=0, dim2=1).add_(precision)
    covariance, log_det = invert(gram)
    information = cross / scale + signs * precision
    mean = (covariance * information.unsqueeze(0)).sum(1)
    quadratic = data.energy / scale + size * precision - (information * mean).sum(0)
    log = -0.5 * (quadratic + log_det - size * math.log(precision) + log_scale)
    return Evidence(log, scale, mean, covariance)
