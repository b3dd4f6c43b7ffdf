"""The drawn Shapes3D pictures, against a ray marcher in float64 that knows nothing of the renderer's formulas."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch

from ffrl.core.errors import UserError
from ffrl.data.shapes3d import render as shapes3d_render
from ffrl.data.shapes3d.bodies import cube, cube_shadow, cylinder, light_of, round_body, round_shadow
from ffrl.data.shapes3d.palette import SKY, hue_to_rgb
from ffrl.data.shapes3d.render import FACTORS, SIZES, render
from ffrl.data.shapes3d.scene import SCENE, rays_of

SKY_CLASS, WALL_CLASS, FLOOR_CLASS, SHADOW_CLASS, BODY_CLASS = range(5)
PLAIN = [0.0, 2.0, 7.0, 4.0, 0.0, 7.0]


def digits(**changes: float) -> torch.Tensor:
    """One row of factors: red floor, yellow-green wall, blue object of middling size, but for ``changes``."""
    return torch.tensor([[changes.get(name, plain) for name, plain in zip(FACTORS, PLAIN, strict=True)]])


def to_room(points: np.ndarray, theta: float) -> np.ndarray:
    """Camera coordinates to the room's, which is turned by theta."""
    c, s = math.cos(theta), math.sin(theta)
    return np.stack(
        [points[..., 0] * c + points[..., 1] * s, points[..., 1] * c - points[..., 0] * s, points[..., 2]], -1
    )


def body_distance(p: np.ndarray, shape: int, scale: float) -> np.ndarray:
    """Signed distance of room points to the body."""
    x, y, z = np.moveaxis(p, -1, 0)
    r = np.hypot(x, y)
    if shape in (0, 1):
        if shape == 0:
            a = SCENE.cube * scale
            q = np.stack([abs(x) - a, abs(y) - a, abs(z - a) - a])
        else:
            h = SCENE.cylinder_height * scale / 2
            q = np.stack([r - SCENE.cylinder * scale, abs(z - h) - h])
        return np.sqrt((np.maximum(q, 0) ** 2).sum(0)) + np.minimum(q.max(0), 0)
    size = (SCENE.sphere if shape == 2 else SCENE.capsule) * scale
    top = 2 * size if shape == 2 else SCENE.capsule_height * scale
    return np.hypot(r, z - np.clip(z, size, top - size)) - size


def march(start: np.ndarray, way: np.ndarray, shape: int, scale: float, reach: float | np.ndarray) -> np.ndarray:
    """Distance along unit rays to the body, infinite where it is missed."""
    t = np.zeros(np.broadcast_shapes(start.shape, way.shape)[:-1])
    for _ in range(100):
        t = t + body_distance(start + t[..., None] * way, shape, scale)
    hit = (body_distance(start + t[..., None] * way, shape, scale) < 1e-4) & (t < reach)
    return np.where(hit, t, np.inf)


