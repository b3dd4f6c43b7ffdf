"""Grids of factors: indices, digits, split and labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layouts import all_digits, shapes3d_labels, unit_labels

from ffrl.core.errors import UserError
from ffrl.data.grids import falcor3d, isaac3d
from ffrl.data.grids.factors import Factors, check_labels, split_images
from ffrl.data.shapes3d import file as shapes3d_file

PUBLISHED = {
    "shapes3d": (shapes3d_file.FACTORS, (48000, 4800, 480, 60, 15, 1), 480000),
    "falcor3d": (falcor3d.FACTORS, (46656, 7776, 1296, 216, 36, 6, 1), 233280),
    "isaac3d": (isaac3d.FACTORS, (245760, 30720, 6144, 1536, 384, 96, 16, 4, 1), 737280),
}
published = pytest.mark.parametrize(("factors", "bases", "count"), PUBLISHED.values(), ids=list(PUBLISHED))


@published
def test_bases_and_counts_are_as_published(factors, bases, count):
    assert factors.bases == bases and factors.count == count and len(factors.names) == len(factors.sizes)


@published
def test_digits_are_those_of_an_odometer(factors, bases, count):
    index = torch.randint(count, (1000,), generator=torch.Generator().manual_seed(0))
    digits = factors.digits(index)
    expected = np.stack(np.unravel_index(index.numpy(), factors.sizes), -1)
    assert digits.tolist() == expected.tolist()
    assert factors.index(digits).tolist() == index.tolist() == factors.index(digits.float()).tolist()
    assert (digits * torch.tensor(bases)).sum(-1).tolist() == index.tolist()
    assert factors.digits(torch.tensor(count - 1)).tolist() == [size - 1 for size in factors.sizes]


@pytest.mark.parametrize("digit", [-1, 3, 1.5])
def test_a_digit_that_would_carry_is_refused(digit):
    factors = Factors(("hue", "scale", "shape"), (4, 3, 2))
    digits = torch.zeros(2, 5, 3)
    assert (factors.index(digits) == 0).all()
    digits[1, 2, 1] = digit
    with pytest.raises(UserError, match=f"^state of scale: found {digit}, expected a whole number from 0 to 2$"):
        factors.index(digits)


def test_the_split_is_four_fifths_of_one_fixed_order():
    split = split_images(1000)
    train, held_out = split["train"], split["validation"]
    assert (len(train), len(held_out)) == (800, 200)
    assert torch.cat([train, held_out]).sort().values.equal(torch.arange(1000))
    assert split_images(1000)["train"].equal(train) and not train.equal(train.sort().values)
    assert 400 < held_out.float().mean() < 600
    assert held_out[:4].tolist() == [844, 527, 110, 946]


SIZES = (3, 2, 3, 2, 2, 3)
FACTORS = Factors(shapes3d_file.FACTORS.names, SIZES)


def check(labels, source="here"):
    check_labels(labels, FACTORS, shapes3d_file.label_values(SIZES), source)


def test_right_labels_pass_up_to_rounding():
    check(shapes3d_labels(SIZES))
    check(shapes3d_labels(SIZES) + 1e-9)
    check(shapes3d_labels(SIZES).astype(np.float32))


def test_the_stored_values_are_as_published():
    values = shapes3d_file.label_values(shapes3d_file.FACTORS.sizes)
    assert values[0] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert values[3][:2] == pytest.approx([0.75, 0.75 + 0.5 / 7]) and values[3][-1] == 1.25
    assert values[4].tolist() == [0, 1, 2, 3]
    assert values[5][[0, 7, 14]].tolist() == [-30, 0, 30] and len(values[5]) == 15


def test_the_first_wrong_row_is_named():
    labels = shapes3d_labels(SIZES)
    labels[[7, 100]] = labels[[100, 7]]
    assert all_digits(SIZES)[[7, 100]].tolist() == [[0, 0, 0, 1, 0, 1], [1, 0, 2, 0, 1, 1]]
    with pytest.raises(UserError) as caught:
        check(labels)
    names = "floor_hue, wall_hue, object_hue, scale, shape, orientation"
    expected = f"found [0.1 0 0.2 0.75 1 0] in row 7, expected [0 0 0 1.25 0 0] ({names}): images in another order"
    assert str(caught.value) == f"here: {expected}"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.05])
def test_one_wrong_value_is_found(value):
    labels = shapes3d_labels(SIZES)
    labels[-1, 2] = value
    with pytest.raises(UserError, match=f"in row {len(labels) - 1}, expected"):
        check(labels)


def test_factors_in_another_order_are_found():
    """The description of Isaac3D lists its factors in another order than its bases."""
    wrong = unit_labels((2, 4, 4, 3))
    factors = Factors(("a", "b", "c", "d"), (2, 4, 3, 4))
    values = [np.linspace(0, 1, size) for size in factors.sizes]
    check_labels(unit_labels(factors.sizes), factors, values, "here")
    with pytest.raises(UserError, match=r"in row 1, expected \[0 0 0 0.3333\] \(a, b, c, d\)"):
        check_labels(wrong, factors, values, "here")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (np.zeros((5, 6)), r"float64 labels of shape \(5, 6\)"),
        (np.zeros((216, 5)), r"float64 labels of shape \(216, 5\)"),
        (np.zeros((216, 6), dtype=np.int64), "int64 labels"),
        (np.zeros(216), r"float64 labels of shape \(216,\)"),
    ],
)
def test_another_shape_or_type_is_refused(labels, found):
    with pytest.raises(UserError, match=f"^here: found {found}.*, expected floating-point labels of shape"):
        check(labels)
