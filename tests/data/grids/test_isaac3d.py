"""Isaac3D from small folders in the exact layout; the shape of the object is no transformation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layouts import shown_digits, unit_labels, write_labels, write_pictures

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.grids import isaac3d
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.isaac3d import Isaac3DSequences

SIZES = (3, 2, 2, 2, 2, 2, 2, 2, 2)
FACTORS = Factors(isaac3d.FACTORS.names, SIZES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("isaac3d") / "root", SIZES, "labels.npy")


def config(folder, **options):
    return DataConfig(name="isaac3d", root=folder, num_steps=1, **options)


def test_sequences_show_the_pictures_of_the_folder(folder):
    data = Isaac3DSequences(config(folder), factors=FACTORS)
    assert (data.title, data.name, data.image_shape) == ("Isaac3D", "isaac3d", (3, 128, 128))
    assert len(data.transformations) == len(data.unit_steps) == 8
    indices, which = torch.arange(16).repeat_interleave(8), torch.arange(8).repeat(16)
    batch = data.single("validation", indices, which)
    digits, own = shown_digits(batch.frames, 9), shown_digits(data.images("validation", indices), 9)
    expected = own[:, None].repeat(1, 2, 1)
    expected[torch.arange(len(which)), :, which + 1] = torch.arange(2)
    assert digits.equal(expected) and own[:, 0].unique().tolist() == [0, 1, 2]
    assert (own.amax(0) == torch.tensor(SIZES) - 1).all(), "no start would carry"
    mixed = data.mixed("train", torch.arange(30), torch.Generator().manual_seed(0))
    moves = shown_digits(mixed.frames, 9).diff(dim=1)
    assert moves[..., 1:].float().equal(mixed.activity) and (moves[..., 0] == 0).all()


def test_the_published_grid(folder):
    assert isaac3d.FACTORS.sizes == (3, 8, 5, 4, 4, 4, 6, 4, 4) and isaac3d.LABELS == "labels.npy"
    names = [isaac3d.FACTORS.names[column].replace("-move", "").replace("-dir", "") for column in isaac3d.MOVED]
    assert [name.replace("_", "-") for name in names] == list(
        Isaac3DSequences(config(folder), factors=FACTORS).transformations
    )
    assert [word for step in isaac3d.UNIT_STEPS for word in step.split() if word.isdecimal()] == list("85444644")
    with pytest.raises(UserError, match=r"labels.npy: found float64 labels of shape \(768, 9\).*\(737280, 9\)"):
        load(config(folder))


def test_three_steps_are_the_most(tmp_path):
    (tmp_path / "images").mkdir()
    sizes = isaac3d.FACTORS.sizes
    labels = np.stack(np.unravel_index(np.arange(737280), sizes), -1) / (np.array(sizes) - 1.0)
    write_labels(tmp_path / "labels.npy", labels)
    data = load(DataConfig(name="isaac3d", root=tmp_path, num_steps=3))
    assert (data.size("train"), data.size("validation")) == (589824, 147456)
    with pytest.raises(UserError, match="found 4, expected at most 3 for Isaac3D: camera_height has 4 values"):
        load(DataConfig(name="isaac3d", root=tmp_path, num_steps=4))


def test_the_order_of_its_description_is_refused(tmp_path):
    """The description names the factors as shape, scale, camera, robot x, robot y: other sizes, the same count."""
    folder = tmp_path
    (folder / "images").mkdir()
    write_labels(folder / "labels.npy", unit_labels((3, 4, 4, 8, 5, 4, 6, 4, 4)))
    with pytest.raises(UserError, match="labels.npy: found .* in row 384, expected .*images in another order"):
        load(DataConfig(name="isaac3d", root=folder, num_steps=3))
