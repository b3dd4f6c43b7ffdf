"""The scene of the Shapes3D pictures as measured numbers: camera, room, four shapes, light, edge profile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

PIXELS = 64
UNIT = 3.5
"""Distance of the back wall from the object."""


@dataclass(frozen=True)
class Scene:
    """All constants of the scene: lengths in units of 2/7 of the way to the back wall, light as a share of a colour.

    They were fitted to pictures of the data set, all at once, so as to make the absolute error small. Directions are
    those of orientation 0: x to the right, y away from the camera, z up, from the object's foot.

    Example:
        >>> SCENE.wall_back
        3.5
    """

    focal: float = 70.2
    """Focal length in pixels."""
    pitch: float = 0.0055462
    """How far the camera looks down, in radians."""
    camera_height: float = 0.77982
    camera_distance: float = 2.602
    wall_back: float = UNIT
    wall_side: float = 3.4789
    wall_height: float = 2.0735

    cube: float = 0.35704
    """Half a side at scale 1; the radii and heights below are also those of scale 1."""
    cylinder: float = 0.38185
    cylinder_height: float = 0.76757
    sphere: float = 0.43205
    capsule: float = 0.33034
    capsule_height: float = 1.3533

    light_x: float = -0.18945
    """Sideways place of the lamp over its height: as the shadows show it."""
    light_y: float = 0.064623
    lamp_height: float = 7.4972
    shine_x: float = -0.23287
    """Sideways direction to the lamp over its upright one: as the bodies' shading shows it."""
    shine_y: float = 0.14527

    ambient: float = 0.34144
    headlight: float = 0.60672
    """Light from the camera's direction, times the cosine at the surface."""
    light: float = 0.67702
    """Light of the lamp on a body, times the cosine."""
    specular: float = 0.11711
    """White that a body shows wherever the lamp reaches it."""
    gate: float = 0.066412
    """Width, as a cosine, of the border of that white."""
    wall_light: float = 0.092847
    """Light of the lamp on the back wall: in its middle, its slope and its bend to the right."""
    wall_slope: float = -0.075222
    wall_bend: float = -0.039267
    right_light: float = 0.058539
    """Light of the lamp on the side walls: in their middle, and its slope away from the camera."""
    right_slope: float = -0.030916
    left_light: float = 0.2164
    left_slope: float = -0.154
    floor_ambient: float = 0.33862
    floor_waves: tuple[tuple[tuple[int, int], float, float], ...] = (
        ((0, 0), 0.75452, 0.0),
        ((1, 1), -0.66785, 0.1257),
        ((0, 2), -0.56294, 0.0),
        ((2, 2), 0.20122, 0.02597),
        ((1, 3), 0.3168, 0.20759),
        ((3, 3), -0.00083, -0.02701),
    )
    """Light of the lamp on the floor: ((m, k), a, b) adds r^k (a cos mφ + b sin mφ) at (r, φ), r in back walls."""

    edge_width: float = 1.5254
    """Pixels from the middle of an edge to where it ends."""
    edge_slope: float = 1.4842
    """Change of coverage per edge width in the middle of an edge; 0.9375 would not overshoot."""


SCENE = Scene()


