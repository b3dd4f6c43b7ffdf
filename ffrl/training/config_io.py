"""Configurations to and from plain dictionaries, for ``config.json`` and configuration files."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from ffrl.config import RunConfig
from ffrl.core.errors import UserError
from ffrl.core.files import PACKAGE, to_json, write_atomically
from ffrl.core.progress import say
from ffrl.core.reading import MOST_NUMBER, read_json_object, shown

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT_VERSION = 1
T = TypeVar("T", bound="DataclassInstance")


def config_to_dict(config: DataclassInstance) -> dict[str, Any]:
    """Return a configuration as nested dictionaries of JSON values, paths as strings.

    Example:
        >>> from ffrl.config import DataConfig
        >>> config_to_dict(DataConfig(root=Path("data")))["root"]
        'data'
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(config))


def config_from_dict(cls: type[T], data: Mapping[str, Any], source: str, base: T | None = None, prefix: str = "") -> T:
    """Build the frozen dataclass ``cls`` from nested dictionaries, the inverse of :func:`config_to_dict`.

    Keys may be spelt with ``-`` or ``_``, and ``model.width`` is ``width`` in the section ``model``. Without ``base``
    every key has to be there; with it, missing keys keep the values of ``base``, as configuration files want.

    Args:
        cls: A configuration dataclass; its fields are booleans, numbers, strings, paths, literals or dataclasses.
        data: What a JSON or TOML file holds.
        source: The file's name, for messages.
        base: Values of missing keys.
        prefix: Key of this section within the file.

    Raises:
        UserError: an unknown key (naming the nearest known one), a missing key, or a value of the wrong type or range.

    Example:
        >>> from ffrl.config import DataConfig
        >>> config_from_dict(DataConfig, {"num-steps": 3}, "run.toml", base=DataConfig()).num_steps
        3
    """
    hints = typing.get_type_hints(cls)
    names = {field.name: field.name.replace("_", "-") for field in dataclasses.fields(cls)}
    found: dict[str, Any] = {}
    for key, value in sections(data).items():
        name = key.replace("-", "_")
        if name not in names:
            nearest = difflib.get_close_matches(key.replace("_", "-"), names.values(), n=1, cutoff=0.0)
            raise UserError(
                f"{source}: found unknown key {shown(prefix + key)}, nearest known key {prefix + nearest[0]!r}"
            )
        if name in found:
            raise UserError(f"{source}: found key {prefix + names[name]!r} twice, expected it once")
        found[name] = value
    values: dict[str, Any] = {}
    for name, flag in names.items():
        current = None if base is None else getattr(base, name)
        if name in found:
            values[name] = _convert(hints[name], found[name], source, prefix + flag, current)
        elif base is None:
            raise UserError(f"{source}: found no key {prefix + flag!r}, expected one")
        else:
            values[name] = current
    try:
        return cls(**values)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def sections(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by name, those with a dot in their names as mappings by what stands before it.

    Example:
        >>> sections({"steps": 3, "model.width": 8, "model": {"depth": 1}})
        {'steps': 3, 'model': {'width': 8, 'depth': 1}}
    """
    result: dict[str, Any] = {}
    for key, value in data.items():
        head, dot, rest = key.partition(".")
        inside, there = {rest: value} if dot else value, result.get(head)
        result[head] = {**there, **inside} if isinstance(there, Mapping) and isinstance(inside, Mapping) else inside
    return result


def _convert(hint: Any, value: Any, source: str, key: str, base: Any) -> Any:
    """Return ``value`` as type ``hint``, or raise a UserError."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return config_from_dict(hint, value, source, base, prefix=f"{key}.")
        expected = "a section"
    elif origin is typing.Literal:
        if isinstance(value, str) and value in options:
            return value
        expected = ", ".join(repr(option) for option in options)
        expected = expected if len(options) == 1 else f"one of {expected}"
    elif origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        (inner,) = (option for option in options if option is not type(None))
        return _convert(inner, value, source, key, base)
    elif hint is Path:
        if isinstance(value, str | Path):
            return Path(value).expanduser()
        expected = "a path"
    elif hint is float:
        number = isinstance(value, Real) and not isinstance(value, bool)
        if number and abs(value if isinstance(value, int) else float(value)) <= MOST_NUMBER:
            return float(value)
        expected = "a finite number" if number else "a number"
    elif hint is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    elif hint in (bool, int, str):
        if type(value) is hint:
            return value
        expected = {bool: "true or false", int: "an integer", str: "a string"}[hint]
    else:
        raise TypeError(f"{key}: fields of type {hint!r} are not supported in configurations")
    raise UserError(f"{source}: {key}: found {shown(value)}, expected {expected}")


def write_config(config: RunConfig, path: Path) -> None:
    """Write ``config`` to ``path`` as ``config.json`` holds it, atomically."""
    write_atomically(path, encode_config(config))


def encode_config(config: RunConfig) -> bytes:
    """Return the contents of ``config.json``."""
    return to_json({"package": PACKAGE, "format_version": FORMAT_VERSION, **config_to_dict(config)})


def read_config(path: Path, classes: Mapping[str, type[RunConfig]], earlier: bool = False) -> RunConfig:
    """Read a ``config.json``; its ``mode`` chooses among ``classes``.

    Args:
        path: the file.
        classes: configurations by mode.
        earlier: whether it may be of an earlier version, which knew fewer keys: those have the defaults of the mode,
            and one line says so.

    Raises:
        UserError: unreadable, of another package or format version, of a mode not in ``classes``, or with keys or
            values that do not fit.
    """
    data = read_json_object(path)
    package, version, mode = data.pop("package", None), data.pop("format_version", None), data.get("mode")
    if package != PACKAGE:
        raise UserError(f"{path}: found package {shown(package)}, expected {PACKAGE!r}")
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: found format_version {shown(version)}, expected {FORMAT_VERSION}")
    if not isinstance(mode, str) or mode not in classes:
        raise UserError(f"{path}: found mode {shown(mode)}, expected one of {', '.join(map(repr, classes))}")
    if not earlier:
        return config_from_dict(classes[mode], data, str(path))
    config = config_from_dict(classes[mode], data, str(path), base=classes[mode]())
    known = flat(sections(data))
    lacking = [key for key in flat(config_to_dict(config)) if key not in known]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        say(f"warning: {path}: found no key {lacking[0]!r}{more}, as in runs of earlier versions; taking the defaults")
    return config


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, keys joined by dots and spelt like flags.

    Example:
        >>> flat({"data": {"num_steps": 3}})
        {'data.num-steps': 3}
    """
    result: dict[str, Any] = {}
    for key, value in data.items():
        name = prefix + key.replace("_", "-")
        result.update(flat(value, name + ".") if isinstance(value, Mapping) else {name: value})
    return result
