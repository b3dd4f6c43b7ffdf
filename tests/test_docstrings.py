"""Every public module explains itself, and every example in it runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest
import torch

import ffrl
import stf


def module_names() -> list[str]:
    """ffrl, stf and all modules below them, without the private ones."""
    names = []
    for package in (ffrl, stf):
        below = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
        names += [package.__name__] + [module.name for module in below]
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


MODULES = module_names()
every_module = pytest.mark.parametrize("name", MODULES)


def own_members(module: ModuleType) -> list[tuple[str, object]]:
    """Public functions, classes and methods of ``module``; methods may inherit their text."""
    found = []
    for name, member in vars(module).items():
        if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(member) or inspect.isclass(member):
            found.append((name, member))
        if inspect.isclass(member):
            methods = [(n, m) for n, m in vars(member).items() if inspect.isfunction(m) and not n.startswith("_")]
            found += [(f"{name}.{n}", m) for n, m in methods]
    return found


@every_module
def test_examples_run(name: str) -> None:
    torch.manual_seed(0)
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE, raise_on_error=False)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples in {name} failed"


@every_module
def test_public_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, name
    silent = [member for member, value in own_members(module) if not inspect.getdoc(value)]
    assert not silent, f"{name}: no docstring for {', '.join(silent)}"


def test_there_are_modules_and_examples() -> None:
    assert {
        "ffrl.models.flow_vae",
        "ffrl.objective.elbo",
        "stf.models.sparse_flow",
        "stf.fields.rotational",
        "ffrl.data.digits.mnist",
    } <= set(MODULES)
    finder = doctest.DocTestFinder()
    examples = [len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(examples) > 50
