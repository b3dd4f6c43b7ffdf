"""``stf train``: mode defaults, then a file, then flags; or ``--resume``."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ffrl.errors import UserError
from stf.config import CONFIGS

from . import presets, runs
from .flags import Arguments, build, describe, flags_of, show_help, split, wants_help

Mode = Literal["unsupervised", "supervised", "weak"]
ModeFlag = Annotated[
    Mode,
    tyro.conf.arg(
        help="What is known of the activity: nothing; which transformation acts; or only that one acts throughout.",
        help_behavior_hint="(required unless FILE names it)",
    ),
]


@dataclasses.dataclass(frozen=True)
class Launch:
    """Flags that are settled before the configuration is built."""

    mode: ModeFlag = "unsupervised"
    config: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """TOML file, or the name of a preset: its values replace the defaults of the mode, flags replace its values."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")] = None
    """Go on with RUN (left out: the newest under runs/) as it was configured; only --device may be given anew."""


def main(arguments: Sequence[str]) -> int:
    """Train, or go on training, and return the exit code; the run folder is printed at the end.

    Raises:
        UserError: arguments, files or folders that cannot be used.
    """
    if wants_help(arguments):
        _help(arguments)
    modes = {mode: flags_of(config) for mode, config in CONFIGS.items()}
    known = {name: flag for flags in modes.values() for name, flag in flags.items()} | flags_of(Launch)
    given = split(arguments, known, optional=["--resume"]).flags
    if "--resume" in given:
        return _resume(given)
    config = _configure(given, {mode: flags.keys() for mode, flags in modes.items()})
    with ExitStack() as stack:
        run = config.out or stack.enter_context(runs.reserved(config.mode, config.data.name))
        return _train(dataclasses.replace(config, out=run), run, resume=False)


def _help(arguments: Sequence[str]) -> None:
    """Print the flags of the mode that ``arguments`` name, of the unsupervised one for none, and raise SystemExit."""
    words = " ".join(arguments).replace("--mode ", "--mode=").split()
    config = CONFIGS[next((mode for mode in CONFIGS if f"--mode={mode}" in words), "unsupervised")]

    @dataclasses.dataclass(frozen=True)
    class Train(config, Launch):
        mode: ModeFlag = config().mode

    note = f"These are the flags of --mode {config().mode}; stf train --mode MODE --help shows those of another mode."
    show_help(Train, Train(), "stf train", f"{config.__doc__} {note} Presets: {', '.join(presets.presets())}.")


def _configure(given: dict[str, str | None], modes: Mapping[str, Any]) -> Any:
    """Return the configuration: mode defaults, then ``--config``, then flags."""
    mode, name = given.pop("--mode", None), given.pop("--config", None)
    path = None if name is None else presets.find(name)
    data = {} if path is None else presets.read(path)
    named = data.get("mode", mode)
    if not isinstance(named, str) or named not in CONFIGS:
        expected = describe(Mode)
        if path is None or "mode" not in data:
            raise UserError(f"--mode: found none, expected {expected}")
        raise UserError(f"{path}: mode: found {named!r}, expected {expected}")
    if mode not in (None, named):
        raise UserError(f"--mode: found {mode!r}, expected {named!r}, the mode of {path}")
    for flag in given:
        _require_mode(flag, flag, named, modes)
    config: Any = CONFIGS[named]()
    if path is not None:
        from ffrl.engine.config_io import config_from_dict, flat

        for key in flat(data):
            _require_mode(f"--{key}", f"{path}: {key}", named, modes)
        config = config_from_dict(CONFIGS[named], data, str(path), base=config)
    return build(CONFIGS[named], config, Arguments(given, []))


def _require_mode(flag: str, shown: str, mode: str, modes: Mapping[str, Any]) -> None:
    """Raise a UserError if ``flag`` exists, but not in ``mode``."""
    others = [other for other, flags in modes.items() if flag in flags]
    if others and mode not in others:
        raise UserError(f"{shown}: found in mode {mode}, expected only in mode {' or '.join(others)}")


def _resume(given: dict[str, str | None]) -> int:
    """Go on with a run."""
    from ffrl.engine.config_io import read_config

    for flag in given:
        if flag not in ("--resume", "--mode", "--device"):
            raise UserError(
                f"{flag}: found beside --resume, expected --device only: the rest is in the run's config.json"
            )
    run = Path(given["--resume"]) if given["--resume"] else runs.newest()
    if not run.is_dir():
        raise UserError(f"--resume: found no folder {str(run)!r}, expected a run folder")
    config = read_config(run / runs.CONFIG, CONFIGS)
    if given.get("--mode") not in (None, config.mode):
        raise UserError(f"--mode: found {given['--mode']!r}, expected {config.mode!r}, the mode of {run}")
    if "--device" in given:
        config = dataclasses.replace(config, device=given["--device"])
    return _train(config, run, resume=True)


def _train(config: Any, run: Path, resume: bool) -> int:
    """Train and say where the run is, or how to go on with it."""
    from rich.console import Console

    from stf.run import train

    result = train(config, run, resume=resume, console=Console(stderr=True))
    print(run)
    if result.interrupted:
        command = f"stf train --resume {shlex.quote(os.fspath(run))}"
        print(f"stopped at step {result.steps} of {config.steps}; to go on: {command}", file=sys.stderr)
        return 128 + result.signal
    return 0
