r"""Log evidence of every state of one transition, and the posterior over its speeds, in closed form.

With the whitened displacement Delta of the latent means and the whitened fields V at their midpoint,

.. math::
    \Delta | y, s \sim N(\sum_{k \in S} s_k V^k, \tau_S I), \quad
    \tau_S = \tau_0 + \epsilon^2 \sum_{k \in S} \|V^k\|^2 / D, \quad s_k \sim N(\pm 1, \varsigma^2),

the speeds of a subset S are linear-Gaussian. With :math:`P_S = G_S/\tau_S + I/\varsigma^2` and
:math:`h_S = b_S/\tau_S \pm 1/\varsigma^2`,

.. math::
    s | S \sim N(P_S^{-1} h_S, P_S^{-1}), \quad
    \log p(\Delta|S) = -\tfrac12 [\|\Delta\|^2/\tau_S + |S|/\varsigma^2 - h_S^T P_S^{-1} h_S + \log|P_S|
    + |S| \log \varsigma^2 + D \log(2\pi\tau_S)].

Subsets smaller than m are filled up with a control whose field is zero: its speed keeps its prior, its terms cancel.
Transitions are the last axes of every array, so that all states of all transitions are computed at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stf.inference.states import StateSpace


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
        misfit: :math:`\epsilon^2`, squared error of the fields relative to their size, ``()`` or broadcastable to the
            batch.
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
        noise: :math:`\tau_S`, ``(M, *batch)``.
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
        >>> inverse, log_det = invert(torch.tensor([[2.0, 0.0], [0.0, 4.0]])[..., None])
        >>> inverse[..., 0].tolist(), round(log_det.item(), 4)
        ([[0.5, 0.0], [0.0, 0.25]], 2.0794)
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
    power = data.gram.diagonal(dim1=0, dim2=1).movedim(-1, 0)
    scale = noise.floor + noise.misfit * (torch.tensordot(space.on, power, dims=1) / data.dim)
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
