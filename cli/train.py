"""``stf train``: mode defaults, then a file, then flags; or ``--resume``."""

from __future__ import annotations

import dataclasses
import inspect
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any

import tyro

from ffrl.config import ClipsConfig, DataConfig, PosesConfig, RenderedConfig, RunConfig, VectorsConfig
from ffrl.config.data import DATA_SETS
from ffrl.core.errors import UserError, require
from ffrl.core.terminal import Console, say
from ffrl.storage.names import CONFIG, EVALUATION
from ffrl.training.folders import newest, reserved
from stf.registry import CONFIGS, MODES, default_config, fine_tuning

from . import presets
from .flags import Arguments, Flag, at_home, build, flag_name, flags_of, peek, split
from .help import show_help, wants_help
from .hints import hint


@dataclasses.dataclass(frozen=True)
class Launch:
    """Flags that are settled before the configuration is built."""

    mode: Annotated[str, MODES] = ""
    """What is known of the activity (unsupervised: nothing; supervised: which transformation acts; weak: only that one
    acts throughout), or another model to compare with. Needed, unless FILE names it."""
    config: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """TOML file, or the name of a preset: its values replace the defaults of mode and data set, flags replace those."""
    init: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Start from the weights of RUN, a run of the same model: frames never stand alone then, and no fields are searched
    for, unless --still.fraction and --discovery.fraction say so."""
    strict: bool = False
    """Train on nothing that looks wrong: what is a warning without it ends the command before anything is written."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="[RUN]")] = None
    """Go on with RUN (left out: the newest under runs/) as it was configured; only --device, more --steps, and
    --data.root of data that have moved may be given anew."""


ANEW = ("--device", "--steps", "--data.root")
"""What may be given anew beside ``--resume``."""
SHORT = (
    "--mode",
    "--data.name",
    "--data.root",
    "--data.num-steps",
    "--model.num-fields",
    "--steps",
    "--seed",
    "--out",
    "--device",
    "--config",
    "--init",
    "--resume",
)
"""The flags that matter."""


def main(arguments: Sequence[str]) -> int:
    """Train, or go on training, and return the exit code; the run folder is printed at the end.

    Raises:
        UserError: arguments, files or folders that cannot be used.
    """
    if wants_help(arguments):
        return _help(arguments)
    given = _given(arguments)
    if "--resume" in given:
        return _resume(given)
    from ffrl.training.parallel import join

    init, strict = given.get("--init"), "--strict" in given
    config = _configure(given)
    with ExitStack() as stack:
        run = join().shared(lambda: config.out or stack.enter_context(reserved(config.mode, config.data.name)))
        return _train(dataclasses.replace(config, out=run), run, resume=False, init=init, strict=strict)


def configure(arguments: Sequence[str]) -> RunConfig:
    """Return the configuration that ``stf train`` has with these arguments.

    Raises:
        UserError: arguments that cannot be used, ``--resume`` among them.
    """
    given = _given(arguments)
    require("--resume" not in given, "--resume", given.get("--resume"), "the flags of a new run")
    return _configure(given)


def _flags_elsewhere() -> dict[str, dict[str, Flag]]:
    """The flags of the modes that come with the project, by mode; what baselines are made of is imported for it."""
    return {name: flags_of(CONFIGS[name]) for name in MODES if not MODES.source(name)}


def _given(arguments: Sequence[str]) -> dict[str, str | None]:
    """The flags that are given, of any mode: those of others than the named one are looked up for a flag it lacks."""
    known = own = flags_of(CONFIGS[_mode(arguments) or "unsupervised"]) | flags_of(Launch)
    if any(token.startswith("--") and flag_name(token) not in known for token in arguments):
        known = {name: flag for flags in _flags_elsewhere().values() for name, flag in flags.items()} | known
    return split(arguments, known, optional=["--resume"], expected=own).flags


def _mode(arguments: Sequence[str]) -> str | None:
    """The mode that flags or a file name, if there is such a one."""
    mode, name = peek(arguments, "--mode"), peek(arguments, "--config")
    if mode is None and name is not None:
        with suppress(UserError):
            mode = presets.read(presets.find(name)).get("mode")
    return mode if isinstance(mode, str) and mode in MODES else None


def _help(arguments: Sequence[str]) -> int:
    """Print the flags of the mode that ``arguments`` name, of the unsupervised one for none."""
    mode, name = _mode(arguments) or "unsupervised", peek(arguments, "--data.name")
    data = DataConfig(name=name if name is not None and name in DATA_SETS else DataConfig.name)
    config = CONFIGS[mode]
    note = (
        f"Defaults are those of --mode {mode} --data.name {data.name}; with others beside it, --help shows theirs. "
        f"Presets for --config: {', '.join(presets.presets())}."
    )
    about = f"Train a model in a new run folder. {inspect.getdoc(config)}"
    return show_help(arguments, "stf train", Launch(), _shown(mode, data), about=about, short=SHORT, notes=[note])


def _shown(mode: str, data: DataConfig) -> RunConfig:
    """The defaults that help shows: those of the data set, if the mode can be trained on it."""
    with suppress(UserError):
        return default_config(mode, data)
    return CONFIGS[mode]()


