"""What the features of a pose are points of, and which of these points are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ffrl.core.errors import UserError, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Skeleton:
    """Named points, and the pairs of them that are joined.

    Args:
        nodes: names of the points.
        edges: pairs of places in ``nodes``, each from the nearer to the root outwards.

    Raises:
        UserError: names that are not unique, or an edge between points that are not there.

    Example:
        >>> Skeleton(("thorax", "head"), ((0, 1),)).features
        ('x of thorax', 'y of thorax', 'x of head', 'y of head')
    """

    nodes: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.nodes)
        fits = count > 0 and all(isinstance(name, str) and name for name in self.nodes)
        require(fits and len(set(self.nodes)) == count, "nodes", list(self.nodes), "different names")
        for edge in self.edges:
            fits = len(edge) == 2 and edge[0] != edge[1] and all(0 <= place < count for place in edge)
            require(fits, "edges", edge, f"two different places from 0 to {count - 1}")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the two coordinates of every point."""
        return tuple(f"{axis} of {name}" for name in self.nodes for axis in "xy")

    def place(self, name: str, key: str) -> int:
        """Where a point is among the nodes.

        Args:
            name: of the point.
            key: that has the name, for messages.

        Raises:
            UserError: there is none of this name.
        """
        require(name in self.nodes, key, name, f"one of {', '.join(self.nodes):.300}")
        return self.nodes.index(name)

    def part(self, names: Sequence[str], key: str = "nodes") -> Skeleton:
        """Some of the points, joined with the nearest of them on the way to the root.

        Args:
            names: of the points, in the order wanted; all of them for none.
            key: that has the names, for messages.

        Raises:
            UserError: there is no point of this name.

        Example:
            >>> Skeleton(("thorax", "hip", "knee"), ((0, 1), (1, 2))).part(("knee", "thorax")).edges
            ((1, 0),)
        """
        if not names:
            return self
        chosen = [self.place(name, key) for name in names]
        edges = []
        for place in chosen:
            reached, seen = [place], {place}
            while reached:
                inner = [first for first, last in self.edges if last == reached[0] and first not in seen]
                edges += [(chosen.index(first), chosen.index(place)) for first in inner if first in chosen]
                seen |= set(inner)
                reached = [*reached[1:], *(first for first in inner if first not in chosen)]
        return Skeleton(tuple(names), tuple(edges))

    def points(self, values: Tensor, names: Sequence[str]) -> Tensor:
        """The points of vectors, ``(..., F)`` -> ``(..., nodes, 2)``; a coordinate that is no feature is always 0.

        Args:
            values: the vectors.
            names: of their features.

        Example:
            >>> import torch
            >>> Skeleton(("thorax", "head")).points(torch.tensor([[3.0]]), ["x of head"]).tolist()
            [[[0.0, 0.0], [3.0, 0.0]]]
        """
        import torch

        places = {name: place for place, name in enumerate(names)}
        still = torch.zeros_like(values[..., 0])
        columns = [values[..., places[name]] if name in places else still for name in self.features]
        return torch.stack(columns, -1).unflatten(-1, (-1, 2))

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return {"nodes": list(self.nodes), "edges": [list(edge) for edge in self.edges]}

    @classmethod
    def read(cls, values: Any, source: str) -> Skeleton:
        """The inverse of :meth:`plain`.

        Raises:
            UserError: something is missing or of another type.
        """
        expected = "nodes, a list of names, and edges, a list of pairs of places"
        fits = isinstance(values, dict) and values.keys() == {"nodes", "edges"}
        fits = fits and all(isinstance(values[key], list) for key in values)
        fits = fits and all(isinstance(edge, list) and {*map(type, edge)} <= {int} for edge in values["edges"])
        if not fits:
            raise UserError(f"{source}: skeleton: found {values!r:.200}, expected {expected}")
        try:
            return cls(tuple(values["nodes"]), tuple(tuple(edge) for edge in values["edges"]))
        except UserError as error:
            raise UserError(f"{source}: skeleton: {error}") from None


def joined(edges: Sequence[tuple[str, str]], nodes: Sequence[str], key: str = "edges") -> Skeleton:
    """The skeleton of named points with these pairs of names joined.

    Args:
        edges: pairs of names.
        nodes: names of the points.
        key: that has the edges, for messages.

    Raises:
        UserError: a name that is none of the points.

    Example:
        >>> joined([("thorax", "head")], ("head", "thorax")).edges
        ((1, 0),)
    """
    bare = Skeleton(tuple(nodes))
    for edge in edges:
        require(not isinstance(edge, str) and len(edge) == 2, key, edge, "pairs of names")
    return Skeleton(bare.nodes, tuple((bare.place(first, key), bare.place(last, key)) for first, last in edges))
