"""Shapes3D from its file: read lazily, unpacked or in memory; and rendered where there is no file."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from layouts import all_digits, picture, shapes3d_labels, shown_digits, write_shapes3d

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.grids.factors import Factors
from ffrl.data.shapes3d import file as shapes3d_file
from ffrl.data.shapes3d import sequences as shapes3d
from ffrl.data.shapes3d.file import Shapes3DFile, UnpackedShapes3D, open_shapes3d, unpack
from ffrl.data.shapes3d.sequences import RenderedShapes3D, StoredShapes3D

SIZES = (3, 3, 3, 4, 2, 5)
FACTORS = Factors(shapes3d_file.FACTORS.names, SIZES)
COUNT = 1080
ANY_ORDER = torch.tensor([1079, 3, 50, 49, 3, 0, 700])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes3d")
    write_shapes3d(folder, SIZES)
    return folder


@pytest.fixture
def small(tmp_path):
    """A file of one row of 6 images that may be spoilt."""
    return lambda **options: write_shapes3d(tmp_path, (1, 1, 1, 3, 1, 2), **({"chunks": None} | options))


SMALL = Factors(FACTORS.names, (1, 1, 1, 3, 1, 2))


def config(folder, **options):
    return DataConfig(name="shapes3d", root=folder, num_steps=2, **options)


def digits_of(images):
    return shown_digits(images.float() / 255, 6)


def test_images_are_read_by_their_index(folder):
    source = Shapes3DFile(folder / "3dshapes.h5", FACTORS)
    assert (source.count, source.block, source.image_shape) == (COUNT, 50, (3, 64, 64))
    images = source.read(ANY_ORDER)
    assert images.dtype == torch.uint8 and images.is_contiguous()
    assert digits_of(images).tolist() == all_digits(SIZES)[ANY_ORDER].tolist()


def test_the_cache_is_bounded_and_used_first(folder, monkeypatch):
    block = 50 * 64 * 64 * 3
    source = Shapes3DFile(folder / "3dshapes.h5", FACTORS, cache_bytes=2 * block + block // 2)
    opened = []
    whole = source._decompressed
    monkeypatch.setattr(source, "_decompressed", lambda start: opened.append(start) or whole(start))
    source.read(torch.tensor([0, 49, 50, 120]))
    assert opened == [0, 50, 100] and list(source._kept) == [1, 2]
    images = source.read(torch.tensor([10, 60, 130]))
    assert digits_of(images).tolist() == all_digits(SIZES)[[10, 60, 130]].tolist()
    assert opened == [0, 50, 100, 0], "what is kept is not read again, and used before it is dropped"
    assert len(source._kept) == 2
    uncached = Shapes3DFile(folder / "3dshapes.h5", FACTORS, cache_bytes=block - 1)
    assert digits_of(uncached.read(ANY_ORDER)).tolist() == all_digits(SIZES)[ANY_ORDER].tolist()
    assert not uncached._kept


def test_a_file_that_is_not_compressed_is_read_too(small):
    images = Shapes3DFile(small(), SMALL).read(torch.tensor([5, 0]))
    assert digits_of(images).tolist() == [[0, 0, 0, 2, 0, 1], [0, 0, 0, 0, 0, 0]]


def test_unpacking_makes_a_file_that_is_used(tmp_path, capsys):
    write_shapes3d(tmp_path, SIZES)
    before = open_shapes3d(tmp_path, FACTORS)
    path = unpack(tmp_path, FACTORS)
    assert path == tmp_path / "3dshapes-images.npy" and "unpacking 3dshapes.h5" in capsys.readouterr().err
    array = np.load(path)
    assert array.shape == (COUNT, 64, 64, 3) and array.dtype == np.uint8
    source = open_shapes3d(tmp_path / "3dshapes.h5", FACTORS)
    assert isinstance(before, Shapes3DFile) and isinstance(source, UnpackedShapes3D)
    assert isinstance(source._images, np.memmap)
    assert source.read(ANY_ORDER).equal(before.read(ANY_ORDER)) and source.read(ANY_ORDER).is_contiguous()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["3dshapes-images.npy", "3dshapes.h5"]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04rubbish", None])
def test_a_damaged_unpacked_file_is_named(folder, tmp_path, content):
    path = tmp_path / "3dshapes-images.npy"
    if content is None:
        np.save(path, np.zeros((COUNT - 1, 64, 64, 3), dtype=np.uint8))
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: found .*, expected"):
        UnpackedShapes3D(path, FACTORS)


def test_unpacking_leaves_nothing_half_written(tmp_path, monkeypatch):
    path = write_shapes3d(tmp_path, SIZES)
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(len(content) - 2000))
    with pytest.raises(UserError, match=r"3dshapes.h5"):
        unpack(tmp_path, FACTORS)
    path.write_bytes(content)
    monkeypatch.setattr(Shapes3DFile, "blocks", lambda self: (np.zeros(1 // left, np.uint8) for left in (1, 0)))
    with pytest.raises(ZeroDivisionError):
        unpack(tmp_path, FACTORS)
    monkeypatch.setattr(shapes3d_file.shutil, "disk_usage", lambda path: SimpleNamespace(free=COUNT * 64 * 64 * 3 - 1))
    with pytest.raises(UserError, match="found 0.0 GiB of free space, expected at least 0.0 GiB to unpack into"):
        unpack(tmp_path, FACTORS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["3dshapes.h5"]


def spoilt(**arrays):
    """A file with other arrays."""

    def write(path):
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file[key] = array

    return write


IMAGES = np.zeros((6, 64, 64, 3), np.uint8)
LABELS = shapes3d_labels(SMALL.sizes)
SPOILT = {
    "empty": (lambda path: path.write_bytes(b""), "damaged file"),
    "no hdf5": (lambda path: path.write_bytes(b"rubbish" * 1000), "damaged file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:9000]), "damaged file"),
    "no arrays": (spoilt(), "found nothing, expected the arrays images and labels"),
    "no labels": (spoilt(images=IMAGES), "found images, expected the arrays images and labels"),
    "other count": (
        spoilt(images=IMAGES[:5], labels=LABELS),
        r"images: found uint8 of shape \(5, 64, 64, 3\), expected",
    ),
    "other type": (spoilt(images=IMAGES * 1.0, labels=LABELS), "images: found float64 of shape"),
    "channels first": (spoilt(images=IMAGES.transpose(0, 3, 1, 2), labels=LABELS), r"images: found .*\(6, 3, 64, 64\)"),
    "float32 labels": (spoilt(images=IMAGES, labels=LABELS.astype("f4")), "labels: found float32 of shape"),
    "few labels": (spoilt(images=IMAGES, labels=LABELS[:5]), r"labels: found float64 of shape \(5, 6\)"),
    "order": (spoilt(images=IMAGES, labels=LABELS[::-1]), "labels: found .* in row 0, expected"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILT.values(), ids=list(SPOILT))
def test_what_is_wrong_with_a_file_is_named(small, spoil, message):
    path = small()
    path.parent.joinpath("old").write_bytes(path.read_bytes())
    spoil(path)
    with pytest.raises(UserError, match=message) as caught:
        Shapes3DFile(path, SMALL)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_damage_inside_is_named_when_it_is_met(folder, tmp_path):
    path = tmp_path / "3dshapes.h5"
    content = bytearray((folder / "3dshapes.h5").read_bytes())
    with h5py.File(folder / "3dshapes.h5") as file:
        chunk = file["images"].id.get_chunk_info_by_coord((50, 0, 0, 0))
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    path.write_bytes(content)
    source = Shapes3DFile(path, FACTORS)
    source.read(torch.tensor([49]))
    with pytest.raises(UserError, match=f"^{path}: found a damaged file"):
        source.read(torch.tensor([50]))


def test_only_the_whole_file_passes_as_the_published_one(folder):
    with pytest.raises(UserError, match=r"found uint8 of shape \(1080, 64, 64, 3\), expected uint8 of shape \(480000"):
        load(config(folder))


@pytest.mark.parametrize("how", ["file", "folder", "unpacked", "in memory"])
def test_sequences_show_the_images_of_the_file(folder, tmp_path, how, capsys):
    root = folder / "3dshapes.h5" if how == "file" else folder
    if how == "unpacked":
        root = write_shapes3d(tmp_path, SIZES).parent
        unpack(root, FACTORS)
    data = StoredShapes3D(config(root, in_memory=how == "in memory"), FACTORS)
    assert (data.title, data.name, data.streamed, data.graded) == ("Shapes3D", "shapes3d", True, False)
    assert ("into memory" in capsys.readouterr().err) == (how == "in memory")
    said = {"unpacked": "mapped into memory", "in memory": "0.0 GiB, all of it in memory"}.get(
        how, "50 images at a time"
    )
    assert data.about.startswith(str(tmp_path if how == "unpacked" else folder)) and data.about.endswith(said)
    which = torch.arange(5).repeat(8)
    batch = data.single("validation", torch.arange(40), which)
    assert batch.frames.shape == (40, 3, 3, 64, 64)
    digits = shown_digits(batch.frames, 6)
    own = shown_digits(data.images("validation", torch.arange(40)), 6)
    for row, column in enumerate([(0, 1, 2, 3, 5)[number] for number in which]):
        expected = own[row].repeat(3, 1)
        expected[:, column] = torch.arange(3)
        assert digits[row].equal(expected)
    mixed = data.mixed("train", torch.arange(40), torch.Generator().manual_seed(0))
    moves = shown_digits(mixed.frames, 6).diff(dim=1)
    assert moves[..., [0, 1, 2, 3, 5]].float().equal(mixed.activity) and (moves[..., 4] == 0).all()


def test_a_slow_file_is_announced(tmp_path, capsys, folder):
    StoredShapes3D(config(folder), FACTORS)
    assert capsys.readouterr().err == ""
    images = np.stack([picture(row, 64) for row in all_digits(SIZES)])
    root = write_shapes3d(tmp_path, SIZES, images=images, chunks=(1080, 4, 4, 1)).parent
    StoredShapes3D(config(root), FACTORS)
    line = capsys.readouterr().err
    assert "compressed 1,080 at a time" in line and f"--root {root} --unpack" in line and line.count("\n") == 1


def test_the_longest_sequence_is_that_of_the_smallest_factor(folder):
    with pytest.raises(UserError, match="num-steps: found 3, expected at most 2 for Shapes3D: floor_hue has 3 values"):
        StoredShapes3D(dataclasses.replace(config(folder), num_steps=3), FACTORS)


@pytest.mark.parametrize("root", ["nowhere", "nowhere.h5", "."])
def test_a_missing_file_is_one_line(tmp_path, root):
    with pytest.raises(UserError, match=r"^data.root: found no file .*, expected 3dshapes.h5 or its folder"):
        load(DataConfig(name="shapes3d", root=tmp_path / root, num_steps=7))


def test_a_missing_package_is_one_line(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match="^data.root: found no package h5py, .*pip install h5py"):
        load(config(folder))


@pytest.fixture
def stand_in(monkeypatch):
    """A renderer that paints the digits it is given."""
    monkeypatch.setattr(shapes3d, "render", lambda digits: digits[..., None, None].expand(-1, -1, 64, 64)[:, :3] / 100)


def test_without_a_file_images_are_rendered_and_called_so(stand_in):
    data = load(DataConfig(name="shapes3d", num_steps=7))
    assert isinstance(data, RenderedShapes3D) and data.title == "rendered Shapes3D"
    assert (data.graded, data.streamed) == (True, False)
    assert (data.size("train"), data.size("validation")) == (384000, 96000)
    assert data.transformations == ("floor-hue", "wall-hue", "object-hue", "scale", "orientation")
    batch = data.single("train", torch.arange(3), torch.tensor([0, 1, 2]))
    shown = batch.frames[..., 0, 0] * 100
    assert [shown[row, :, row].round().tolist() for row in range(3)] == [list(range(8))] * 3
    mixed = data.mixed("train", torch.arange(50), torch.Generator().manual_seed(0))
    moves = (mixed.frames[..., 0, 0] * 100).diff(dim=1)
    assert moves.sub(mixed.activity[..., :3]).abs().max() < 1e-4 and mixed.activity.unique().numel() > 50


def test_what_can_be_rendered(stand_in):
    data = load(DataConfig(name="shapes3d", num_steps=14))
    states = torch.tensor([[50.0, -50, 5, 0, 0], [0, 0, 0, -7, -13], [0, 0, 0, 14, 27]])
    assert data.showable(states).tolist() == [True] * 3
    states = torch.tensor([[0.0, 0, 0, -7.5, 0], [0, 0, 0, 14.5, 0], [0, 0, 0, 0, -14], [0, 0, 0, 0, 28]])
    assert data.showable(states).tolist() == [False] * 4
    with pytest.raises(UserError, match="found 15, expected at most 14 for rendered Shapes3D: scale has 8 values"):
        load(DataConfig(name="shapes3d", num_steps=15))


def test_unit_steps_in_words_are_those_of_the_labels():
    values = shapes3d_file.label_values(shapes3d_file.FACTORS.sizes)
    hue, scale, angle = (values[column][1] - values[column][0] for column in (0, 3, 5))
    assert shapes3d.UNIT_STEPS == 3 * (f"hue + {360 * hue:.0f}°",) + (
        f"scale + {scale:.3f}",
        f"orientation + {angle:.1f}°",
    )
    assert [shapes3d_file.FACTORS.names[column] for column in shapes3d.MOVED] == [
        name.replace("-", "_") for name in RenderedShapes3D(DataConfig(name="shapes3d")).transformations
    ]


def test_values_in_other_files_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(6 * 64 * 64 * 3))
    path = tmp_path / "3dshapes.h5"
    with h5py.File(path, "w") as file:
        external = [(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("images", (6, 64, 64, 3), "u1", external=external)
        file["labels"] = LABELS
    with pytest.raises(UserError, match="3dshapes.h5: images: found values that are elsewhere"):
        open_shapes3d(path, SMALL)
    with h5py.File(path, "w") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
        file["labels"] = LABELS
    with pytest.raises(UserError, match="3dshapes.h5: images: found values that are elsewhere"):
        open_shapes3d(path, SMALL)
