"""The frames behind the sliders of the report: the right ones, in the right places, and not too many."""

from __future__ import annotations

import dataclasses
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from visualize_tools import Clips, SparseData, tiny_model

from stf.plot.compute.observed import Traversal, move_images
from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import to_image
from stf.report.explorer import SPEEDS, Explorer, explore

ROLES = [FieldRole(2, 1, "rotation"), FieldRole(0, 0, "scaling", direction=-1.0)]


def pixels(found: Explorer) -> np.ndarray:
    with Image.open(BytesIO(found.png)) as image:
        assert image.size == found.sheet_size
        return np.asarray(image.convert("RGB"))


def frame(found: Explorer, row: int, column: int) -> np.ndarray:
    width, height = found.size
    return pixels(found)[row * height : (row + 1) * height, column * width : (column + 1) * width]


def as_bytes(image: torch.Tensor) -> np.ndarray:
    return (255 * to_image(image)).round()


@pytest.fixture(scope="module")
def traversals() -> list[Traversal]:
    model, data = tiny_model("supervised"), SparseData()
    return move_images(model, data, "validation", torch.tensor([4, 0, 1]), ROLES)


def test_every_place_has_the_frame_of_its_field_image_speed_and_step(traversals: list[Traversal]) -> None:
    model = tiny_model("supervised")
    with torch.no_grad():
        model.decoder[-2].weight.mul_(8)  # so that motion is seen
    found = explore(model, traversals)
    assert (found.roles, found.images) == (tuple(ROLES), 3) and found.steps == traversals[0].trained + 1
    for place, role in enumerate(ROLES):
        for image in range(3):
            start, row = traversals[place].inputs[image], place * found.images + image
            assert np.abs(frame(found, row, len(SPEEDS) * found.steps) - as_bytes(start)).max() == 0
            for number, speed in enumerate(SPEEDS):
                activity = torch.zeros(1, found.steps - 1, model.num_controls)
                activity[..., role.field] = role.direction * speed
                with torch.no_grad():
                    moved = model.decode(model.flow(model.encode(start[None]), activity))[0]
                for step in range(found.steps):
                    shown = frame(found, row, number * found.steps + step)
                    assert np.abs(shown - as_bytes(moved[step])).max() <= 1, (role, image, speed, step)
    moving = frame(found, 0, len(SPEEDS) * found.steps - 1).astype(float) - frame(found, 0, 0)
    assert np.abs(moving).max() > 10


def test_the_same_traversals_give_the_same_bytes(traversals: list[Traversal]) -> None:
    model = tiny_model("supervised")
    assert explore(model, traversals) == explore(model, traversals)


@pytest.fixture(scope="module")
def coloured() -> tuple[torch.nn.Module, list[Traversal]]:
    """A model of images of 3 × 16 × 16, and traversals of rough ones."""
    model = tiny_model(data=Clips())
    rough = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return model, [Traversal(role, rough, (0,), rough[:, None], 3) for role in ROLES]


def test_what_is_too_large_has_fewer_images_then_smaller_ones_then_none(coloured: Any) -> None:
    model, traversals = coloured
    whole, seen = explore(model, traversals), []
    assert (whole.images, whole.size) == (3, (16, 16))
    largest = len(whole.png)
    while (found := explore(model, traversals, largest)) is not None:
        assert len(found.png) <= largest
        seen.append((found.size[0], found.images))
        largest = len(found.png) - 1
    assert seen[:4] == [(16, 3), (16, 2), (16, 1), (8, 3)] and seen[-1] == (4, 1)
    assert explore(model, []) is None


def test_smaller_frames_are_means_of_blocks(coloured: Any) -> None:
    model, traversals = coloured
    one = dataclasses.replace(traversals[0], inputs=traversals[0].inputs[:1])
    whole = explore(model, [one])
    half = explore(model, [one], len(whole.png) - 1)
    last = len(SPEEDS) * whole.steps
    blocks = frame(whole, 0, last).reshape(8, 2, 8, 2, 3).mean((1, 3))
    assert half.size == (8, 8) and np.abs(frame(half, 0, last) - blocks).max() <= 0.5


def test_grey_frames_take_one_channel(traversals: list[Traversal], coloured: Any) -> None:
    for model, moves, mode in ((tiny_model("supervised"), traversals, "L"), (*coloured, "RGB")):
        with Image.open(BytesIO(explore(model, moves).png)) as image:
            assert image.mode == mode
