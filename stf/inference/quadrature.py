r"""What a field moves over a transition of which both ends are observed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

LARGEST_TURN = 2 * math.pi / 3
"""Beyond it, a turn is corrected for as this one is: there a chord says little about how the field went round."""
LEAST_TANGENT = 1e-3
"""Below it the correction is none."""


def mean_velocities(
    velocities: Callable[[Tensor, Tensor | None], Tensor], means: Tensor, times: Tensor | None
) -> Tensor:
    r"""Mean of every field over every transition, from its values v, v' at both ends.

    .. math:: \bar v = \tfrac12 (v + v') \, \frac{\tan(\alpha / 2)}{\alpha / 2},
        \quad \tan(\alpha / 2) = \frac{\|v - v'\|}{\|v + v'\|}

    This is the mean of a vector that turns uniformly from v to v'; so it is exact for rotations, whatever their angle
    and whatever else acts, and of second order in general. The factor gets no gradient. The points are codes of
    frames: unlike midpoints of chords, which lie inside an orbit, they do not tell which transformation acts.

    Args:
        velocities: all fields, of points ``(B, T, D)`` and times to ``(B, T, C, D)``.
        means: codes of the frames, ``(B, T+1, D)``.
        times: t / T of the transitions, ``(T,)``, at which both ends are looked at; None for fields without time.

    Returns:
        ``(B, T, C, D)``.

    Example:
        >>> turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> codes = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> moved = mean_velocities(lambda z, t: (z @ turn).unsqueeze(-2), codes, None)
        >>> moved.squeeze() * torch.pi / 2  # a quarter turn
        tensor([-1.,  1.])
    """
    if times is None:
        first, last = (ends := velocities(means, None))[:, :-1], ends[:, 1:]
    else:
        first, last = velocities(means[:, :-1], times), velocities(means[:, 1:], times)
    middle = (first + last) / 2
    with torch.no_grad():
        tiny = torch.finfo(middle.dtype).tiny
        size = torch.linalg.vector_norm(middle, dim=-1, keepdim=True)
        tangent = torch.linalg.vector_norm((first - last) / 2, dim=-1, keepdim=True) / size.clamp_min(tiny)
        tangent = tangent.clamp(LEAST_TANGENT, math.tan(LARGEST_TURN / 2))
        factor = tangent / torch.atan(tangent)
    return middle * factor
