"""The room of Shapes3D without its object: two walls, floor and sky as the camera sees them, and the light on them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ffrl.data.shapes3d.scene import PIXELS, UNIT, Scene, distance, rays_of, scale_lines, smooth_step

ABOVE, TOP, WALL, FOOT, FLOOR = slice(0, 8), slice(8, 24), slice(24, 34), slice(34, 48), slice(48, PIXELS)
"""Bands of rows: sky; the walls' upper edge; wall alone; the walls' lower edge; floor alone."""
WALLS = slice(TOP.start, FOOT.stop)
GROUND = slice(FOOT.start, PIXELS)
WIDE = slice(0, PIXELS)


class Room(NamedTuple):
    """What the room's pictures need per image; the first dimension counts images everywhere."""

    lines: Tensor
    """``(n, 5, 3)``: the corner, the upper edges of back and side wall, their lower edges."""
    back: Tensor
    """Light on the back wall, ``(n, 64)`` by column."""
    side: Tensor
    """Light on the side wall, ``(n, 64)`` by column."""
    floor: Tensor
    """Weights of the floor's waves of light, ``(n, 11)``."""


def room_of(theta: Tensor, scene: Scene) -> Room:
    """Return the rooms turned by ``theta`` (radians), ``(n,)``.

    A plane n·p = D stands at 1/t = n·d / D along a ray d; the wall with the larger 1/t is in front, and the floor is
    seen where its own is larger still: every edge is a straight line. At most one side wall is in the picture.

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE
        >>> room_of(torch.zeros(2), SCENE).lines.shape
        torch.Size([2, 5, 3])
    """
    eye, away = scene.camera_height, scene.camera_distance
    cp, sp = math.cos(scene.pitch), math.sin(scene.pitch)
    c, s = torch.cos(theta), torch.sin(theta)
    hand = torch.where(theta >= 0, 1.0, -1.0)

    def wall(right: Tensor, ahead: Tensor, gap: float) -> tuple[Tensor, Tensor, Tensor]:
        depth = gap + away * ahead
        return right / depth, -sp * ahead / depth, cp * ahead / depth

    walls = wall(-s, c, scene.wall_back), wall(hand * c, hand * s, scene.wall_side)
    over = scene.wall_height - eye
    lines = [tuple(b - a for b, a in zip(*walls, strict=True))]
    lines += [(u * over, v * over + cp, w * over + sp) for u, v, w in walls]
    lines += [(-u, cp / eye - v, sp / eye - w) for u, v, w in walls]
    scaled = scale_lines(torch.stack([torch.stack(line, dim=1) for line in lines], dim=1), scene)
    return Room(scaled, *_wall_light(c[:, None], s[:, None], scene), _floor_light(theta, scene))


def _wall_light(c: Tensor, s: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    right = rays_of(scene, WALL, WIDE, c.device).right[0]
    away = scene.camera_distance
    along = (c * right + s) * (scene.wall_back + away * c) / (c - s * right) - away * s
    along = (along / UNIT).clamp_(-1.1, 1.1)
    back = scene.wall_light + along * scene.wall_slope + along * along * scene.wall_bend
    hand = torch.where(s >= 0, 1.0, -1.0)
    depth = (c - s * right) * (scene.wall_side + away * hand * s) / (hand * (c * right + s)) - away * c
    depth = (depth / UNIT).clamp_(-1.1, 1.1)
    left = scene.left_light + scene.left_slope * depth
    side = torch.where(s >= 0, scene.right_light + scene.right_slope * depth, left)
    return back + (scene.ambient + scene.headlight * c), side + (scene.ambient + scene.headlight * s.abs())


def _floor_light(theta: Tensor, scene: Scene) -> Tensor:
    """Weights that turn with the room: a wave of order m is a real part a r^k cos mφ + b r^k sin mφ."""
    weights = [torch.full_like(theta, scene.floor_ambient)]
    for (order, _), a, b in scene.floor_waves:
        c, s = torch.cos(order * theta), torch.sin(order * theta)
        weights += [a * c - b * s] if order == 0 else [a * c - b * s, a * s + b * c]
    return torch.stack(weights, dim=1)


@lru_cache(maxsize=8)
def _floor_waves(scene: Scene, device: torch.device) -> Tensor:
    rays = rays_of(scene, GROUND, WIDE, device)
    x, y = torch.broadcast_tensors(rays.floor_x / UNIT, rays.floor_y / UNIT)
    radius, angle = torch.hypot(x, y), torch.atan2(y, x)
    waves = []
    for (order, power), _, _ in scene.floor_waves:
        waves += [radius**power * torch.cos(order * angle), radius**power * torch.sin(order * angle)][: 1 + (order > 0)]
    return torch.cat(waves).flatten(1)


def lamp_on_floor(room: Room, scene: Scene) -> Tensor:
    """Return the lamp's light on the floor where nothing shades it, ``(n, rows of GROUND, 64)``.

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE
        >>> lamp_on_floor(room_of(torch.zeros(2), SCENE), SCENE).shape
        torch.Size([2, 30, 64])
    """
    return (room.floor[:, 1:] @ _floor_waves(scene, room.floor.device)).view(len(room.floor), -1, PIXELS)


def see_room(room: Room, scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
    """Return the floor's coverage in FOOT, the walls' coverage times light in WALLS, the sky's coverage in TOP.

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE
        >>> floor, walls, sky = see_room(room_of(torch.zeros(2), SCENE), SCENE)
        >>> floor[0, [0, -1], 32].round().abs().tolist(), sky[0, [0, -1], 32].round().tolist()
        ([0.0, 1.0], [1.0, 0.0])
    """
    device = room.lines.device
    lines = room.lines.unbind(1)
    tops, feet = rays_of(scene, TOP, WIDE, device), rays_of(scene, FOOT, WIDE, device)
    below = torch.maximum(distance(lines[1], tops), distance(lines[2], tops))
    floor = torch.minimum(distance(lines[3], feet), distance(lines[4], feet))
    below, floor = smooth_step(below), smooth_step(floor)
    walls = smooth_step(distance(lines[0], rays_of(scene, WALLS, WIDE, device)))
    walls = torch.addcmul(room.side[:, None], walls, (room.back - room.side)[:, None])
    walls[:, : TOP.stop - TOP.start].mul_(below)
    low = walls[:, FOOT.start - TOP.start :]
    low.addcmul_(low, floor, value=-1)
    return floor, walls, below.neg_().add_(1)
