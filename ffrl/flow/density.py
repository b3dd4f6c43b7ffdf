r"""Change of log-density along the flow, log q(z_t) - log q(z_{t-1}) = -log |det dz_t / dz_{t-1}|."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.fields.protocol import Fields
from ffrl.fields.ridge import RidgeUnits
from ffrl.flow.integrate import Tableau, combine

METHODS = ("exact", "trace", "poster")


def log_density_change(
    units: Fields, points: Tensor, g: Tensor, t: Tensor | None, tableau: Tableau, method: str
) -> Tensor:
    r"""Change of log-density over each transition, from the points that the integrator visited.

    ``exact`` is minus the log-determinant of the integrator's own map, by the chain rule through its stages; for Euler
    with n substeps :math:`-\sum_i \log|\det(I + J_i / n)|`, :math:`J = \sum_k g^k \partial v^k / \partial z`.
    ``trace`` is the continuous-time limit :math:`-\int \sum_k g^k \nabla\cdot v^k` by the integrator's quadrature, to
    which divergence-free parts contribute exactly nothing. ``poster`` is :math:`-\sum_i \log|1 + \nabla\cdot v / n|`
    (FFRL poster, "Posterior"), for parity with the published code; it is no density.

    Args:
        units: the fields.
        points: visited points, ``(..., n, stages, D)``, as returned by :func:`ffrl.flow.integrate.integrate`.
        g: activity of the transition, ``(..., C)``.
        t: time in [0, 1] of the transition, broadcastable to ``(...)``, or None for time-free fields.
        tableau: the integrator.
        method: one of :data:`METHODS`.

    Returns:
        ``(...)`` in nats.

    Raises:
        ValueError: for an unknown method, or ``poster`` with an integrator other than Euler.

    Example:
        >>> from ffrl.flow.integrate import INTEGRATORS, integrate
        >>> from ffrl.fields.potential import Potentials
        >>> units, z, g = Potentials(2, dim=4).units(), torch.zeros(5, 4), torch.ones(5, 2)
        >>> _, points = integrate(lambda z: units.velocity(z, g), z, INTEGRATORS["euler"])
        >>> log_density_change(units, points, g, None, INTEGRATORS["euler"], "exact").shape
        torch.Size([5])
    """
    if method not in METHODS:
        raise ValueError(f"density method: found {method!r}, expected one of {', '.join(METHODS)}")
    step = 1.0 / points.shape[-3]
    g = g[..., None, None, :]
    t = None if t is None else t[..., None, None]
    if method == "exact":
        if isinstance(units, RidgeUnits) and len(units.weight) < points.shape[-1] and len(tableau.b) == 1:
            return -units.euler_log_det(points, g, step, t).sum((-2, -1))
        maps = substep_jacobian(units.jacobian(points, g, t), tableau, step)
        return -torch.linalg.slogdet(maps).logabsdet.sum(-1)
    divergence = units.divergence(points, g, t)
    if method == "trace":
        mean = combine(torch.zeros_like(divergence[..., 0]), tableau.b, list(divergence.unbind(-1)), step)
        return -mean.sum(-1)
    if len(tableau.b) != 1:
        raise ValueError("density method 'poster' is defined for the Euler integrator only")
    return -torch.log(torch.abs(1 + step * divergence[..., 0])).sum(-1)


def substep_jacobian(jacobian: Tensor, tableau: Tableau, step: float) -> Tensor:
    r"""Jacobian of one substep of the integrator, by the chain rule through its stages.

    .. math:: \partial z' / \partial z = I + h \sum_s b_s K_s, \quad K_s = J_s (I + h \sum_{r<s} a_{sr} K_r)

    Args:
        jacobian: J_s of the velocity at the visited points, ``(..., stages, D, D)``.
        tableau: the integrator.
        step: h.

    Returns:
        ``(..., D, D)``.

    Example:
        >>> from ffrl.flow.integrate import INTEGRATORS
        >>> substep_jacobian(torch.eye(2).expand(2, 2, 2), INTEGRATORS["midpoint"], 1.0).diagonal()
        tensor([2.5000, 2.5000])
    """
    identity = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    slopes: list[Tensor] = []
    for stage, row in enumerate(tableau.a):
        inner = combine(identity, row, slopes, step)
        slopes.append(jacobian[..., stage, :, :] @ inner if row else jacobian[..., stage, :, :])
    return combine(identity, tableau.b, slopes, step)
