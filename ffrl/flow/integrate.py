"""Explicit Runge-Kutta integrators of one transition, as interchangeable tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Tableau(NamedTuple):
    """Butcher tableau of an explicit method: y_i = z + h sum_j a_ij k_j, k_i = v(y_i), z' = z + h sum_i b_i k_i."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]


INTEGRATORS = {
    "euler": Tableau(a=((),), b=(1.0,)),
    "midpoint": Tableau(a=((), (0.5,)), b=(0.0, 1.0)),
    "rk4": Tableau(a=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
"""Euler (the papers' choice), explicit midpoint and the classical fourth-order method."""


def combine(start: Tensor, weights: tuple[float, ...], slopes: list[Tensor], step: float) -> Tensor:
    """``start + step * sum_i weights_i slopes_i``, leaving out zero weights."""
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            start = start + (step * weight) * slope
    return start


def integrate(
    velocity: Callable[[Tensor], Tensor], z: Tensor, tableau: Tableau, substeps: int = 1
) -> tuple[Tensor, Tensor]:
    """Integrate dz/ds = velocity(z) over s in [0, 1].

    Args:
        velocity: the field, ``(..., D)`` -> ``(..., D)``, with activity and time held over the unit interval.
        z: start, ``(..., D)``.
        tableau: the method.
        substeps: n, steps of size 1 / n.

    Returns:
        The end point ``(..., D)``, and the points at which the field was evaluated ``(..., n, stages, D)``.

    Example:
        >>> end, _ = integrate(lambda z: -z, torch.ones(1, 1, dtype=torch.float64), INTEGRATORS["rk4"], substeps=10)
        >>> round(end.item(), 6)
        0.36788
    """
    step = 1.0 / substeps
    visited = []
    for _ in range(substeps):
        points: list[Tensor] = []
        slopes: list[Tensor] = []
        for row in tableau.a:
            points.append(combine(z, row, slopes, step))
            slopes.append(velocity(points[-1]))
        z = combine(z, tableau.b, slopes, step)
        visited.append(torch.stack(points, dim=-2))
    return z, torch.stack(visited, dim=-3)
