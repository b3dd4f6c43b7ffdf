"""Coloured scenes for the benchmark of encoders, drawn from a seed: rooms with one object, or rendered Shapes3D."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.data.digits.render import hue_to_rgb

GRID = (10, 10, 10, 8, 4, 15)
"""Values per factor of Shapes3D."""


def rooms(count: int, side: int, seed: int) -> Tensor:
    """Images ``(count, 3, side, side)`` in [0, 1]: floor, wall and a disc or turned box of random hue, place and size.

    Edges are smooth over one pixel; the wall darkens upwards, the floor towards the wall, the object to its lower
    right.
    """
    generator = torch.Generator().manual_seed(seed)
    random = torch.rand(11, count, 1, 1, generator=generator)
    hues = hue_to_rgb(360 * random[:3, :, 0, 0]).permute(0, 2, 1)[..., None, None].permute(0, 2, 1, 3, 4)
    horizon, left, top, radius = 0.4 + 0.25 * random[3], 0.2 + 0.6 * random[4], 0.35 + 0.45 * random[5], random[6]
    radius, angle, is_box = 0.1 + 0.15 * radius, (random[7] - 0.5) * torch.pi / 2, (random[8] < 0.5).float()
    axis = (torch.arange(side) + 0.5) / side
    row, column = axis[:, None], axis[None, :]
    wall = hues[0] * (0.9 - 0.35 * (1 - row / horizon).clamp(0, 1)).unsqueeze(1)
    floor = hues[1] * (0.55 + 0.4 * ((row - horizon) / (1 - horizon)).clamp(0, 1)).unsqueeze(1)
    below = ((row - horizon) * side + 0.5).clamp(0, 1).unsqueeze(1)
    image = wall + below * (floor - wall)
    x, y = column - left, row - top
    turned = torch.stack((x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()))
    disc, box = (x.square() + y.square()).sqrt(), turned.abs().amax(0) * 1.13
    inside = ((radius - disc - is_box * (box - disc)) * side + 0.5).clamp(0, 1).unsqueeze(1)
    shade = (0.85 - 0.3 * (x + y) / (2 * radius)).clamp(0.4, 1.0).unsqueeze(1)
    return image + inside * (hues[2] * shade - image)


def shapes3d(count: int, seed: int) -> Tensor:
    """Rendered Shapes3D images ``(count, 3, 64, 64)`` in [0, 1] of random factors."""
    from ffrl.data.shapes3d.render import render

    generator = torch.Generator().manual_seed(seed)
    digits = [torch.randint(size, (count,), generator=generator) for size in GRID]
    return torch.cat([render(part) for part in torch.stack(digits, dim=1).split(256)])


def scenes(name: str, count: int, side: int, seed: int) -> Tensor:
    """Images ``(count, 3, side, side)`` of the scenes called ``name``; shapes3d have 64 pixels.

    Raises:
        ValueError: for shapes3d of another size.
    """
    if name == "rooms":
        return torch.cat([rooms(256, side, seed * 100_000 + part) for part in range(-(-count // 256))])[:count]
    if side != 64:
        raise ValueError(f"scenes: found shapes3d at {side} pixels, expected 64")
    return shapes3d(count, seed)
