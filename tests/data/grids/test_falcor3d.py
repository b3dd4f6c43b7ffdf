"""Falcor3D from small folders in the exact layout, and what is wrong with folders that are not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from layouts import all_digits, picture, shown_digits, unit_labels, write_labels, write_pictures
from PIL import Image

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.grids import falcor3d
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.falcor3d import Falcor3DSequences
from ffrl.data.grids.picture_folder import PictureFolder, check_label_file

LABELS = "train-rec.labels"
SIZES = (3, 2, 2, 3, 2, 2, 2)
FACTORS = Factors(falcor3d.FACTORS.names, SIZES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("falcor3d") / "root", SIZES, LABELS)


def config(folder, **options):
    return DataConfig(name="falcor3d", root=folder, num_steps=1, **options)


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 3}, {"in_memory": True}], ids=str)
def test_sequences_show_the_pictures_of_the_folder(folder, options):
    data = Falcor3DSequences(config(folder, **options), factors=FACTORS)
    assert (data.title, data.name, data.streamed, data.graded) == ("Falcor3D", "falcor3d", True, False)
    assert data.image_shape == (3, 128, 128) and len(data.transformations) == len(data.unit_steps) == 7
    indices = torch.arange(16).repeat_interleave(7)
    which = torch.arange(7).repeat(16)
    batch = data.single("validation", indices, which)
    digits, own = shown_digits(batch.frames, 7), shown_digits(data.images("validation", indices), 7)
    expected = own[:, None].repeat(1, 2, 1)
    expected[torch.arange(len(which)), :, which] = torch.arange(2)
    assert digits.equal(expected)
    assert (own.amax(0) == torch.tensor(SIZES) - 1).all(), "no start would carry"
    mixed = data.mixed("train", torch.arange(20), torch.Generator().manual_seed(0))
    assert shown_digits(mixed.frames, 7).diff(dim=1).float().equal(mixed.activity)


def test_pictures_are_read_by_their_name(folder):
    indices = torch.tensor([287, 0, 3, 0])
    images = PictureFolder(folder, 288, 128, workers=2).read(indices)
    assert images.dtype == torch.uint8 and images.is_contiguous()
    assert shown_digits(images.float() / 255, 7).tolist() == all_digits(SIZES)[indices].tolist()


def test_the_published_limits(folder):
    assert falcor3d.FACTORS.sizes == (5, 6, 6, 6, 6, 6, 6) and falcor3d.LABELS == LABELS
    with pytest.raises(UserError, match="num-steps: found 2, expected at most 1 for Falcor3D: lighting_x-dir has 2"):
        Falcor3DSequences(dataclasses.replace(config(folder), num_steps=2), factors=FACTORS)
    with pytest.raises(UserError, match=r"train-rec.labels: found float64 labels of shape \(288, 7\).*\(233280, 7\)"):
        load(config(folder))


def test_four_steps_are_the_most(tmp_path):
    """On the whole grid, whose pictures are looked at only when they are needed."""
    (tmp_path / "images").mkdir()
    sizes = falcor3d.FACTORS.sizes
    labels = np.stack(np.unravel_index(np.arange(233280), sizes), -1) / (np.array(sizes) - 1.0)
    write_labels(tmp_path / LABELS, labels)
    data = load(DataConfig(name="falcor3d", root=tmp_path, num_steps=4))
    assert data.size("train") == 186624 and data.num_steps == 4
    index = int(data._split["validation"][5])
    with pytest.raises(UserError, match=rf"^{tmp_path}/images/{index:06}.png: found no such file, expected a PNG"):
        data.images("validation", torch.tensor([5]))
    with pytest.raises(UserError, match="found 5, expected at most 4 for Falcor3D: lighting_intensity has 5 values"):
        load(DataConfig(name="falcor3d", root=tmp_path, num_steps=5))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-300])


def flip(path):
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)


WHOLE = picture(np.zeros(7, dtype=int), 128)
DAMAGE = {
    "missing": (lambda path: path.unlink(), "found no such file, expected a PNG picture"),
    "truncated": (truncate, "found a damaged file"),
    "flipped": (flip, "found a damaged file"),
    "empty": (lambda path: path.write_bytes(b""), "found a file of another kind, expected a PNG picture"),
    "jpeg": (lambda path: Image.fromarray(WHOLE).save(path, "JPEG"), "found a file of another kind, expected a PNG"),
    "small": (
        lambda path: Image.fromarray(WHOLE[::2, ::2]).save(path),
        "found a picture of 64 x 64 pixels, expected 128 x 128",
    ),
    "wide": (lambda path: Image.fromarray(WHOLE[1:]).save(path), "found a picture of 128 x 127 pixels"),
    "full size": (lambda path: Image.new("RGB", (1024, 1024)).save(path), "found a picture of 1024 x 1024 pixels"),
    "16 bit": (
        lambda path: Image.new("I;16", (128, 128)).save(path),
        "found a picture of mode 'I;16', expected 8 bits per channel",
    ),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "found a damaged file"),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=list(DAMAGE))
def test_a_bad_picture_is_named_when_it_is_met(tmp_path, damage, message, workers):
    folder = write_pictures(tmp_path / "root", (2, 2, 1, 1, 1, 1, 1), LABELS, labels=np.zeros((4, 7)))
    damage(folder / "images" / "000002.png")
    source = PictureFolder(folder, 4, 128, workers)
    assert source.read(torch.tensor([0, 1, 3])).shape == (3, 3, 128, 128)
    with pytest.raises(UserError, match=f"^{folder}/images/000002.png: {message}") as caught:
        source.read(torch.tensor([1, 2, 3]))
    assert "\n" not in str(caught.value)


def test_missing_pictures_are_counted(tmp_path):
    folder = write_pictures(tmp_path / "root", (2, 2, 1, 1, 1, 1, 1), LABELS, labels=np.zeros((4, 7)))
    source = PictureFolder(folder, 4, 128)
    source.require_all()
    (folder / "images" / "000001.png").unlink()
    (folder / "images" / "000003.png").rename(folder / "images" / "3.png")
    with pytest.raises(UserError, match="found no .*/images/000001.png, and 1 more missing, expected 4 pictures"):
        source.require_all()


def swapped():
    labels = unit_labels(SIZES)
    labels[[5, 200]] = labels[[200, 5]]
    return labels


WRONG = {
    "order": (swapped(), "in row 5, expected"),
    "count": (unit_labels(SIZES)[:-1], r"found float64 labels of shape \(287, 7\)"),
    "columns": (unit_labels(SIZES)[:, :6], r"found float64 labels of shape \(288, 6\)"),
    "digits": (all_digits(SIZES), "found int64 labels"),
    "pickled": (unit_labels(SIZES).astype(object), "found a file that cannot be read .*Python objects"),
}


@pytest.mark.parametrize(("labels", "message"), WRONG.values(), ids=list(WRONG))
def test_wrong_labels_are_refused(tmp_path, labels, message):
    path = tmp_path / LABELS
    with open(path, "wb") as file:
        np.save(file, labels, allow_pickle=True)
    with pytest.raises(UserError, match=f"^{path}: (found .* )?{message}") as caught:
        check_label_file(path, FACTORS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00", b"PK\x03\x04", b"\x80\x04\x95rubbish."])
def test_label_files_in_other_formats_are_refused(tmp_path, content):
    path = tmp_path / LABELS
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: found a file that cannot be read .*, expected .npy format"):
        check_label_file(path, FACTORS)


def test_labels_that_are_slightly_off_pass(tmp_path):
    for change in (1e-9, -1e-9):
        write_labels(tmp_path / LABELS, unit_labels(SIZES) + change)
        check_label_file(tmp_path / LABELS, FACTORS)
    write_labels(tmp_path / LABELS, unit_labels(SIZES).astype(np.float32))
    check_label_file(tmp_path / LABELS, FACTORS)


@pytest.mark.parametrize(("missing", "message"), [("images", "found no folder images"), (LABELS, f"found no {LABELS}")])
def test_what_is_missing_is_named(tmp_path, missing, message):
    folder = write_pictures(tmp_path / "root", (2, 2, 1, 1, 1, 1, 1), LABELS, labels=np.zeros((4, 7)))
    (folder / missing).rename(folder / "elsewhere")
    with pytest.raises(UserError, match=f"^data.root: {message} in {folder}, expected"):
        load(config(folder))


def test_no_folder_is_one_line():
    found = "^data.root: found .*, expected the folder of Falcor3D .stf data fetch falcor3d"
    with pytest.raises(UserError, match=found):
        load(DataConfig(name="falcor3d", root="nowhere", num_steps=4))
    with pytest.raises(UserError, match=found):
        Falcor3DSequences(DataConfig(name="falcor3d", num_steps=4))
