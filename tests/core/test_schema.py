"""Whether values are what a file of their kind holds."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

import pytest

from ffrl.core.errors import UserError
from ffrl.core.schema import check, fits


class Point(TypedDict):
    step: int
    error: dict[str, float | None]
    note: NotRequired[str]


class Curve(TypedDict):
    points: list[Point]
    kind: Literal["a", "b"]


GOOD: dict[str, Any] = {"points": [{"step": 1, "error": {"x": 1.5, "y": None, "z": 2}}], "kind": "a", "more": []}


def test_what_fits():
    check(GOOD, Curve, "curve.json")
    assert fits(3, int | None) and fits(None, int | None) and fits([], list[int]) and fits({"a": 1}, dict[str, Any])
    assert not fits(True, int) and not fits(True, float) and not fits(1.0, int) and not fits("1", float | None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": 3}, "points: found 3, expected a list"),
        ({"kind": "c"}, "kind: found 'c', expected 'a' or 'b'"),
        ({"points": [{"error": {}}]}, "found no key 'points[0].step', expected one"),
        ({"points": [{"step": True, "error": {}}]}, "points[0].step: found True, expected an integer"),
        (
            {"points": [{"step": 1, "error": {"x": "y"}}]},
            "points[0].error.x: found 'y', expected a number or nothing",
        ),
        ({"points": [{"step": 1, "error": {}, "note": 4}]}, "points[0].note: found 4, expected a text"),
        ({"points": [[[["x" * 1000]]]]}, "points[0]: found [[['xxx"),
    ],
    ids=str,
)
def test_what_does_not_is_named(change, message):
    with pytest.raises(UserError) as caught:
        check(GOOD | change, Curve, "curve.json")
    assert str(caught.value).startswith(f"curve.json: {message}") and len(str(caught.value)) < 200
