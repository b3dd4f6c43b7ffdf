"""Sequences of MNIST digits in red on black that are zoomed, rotated and hue-rotated."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core import download as fetch
from ffrl.core.errors import UserError, require
from ffrl.data.base import SPLITS, Split
from ffrl.data.contents import Contents, digest
from ffrl.data.digits.assets import asset
from ffrl.data.digits.idx import AGAIN, IMAGE_SIZE, Digits, read_digits, read_idx
from ffrl.data.digits.render import TRANSFORMATIONS, pad, parameters, render
from ffrl.data.synthesis.activity_process import starts
from ffrl.data.synthesis.states import StateSequences

IMAGES = "{part}-images-idx3-ubyte"
LABELS = "{part}-labels-idx1-ubyte"
URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""The published files, and their SHA-256."""
SIZES = (9_912_422, 28_881, 1_648_877, 4_542)
"""Their bytes."""
CONTENTS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""The MD5 of what they hold, however it is compressed."""
START = 0.5
"""Probability that a transformation has already acted before the first frame, where none is given."""
LEAST_SCALE = 0.05
"""Smallest scale factor that is rendered."""
UNIT_STEPS = {
    "ffrl": ("scale + 0.1", "10° to the left", "hue + 20°"),
    "sta": ("scale × 1.1", "20° to the left", "hue + 20°"),
}
"""What a unit step of scaling, rotation and hue means, by protocol; see :func:`~ffrl.data.digits.render.parameters`."""


class MnistSequences(StateSequences):
    """MNIST digits under scaling, rotation and hue rotation, rendered from x_0 by one resampling per frame.

    The first 80 % of the training files are the train split, the last 20 % the validation split; the official test
    files, where they are, are the test split. The digits stay on the device as bytes; nothing else is kept.

    Args:
        config: which files, protocol, sequence length and activity process.
        device: where the digits are kept and the frames are rendered.

    Raises:
        UserError: if files are missing or damaged, or cannot be downloaded.

    Example:
        >>> data = MnistSequences(DataConfig(), "cpu")
        >>> data.size("train"), data.size("validation")
        (8000, 2000)
        >>> data.mixed("train", torch.arange(4), torch.Generator().manual_seed(0)).frames.shape
        torch.Size([4, 9, 3, 28, 28])
    """

    name, title = "mnist", "MNIST"
    image_shape = (3, *IMAGE_SIZE)
    transformations = TRANSFORMATIONS
    limits = f"scale factors of at least {LEAST_SCALE}"

    def __init__(self, config: DataConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.num_steps, self.protocol = config.num_steps, config.protocol
        self.unit_steps = UNIT_STEPS[config.protocol]
        unit = parameters(torch.ones(3), config.protocol)
        self.periods = {"rotation": 360 / unit.angle.item(), "hue": 360 / unit.hue.item()}
        self.device = torch.device(device)
        if config.root is not None and config.download:
            download(config.root)
        digits = read_training_digits(config.root)
        count = len(digits.images)
        require(count >= 2, "data.root", f"{count} training digits", "at least 2, to split them")
        images = self._keep(digits)
        border = count * 8 // 10
        self._images = {"train": images[:border], "validation": images[border:]}

    def contents(self) -> Contents:
        """Hash of the digits that are trained and validated on."""
        return Contents({"digits": digest(self._images["train"], self._images["validation"])})

    def size(self, split: Split) -> int:
        return len(self._split(split))

    def origin(self, split: Split, indices: Tensor) -> Tensor:
        return torch.zeros(len(indices), len(self.transformations), device=self.device)

    def placed(
        self, split: Split, indices: Tensor, activity: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        if generator is None:
            return activity, self.origin(split, indices)
        given = self.config.start_probability
        return activity, starts(activity, START if given is None else given, generator)

    def showable(self, visited: Tensor) -> Tensor:
        return parameters(visited, self.config.protocol).scale >= LEAST_SCALE

    def in_states(self, split: Split, indices: Tensor, visited: Tensor) -> Tensor:
        """Return digits in given states, ``indices (B,)``, ``visited (B, N, J)`` in unit steps -> ``(B, N, C, H, W)``.

        Raises:
            UserError: if the split is not there.

        Example:
            >>> MnistSequences(DataConfig()).in_states("validation", torch.arange(2), torch.zeros(2, 1, 3)).shape
            torch.Size([2, 1, 3, 28, 28])
        """
        padded = self._split(split).index_select(0, indices).float() / 255
        return render(padded, parameters(visited, self.config.protocol), *IMAGE_SIZE)

    def _split(self, split: Split) -> Tensor:
        require(split in SPLITS, "split", split, "one of " + ", ".join(SPLITS))
        if split == "test" and "test" not in self._images:
            self._images["test"] = self._keep(read_test_digits(self.config.root))
        return self._images[split]

    def _keep(self, digits: Digits) -> Tensor:
        return pad(torch.from_numpy(digits.images)).to(self.device)


def read_training_digits(root: Path | None) -> Digits:
    """Return the MNIST training digits under ``root``, or the embedded first 10,000 of them if ``root`` is None.

    Raises:
        UserError: if files are missing or damaged.

    Example:
        >>> read_training_digits(None).images.shape
        (10000, 28, 28)
    """
    if root is not None:
        return _read(root, "train")
    return read_digits(*(asset(name.format(part="mnist-10k") + ".gz") for name in (IMAGES, LABELS)))


def read_test_digits(root: Path | None) -> Digits:
    """Return the official MNIST test digits under ``root``.

    Raises:
        UserError: if ``root`` is None (the embedded digits have no test split), or files are missing or damaged.

    Example:
        >>> read_test_digits(None)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: split: found 'test', expected 'train' or 'validation': the embedded digits ...
    """
    if root is None:
        raise UserError(
            "split: found 'test', expected 'train' or 'validation': the embedded digits have no test split; "
            "give the folder of the full MNIST files with --data.root"
        )
    return _read(root, "t10k")


def download(root: Path) -> None:
    """Fetch the MNIST files into ``root``, as they are published, unless they are there already.

    Raises:
        UserError: no network, a wrong checksum, or a folder that cannot be written.

    Example:
        >>> download(Path("data"))  # doctest: +SKIP
    """
    for (name, sha256), size in zip(FILES.items(), SIZES, strict=True):
        if not _candidates(root, name.removesuffix(".gz")):
            fetch.download(URL + name, root / name, sha256, size)


def verify(root: Path) -> None:
    """Check that the files under ``root`` hold MNIST as it was published.

    Raises:
        UserError: one is missing or damaged, or holds something else.

    Example:
        >>> verify(Path("data"))  # doctest: +SKIP
    """
    for name, md5 in CONTENTS.items():
        path, rank = _find(root, name), 3 if "images" in name else 1
        values = read_idx(path, rank)
        header = np.array([0x0800 + rank, *values.shape], dtype=">u4").tobytes()
        if hashlib.md5(header + values.tobytes(), usedforsecurity=False).hexdigest() != md5:
            raise UserError(f"{path}: found other contents than those of MNIST, expected the published file{AGAIN}")


def _read(root: Path, part: str) -> Digits:
    return read_digits(_find(root, IMAGES.format(part=part)), _find(root, LABELS.format(part=part)))


def _find(root: Path, name: str) -> Path:
    candidates = _candidates(root, name)
    if not candidates:
        raise UserError(f"data.root: found no {name} or {name}.gz in {root} or {root / 'MNIST' / 'raw'}, expected one")
    return candidates[0]


def _candidates(root: Path, name: str) -> list[Path]:
    """Return the files ``name`` and ``name.gz`` in ``root`` and, as torchvision lays it out, ``root/MNIST/raw``."""
    folders = (root, root / "MNIST" / "raw")
    return [folder / file for folder in folders for file in (name, name + ".gz") if _filled(folder / file)]


def _filled(path: Path) -> bool:
    """Whether a file is there; an empty one, as a power failure leaves it, is fetched again."""
    return path.is_file() and path.stat().st_size > 0
