"""Mutated files of every format are read or refused in one line; ``make fuzz`` goes on for longer."""

from __future__ import annotations

import pytest
from fuzz import FORMATS, fuzz

EXAMPLES = 120


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_is_read_or_refused_in_one_line(name):
    counts = fuzz(name, EXAMPLES // FORMATS[name].cost)
    assert counts["refused"] > 0 and counts.total() >= 10, counts