def rays(theta: float, shift: tuple[float, float] = (0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """The eye and the pixels' unit rays in room coordinates."""
    grid = np.arange(64) + 0.5 - 32
    u, v = np.meshgrid((grid + shift[0]) / SCENE.focal, (grid + shift[1]) / SCENE.focal)
    c, s = math.cos(SCENE.pitch), math.sin(SCENE.pitch)
    way = np.stack([u, c - v * s, -s - v * c], -1)
    eye = np.array([0.0, -SCENE.camera_distance, SCENE.camera_height])
    return to_room(eye, theta), to_room(way / np.linalg.norm(way, axis=-1, keepdims=True), theta)


def trace(factors: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Colour and class of every pixel's centre, by marching."""
    floor, wall, own = (np.array(colorsys.hsv_to_rgb(hue / 10 % 1, 1, 1)) for hue in factors[:3])
    scale, shape, theta = 0.75 + factors[3] / 14, int(factors[4]), math.radians(factors[5] * 30 / 7 - 30)
    eye, way = rays(theta)
    toward = to_room(np.array([0.0, -1.0, 0.0]), theta)  # the camera's light
    image, kind = np.zeros((64, 64, 3)), np.zeros((64, 64), int)
    with np.errstate(divide="ignore", invalid="ignore"):
        planes = {
            "floor": -eye[2] / way[..., 2],
            "back": (SCENE.wall_back - eye[1]) / way[..., 1],
            "right": (SCENE.wall_side - eye[0]) / way[..., 0],
            "left": (-SCENE.wall_side - eye[0]) / way[..., 0],
        }
    names = list(planes)
    depth = np.stack([np.where(t > 0, t, np.inf) for t in planes.values()])
    first, t = depth.argmin(0), depth.min(0)
    point = eye + t[..., None] * way
    x, y = point[..., 0] / 3.5, point[..., 1] / 3.5
    shade = np.select(
        [first == names.index(name) for name in names],
        [
            0 * x,
            SCENE.ambient
            + SCENE.headlight * toward @ (0, -1, 0)
            + SCENE.wall_light
            + SCENE.wall_slope * x
            + SCENE.wall_bend * x * x,
            SCENE.ambient + SCENE.headlight * toward @ (-1, 0, 0) + SCENE.right_light + SCENE.right_slope * y,
            SCENE.ambient + SCENE.headlight * toward @ (1, 0, 0) + SCENE.left_light + SCENE.left_slope * y,
        ],
    )
    image[:] = shade[..., None] * wall
    kind[:] = WALL_CLASS
    image[point[..., 2] > SCENE.wall_height], kind[point[..., 2] > SCENE.wall_height] = SKY, SKY_CLASS
    on_floor = first == 0
    angle, r = np.arctan2(y, x), np.hypot(x, y)
    lit = sum(r**k * (a * np.cos(m * angle) + b * np.sin(m * angle)) for (m, k), a, b in SCENE.floor_waves)
    lamp = SCENE.lamp_height * np.array([SCENE.light_x, SCENE.light_y, 1.0])
    up = lamp - point
    length = np.linalg.norm(up, axis=-1, keepdims=True)
    shaded = np.isfinite(march(point + 1e-6 * up, up / length, shape, scale, length[..., 0]))
    light = SCENE.floor_ambient + np.where(shaded, 0, lit)
    image[on_floor] = (light[..., None] * floor)[on_floor]
    kind[on_floor] = np.where(shaded, SHADOW_CLASS, FLOOR_CLASS)[on_floor]
    hit = march(eye, way, shape, scale, np.inf)
    seen = hit < t
    surface = eye + np.where(seen, hit, 0)[..., None] * way
    normal = np.stack(
        [
            (body_distance(surface + d, shape, scale) - body_distance(surface - d, shape, scale)) / 2e-5
            for d in 1e-5 * np.eye(3)
        ],
        -1,
    )
    shine = np.array([SCENE.shine_x, SCENE.shine_y, 1.0])
    dot = normal @ (shine / np.linalg.norm(shine))
    own_light = SCENE.ambient + SCENE.headlight * (normal @ toward).clip(0) + SCENE.light * dot.clip(0)
    white = SCENE.specular * (dot / SCENE.gate + 0.5).clip(0, 1)
    image[seen] = (own_light[..., None] * own + white[..., None])[seen]
    kind[seen] = BODY_CLASS
    return image.clip(0, 1), kind


def interior(kind: np.ndarray) -> np.ndarray:
    """Pixels whose surroundings, two pixels wide, are all of their class."""
    padded = np.pad(kind, 2, mode="edge")
    around = [padded[i : i + 64, j : j + 64] for i in range(5) for j in range(5)]
    return np.all([part == kind for part in around], axis=0)


@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize("orientation", [0.0, 5.5, 12.0])
def test_agrees_with_marching_inside_surfaces(shape: int, orientation: float) -> None:
    factors = [1.0, 2.0, 7.0, 2.0 + shape, float(shape), orientation]
    expected, kind = trace(factors)
    found = render(torch.tensor([factors]))[0].permute(1, 2, 0).double().numpy()
    error = np.abs(found - expected).max(-1)
    inside = interior(kind)
    assert set(kind[inside]) >= {SKY_CLASS, WALL_CLASS, FLOOR_CLASS, BODY_CLASS}
    # the edge between two faces of one class is smooth in the picture and sharp in the marching
    assert np.mean(error[inside] < 1.5 / 255) > 0.95
    for each in set(kind[inside]):
        assert np.median(error[inside & (kind == each)]) < 0.5 / 255, each
    # edges: the picture differs by no more than the share of pixels that an edge runs through
    assert error.mean() < 12 / 255


def extent(shape: int, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lower and upper end of the axis and radius of a round body."""
    if shape == 1:
        return 0 * scale, SCENE.cylinder_height * scale, SCENE.cylinder * scale
    radius = (SCENE.sphere if shape == 2 else SCENE.capsule) * scale
    return radius, radius if shape == 2 else SCENE.capsule_height * scale - radius, radius


FINE = [((i + 0.5) / 16 - 0.5, (i * 7 % 16 + 0.5) / 16 - 0.5) for i in range(16)]
"""Sixteen places within a pixel, no two in one of its sixteen rows or columns."""


def same_shape(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal areas, equal centres, and pixels that differ by no more than the smoothness of their edge."""
    assert found.sum() == pytest.approx(expected.sum(), rel=0.015)
    for axis in (0, 1):
        place = np.arange(found.shape[1 - axis])
        assert found.sum(axis) @ place / found.sum() == pytest.approx(
            expected.sum(axis) @ place / expected.sum(), abs=0.07
        )
    assert np.abs(found - expected).max() < 0.35  # one pixel's box against a smoother, sharpened edge


@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize("size", [0.75, 1.1, 1.25])
def test_covers_what_marching_hits(shape: int, size: float) -> None:
    scale, theta = torch.tensor([size]), torch.tensor([0.3])
    table = rays_of(SCENE, slice(0, 64), slice(0, 64), scale.device)
    light = light_of(theta, SCENE)
    bottom, top, radius = extent(shape, scale)
    if shape == 0:
        body = cube(SCENE.cube * scale, theta, light, table, SCENE)
    elif shape == 1:
        body = cylinder(radius, top, light, table, SCENE)
    else:
        body = round_body(bottom, top, radius, light, table, SCENE)
    hits = np.mean([np.isfinite(march(*rays(0.3, shift), shape, size, np.inf)) for shift in FINE], axis=0)
    same_shape(body.coverage[0].double().numpy(), hits)


@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize("size", [0.75, 1.25])
def test_shades_what_the_lamp_cannot_reach(shape: int, size: float) -> None:
    scale, theta = torch.tensor([size]), torch.tensor([-0.4])
    table = rays_of(SCENE, slice(40, 64), slice(0, 64), scale.device)
    if shape == 0:
        shadow = cube_shadow(SCENE.cube * scale, theta, table, SCENE)
    else:
        shadow = round_shadow(*extent(shape, scale), shape == 1, light_of(theta, SCENE), table, SCENE)
    lamp = SCENE.lamp_height * np.array([SCENE.light_x, SCENE.light_y, 1.0])
    dark = []
    for shift in FINE:
        eye, way = rays(-0.4, shift)
        floor = eye - way[40:] * (eye[2] / way[40:, :, 2:])
        up = (lamp - floor) / np.linalg.norm(lamp - floor, axis=-1, keepdims=True)
        dark.append(np.isfinite(march(floor + 1e-6 * up, up, shape, size, np.inf)))
    same_shape(shadow[0].double().numpy(), np.mean(dark, axis=0))


@pytest.mark.parametrize("hue", np.linspace(0, 10, 23))
def test_palette_is_the_colour_circle(hue: float) -> None:
    expected = colorsys.hsv_to_rgb(hue / 10 % 1, 1, 1)
    for turned in (hue, hue - 10, hue + 30):
        assert hue_to_rgb(torch.tensor(turned, dtype=torch.float64)).tolist() == pytest.approx(expected, abs=1e-9)


def test_hues_have_period_ten() -> None:
    some = digits(floor_hue=1.5, wall_hue=8.25, object_hue=4.75)
    turned = some + torch.tensor([10.0, -10.0, 20.0, 0, 0, 0])
    assert torch.allclose(render(some), render(turned), atol=1e-5)
    assert (render(some) - render(some + torch.tensor([5.0, 0, 0, 0, 0, 0]))).abs().max() > 0.5


def test_floor_hue_changes_the_floor_alone_and_wall_hue_the_walls_alone() -> None:
    _, kind = trace([0.0, 2.0, 7.0, 4.0, 2.0, 10.0])
    plain = render(digits(shape=2, orientation=10))[0]
    inside = torch.tensor(interior(kind))
    for name, classes in (
        ("floor_hue", (FLOOR_CLASS, SHADOW_CLASS)),
        ("wall_hue", (WALL_CLASS,)),
        ("object_hue", (BODY_CLASS,)),
    ):
        value = PLAIN[FACTORS.index(name)] + 5
        change = (render(digits(shape=2, orientation=10, **{name: value}))[0] - plain).abs().amax(0)
        of_it = torch.tensor(np.isin(kind, classes)) & inside
        assert of_it.sum() > 50
        assert (change[of_it] > 0.05).all(), name
        assert (change[inside & ~of_it] < 1e-5).all(), name


def test_shape_changes_only_object_and_shadow() -> None:
    pictures = render(torch.cat([digits(shape=k, orientation=3) for k in range(4)]))
    kinds = [trace([0.0, 2.0, 7.0, 4.0, float(k), 3.0])[1] for k in range(4)]
    touched = np.any([np.isin(kind, (BODY_CLASS, SHADOW_CLASS)) for kind in kinds], axis=0)
    grown = np.pad(touched, 2)
    near = np.any([grown[i : i + 64, j : j + 64] for i in range(5) for j in range(5)], axis=0)
    change = (pictures - pictures[:1]).abs().amax((0, 1)).numpy()
    assert change[~near].max() < 1e-6
    assert all((pictures[i] - pictures[j]).abs().amax(0).gt(0.1).sum() > 30 for i in range(4) for j in range(i))
    assert torch.equal(render(digits(shape=2.4)), render(digits(shape=2)))
    assert torch.equal(render(digits(shape=7)), render(digits(shape=3)))


def test_orientation_moves_the_corner_to_its_side() -> None:
    """The side wall is darker: at 30 degrees on the right, at -30 on the left, as far from the middle."""
    row = render(torch.cat([digits(orientation=14, wall_hue=0), digits(orientation=0, wall_hue=0)]))[:, 0, 30]
    steps = row[:, 1:] - row[:, :-1]
    right, left = int(steps[0, 40:63].argmin()) + 41, int(steps[1, :24].argmax()) + 1
    assert 40 < right < 48
    assert abs((64 - right) - left) <= 1


@pytest.mark.parametrize("shape", range(4))
def test_larger_scale_is_larger_and_stands_on_the_floor(shape: int) -> None:
    scales = torch.cat([digits(scale=s, shape=shape, orientation=7) for s in range(8)])
    other = scales.clone()
    other[:, 2] += 5
    mine = (render(scales) - render(other)).abs().amax(1) > 0.3
    areas = mine.sum((1, 2))
    assert (areas.diff() > 0).all()
    assert areas[7] / areas[0] == pytest.approx((1.25 / 0.75) ** 2, rel=0.25)
    middle = (mine.float().sum(1) @ (torch.arange(64) + 0.5)) / areas
    assert (middle - 32).abs().max() < 0.6  # seen from the front, in the middle
    # the foot's nearest point, projected by hand
    radius = (SCENE.cube, SCENE.cylinder, 0.0, 0.0)[shape]
    for s, each in enumerate(mine):
        depth = SCENE.camera_distance - radius * (0.75 + s / 14)
        row = 32 + SCENE.focal * math.tan(math.atan(SCENE.camera_height / depth) - SCENE.pitch)
        lowest = int(each[:, 31].nonzero().max()) + 1
        # balls bulge towards the camera: what is seen lowest lies above the foot
        assert abs(lowest - row) <= 1 if shape < 2 else row - 7 < lowest <= row + 1


@pytest.mark.parametrize("name", [name for name in FACTORS if name != "shape"])
@pytest.mark.parametrize("shape", range(4))
def test_small_steps_make_small_changes(name: str, shape: int) -> None:
    start = digits(shape=shape, orientation=7.3, floor_hue=0.5)
    way = torch.linspace(0, 1, 101)[:, None] * torch.eye(6)[FACTORS.index(name)]
    pictures = render(start + way)
    steps = pictures.diff(dim=0).abs()
    assert steps.amax() < 0.08
    assert (steps.mean((1, 2, 3)) < 0.002).all()
    assert (pictures[-1] - pictures[0]).abs().mean() > 0.002


def test_edges_are_smooth() -> None:
    """A white-on-black style edge: from sky to a wall of another colour there is a pixel in between in most columns."""
    blue = render(digits(wall_hue=0, orientation=13))[0, 2]
    low, high = blue[26], blue[2]
    between = ((blue[8:24] > low + 0.1) & (blue[8:24] < high - 0.1)).sum(0)
    assert between.max() <= 3
    assert (between >= 1).float().mean() > 0.7
    # it moves gradually: a shift of a tenth of a pixel shows
    shift = render(digits(wall_hue=0, orientation=13.1))[0, 2] - blue
    assert 0.005 < shift[8:24, 2:8].abs().amax() < 0.3


def test_batches_equal_single_images_on_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(60, 6, generator=generator) * (torch.tensor(SIZES) - 1)
    together = render(factors)
    assert torch.allclose(together, torch.cat([render(row[None]) for row in factors]), atol=1e-5)
    assert together.shape == (60, 3, 64, 64) and together.dtype == torch.float32
    assert together.min() >= 0 and together.max() <= 1
    assert torch.equal(together, render(factors))
    assert render(factors[:0]).shape == (0, 3, 64, 64)
    # what accelerators run: all shapes for all images, masked
    masked = torch.empty_like(together)
    shapes3d_render._draw(shapes3d_render._prepare(factors, SCENE), None, masked, SCENE)
    assert torch.allclose(together, masked, atol=1e-5)
    before = torch.get_num_threads()
    monkeypatch.setattr(shapes3d_render.torch, "get_num_threads", lambda: 3)
    assert torch.equal(together, render(factors))
    assert torch.get_num_threads() == 3 and before >= 1


def test_factors_beyond_the_grid_still_draw() -> None:
    wild = torch.tensor([[3.0, 3.0, 3.0, s, k, o] for s in (-4.0, 12.0) for k in range(4) for o in (-4.0, 18.0)])
    pictures = render(wild)
    assert torch.isfinite(pictures).all()
    assert pictures.min() >= 0 and pictures.max() <= 1


@pytest.mark.parametrize("bad", [torch.zeros(6), torch.zeros(2, 5), torch.full((1, 6), torch.nan)])
def test_bad_factors_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(UserError, match="factors: found"):
        render(bad)
