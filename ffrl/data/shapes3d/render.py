"""Shapes3D pictures from their factors, drawn on the spot: no data set to store, and every factor continuous."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ffrl.core.errors import require
from ffrl.data.shapes3d.bodies import Body, Light, cube, cube_shadow, cylinder, light_of, round_body, round_shadow
from ffrl.data.shapes3d.palette import SKY, hue_to_rgb
from ffrl.data.shapes3d.room import (
    ABOVE,
    FLOOR,
    FOOT,
    GROUND,
    TOP,
    WALL,
    WIDE,
    Room,
    lamp_on_floor,
    room_of,
    see_room,
)
from ffrl.data.shapes3d.scene import PIXELS, SCENE, Rays, Scene, column, rays_of

FACTORS = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
SIZES = (10, 10, 10, 8, 4, 15)

CHUNK = 24
"""Images drawn at a time on a processor: their planes fit a core's cache."""
MANY = 1024
"""Images drawn at a time on an accelerator."""
SHADE = slice(40, PIXELS)
"""Rows that a shadow can fall on."""


def render(factors: Tensor) -> Tensor:
    """Return the Shapes3D images of continuous factors, float32 ``(N, 3, 64, 64)`` in [0, 1], on their device.

    A ray caster of the data set's scene: a square room under an open sky, one body in its middle, a lamp that turns
    with the room and a light at the camera, edges as smooth as the data set's. At whole digits an image looks like the
    data set's image of that index; between them every factor but the shape changes smoothly.

    Args:
        factors: ``(N, 6)``, digits of the data set's grid in the order of ``FACTORS``: hues 0 to 9 (period 10),
            scale 0 to 7 for 0.75 to 1.25, shape 0 to 3 (cube, cylinder, sphere, capsule; rounded), orientation 0 to
            14 for −30 to 30 degrees. Hues take any number; scale and orientation reach somewhat beyond their grid.

    Raises:
        UserError: factors of another shape, or (on a processor) any that is no finite number.

    Example:
        >>> images = render(torch.tensor([[0.0, 5.0, 3.0, 7.0, 2.0, 7.0]]))
        >>> images.shape, images[0, :, 60, 4].tolist()
        (torch.Size([1, 3, 64, 64]), [1.0, 0.0, 0.0])
    """
    found = tuple(factors.shape)
    require(factors.dim() == 2 and factors.shape[1] == len(FACTORS), "factors", found, "a shape (N, 6)")
    if factors.device.type == "cpu":
        require(bool(torch.isfinite(factors).all()), "factors", "numbers that are not finite", "finite ones")
    return render_scene(factors, SCENE)


def render_scene(factors: Tensor, scene: Scene) -> Tensor:
    """Return the images of ``factors`` in a scene of other constants; as :func:`render`, without its check.

    Example:
        >>> render_scene(torch.zeros(2, 6), SCENE).shape
        torch.Size([2, 3, 64, 64])
    """
    with torch.no_grad():
        factors = factors.detach().float()
        images = factors.new_empty(len(factors), 3, PIXELS, PIXELS)
        if factors.device.type != "cpu":
            for part, blank in zip(factors.split(MANY), images.split(MANY), strict=True):
                _draw(_prepare(part, scene), None, blank, scene)
            return images
        order, parts = _parts(factors)
        scenery = _prepare(factors[order], scene)

    def draw(part: tuple[int, int, int]) -> None:
        shape, start, stop = part
        with torch.no_grad():
            blank = images.new_empty(stop - start, 3, PIXELS, PIXELS)
            images[order[start:stop]] = _draw(scenery.part(start, stop), shape, blank, scene)

    workers = min(torch.get_num_threads(), len(parts))
    list(map(draw, parts) if workers < 2 else _pool(workers, os.getpid()).map(draw, parts))
    return images


