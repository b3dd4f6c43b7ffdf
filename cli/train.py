"""``stf train``: mode defaults, then a file, then flags; or ``--resume``."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ffrl.config import ClipsConfig, DataConfig
from ffrl.core.errors import UserError, require
from ffrl.data.catalogue import DATA_SETS
from ffrl.training.folders import CONFIG, EVALUATION, newest, reserved
from stf.registry import CONFIGS, default_config, fine_tuning

from . import presets
from .flags import Arguments, build, describe, flags_of, peek, show_help, split, wants_help
from .hints import hint

Mode = Literal[tuple(CONFIGS)]
ModeFlag = Annotated[
    Mode,
    tyro.conf.arg(
        help="What is known of the activity (unsupervised: nothing; supervised: which transformation acts; weak: only "
        "that one acts throughout), or another model to compare with.",
        help_behavior_hint="(required unless FILE names it)",
    ),
]


@dataclasses.dataclass(frozen=True)
class Launch:
    """Flags that are settled before the configuration is built."""

    mode: ModeFlag = "unsupervised"
    config: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """TOML file, or the name of a preset: its values replace the defaults of mode and data set, flags replace those."""
    init: Annotated[Path | None, tyro.conf.arg(metavar="RUN", help_behavior_hint="")] = None
    """Start from the weights of RUN, a run of the same model: frames never stand alone then, and no fields are searched
    for, unless --still.fraction and --discovery.fraction say so."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")] = None
    """Go on with RUN (left out: the newest under runs/) as it was configured; only --device may be given anew."""


def main(arguments: Sequence[str]) -> int:
    """Train, or go on training, and return the exit code; the run folder is printed at the end.

    Raises:
        UserError: arguments, files or folders that cannot be used.
    """
    if wants_help(arguments):
        _help(arguments)
    given = _given(arguments)
    if "--resume" in given:
        return _resume(given)
    init = given.get("--init")
    config = _configure(given)
    with ExitStack() as stack:
        run = config.out or stack.enter_context(reserved(config.mode, config.data.name))
        return _train(dataclasses.replace(config, out=run), run, resume=False, init=init)


def configure(arguments: Sequence[str]) -> Any:
    """Return the configuration that ``stf train`` has with these arguments.

    Raises:
        UserError: arguments that cannot be used, ``--resume`` among them.
    """
    given = _given(arguments)
    require("--resume" not in given, "--resume", given.get("--resume"), "the flags of a new run")
    return _configure(given)


@cache
def _flags() -> dict[str, Mapping[str, Any]]:
    """The flags of every mode."""
    return {mode: flags_of(config) for mode, config in CONFIGS.items()}


def _given(arguments: Sequence[str]) -> dict[str, str | None]:
    """The flags that are given, of any mode."""
    known = {name: flag for flags in _flags().values() for name, flag in flags.items()} | flags_of(Launch)
    return split(arguments, known, optional=["--resume"]).flags


def _help(arguments: Sequence[str]) -> None:
    """Print the flags of the mode that ``arguments`` name, of the unsupervised one for none, and raise SystemExit."""
    mode = peek(arguments, "--mode", CONFIGS, "unsupervised")
    name = peek(arguments, "--data.name", DATA_SETS, "mnist")
    config, defaults = CONFIGS[mode], default_config(mode, DataConfig(name=name))

    @dataclasses.dataclass(frozen=True)
    class Train(config, Launch):
        mode: ModeFlag = defaults.mode

    shown = Train(**{field.name: getattr(defaults, field.name) for field in dataclasses.fields(defaults)})
    note = (
        f"These are the flags and defaults of --mode {mode} --data.name {name}; "
        "stf train --mode MODE --data.name NAME --help shows those of others."
    )
    show_help(Train, shown, "stf train", f"{config.__doc__} {note} Presets: {', '.join(presets.presets())}.")


def _configure(given: dict[str, str | None]) -> Any:
    """Return the configuration: mode defaults, then ``--config``, then flags."""
    modes = _flags()
    mode, name, init = (given.pop(flag, None) for flag in ("--mode", "--config", "--init"))
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
    config: Any = default_config(named, _data_set(given, data))
    config = config if init is None else fine_tuning(config)
    if path is not None:
        from ffrl.training.config_io import config_from_dict, flat

        for key in flat(data):
            _require_mode(f"--{key}", f"{path}: {key}", named, modes)
        config = config_from_dict(CONFIGS[named], data, str(path), base=config)
    return build(CONFIGS[named], config, Arguments(given, []))


def _data_set(given: Mapping[str, str | None], file: Mapping[str, Any]) -> DataConfig:
    """Return what decides on the defaults of a data set: its name, digits per frame, and own frames and their size.

    They are from flags or a file. What these have of another kind, or out of range, is left to their readers.
    """
    name, root, digits, size = (_early(key, given, file) for key in ("name", "root", "digits", "sequences.size"))
    data = DataConfig(name=name if isinstance(name, str) and name in DATA_SETS else "mnist")
    with suppress(TypeError):
        data = dataclasses.replace(data, root=None if root is None else Path(root))
    with suppress(UserError, TypeError, ValueError):
        data = dataclasses.replace(data, digits=int(digits))
    with suppress(UserError, TypeError, ValueError):
        data = dataclasses.replace(data, sequences=ClipsConfig(size=int(size)))
    return data


def _early(key: str, given: Mapping[str, str | None], file: Mapping[str, Any]) -> Any:
    """Return what a flag, else a file, has for a key of the data; None for neither."""
    value: Any = file.get("data")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return given.get(f"--data.{key}", value)


def _require_mode(flag: str, shown: str, mode: str, modes: Mapping[str, Any]) -> None:
    """Raise a UserError if ``flag`` exists, but not in ``mode``."""
    others = [other for other, flags in modes.items() if flag in flags]
    if others and mode not in others:
        raise UserError(f"{shown}: found in mode {mode}, expected only in mode {' or '.join(others)}")


def _resume(given: dict[str, str | None]) -> int:
    """Go on with a run."""
    from ffrl.training.config_io import read_config

    for flag in given:
        if flag not in ("--resume", "--mode", "--device"):
            raise UserError(
                f"{flag}: found beside --resume, expected --device only: the rest is in the run's config.json"
            )
    run = Path(given["--resume"]) if given["--resume"] else newest()
    if not run.is_dir():
        raise UserError(f"--resume: found no folder {str(run)!r}, expected a run folder")
    config = read_config(run / CONFIG, CONFIGS)
    if given.get("--mode") not in (None, config.mode):
        raise UserError(f"--mode: found {given['--mode']!r}, expected {config.mode!r}, the mode of {run}")
    if "--device" in given:
        config = dataclasses.replace(config, device=given["--device"])
    return _train(config, run, resume=True)


def _train(config: Any, run: Path, resume: bool, init: str | None = None) -> int:
    """Train and say where the run is, or how to go on with it."""
    from rich.console import Console

    from stf.run import train

    result = train(config, run, resume=resume, console=Console(stderr=True), init=init)
    print(run)
    if result.interrupted:
        command = f"stf train --resume {shlex.quote(os.fspath(run))}"
        print(f"stopped at step {result.steps} of {config.steps}; to go on: {command}", file=sys.stderr)
        return 128 + result.signal
    hint("evaluate", run, json=run / EVALUATION)
    return 0
