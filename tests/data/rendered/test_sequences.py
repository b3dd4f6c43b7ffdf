"""Sequences of scenes: their numbers, their places, and that each is rendered once; nothing here needs MuJoCo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import Painted, painted_numbers

from ffrl.config import DataConfig, RenderedConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.grids.factors import Factors
from ffrl.data.rendered import falcor3d, isaac3d, kitchen, living_room
from ffrl.data.rendered.isaac3d import RenderedIsaac3D
from ffrl.data.rendered.sequences import drawn_images, scene_numbers

SCENES = {"isaac3d": (isaac3d.GRID, kitchen.NUMBERS, 1), "falcor3d": (falcor3d.GRID, living_room.NUMBERS, 1)}


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> Painted:
    return Painted(monkeypatch)


def config(folder: Path, name: str = "isaac3d", num_steps: int = 8, **options: object) -> DataConfig:
    rendered = RenderedConfig(sequences=16, held_out=6, size=16, cache=folder)
    return DataConfig(name=name, num_steps=num_steps, rendered=rendered, **options)


@pytest.mark.parametrize("name", SCENES)
def test_single_sequences_go_through_the_range_of_one_factor(name: str, tmp_path: Path, painted: Painted) -> None:
    grid, count, first = SCENES[name]
    data = load(config(tmp_path, name))
    assert data.title.startswith("rendered ") and len(data.unit_steps) == len(data.transformations) == count - first
    which = torch.arange(count - first)
    batch = data.single("validation", torch.full_like(which, 5), which)
    numbers = painted_numbers(batch.frames, count)
    own = painted_numbers(data.images("validation", torch.tensor([5])), count)[0]
    for acting, column in enumerate(range(first, count)):
        circle = grid.names[column] in grid.circles
        expected = own.expand(9, -1).clone()
        expected[:, column] = torch.arange(9) / (10 if circle else 8)
        assert (numbers[acting] - expected).abs().max() < 0.003, data.transformations[acting]
        assert batch.activity[acting].equal(torch.eye(count - first)[acting].expand(8, -1))


@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_mixed_sequences_are_where_their_activity_leads(tmp_path: Path, painted: Painted, protocol: str) -> None:
    data = load(config(tmp_path, protocol=protocol, active=2))
    batch = data.mixed("train", torch.arange(16), torch.Generator())
    numbers = painted_numbers(batch.frames, 9)[..., 1:]
    scale = torch.tensor([8.0] * 6 + [10.0] * 2)
    walked = batch.activity.cumsum(1) / scale
    assert (numbers[:, 1:] - numbers[:, :1] - walked).abs().max() < 0.006, "no state is out of range"
    assert numbers.min() >= 0 and numbers.max() <= 1 and batch.activity.max() > 1.1
    assert (batch.activity > 0).sum(-1).max() >= 2


def test_sequences_are_those_of_a_data_set_and_rendered_once(tmp_path: Path, painted: Painted) -> None:
    data, some = load(config(tmp_path)), torch.tensor([3, 1])
    batch = data.mixed("train", some, torch.Generator().manual_seed(1))
    assert painted.count == 16 * 9
    again = load(config(tmp_path)).mixed("train", some, torch.Generator().manual_seed(2))
    assert batch.frames.equal(again.frames) and batch.activity.equal(again.activity)
    stills = data.stills("train", some, 3, torch.Generator())
    assert stills.equal(batch.frames[:, [0, 4, 8]]) and painted.count == 16 * 9
    load(config(tmp_path, stay=0.5)).mixed("train", some, torch.Generator())
    assert painted.count == 2 * 16 * 9, "another activity is rendered anew"
    assert len(list(tmp_path.glob("kitchen-16-*.npy"))) == 2 and (tmp_path / "CACHEDIR.TAG").is_file()


def test_training_has_as_many_single_as_mixed_sequences(tmp_path: Path, painted: Painted) -> None:
    data = load(config(tmp_path))
    data.single("train", torch.arange(16), torch.arange(16) % 8)
    assert painted.count == 16 * 9
    data.single("validation", torch.arange(6), torch.arange(6))
    assert painted.count == (16 + 6 * 6) * 9


def test_a_damaged_file_is_rendered_anew(tmp_path: Path, painted: Painted) -> None:
    images = RenderedIsaac3D(config(tmp_path)).images("train", torch.arange(2))
    (file,) = tmp_path.glob("*.npy")
    for content in (file.read_bytes()[:-1], b"", b"\x93NUMPY" + bytes(200)):
        file.write_bytes(content)
        before = painted.count
        assert RenderedIsaac3D(config(tmp_path)).images("train", torch.arange(2)).equal(images)
        assert painted.count == before + 2


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, painted: Painted) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="^data.rendered.cache: found .*file.*cannot be written"):
        load(config(tmp_path / "file")).images("train", torch.arange(1))


def test_nothing_is_left_of_a_rendering_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ffrl.data.rendered.frames import Renderer

    def images(self: Renderer, numbers: np.ndarray):
        yield np.zeros((1, 3, 16, 16), np.uint8)
        raise UserError("data.name: found no MuJoCo")

    monkeypatch.setattr(Renderer, "images", images)
    with pytest.raises(UserError, match="found no MuJoCo"):
        load(config(tmp_path)).mixed("train", torch.arange(1), torch.Generator())
    assert not list(tmp_path.glob("*.npy")) and not list(tmp_path.glob(".tmp-*"))


def test_states_beyond_the_range_are_not_shown(tmp_path: Path) -> None:
    data = RenderedIsaac3D(config(tmp_path))
    inside = torch.zeros(8)
    for column, shown in ((0, False), (5, False), (6, True), (7, True)):
        assert bool(data.showable(inside.index_fill(0, torch.tensor(column), 8.5))) is shown
    with pytest.raises(UserError, match="num-steps: found 9, expected at most 8 for rendered Isaac3D: robot_x-move"):
        RenderedIsaac3D(config(tmp_path, num_steps=9))


def test_images_are_different_and_held_out_ones_are_others() -> None:
    images = drawn_images(isaac3d.GRID, 300, 100)
    assert [len(part) for part in images.values()] == [300, 100]
    assert len(torch.cat(list(images.values())).unique()) == 400
    assert images["validation"].equal(drawn_images(isaac3d.GRID, 300, 100)["validation"])
    with pytest.raises(UserError, match="data.rendered.sequences: found 80, expected at most 71"):
        drawn_images(Factors(("x", "y"), (9, 9)), 80, 10)


def test_numbers_stay_in_their_ranges_but_hues_come_round() -> None:
    grid = Factors(("shape", "x", "hue"), (4, 9, 10), circles=("hue",), categories=("shape",))
    numbers = scene_numbers(grid, torch.tensor([[2, 8.0005, 12.5], [0, -0.0005, -1]]))
    assert np.allclose(numbers, [[2, 1, 0.25], [0, 0, 0.9]])


@pytest.mark.parametrize("key", ["sequences", "held_out", "size"])
def test_configurations_name_their_key(key: str) -> None:
    with pytest.raises(UserError, match=f"data.rendered.{key.replace('_', '-')}: found 0, expected"):
        RenderedConfig(**{key: 0})
