"""``stf transfer``: the activity of one sequence, applied to other images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ffrl.config import ClipsConfig
from ffrl.core.device_name import DEVICES, DeviceName
from ffrl.core.errors import UserError, require
from ffrl.core.terminal import say
from ffrl.storage.names import CONFIG
from ffrl.training.folders import newest

from .flags import build, flags_of, split
from .help import show_help, wants_help


@dataclass(frozen=True)
class FileReading:
    """How files are read; what is left out is as in training."""

    crop: Literal["center", "none"] | None = None
    """center: cut the largest part of the model's proportions out of the middle, then resize; none: resize."""
    stride: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Take every stride-th frame of videos, animations and folders."""
    array: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which array of an .npz or HDF5 file is read."""
    axes: Annotated[str | None, tyro.conf.arg(metavar="AXES")] = None
    """Axes of arrays, such as THWC."""
    range: Annotated[str | None, tyro.conf.arg(metavar="RANGE")] = None
    """Values of black and white: type, own, or a number."""
    background: Annotated[str | None, tyro.conf.arg(metavar="COLOUR")] = None
    """Colour behind transparent pixels, such as white."""
    exclude: Annotated[str | None, tyro.conf.arg(metavar="GLOB,...")] = None
    """Patterns of pictures that are left out."""
    frame_mib: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Largest frame, or chunk of HDF5, that is decoded, in MiB."""


@dataclass(frozen=True)
class DataLocation:
    """Where the sequences come from."""

    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data set (left out: the one that the run was trained on)."""
    sequences: FileReading = field(default_factory=FileReading)


@dataclass(frozen=True)
class Transfer:
    """Infer the activity of one sequence and apply it to other images."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run folder (left out: the newest under runs/)."""
    source: Annotated[str | None, tyro.conf.arg(name="from", metavar="SEQ")] = None
    """Sequence whose activity is applied (left out: a random one of the run's data)."""
    to: Annotated[str | None, tyro.conf.arg(metavar="IMAGES")] = None
    """Images it is applied to: a file (picture, video, array), a folder, or held-out images by number, such as
    mnist:3,14,15, sequences:3 or, moved before, "mnist:3 hue 4" (left out: four of the run's data)."""
    then: Annotated[str | None, tyro.conf.arg(metavar="SEQ")] = None
    """Second sequence, whose activity follows that of the first."""
    plus: Annotated[str | None, tyro.conf.arg(name="and", metavar="SEQ")] = None
    """Second sequence, whose activity is added to that of the first step by step; the shorter one rests at its end."""
    without: Annotated[str | None, tyro.conf.arg(metavar="FIELDS")] = None
    """Fields to switch off, such as 3,4 or hue: by number, or by the transformation they turned out to do."""
    scale: float = 1.0
    """Factor of all speeds."""
    reverse: bool = False
    """Run everything backwards: the last step first, with negative speeds."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for frames.npy, transfer.png, transfer.gif and activity.json: new, empty, or an earlier transfer's (left
    out: RUN/transfer)."""
    grey_as: Annotated[Literal["red", "grey"] | None, tyro.conf.arg(metavar="{red,grey}")] = None
    """What grey files become for a model of colour images: red on black, as the digits, or grey (left out: grey for
    runs of own recordings, refused for others)."""
    data: DataLocation = field(default_factory=DataLocation)
    split: Literal["validation", "test"] = "validation"
    """Which part of the data held-out images are taken from."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same transfer."""
    device: DeviceName = "auto"
    """Where to compute; auto takes CUDA when there is one."""

    def __post_init__(self) -> None:
        require(math.isfinite(self.scale) and abs(self.scale) <= 100, "--scale", self.scale, "a number up to 100")
        DEVICES.require("--device", self.device)
        require(0 <= self.seed < 2**63, "--seed", self.seed, "an integer in [0, 2**63)")
        if self.then is not None and self.plus is not None:
            raise UserError("--and: found beside --then, expected one of the two")


MORE = (
    "SEQ is a file (video, GIF, TIFF stack, .npy, .npz, HDF5), a folder of frames, an activity.json written before, or "
    "made of the run's data: "
    '"mnist" is a random sequence, "mnist:17" one of held-out image 17, "mnist:17 rotation 4, scaling+hue 2 at 1.5" '
    "that image under these moves (names, steps, speed). Data are named as by --data.name; of recordings, whose "
    'transformations are not known, "sequences:17" is held-out clip 17.',
    "A supervised model infers nothing: give it moves or an activity.json. SEQ may be shorter or longer than in "
    "training; for fields that depend on time (supervised, weak) what comes after the trained length is extrapolation, "
    "as is, for every model, what leaves the trained range.",
)


def main(arguments: Sequence[str]) -> int:
    """Transfer, say what was found on stderr, print the folder of the files, and return the exit code.

    Raises:
        UserError: arguments, a run, files or data that cannot be used.
    """
    if wants_help(arguments):
        return show_help(arguments, "stf transfer", Transfer(), notes=MORE)
    command = build(Transfer(), split(arguments, flags_of(Transfer), positional=["RUN"]))
    run = command.run or newest()

    from ffrl.training.config_io import config_from_dict, read_config
    from stf.registry import CONFIGS
    from stf.transfer.run import Request
    from stf.transfer.run import run as transfer

    reading = None
    if own := {key: value for key, value in asdict(command.data.sequences).items() if value is not None}:
        trained = read_config(run / CONFIG, CONFIGS).data.sequences
        reading = config_from_dict(ClipsConfig, own, "stf transfer", base=trained, prefix="data.sequences.")

    request = Request(
        source=command.source,
        to=command.to,
        then=command.then,
        plus=command.plus,
        without=command.without,
        scale=command.scale,
        reverse=command.reverse,
        grey_as=command.grey_as,
        reading=reading,
        split=command.split,
        seed=command.seed,
    )
    result = transfer(run, request, command.out, command.data.root, command.device)
    say("\n".join(result.lines), error=True)
    say(str(result.folder))
    return 0
