"""Joint states: each subset once, with every combination of signs, and members that agree with the values."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from stf.inference.states import StateSpace, singletons, subsets

CASES = [(1, 1), (1, 3), (2, 1), (3, 2), (4, 4), (5, 3), (8, 3), (4, 0)]


def rebuilt(space: StateSpace) -> torch.Tensor:
    """The values as they follow from members and signs."""
    values = torch.zeros(space.num_states, space.num_controls)
    for state, (members, signs) in enumerate(zip(space.members.tolist(), space.signs.tolist(), strict=True)):
        for control, sign in zip(members, signs, strict=True):
            if control < space.num_controls:
                assert values[state, control] == 0, "a control is a member twice"
                values[state, control] = sign
            else:
                assert control == space.num_controls and sign == 1
    return values


@pytest.mark.parametrize(("controls", "most"), CASES)
@pytest.mark.parametrize("signed", [False, True])
def test_each_subset_and_sign_occurs_once(controls: int, most: int, signed: bool) -> None:
    space = subsets(controls, most, signed)
    kinds = (-1, 0, 1) if signed else (0, 1)
    expected = {v for v in itertools.product(kinds, repeat=controls) if sum(map(abs, v)) <= most}
    found = [tuple(row) for row in space.values.long().tolist()]
    assert set(found) == expected and len(found) == len(expected)
    biggest = min(most, controls)
    count = sum(math.comb(controls, j) * (2**j if signed else 1) for j in range(biggest + 1))
    assert space.num_states == count and space.num_controls == controls
    assert found[0] == (0,) * controls


@pytest.mark.parametrize(("controls", "most"), CASES)
@pytest.mark.parametrize("signed", [False, True])
def test_members_and_signs_are_the_values(controls: int, most: int, signed: bool) -> None:
    space = subsets(controls, most, signed)
    assert torch.equal(rebuilt(space), space.values)
    assert torch.equal(space.on, (space.values != 0).float())
    assert space.most == max(1, min(most, controls))


def test_singletons_are_one_control_each() -> None:
    space = singletons(4, dtype=torch.float64)
    assert torch.equal(space.values, torch.eye(4, dtype=torch.float64))
    assert torch.equal(rebuilt(space), space.values.float())
    assert space.most == 1


def test_precision_is_as_asked() -> None:
    for dtype in (torch.float32, torch.float64):
        space = subsets(3, 2, True, dtype=dtype)
        assert space.values.dtype == space.signs.dtype == dtype
        assert space.members.dtype == torch.long
