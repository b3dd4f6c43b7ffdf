r"""Optimal-transport regulariser: the Hamilton-Jacobi equation of the potentials."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffrl.fields.potential import Potentials


class Source(nn.Module):
    """f(z, t) <= 0 of the Hamilton-Jacobi equation, one value per field: minus the softplus of a small network.

    Example:
        >>> bool((Source(num_fields=3, dim=4)(torch.randn(5, 4), torch.rand(5)) <= 0).all())
        True
    """

    def __init__(self, num_fields: int, dim: int, width: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim + 1, width), nn.Tanh(), nn.Linear(width, num_fields))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """``z (..., D)``, ``t (...)`` -> ``(..., K)``."""
        return -nn.functional.softplus(self.net(torch.cat([z, t.unsqueeze(-1)], dim=-1)))


def hamilton_jacobi_terms(potentials: Potentials, source: Source | None, z: Tensor, t: Tensor) -> dict[str, Tensor]:
    r"""Squared residual and initial condition, summed over fields and steps.

    .. math::
        \sum_{k,t} (\partial_t u^k + \tfrac12 \|\nabla u^k\|^2 - f^k)^2 (z_{t-1}, t),
        \qquad \sum_k \|\nabla u^k(z_0, 0)\|^2

    With f = 0 and the initial condition the only exact solution is a vanishing field, so this is a soft prior to be
    weighted (FFRL, "Fluid-dynamic optimal transport"; STA uses f = 0).

    Args:
        potentials: K time-dependent potentials.
        source: f <= 0, or None for f = 0.
        z: z_0 .. z_{T-1}, ``(B, T, D)``.
        t: times in (0, 1], ``(T,)``.

    Returns:
        ``residual`` and ``initial``, each ``(B,)``.

    Example:
        >>> u = Potentials(2, dim=4, time_dependent=True)
        >>> sorted(hamilton_jacobi_terms(u, None, torch.zeros(5, 3, 4), torch.tensor([0.3, 0.6, 1.0])))
        ['initial', 'residual']
    """
    t = t.expand(z.shape[:-1])
    residual = potentials.time_derivative(z, t) + 0.5 * potentials.gradient(z, t).square().sum(-1)
    if source is not None:
        residual = residual - source(z, t)
    start = potentials.gradient(z[:, 0], torch.zeros_like(t[:, 0]))
    return {"residual": residual.square().sum((1, 2)), "initial": start.square().sum((1, 2))}
