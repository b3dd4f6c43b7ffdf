"""Every equation of docs/equations.md names functions and tests that there are."""

from __future__ import annotations

import ast
import re
from functools import reduce

import pytest
from cli_tools import ROOT

from ffrl.core.homes import resolve

PAGE = (ROOT / "docs" / "equations.md").read_text()
SECTIONS = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]


def named(section: str, kind: str) -> list[str]:
    """What the line of this kind names, in backquotes."""
    (line,) = re.findall(rf"^- {kind}: (.+)$", section, flags=re.MULTILINE)
    return re.findall(r"`([^`]+)`", line)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.splitlines()[0])
def test_functions_and_tests_are_there(section: str) -> None:
    assert re.search(r"^    \S", section, flags=re.MULTILINE), "an equation"
    assert re.search(r"^- From: \S", section, flags=re.MULTILINE), "where it is from"
    functions, tests = named(section, "Code"), named(section, "Test")
    assert functions and tests
    for function in functions:
        parts = function.split(".")
        depth = next(index for index, part in enumerate(parts) if part[0].isupper() or index == len(parts) - 1)
        first = resolve(f"{'.'.join(parts[:depth])}:{parts[depth]}")
        assert callable(reduce(getattr, parts[depth + 1 :], first)), function
    for test in tests:
        path, _, name = test.partition("::")
        defined = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert name in defined, test


def test_equations_are_numbered_in_their_order() -> None:
    assert [int(section.partition(".")[0]) for section in SECTIONS] == list(range(1, len(SECTIONS) + 1))
    assert len(SECTIONS) > 20
