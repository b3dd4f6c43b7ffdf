"""Equation (1): latents moved step by step by the sum of the active fields."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.fields.protocol import Fields
from ffrl.flow.integrate import Tableau, integrate


def roll_out(
    units: Fields, z0: Tensor, g: Tensor, times: Tensor | None, tableau: Tableau, substeps: int = 1
) -> tuple[Tensor, Tensor]:
    r"""Latents moved by their activity, and where the fields were looked at.

    .. math:: z_t = z_{t-1} + \sum_k g_t^k v^k(z_{t-1}, t / T)

    or the same flow by another integrator.

    Args:
        units: the fields.
        z0: ``(B, D)``.
        g: activity, ``(B, T, C)``.
        times: t / T of the transitions, ``(T,)``; None for fields without time.
        tableau: the integrator.
        substeps: n, its steps per transition.

    Returns:
        z_0 .. z_T ``(B, T+1, D)``, and the points visited by the integrator ``(B, T, n, stages, D)``.

    Example:
        >>> from ffrl.flow.integrate import INTEGRATORS
        >>> from ffrl.fields.potential import Potentials
        >>> units = Potentials(num_fields=2, dim=4, width=8).units()
        >>> latents, points = roll_out(units, torch.zeros(5, 4), torch.ones(5, 3, 2), None, INTEGRATORS["midpoint"])
        >>> latents.shape, points.shape
        (torch.Size([5, 4, 4]), torch.Size([5, 3, 1, 2, 4]))
    """
    latents, visited = [z0], []
    for step in range(g.shape[1]):
        time = None if times is None else times[step]

        def velocity(z: Tensor, activity: Tensor = g[:, step], t: Tensor | None = time) -> Tensor:
            return units.velocity(z, activity, t)

        z, points = integrate(velocity, latents[-1], tableau, substeps)
        latents.append(z)
        visited.append(points)
    return torch.stack(latents, dim=1), torch.stack(visited, dim=1)