def _configure(given: dict[str, str | None]) -> RunConfig:
    """Return the configuration: mode defaults, then ``--config``, then flags."""
    mode, name, init = (given.pop(flag, None) for flag in ("--mode", "--config", "--init"))
    for flag in ("--strict", "--no-strict"):
        given.pop(flag, None)
    path = None if name is None else presets.find(name)
    data = {} if path is None else presets.read(path)
    if path is None or "mode" not in data:
        require(mode is not None, "--mode", None, f"one of {', '.join(MODES)}")
    named = MODES.require("--mode" if "mode" not in data else f"{path}: mode", data.get("mode", mode))
    if mode not in (None, named):
        raise UserError(f"--mode: found {mode!r}, expected {named!r}, the mode of {path}")
    for flag in given:
        _require_mode(flag, flag, named)
    config = default_config(named, _data_set(given, data, path))
    config = config if init is None else fine_tuning(config)
    if path is not None:
        from ffrl.training.config_io import config_from_dict, flat

        for key in flat(data):
            _require_mode(f"--{key}", f"{path}: {key}", named)
        config = config_from_dict(CONFIGS[named], data, str(path), base=config)
    return build(config, Arguments(given, []))


def _data_set(given: Mapping[str, str | None], file: Mapping[str, Any], path: Path | None) -> DataConfig:
    """Return what decides on the defaults of a data set: its name, digits per frame, own frames, their size, features.

    They are from flags or a file. What these have of another kind, or out of range, is left to their readers, but for
    the name.
    """
    keys = ("name", "root", "digits", "sequences.size", "rendered.size", "vectors.columns")
    name, root, digits, size, rendered, columns = (_early(key, given, file) for key in keys)
    data = DataConfig() if name is None else DataConfig(name=DATA_SETS.require(f"{path}: data.name", name))
    with suppress(TypeError):
        data = dataclasses.replace(data, root=None if root is None else Path(at_home(root)))
    with suppress(UserError, TypeError, ValueError):
        data = dataclasses.replace(data, digits=int(digits))
    with suppress(UserError, TypeError, ValueError):
        data = dataclasses.replace(data, sequences=ClipsConfig(size=int(size)))
    with suppress(UserError, TypeError, ValueError):
        data = dataclasses.replace(data, rendered=RenderedConfig(size=int(rendered)))
    with suppress(UserError, TypeError):
        data = dataclasses.replace(data, vectors=VectorsConfig(columns=columns or ""))
    poses = {key: _early(f"poses.{key}", given, file) for key in ("nodes", "align", "centre", "heading")}
    with suppress(UserError, TypeError):
        data = dataclasses.replace(data, poses=PosesConfig(**{key: text for key, text in poses.items() if text}))
    return data


def _early(key: str, given: Mapping[str, str | None], file: Mapping[str, Any]) -> Any:
    """Return what a flag, else a file, has for a key of the data; None for neither."""
    from ffrl.training.config_io import flat

    return given.get(f"--data.{key}", flat(file).get(f"data.{key}"))


def _require_mode(flag: str, shown: str, mode: str) -> None:
    """Raise a UserError if ``flag`` exists, but not in ``mode``."""
    if flag in flags_of(CONFIGS[mode]):
        return
    others = [other for other, flags in _flags_elsewhere().items() if flag in flags]
    if others:
        raise UserError(f"{shown}: found in mode {mode}, expected only in mode {' or '.join(others)}")


def _resume(given: dict[str, str | None]) -> int:
    """Go on with a run."""
    from ffrl.training.config_io import read_config
    from ffrl.training.run_folder import require_run

    for flag in given:
        if flag not in ("--resume", "--mode", *ANEW):
            allowed = " or ".join([", ".join(ANEW[:-1]), ANEW[-1]])
            raise UserError(f"{flag}: found beside --resume, expected {allowed}: the rest is in the run's config.json")
    run = Path(at_home(given["--resume"])) if given["--resume"] else newest()
    if not run.is_dir():
        raise UserError(f"--resume: found no folder {str(run)!r}, expected a run folder")
    require_run(run)
    config = read_config(run / CONFIG, CONFIGS)
    if given.get("--mode") not in (None, config.mode):
        raise UserError(f"--mode: found {given['--mode']!r}, expected {config.mode!r}, the mode of {run}")
    if (device := given.get("--device")) is not None:
        config = dataclasses.replace(config, device=device)
    if (steps := given.get("--steps")) is not None:
        config = config.longer(int(steps), "--steps")
    if (root := given.get("--data.root")) is not None:
        known = config.data.root is not None
        require(known, "--data.root", root, "none: the run was trained on what comes with the package")
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, root=Path(at_home(root))))
    return _train(config, run, resume=True)


def _train(config: RunConfig, run: Path, resume: bool, init: str | None = None, strict: bool = False) -> int:
    """Train and say where the run is, or how to go on with it."""
    from ffrl.training.parallel import join
    from stf.run import train

    result = train(config, run, resume=resume, console=Console(stderr=True), init=init, strict=strict)
    if join().first:
        say(str(run))
        if result.signal is not None:
            command = f"stf train --resume {shlex.quote(os.fspath(run))}"
            say(f"stopped at step {result.steps} of {config.steps}; to go on: {command}", error=True)
        else:
            hint("evaluate", run, json=run / EVALUATION)
    return 0 if result.signal is None else 128 + result.signal