def _parts(factors: Tensor) -> tuple[Tensor, list[tuple[int, int, int]]]:
    """An order by shape and scale, and pieces of it (shape, start, stop) with one shape and similar scales each."""
    shapes = factors[:, 4].round().clamp(0, 3)
    order = torch.argsort(shapes * 1000 + factors[:, 3].clamp(-100, 100))
    parts, start = [], 0
    for shape, count in enumerate(torch.bincount(shapes.long(), minlength=4).tolist()):
        parts += [(shape, i, min(i + CHUNK, start + count)) for i in range(start, start + count, CHUNK)]
        start += count
    return order, parts


@lru_cache(maxsize=1)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Threads that outlive a call; the process is named because they do not survive a fork."""
    return ThreadPoolExecutor(workers, thread_name_prefix="shapes3d")


class _Scenery(NamedTuple):
    """What the images of a batch need per image, computed for all of them at once."""

    shape: Tensor
    theta: Tensor
    scale: Tensor
    colours: Tensor
    light: Light
    room: Room

    def part(self, start: int, stop: int) -> _Scenery:
        shape, theta, scale, colours = (x[start:stop] for x in self[:4])
        light, room = Light(*(x[start:stop] for x in self.light)), Room(*(x[start:stop] for x in self.room))
        return _Scenery(shape, theta, scale, colours, light, room)


def _prepare(factors: Tensor, scene: Scene) -> _Scenery:
    theta = (factors[:, 5] - 7) * (math.pi / 42)
    shape, scale = factors[:, 4].round().clamp(0, 3), 0.75 + factors[:, 3] / 14
    return _Scenery(shape, theta, scale, hue_to_rgb(factors[:, :3]), light_of(theta, scene), room_of(theta, scene))


def _draw(scenery: _Scenery, shape: int | None, images: Tensor, scene: Scene) -> Tensor:
    """Draw images of one shape; None: of any shapes, each shape drawn for all images and masked."""
    device = images.device
    floor, walls, sky = see_room(scenery.room, scene)
    lit = lamp_on_floor(scenery.room, scene)
    shapes = range(4) if shape is None else (shape,)
    for k in shapes:
        rows, columns = _shadow_box(k, scenery, scene) if shape is not None else (SHADE, WIDE)
        shadow = _shadow(k, scenery, rays_of(scene, rows, columns, device), scene)
        if shape is None:
            shadow = shadow * column(scenery.shape == k)
        block = lit[:, rows.start - GROUND.start : rows.stop - GROUND.start, columns]
        block.addcmul_(block, shadow, value=-1)
    lit.add_(column(scenery.room.floor[:, 0]))
    split = FOOT.stop - FOOT.start
    lit[:, :split].mul_(floor)
    above = TOP.stop - TOP.start
    for c in range(3):
        image, floor_c, wall_c = images[:, c], column(scenery.colours[:, 0, c]), column(scenery.colours[:, 1, c])
        image[:, ABOVE] = SKY[c]
        torch.mul(walls[:, :above], wall_c, out=image[:, TOP]).add_(sky, alpha=SKY[c])
        torch.mul(walls[:, above:], wall_c, out=image[:, WALL.start : FOOT.stop])
        image[:, FOOT].addcmul_(lit[:, :split], floor_c)
        torch.mul(lit[:, split:], floor_c, out=image[:, FLOOR])
        image[:, TOP.start :].clamp_(0, 1)
    for k in shapes:
        rows, columns = _body_box(k, scenery, scene) if shape is not None else (WIDE, WIDE)
        body = _body(k, scenery, rays_of(scene, rows, columns, device), scene)
        if shape is None:
            chosen = column(scenery.shape == k)
            body = Body(*(share * chosen for share in body))
        for c in range(3):
            block = images[:, c, rows, columns]
            painted = torch.addcmul(body.white, body.own, column(scenery.colours[:, 2, c]))
            block.copy_(painted.addcmul_(block, body.coverage, value=-1).add_(block).clamp_(0, 1))
    return images


def _sizes(shape: int, scale: Tensor, scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper end of the axis and the radius of a round body; the very same tensor twice for the sphere."""
    if shape == 1:
        return torch.zeros_like(scale), scene.cylinder_height * scale, scene.cylinder * scale
    radius = (scene.sphere if shape == 2 else scene.capsule) * scale
    return radius, radius if shape == 2 else scene.capsule_height * scale - radius, radius


