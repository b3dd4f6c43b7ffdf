r"""Moving and turning poses, so that what is left of them is what an animal does, not where in the picture it is.

With the centre c, and e the unit vector from it to the heading node, a point p becomes

.. math:: p' = (e \cdot (p - c),\; e_x (p - c)_y - e_y (p - c)_x),

the centre at the origin and the heading on the positive x axis. With y downwards, as in pictures, positive y' is on the
right of an animal that is seen from above. Distances and angles stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor


def moved(points: Tensor, centre: Tensor, heading: Tensor) -> Tensor:
    """Points as they are seen from a centre, in the direction of a heading.

    Args:
        points: ``(..., nodes, 2)``, NaN where one is missing.
        centre, heading: ``(..., 2)``.

    Returns:
        ``(..., nodes, 2)``; all NaN where centre or heading is missing, or they are at the same place.

    Example:
        >>> up = torch.tensor([[5.0, 5.0], [5.0, 3.0], [6.0, 5.0]])
        >>> moved(up, up[0], up[1]).round(decimals=6).tolist()
        [[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]]
    """
    ahead = heading - centre
    x, y = (ahead / torch.linalg.vector_norm(ahead, dim=-1, keepdim=True)).unsqueeze(-2).unbind(-1)
    right, down = (points - centre.unsqueeze(-2)).unbind(-1)
    return torch.stack([x * right + y * down, x * down - y * right], -1)


def each_aligned(points: Tensor, centre: int, heading: int) -> Tensor:
    """Every pose seen from its own centre: egocentric, without the way that the animal takes.

    Args:
        points: ``(..., nodes, 2)``.
        centre, heading: places of these nodes.

    Example:
        >>> each_aligned(torch.tensor([[[5.0, 5.0], [7.0, 5.0]], [[8.0, 8.0], [8.0, 9.0]]]), 0, 1)[:, 1].tolist()
        [[2.0, 0.0], [1.0, 0.0]]
    """
    return moved(points, points[..., centre, :], points[..., heading, :])


def start_aligned(clips: Tensor, centre: int, heading: int) -> Tensor:
    """Every pose of a clip seen from the centre of its first one: what is left is how the animal moves on from there.

    Args:
        clips: ``(B, T+1, nodes, 2)``.
        centre, heading: places of these nodes.

    Example:
        >>> clip = torch.tensor([[[5.0, 5.0], [5.0, 7.0]], [[5.0, 6.0], [5.0, 8.0]]])
        >>> start_aligned(clip[None], 0, 1)[0, :, 0].tolist()
        [[0.0, 0.0], [1.0, 0.0]]
    """
    first = clips[:, :1]
    return moved(clips, first[..., centre, :], first[..., heading, :])
