"""The four bodies of Shapes3D: which pixels each covers, how it is lit, and the shadow it casts on the floor."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ffrl.data.shapes3d.scene import Rays, Scene, column, distance, scale_lines, smooth_step


class Body(NamedTuple):
    """Coverage of a body, with its coverage-weighted share of own colour and of white, all ``(n, h, w)``."""

    coverage: Tensor
    own: Tensor
    white: Tensor


class Light(NamedTuple):
    """Where the lamp stands per image, ``(n,)`` each, in camera coordinates, as sideways lean per height 1.

    ``x`` and ``y`` as seen from the floor, for shadows; ``shine_x`` and ``shine_y`` as seen from the bodies' surface.
    """

    x: Tensor
    y: Tensor
    shine_x: Tensor
    shine_y: Tensor


def light_of(theta: Tensor, scene: Scene) -> Light:
    """Return the lamp's place for room angles ``theta`` (radians): it turns with the room.

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE
        >>> light_of(torch.zeros(1), SCENE).x.item() == torch.tensor(SCENE.light_x).item()
        True
    """
    c, s = torch.cos(theta), torch.sin(theta)
    leans = ((scene.light_x, scene.light_y), (scene.shine_x, scene.shine_y))
    return Light(*(part for x, y in leans for part in (x * c - y * s, x * s + y * c)))


def _lamp(dot: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    """Diffuse light of the lamp and its highlight, from normal times direction (unnormalised)."""
    dot = dot * (1 + scene.shine_x**2 + scene.shine_y**2) ** -0.5
    white = (dot * (1 / scene.gate)).add_(0.5).clamp_(0, 1).mul_(scene.specular)
    return dot.clamp_(min=0).mul_(scene.light), white


def round_body(bottom: Tensor, top: Tensor, radius: Tensor, light: Light, rays: Rays, scene: Scene) -> Body:
    """Return a capsule on the vertical axis: all points within ``radius`` of the axis between two heights.

    With equal heights it is a sphere. A pixel is covered by its ray's distance to that piece of the axis.

    Args:
        bottom: heights of the lower end of the axis, ``(n,)``, in units of the scene.
        top: heights of the upper end; the very tensor ``bottom`` for spheres.
        radius: radii, ``(n,)``.
        light: where the lamp stands.
        rays: rays of the pixels to compute.
        scene: the constants.

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE, rays_of
        >>> one = torch.full((1,), 0.5)
        >>> rays = rays_of(SCENE, slice(0, 64), slice(0, 64), one.device)
        >>> round_body(one, one, one, light_of(0 * one, SCENE), rays, SCENE).coverage[0, 40, 32].round().item()
        1.0
    """
    eye, away = scene.camera_height, scene.camera_distance
    low, high, size = column(bottom - eye), column(top - eye), column(radius)
    sphere = bottom is top

    def nearest(heights: Tensor) -> Tensor:
        return low if sphere else heights.clamp(low, high)

    def along(centre: Tensor) -> Tensor:
        return centre * rays.dz + away * rays.dy

    centre = nearest(rays.axis_height)
    reach = along(centre)
    gap = torch.addcmul(centre * centre + away**2, reach * reach, rays.inverse_square, value=-1)
    coverage = smooth_step((size - gap.clamp_(min=0).sqrt_()).mul_(rays.angle))
    if not sphere:
        half = (size * size - rays.axis_gap_square).clamp_(min=0).mul_(rays.inverse_flat).sqrt_()
        centre = nearest((rays.axis_reach - half).mul_(rays.dz))
        reach = along(centre)
    inside = torch.addcmul(size * size - away**2 - centre * centre, reach * reach, rays.inverse_square)
    reach = (reach * rays.inverse_square).sub_(inside.clamp_(min=0).mul_(rays.inverse_square).sqrt_())
    inverse = 1 / size
    facing = (reach * rays.dy).neg_().add_(away).clamp_(min=0).mul_(inverse * scene.headlight)
    lamp = column(light.shine_x) * rays.dx + (column(light.shine_y) * rays.dy + rays.dz)
    lamp = lamp.mul_(reach).sub_(away * column(light.shine_y) + centre).mul_(inverse)
    own, white = _lamp(lamp, scene)
    own = own.add_(facing).add_(scene.ambient)
    return Body(coverage, own.mul_(coverage), white.mul_(coverage))


def cylinder(radius: Tensor, height: Tensor, light: Light, rays: Rays, scene: Scene) -> Body:
    """Return an upright cylinder of radii and heights ``(n,)`` standing on the floor.

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE, rays_of
        >>> one = torch.ones(1)
        >>> rays = rays_of(SCENE, slice(0, 64), slice(0, 64), one.device)
        >>> cylinder(one / 2, one, light_of(0 * one, SCENE), rays, SCENE).coverage[0, 40, ::31].round().abs().tolist()
        [0.0, 1.0, 0.0]
    """
    eye, away = scene.camera_height, scene.camera_distance
    size, lid = column(radius), column(height - eye)
    half = (size * size - rays.axis_gap_square).clamp_(min=0).mul_(rays.inverse_flat).sqrt_()
    reach, far = rays.axis_reach - half, rays.axis_reach + half
    low = rays.dz * rays.focal / scene.edge_width
    scale = rays.focal / scene.edge_width
    side = smooth_step((size - rays.axis_gap) * (scale / away))
    height_step = smooth_step(low + (eye * scale) / reach)
    top = smooth_step((lid * scale) / reach - low)
    rim = smooth_step((lid * scale) / far - low)
    upper = torch.maximum(top, rim)
    coverage = side * height_step * upper
    plate = side.mul_(height_step).mul_((rim - top).clamp_(min=0))
    wall = coverage - plate
    inverse = 1 / size
    facing = (reach * rays.dy).neg_().add_(away).clamp_(min=0).mul_(inverse * scene.headlight)
    lamp = column(light.shine_x) * rays.dx + column(light.shine_y) * rays.dy
    own, white = _lamp(lamp.mul_(reach).sub_(away * column(light.shine_y)).mul_(inverse), scene)
    lid_own, lid_white = _lamp(torch.ones_like(inverse), scene)
    own = own.add_(facing).add_(scene.ambient).mul_(wall).add_(plate * (lid_own + scene.ambient))
    return Body(coverage, own, white.mul_(wall).add_(plate * lid_white))


def cube(half: Tensor, theta: Tensor, light: Light, rays: Rays, scene: Scene) -> Body:
    """Return an upright cube of half sides ``half`` turned with the room by ``theta`` (radians), ``(n,)`` each.

    Two upright faces and the lid are seen at most. Each is bounded by straight lines in the picture; two faces share
    the line between them, so their coverages add up to one there.

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE, rays_of
        >>> half = torch.full((1,), 0.5)
        >>> rays = rays_of(SCENE, slice(0, 64), slice(0, 64), half.device)
        >>> cube(half, 0 * half, light_of(0 * half, SCENE), rays, SCENE).coverage[0, 40, ::31].round().abs().tolist()
        [0.0, 1.0, 0.0]
    """
    quarter = math.pi / 2
    turn = theta - quarter * torch.round(theta / quarter)
    c, s = torch.cos(turn), torch.sin(turn)
    hand = torch.where(turn >= 0, -1.0, 1.0)  # the side seen beside the front: left or right
    x, y, z = half * hand * c, half * s, half * hand * s
    w = half * c

    def seen(right: Tensor, away: Tensor, height: Tensor) -> Tensor:
        away, up = away + scene.camera_distance, height - scene.camera_height
        depth = away * rays.cos_pitch - up * rays.sin_pitch
        return torch.stack([right, -(away * rays.sin_pitch + up * rays.cos_pitch)], dim=-1) / depth[:, None]

    # upright edges: the front's outer one, the one between front and side, the side's back one, the hidden one
    plan = [(-x + y, -z - w), (x + y, z - w), (x - y, z + w), (-x - y, -z + w)]
    feet = [seen(right, away, torch.zeros_like(half)) for right, away in plan[:3]]
    tops = [seen(right, away, 2 * half) for right, away in plan]

    # edges of the feet (front, side), of the lid (front, side, back, far), and upright ones (outer, middle, back);
    # each line counts as inside on the left of its way, the lid's way being counterclockwise as seen from above
    starts = torch.stack([feet[0], feet[1], *tops, tops[0], feet[1], feet[2]], dim=1)
    ends = torch.stack([feet[1], feet[2], *tops[1:], tops[0], feet[0], tops[1], tops[2]], dim=1)
    normal = hand[:, None, None] * torch.stack([ends[..., 1] - starts[..., 1], starts[..., 0] - ends[..., 0]], dim=-1)
    level = -(normal * starts).sum(-1, keepdim=True)
    lines = scale_lines(torch.cat([normal, level], dim=-1), scene).unbind(1)
    foot_front, foot_side, lid_front, lid_side, lid_back, lid_far, outer, middle, back = (
        smooth_step(distance(line, rays)).sub_(0.5) for line in lines
    )
    width = outer + torch.maximum(middle, back)
    front = (outer + middle).mul_(foot_front - lid_front)
    # a side seen almost edge-on has steep edges, which only level lines through its corners can stop
    sharpness = scene.focal / scene.edge_width
    lowest, highest = feet[1][:, 1], torch.minimum(tops[1][:, 1], tops[2][:, 1])
    under = smooth_step((column(lowest) - rays.down).mul_(sharpness)).sub_(0.5)
    over = smooth_step((rays.down - column(highest)).mul_(sharpness)).sub_(0.5)
    tall = torch.minimum(foot_side, under).add_(torch.minimum(lid_side.neg(), over)).clamp_(min=0)
    side = (back - middle).mul_(tall).mul_(column(scene.camera_distance * s.abs() > half))
    lid = (lid_front + lid_back).clamp_(min=0).mul_((lid_side + lid_far).clamp_(min=0)).mul_(width)
    lid.mul_(column(2 * half < scene.camera_height))
    own, white = torch.zeros_like(lid), torch.zeros_like(lid)
    faces = ((front, s, -c, 0.0), (side, hand * c, hand * s, 0.0), (lid, 0 * c, 0 * c, 1.0))
    for cover, right, away, up in faces:
        lamp, highlight = _lamp(light.shine_x * right + light.shine_y * away + up, scene)
        own.addcmul_(cover, column(lamp + scene.ambient + scene.headlight * (-away).clamp(min=0)))
        white.addcmul_(cover, column(highlight))
    return Body(front.add_(side).add_(lid), own, white)


def round_shadow(
    bottom: Tensor, top: Tensor, radius: Tensor, flat: bool, light: Light, rays: Rays, scene: Scene
) -> Tensor:
    """Return the shadow that balls (``flat``: level discs) of ``radius`` cast from all heights of an upright axis.

    A floor point lies in shadow when its ray to the lamp passes within ``radius`` of the axis between the two heights.
    Arguments as in :func:`round_body`; ``(n, h, w)`` in [0, 1].

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE, rays_of
        >>> one = torch.full((1,), 0.5)
        >>> rays = rays_of(SCENE, slice(46, 62), slice(0, 64), one.device)
        >>> round_shadow(one, one, one, False, light_of(0 * one, SCENE), rays, SCENE)[0, 9, ::32].round().abs().tolist()
        [0.0, 1.0]
    """
    far = 1 / scene.lamp_height
    x, y = rays.floor_x, rays.floor_y
    lean_x, lean_y = column(light.x) - far * x, column(light.y) - far * y
    square = torch.addcmul(lean_x * lean_x, lean_y, lean_y)
    height = torch.addcmul(x * lean_x, y, lean_y).neg_().div_(square.clamp(min=1e-9))
    height.clamp_(column(bottom), column(top))
    right, away = torch.addcmul(x, height, lean_x), torch.addcmul(y, height, lean_y)
    if flat:
        gap = torch.addcmul(right * right, away, away)
    else:
        up = torch.addcmul(right * lean_x, away, lean_y).div_(square.add_(1))
        right, away = right.addcmul_(up, lean_x, value=-1), away.addcmul_(up, lean_y, value=-1)
        gap = up.mul_(up).addcmul_(right, right).addcmul_(away, away)
    gap = gap.clamp_(min=1e-8).sqrt_()
    down = torch.addcmul(right * rays.floor_right_down, away, rays.floor_away_down)
    right = right.mul_(rays.floor_right_right)
    slope = right.mul_(right).addcmul_(down, down).clamp_(min=1e-12).rsqrt_().div_(height.mul_(-far).add_(1))
    gap = (column(radius) - gap).mul_(gap).mul_(slope)
    return smooth_step(gap.mul_(rays.focal / rays.edge_width))


def cube_shadow(half: Tensor, theta: Tensor, rays: Rays, scene: Scene) -> Tensor:
    """Return the shadow of a cube: the floor within six straight lines; arguments as in :func:`cube`.

    Example:
        >>> from ffrl.data.shapes3d.scene import SCENE, rays_of
        >>> half = torch.full((1,), 0.5)
        >>> rays = rays_of(SCENE, slice(46, 62), slice(0, 64), half.device)
        >>> cube_shadow(half, 0 * half, rays, SCENE)[0, 3, ::32].round().abs().tolist()
        [0.0, 1.0]
    """
    c, s = torch.cos(theta), torch.sin(theta)
    eye, away = scene.camera_height, scene.camera_distance
    grow = scene.lamp_height / (scene.lamp_height - 2 * half)
    x, y = -2 * half * grow * scene.light_x, -2 * half * grow * scene.light_y
    big = half * grow  # the lid's shadow is a larger square about (x, y)
    one, none = torch.ones_like(half), torch.zeros_like(half)
    sides = [(one, none, torch.maximum(half, big - x)), (-one, none, torch.maximum(half, big + x))]
    sides += [(none, one, torch.maximum(half, big - y)), (none, -one, torch.maximum(half, big + y))]
    turned = math.copysign(1.0, scene.light_x * scene.light_y)
    for sign in (1.0, -1.0):
        # through the corner (sign, -sign * turned) of the foot and that of the lid's shadow
        p, q = sign * half, -sign * turned * half
        dx, dy = x + sign * (big - half), y - sign * turned * (big - half)
        side = torch.sign(p * dy - q * dx)
        sides.append((-dy * side, dx * side, (p * dy - q * dx).abs()))
    lines = []
    for nx, ny, offset in sides:
        right, ahead = nx * c - ny * s, nx * s + ny * c
        level = offset - ahead * away
        down = level * rays.cos_pitch - eye * ahead * rays.sin_pitch
        level = level * rays.sin_pitch + eye * ahead * rays.cos_pitch
        lines.append(torch.stack([eye * right, down, level], dim=-1))
    first, *rest = scale_lines(torch.stack(lines, dim=1), scene).unbind(1)
    gap = distance(first, rays)
    for line in rest:
        gap = torch.minimum(gap, distance(line, rays), out=gap)
    return smooth_step(gap)