class Rays:
    """Tables of a block of pixels: the ray of each and where it meets the floor or passes the vertical axis.

    Camera coordinates: x to the right, y away from the camera, z up, with the object's foot at the origin. A ray is
    (0, −``camera_distance``, ``camera_height``) + t (dx, dy, dz). The tables have shapes that broadcast to
    ``(1, h, w)``.

    Example:
        >>> rays_of(SCENE, slice(0, 64), slice(0, 64), torch.device("cpu")).dx.shape
        torch.Size([1, 1, 64])
    """

    right: Tensor
    down: Tensor
    dx: Tensor
    dy: Tensor
    dz: Tensor
    axis_gap: Tensor
    axis_gap_square: Tensor
    axis_reach: Tensor
    axis_height: Tensor
    inverse_flat: Tensor
    inverse_square: Tensor
    angle: Tensor
    floor_x: Tensor
    floor_y: Tensor
    floor_right_right: Tensor
    floor_right_down: Tensor
    floor_away_down: Tensor

    def __init__(self, scene: Scene, rows: slice, columns: slice, device: torch.device) -> None:
        self.focal, self.edge_width = scene.focal, scene.edge_width
        self.cos_pitch, self.sin_pitch = math.cos(scene.pitch), math.sin(scene.pitch)
        grid = (torch.arange(PIXELS, dtype=torch.float64) + 0.5 - PIXELS / 2) / scene.focal
        right, down = grid[columns][None, None, :], grid[rows][None, :, None]
        dx, dy, dz = right, self.cos_pitch - down * self.sin_pitch, -self.sin_pitch - down * self.cos_pitch
        away = scene.camera_distance
        flat = dx * dx + dy * dy
        square = flat + dz * dz
        reach = away * dy / flat
        floor = scene.camera_height / (-dz).clamp(min=0.02)
        floor_down = -floor * floor * self.cos_pitch / scene.camera_height
        tables = {
            "right": right,
            "down": down,
            "dx": dx,
            "dy": dy,
            "dz": dz,
            "axis_gap": away * dx.abs() / flat.sqrt(),
            "axis_gap_square": (away * dx) ** 2 / flat,
            "axis_reach": reach,
            "axis_height": reach * dz,
            "inverse_flat": 1 / flat,
            "inverse_square": 1 / square,
            "angle": scene.focal * square**0.75 / (away * scene.edge_width),
            "floor_x": dx * floor,
            "floor_y": dy * floor - away,
            "floor_right_right": floor,
            "floor_right_down": dx * floor_down,
            "floor_away_down": dy * floor_down - floor * self.sin_pitch,
        }
        for name, table in tables.items():
            setattr(self, name, table.to(device, torch.float32).contiguous())


@lru_cache(maxsize=256)
def _rays(scene: Scene, rows: tuple[int, int], columns: tuple[int, int], device: torch.device) -> Rays:
    return Rays(scene, slice(*rows), slice(*columns), device)


def rays_of(scene: Scene, rows: slice, columns: slice, device: torch.device) -> Rays:
    """Return the tables of a block of pixels, kept from one call to the next.

    Example:
        >>> rays_of(SCENE, slice(0, 8), slice(0, 4), torch.device("cpu")).floor_x.shape
        torch.Size([1, 8, 4])
    """
    return _rays(scene, (rows.start, rows.stop), (columns.start, columns.stop), device)


def column(values: Tensor) -> Tensor:
    """Return values per image ``(n,)`` as ``(n, 1, 1)``.

    Example:
        >>> column(torch.zeros(3)).shape
        torch.Size([3, 1, 1])
    """
    return values[:, None, None]


def scale_lines(lines: Tensor, scene: Scene) -> Tensor:
    """Return lines across · u + down · v + level = 0, ``(..., 3)``, scaled to give distances in edge widths.

    u and v are ray coordinates: pixels over focal length, from the picture's centre.

    Example:
        >>> scaled = scale_lines(torch.tensor([3.0, 4.0, 0.0]), SCENE)
        >>> [round(x * SCENE.edge_width / SCENE.focal, 4) for x in scaled.tolist()]
        [0.6, 0.8, 0.0]
    """
    return lines * (scene.focal / scene.edge_width) / torch.linalg.vector_norm(lines[..., :2], dim=-1, keepdim=True)


def distance(line: Tensor, rays: Rays) -> Tensor:
    """Return each pixel's signed distance ``(n, h, w)`` to the scaled line ``(n, 3)`` of its image.

    Example:
        >>> rays = rays_of(SCENE, slice(0, 64), slice(0, 64), torch.device("cpu"))
        >>> upright = scale_lines(torch.tensor([[1.0, 0.0, 0.0]]), SCENE)
        >>> round(distance(upright, rays)[0, 0, 33].item() * SCENE.edge_width, 4)
        1.5
    """
    across, down, level = line[:, :, None, None].unbind(1)
    return across * rays.right + torch.addcmul(level, down, rays.down)


def smooth_step(inside: Tensor) -> Tensor:
    """Return the coverage of pixels whose centres lie so many edge widths inside a straight edge, in place.

    An odd polynomial of fifth degree, 0 below −1 and 1 above 1; it overshoots a little as the sharpening filter that
    the pictures were reduced with does.

    Example:
        >>> smooth_step(torch.tensor([-2.0, 0.0, 1.0])).abs().round(decimals=3).tolist()
        [0.0, 0.5, 1.0]
    """
    a = SCENE.edge_slope
    inside = inside.clamp_(-1, 1)
    square = inside * inside
    return (square * (a - 0.75)).add_(1.25 - 2 * a).mul_(square).add_(a).mul_(inside).add_(0.5)
