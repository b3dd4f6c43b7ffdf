"""How to come by the files of a data set: fetched where that can be done, else explained; and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from ffrl.config import DataConfig
from ffrl.config.data import DATA_SETS
from ffrl.core.errors import UserError, require
from ffrl.data.catalogue import describe, image_shape, published_steps

SHAPES3D_URL = "https://storage.googleapis.com/3d-shapes/3dshapes.h5"
SHAPES3D_SHA256 = "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"
SHAPES3D_BYTES = 255 * 2**20
"""About how many it has."""
FETCHED = ("mnist", "moving-mnist", "shapes3d")
"""Data sets that are fetched; others are explained."""


@dataclass(frozen=True)
class Recipe:
    """What there is to know before a data set is fetched.

    Attributes:
        about: what it is, how large, and its licence.
        steps: what to do, with DIR for the folder.
        layout: what is then in the folder, by name.
    """

    about: str
    steps: tuple[str, ...]
    layout: dict[str, str]


_NVLABS = "https://github.com/NVlabs/High-res-disentanglement-datasets"
_MNIST = Recipe(
    "MNIST: 70,000 digits of 28 x 28 pixels, about 11 MiB (LeCun, Cortes and Burges; usually given as CC BY-SA 3.0)",
    ("stf data fetch mnist --root DIR",),
    {
        "train-images-idx3-ubyte.gz": "the training images; without .gz works too, and so does DIR/MNIST/raw",
        "train-labels-idx1-ubyte.gz": "their labels",
        "t10k-images-idx3-ubyte.gz": "the test images",
        "t10k-labels-idx1-ubyte.gz": "their labels",
    },
)
RECIPES = {
    "mnist": _MNIST,
    "moving-mnist": _MNIST,
    "shapes3d": Recipe(
        "Shapes3D: 480,000 images of 64 x 64 pixels, 255 MiB (Burgess and Kim, 2018; Apache-2.0); without it, images "
        "are rendered",
        ("stf data fetch shapes3d --root DIR --unpack",),
        {
            "3dshapes.h5": f"the published file, from {SHAPES3D_URL}",
            "3dshapes-images.npy": "made from it by --unpack, 5.5 GiB; without it every batch takes a minute",
        },
    ),
    "falcor3d": Recipe(
        "Falcor3D: 233,280 images, of which the version of 128 x 128 pixels is used, 3.7 GB (NVIDIA; CC BY 4.0); "
        "without it, images are rendered",
        (
            f"open {_NVLABS} in a browser and follow its link Falcor3D_128x128 to Google Drive, which has no direct "
            "address",
            "unpack the archive, so that DIR is the folder with images and labels in it",
            "stf data fetch falcor3d --root DIR --verify",
        ),
        {
            "images/000000.png ... images/233279.png": "named by index, 128 x 128 pixels",
            "train-rec.labels": "their labels, (233280, 7), in .npy format",
        },
    ),
    "isaac3d": Recipe(
        "Isaac3D: 737,280 images, of which the version of 128 x 128 pixels is used, 13 GB (NVIDIA; CC BY 4.0); "
        "without it, images are rendered",
        (
            f"open {_NVLABS} in a browser and follow its link Isaac3D_128x128 to Google Drive, which has no direct "
            "address",
            "unpack the archive, so that DIR is the folder with images and labels in it",
            "stf data fetch isaac3d --root DIR --verify",
        ),
        {
            "images/000000.png ... images/737279.png": "named by index, 128 x 128 pixels",
            "labels.npy": "their labels, (737280, 9)",
        },
    ),
    "sprites": Recipe(
        "Sprites: sheets of the Liberated Pixel Cup, from which characters are composed (CC BY-SA 3.0 and GPL-3.0)",
        (
            "git clone https://github.com/YingzhenLi/Sprites DIR",
            "stf data fetch sprites --root DIR --verify",
        ),
        {"body, bottomwear, eyes, hair, shoes, topwear": "folders of sheets, such as body/0.png"},
    ),
}
"""Every data set that has files of its own, by its ``--data.name``."""


def explain(name: str, root: Path | None = None) -> str:
    """Return how to come by a data set, and what its folder holds then, in lines of text.

    Raises:
        UserError: there is no such data set.

    Example:
        >>> print(explain("sequences"))
        sequences: there is nothing to fetch; give your own recordings with --data.name sequences --data.root PATH
    """
    describe(name)
    if package := DATA_SETS.source(name):
        return f"{name}: it comes with the package {package}, which may say how to come by its files"
    if name not in RECIPES:
        return f"{name}: there is nothing to fetch; give your own recordings with --data.name {name} --data.root PATH"
    recipe, folder = RECIPES[name], "DIR" if root is None else str(root)
    steps = [*recipe.steps, f"stf train --mode unsupervised --data.name {name} --data.root DIR"]
    width = max(map(len, recipe.layout))
    lines = [recipe.about, "", "Steps, DIR being a folder of your choice:" if root is None else "Steps:"]
    lines += [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
    lines += ["", f"What is in {folder} then:"]
    lines += [f"  {file:<{width}}  {text}" for file, text in recipe.layout.items()]
    return "\n".join(line if root is None else line.replace("DIR", folder) for line in lines)


def fetch(name: str, root: Path, unpacked: bool = False) -> str:
    """Fetch the files of a data set into a folder, and return in words what is there then.

    For a data set that cannot be fetched, the words are those of :func:`explain`.

    Args:
        name: as ``--data.name`` takes it.
        root: the folder.
        unpacked: unpack them too (shapes3d).

    Raises:
        UserError: there is no such data set, no network, a wrong checksum, or a folder that cannot be written.
    """
    describe(name)
    require(name == "shapes3d" or not unpacked, "--unpack", name, "shapes3d, the only data set that is unpacked")
    if name not in FETCHED:
        return explain(name, root)
    if name == "shapes3d":
        from ffrl.core.download import download
        from ffrl.data.shapes3d.file import NAME, unpack

        if root.suffix == ".h5":
            raise UserError(f"--root: found {root}, expected the folder to put {NAME} into")
        download(SHAPES3D_URL, root / NAME, SHAPES3D_SHA256, SHAPES3D_BYTES)
        return f"{unpack(root) if unpacked else root / NAME}: there, and its checksum is right"
    from ffrl.data.digits.mnist import download as download_mnist

    download_mnist(root)
    return verify(name, root)


def verify(name: str, root: Path) -> str:
    """Check the files of a data set, every image of them, and return in words what is there.

    Raises:
        UserError: something is missing, damaged, or not what was published; the message names it.
    """
    require(name in RECIPES, "--verify", name, f"one of {', '.join(RECIPES)}")
    if name == "shapes3d":
        return _verify_shapes3d(root)
    if name in ("falcor3d", "isaac3d"):
        return _verify_pictures(name, root)
    from ffrl.data import load

    if name in FETCHED:
        from ffrl.data.digits.mnist import verify as verify_mnist

        verify_mnist(root)
        return f"{root}: 60,000 training and 10,000 test digits, the published ones, undamaged"
    data = load(DataConfig(name=name, root=root, num_steps=published_steps(DataConfig(name=name, root=root))))
    return f"{root}: {data.title}, {data.size('train'):,} training and {data.size('validation'):,} validation images"


def _verify_shapes3d(root: Path) -> str:
    from ffrl.core.download import require_sha256
    from ffrl.data.shapes3d.file import FACTORS, open_shapes3d

    path = root / "3dshapes.h5" if root.is_dir() else root
    require(path.is_file(), "--root", str(root), "3dshapes.h5 or its folder")
    require_sha256(path, SHAPES3D_SHA256, "not the published file")
    source = open_shapes3d(root)
    kind = "unpacked" if type(source).__name__.startswith("Unpacked") else "not unpacked"
    return f"{path}: the published file, {FACTORS.count:,} images, labels in order, {kind}"


def _verify_pictures(name: str, root: Path) -> str:
    from importlib import import_module

    from ffrl.core.progress import progress
    from ffrl.data.grids.made import grid_of
    from ffrl.data.grids.picture_folder import PictureFolder, check_label_file

    module = import_module(f"ffrl.data.grids.{name}")
    config = DataConfig(name=name, root=root)
    factors, (_, size, _) = grid_of(config, module.FACTORS), image_shape(config)
    folder = PictureFolder(root, factors.count, size, workers=DataConfig().workers)
    check_label_file(root / module.LABELS, factors)
    folder.require_all()
    with progress(f"decoding {root}", factors.count * math.prod(folder.image_shape)) as advance:
        for part in torch.arange(factors.count).split(folder.block):
            advance(folder.read(part).numel())
    return f"{root}: {factors.count:,} pictures of {size} x {size} pixels, all undamaged, labels in order"
