"""``stf data``: what a data set holds, before anyone trains; how to come by its files, or to render them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ffrl.config import DataConfig
from ffrl.config.data import DATA_SETS
from ffrl.core.errors import UserError, require
from ffrl.core.terminal import Console, say
from stf.registry import default_config

from .flags import at_home, build, flags_of, peek, split
from .help import show_help, wants_help

FETCH, RENDER = "fetch", "render"


@dataclass(frozen=True)
class Data:
    """Show what a data set holds, and draw sample sequences with their true activity, before anyone trains."""

    data: DataConfig = field(default_factory=DataConfig)
    split: Literal["train", "validation", "test"] = "validation"
    """Which part of the data the samples and the statistics are from."""
    seed: int = 0
    """Seed of the samples; the same seed gives the same ones."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for samples.png and summary.json (left out: data-NAME in the current folder, such as data-mnist)."""
    strict: bool = False
    """Write nothing if something looks wrong: what is a warning without it is an error."""

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "--seed", self.seed, "an integer in [0, 2**63)")


SHORT = ("--data.name", "--data.root", "--data.num-steps", "--data.active", "--split", "--seed", "--strict", "--out")
"""The flags that matter."""


@dataclass(frozen=True)
class Fetch:
    """Fetch the files of a data set (mnist, moving-mnist, shapes3d), or tell how to come by them."""

    name: Annotated[str, DATA_SETS, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = ""
    """The data set, as --data.name takes it."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the files, the later --data.root; left out: nothing is fetched, only explained."""
    verify: bool = False
    """Fetch nothing: check the files in DIR, every image of them."""
    unpack: bool = False
    """shapes3d: also unpack the images (5.5 GiB), which makes reading them quick."""


@dataclass(frozen=True)
class Render:
    """Render the whole grid of a data set (isaac3d, falcor3d) in the layout of the published files."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = ""
    """The data set, as --data.name takes it."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the files, the later --data.root; it has to be empty, or of such a grid."""
    values: int | None = None
    """Most values of a factor (left out: as many as published, 737,280 or 233,280 images)."""
    size: int = 128
    """Pixels of a side."""
    workers: int = DataConfig.workers
    """Processes that render."""

    def __post_init__(self) -> None:
        require(self.values is None or self.values >= 2, "--values", self.values, "an integer of at least 2")
        require(16 <= self.size <= 512, "--size", self.size, "an integer from 16 to 512")
        require(self.workers >= 1, "--workers", self.workers, "an integer of at least 1")


def main(arguments: Sequence[str]) -> int:
    """Print tables, write the samples, print their folder, and return the exit code.

    Raises:
        UserError: arguments or data that cannot be used, or a folder that cannot be written.
    """
    if arguments and arguments[0] == FETCH:
        return _fetch(arguments[1:])
    if arguments and arguments[0] == RENDER:
        return _render(arguments[1:])
    if wants_help(arguments):
        return _help(arguments)
    given = split(arguments, flags_of(Data))
    command = build(_defaults(given.flags.get("--data.name") or "mnist", given.flags.get("--data.root")), given)
    out = command.out or Path(f"data-{command.data.name}")

    import ffrl.data
    from ffrl.data.findings.inspect import inspect
    from ffrl.evaluation.protocol.data_summary import print_summary, summarise
    from stf.plot.samples import write_samples
    from stf.precheck import Doubts

    data = ffrl.data.load(command.data)
    found = inspect(data)
    Doubts(command.strict).add(found.findings)
    summary = summarise(data, command.split, command.seed) | found.plain()
    write_samples(data, summary, out)
    print_summary(summary, Console())
    say(str(out))
    return 0


def _defaults(name: str, root: str | None = None) -> Data:
    """Return the defaults for a data set: those of training on it."""
    data = DataConfig(name=name, root=None if root is None else Path(at_home(root)))
    return Data(data=replace(default_config("unsupervised", data).data, root=None))


def _help(arguments: Sequence[str]) -> int:
    """Print the flags with the defaults of the data set that ``arguments`` name."""
    named = peek(arguments, "--data.name")
    name = named if named is not None and named in DATA_SETS else DataConfig.name
    notes = [f"These are the defaults of --data.name {name}. See also: stf data fetch --help, stf data render --help."]
    return show_help(arguments, "stf data", _defaults(name), short=SHORT, notes=notes)


def _fetch(arguments: Sequence[str]) -> int:
    """Fetch, check or explain, print what came of it, and return the exit code."""
    if wants_help(arguments):
        return show_help(arguments, "stf data fetch", Fetch())
    given = split(arguments, flags_of(Fetch), ["NAME"])
    if not given.positional:
        raise UserError(f"stf data fetch: found no data set, expected one of {', '.join(DATA_SETS)}")
    DATA_SETS.require("stf data fetch", given.positional[0])
    command = build(Fetch(), given)

    from ffrl.data.fetch.recipes import explain, fetch, verify

    if command.root is None:
        for flag, wanted in (("--verify", command.verify), ("--unpack", command.unpack)):
            if wanted:
                raise UserError(f"{flag}: found no --root, expected the folder of the files beside it")
        say(explain(command.name))
        return 0
    if command.verify:
        if command.unpack:
            raise UserError("--unpack: found --verify beside it, expected one of the two")
        say(verify(command.name, command.root))
    else:
        say(fetch(command.name, command.root, command.unpack))
    return 0


def _render(arguments: Sequence[str]) -> int:
    """Render a grid, print where it is, and return the exit code."""
    if wants_help(arguments):
        return show_help(arguments, "stf data render", Render())
    given = split(arguments, flags_of(Render), ["NAME"])

    from ffrl.data.rendered.layout import GRIDS, write_grid

    names = " or ".join(GRIDS)
    if not given.positional:
        raise UserError(f"stf data render: found no data set, expected {names}")
    require(given.positional[0] in GRIDS, "stf data render", given.positional[0], names)
    command = build(Render(), given)
    if command.root is None:
        raise UserError("stf data render: found no --root, expected the folder for the files")
    say(write_grid(command.name, command.root, command.values, command.size, command.workers))
    return 0