def _body(shape: int, scenery: _Scenery, rays: Rays, scene: Scene) -> Body:
    if shape == 0:
        return cube(scene.cube * scenery.scale, scenery.theta, scenery.light, rays, scene)
    bottom, top, radius = _sizes(shape, scenery.scale, scene)
    if shape == 1:
        return cylinder(radius, top, scenery.light, rays, scene)
    return round_body(bottom, top, radius, scenery.light, rays, scene)


def _shadow(shape: int, scenery: _Scenery, rays: Rays, scene: Scene) -> Tensor:
    if shape == 0:
        return cube_shadow(scene.cube * scenery.scale, scenery.theta, rays, scene)
    bottom, top, radius = _sizes(shape, scenery.scale, scene)
    return round_shadow(bottom, top, radius, shape == 1, scenery.light, rays, scene)


def _extent(shape: int, scenery: _Scenery, scene: Scene) -> tuple[float, float]:
    """Radius about the axis and height of the largest body there is."""
    scale = scenery.scale.amax().item()
    radius = (math.sqrt(2) * scene.cube, scene.cylinder, scene.sphere, scene.capsule)[shape]
    height = (2 * scene.cube, scene.cylinder_height, 2 * scene.sphere, scene.capsule_height)[shape]
    return radius * scale, height * scale


def _block(right: tuple[float, float], rows: tuple[float, float], within: slice) -> tuple[slice, slice]:
    """Rows and columns that hold these pixel coordinates and the smooth edge, in steps of four, within some rows."""

    def grid(low: float, high: float, least: int, most: int) -> slice:
        low, high = (min(max(x, -999.0), 999.0) for x in (low, high))
        start = min(max(4 * math.floor((low - 2) / 4), least), most - 4)
        return slice(start, max(min(4 * math.ceil((high + 2) / 4), most), start + 4))

    return grid(*rows, within.start, within.stop), grid(*right, 0, PIXELS)


def _body_box(shape: int, scenery: _Scenery, scene: Scene) -> tuple[slice, slice]:
    radius, height = _extent(shape, scenery, scene)
    near = max(scene.camera_distance - radius, 0.1)
    half = PIXELS / 2
    across = scene.focal * radius / math.sqrt(near * (scene.camera_distance + radius))
    top = min(_row(near, height, scene), _row(scene.camera_distance + radius, height, scene))
    return _block((half - across, half + across), (top, _row(near, 0.0, scene)), slice(0, PIXELS))


def _shadow_box(shape: int, scenery: _Scenery, scene: Scene) -> tuple[slice, slice]:
    radius, height = _extent(shape, scenery, scene)
    reach = scene.lamp_height / max(scene.lamp_height - height, 0.1)
    radius, height = radius * reach * math.sqrt(1 + scene.light_x**2 + scene.light_y**2), height * reach
    lean = torch.stack(scenery.light[:2]) * -height
    low, high = lean.amin(1).clamp(max=0).tolist(), lean.amax(1).clamp(min=0).tolist()
    near = max(scene.camera_distance + low[1] - radius, 0.1)
    far = scene.camera_distance + high[1] + radius
    left, right = low[0] - radius, high[0] + radius
    half = PIXELS / 2
    columns = half + scene.focal * left / near, half + scene.focal * right / near
    return _block(columns, (_row(far, 0.0, scene), _row(near, 0.0, scene)), SHADE)


def _row(depth: float, height: float, scene: Scene) -> float:
    """Picture row of a point straight ahead."""
    up = height - scene.camera_height
    c, s = math.cos(scene.pitch), math.sin(scene.pitch)
    return PIXELS / 2 - scene.focal * (depth * s + up * c) / (depth * c - up * s)
