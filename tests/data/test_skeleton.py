from __future__ import annotations

import pytest
import torch

from ffrl.core.errors import UserError
from ffrl.data.features import Feature, Features
from ffrl.data.skeleton import Skeleton, joined

LEG = Skeleton(("thorax", "hip", "knee", "foot", "head"), ((0, 1), (1, 2), (2, 3), (0, 4)))


def test_left_out_points_are_bridged():
    assert LEG.part(("foot", "head", "thorax")) == Skeleton(("foot", "head", "thorax"), ((2, 0), (2, 1)))
    assert LEG.part(("knee", "head")).edges == ()
    assert LEG.part(()) is LEG


def test_a_ring_is_no_trap():
    ring = Skeleton(("a", "b", "c"), ((0, 1), (1, 2), (2, 0)))
    assert set(ring.part(("a", "b")).edges) == {(0, 1), (1, 0)}


def test_points_are_where_the_features_say():
    values = torch.arange(10.0).reshape(1, 10)
    assert torch.equal(LEG.points(values, LEG.features), values.reshape(1, 5, 2))
    some = LEG.points(torch.tensor([[7.0, 8.0]]), ["y of knee", "x of head"])
    assert some.flatten(1).nonzero()[:, 1].tolist() == [5, 8] and some.sum() == 15


def test_plain_values_and_back():
    assert Skeleton.read(LEG.plain(), "run.json") == LEG
    features = Features((Feature("x of a"), Feature("y of a")), True, Skeleton(("a",)))
    assert Features.read(features.plain(), "run.json") == features
    assert "skeleton" not in Features((Feature("x"),)).plain()


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {"nodes": ["a"]},
        {"nodes": "a", "edges": []},
        {"nodes": ["a", "a"], "edges": []},
        {"nodes": ["a", 1], "edges": []},
        {"nodes": [], "edges": []},
        {"nodes": ["a", "b"], "edges": [[0, 2]]},
        {"nodes": ["a", "b"], "edges": [[0, 0]]},
        {"nodes": ["a", "b"], "edges": [[0]]},
        {"nodes": ["a", "b"], "edges": [[0, True]]},
        {"nodes": ["a", "b"], "edges": [0, 1]},
    ],
)
def test_damaged_values_are_one_line(plain: object):
    with pytest.raises(UserError, match=r"^run\.json: skeleton: "):
        Skeleton.read(plain, "run.json")


def test_edges_by_name():
    assert joined([("thorax", "head")], ("head", "thorax")) == Skeleton(("head", "thorax"), ((1, 0),))
    for edges, said in (([("a", "c")], "'c'"), (["ab"], "'ab'"), ([("a", "b", "c")], "a"), ([("a", "a")], "two diff")):
        with pytest.raises(UserError, match=said):
            joined(edges, ("a", "b"))
