"""``stf visualize-fields``: draw the fields of a trained model and what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ffrl.core.device_name import DEVICES, DeviceName
from ffrl.core.errors import require
from ffrl.core.terminal import Console, say
from ffrl.training.folders import newest

from .evaluate import DataLocation
from .flags import build, flags_of, split
from .help import show_help, wants_help
from .hints import hint


@dataclass(frozen=True)
class VisualizeFields:
    """Draw the fields of a trained model, what they do and when they act, and write a report of it (report.html)."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run folder (left out: the newest under runs/)."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the figures (left out: RUN/figures)."""
    data: DataLocation = field(default_factory=DataLocation)
    format: Literal["png", "svg", "pdf"] = "png"
    """svg or pdf: each figure in this form too, besides the PNG."""
    motion: Literal["gif", "png", "none"] = "gif"
    """Animations: GIF, animated PNG (exact colours, smaller), or none."""
    plane: Annotated[str, tyro.conf.arg(metavar="{trajectories,pca,I,J}")] = "trajectories"
    """Plane of latent space: spanned by each field's own trajectories, by principal components, or by axes I and J."""
    seed: int = 0
    """Chooses the held-out images and sequences; the same seed gives the same figures."""
    device: DeviceName = "auto"
    """Where to compute; auto takes CUDA when there is one."""

    def __post_init__(self) -> None:
        DEVICES.require("--device", self.device)
        require(0 <= self.seed < 2**63, "--seed", self.seed, "an integer in [0, 2**63)")


def main(arguments: Sequence[str]) -> int:
    """Draw with progress and the verdict on stderr, print the path of the report, and return the exit code.

    Raises:
        UserError: arguments or a run that cannot be used.
    """
    if wants_help(arguments):
        return show_help(arguments, "stf visualize-fields", VisualizeFields())
    command = build(VisualizeFields(), split(arguments, flags_of(VisualizeFields), positional=["RUN"]))
    run = command.run or newest()

    from stf.api import report as draw

    *_, report = draw(
        run,
        command.out or run / "figures",
        command.seed,
        command.device,
        data_root=command.data.root,
        plane=command.plane,
        form=command.format,
        motion=command.motion,
        console=Console(stderr=True),
    )
    say(str(report))
    hint("transfer", run, data_root=command.data.root)
    return 0
