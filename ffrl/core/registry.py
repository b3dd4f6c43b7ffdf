"""Things by name: those that come with the project, and those that installed packages add by entry points."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ffrl.core.errors import UserError, reason_of


def modules_in(package: str, attribute: str) -> dict[str, str]:
    """Return the home of ``attribute`` of every module in a package, by the module's name with hyphens.

    A file that is put into the package is found by that alone; no module is imported but the package itself.

    Args:
        package: dotted name.
        attribute: that each of its modules defines. Modules whose name begins with an underscore are left out.

    Example:
        >>> modules_in("ffrl.flow", "integrate")["integrate"]
        'ffrl.flow.integrate:integrate'
    """
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    names = sorted(module.name for module in found if not module.name.startswith("_"))
    return {name.replace("_", "-"): f"{package}.{name}:{attribute}" for name in names}


class Registry(Mapping[str, Any]):
    """Objects by name, imported when they are asked for.

    A package adds to them by an entry point of the registry's group, ``name = "module:object"``. The names alone are
    known without importing anything.

    Args:
        group: of entry points.
        kind: what its objects are, in messages.
        built_in: ``module:object`` of those that come with the project, by name, in their order.

    Example:
        >>> modes = Registry("stf.examples", "example", {"registry": "ffrl.core.registry:Registry"})
        >>> list(modes), modes["registry"] is Registry
        (['registry'], True)
    """

    __eq__ = object.__eq__  # of mappings, it would import everything
    __hash__ = object.__hash__

    def __init__(self, group: str, kind: str, built_in: Mapping[str, str]) -> None:
        self.group = group
        self.kind = kind
        self.built_in = dict(built_in)
        self._loaded: dict[str, Any] = {}

    @cached_property
    def _added(self) -> dict[str, list[EntryPoint]]:
        """Entry points by name, with those of several packages under one name side by side."""
        found: dict[str, list[EntryPoint]] = {}
        for entry in sorted(entry_points(group=self.group), key=lambda entry: (entry.name, _package(entry))):
            found.setdefault(entry.name, []).append(entry)
        return found

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from (name for name in self._added if name not in self.built_in)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._added

    def __getitem__(self, name: str) -> Any:
        """Import and return an object.

        Raises:
            UserError: there is none of this name, more than one, or it cannot be imported.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def source(self, name: str) -> str:
        """Return the package that an object comes from; the empty string for those that come with the project."""
        return "" if name in self.built_in else _package(self._added[name][0])

    def require(self, key: str, name: object) -> str:
        """Return ``name`` if there is an object of this name.

        Args:
            key: file, key or flag that has it, for the message.
            name: what was found there.

        Raises:
            UserError: there is none; the message says which there are, and which one is meant, if one is near.

        Example:
            >>> Registry("stf.examples", "example", {"ring": "a:b", "line": "a:c"}).require("model.field", "rnig")
            Traceback (most recent call last):
            ...
            ffrl.core.errors.UserError: model.field: found 'rnig', expected one of ring, line (did you mean ring?)
        """
        if isinstance(name, str) and name in self:
            return name
        near = difflib.get_close_matches(str(name), list(self), n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"{key}: found {name!r}, expected one of {', '.join(self)}{hint}")

    def _load(self, name: str) -> Any:
        entries = self._added.get(name, [])
        if name in self.built_in:
            if entries:
                raise UserError(f"{_package(entries[0])}: adds the {self.kind} {name!r}, expected a name that is free")
            module, _, attribute = self.built_in[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        if not entries:
            self.require(self.kind, name)
        if len(entries) > 1:
            packages = " and ".join(_package(entry) for entry in entries)
            raise UserError(f"{self.kind} {name!r}: found in {packages}, expected one package to add it")
        entry = entries[0]
        try:
            return entry.load()
        except Exception as error:
            where = f"{_package(entry)}: {self.kind} {name!r} at {entry.value}"
            raise UserError(f"{where}: cannot be imported: {reason_of(error)}") from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module
