"""Clips of poses, which may be moved and turned to how the animal stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ffrl.core.errors import UserError, require
from ffrl.data.base import SequenceBatch, Split
from ffrl.data.contents import Contents
from ffrl.data.features import Features
from ffrl.data.given import GivenSequences
from ffrl.data.poses.align import each_aligned, start_aligned
from ffrl.data.recorded import Recorded
from ffrl.data.skeleton import Skeleton, joined
from ffrl.data.vectors.sequences import VectorSequences, as_vectors, vectors

Align = Literal["none", "start", "each"]
ALIGNED = {
    "none": "",
    "start": ", as seen from the {centre} in the first frame of a clip, the {heading} ahead",
    "each": ", each as seen from its own {centre}, its {heading} ahead",
}


class Stance(NamedTuple):
    """How poses are moved and turned, and by which nodes."""

    skeleton: Skeleton
    align: Align = "none"
    centre: str = ""
    heading: str = ""

    @property
    def features(self) -> tuple[str, ...]:
        """Coordinates that are left: those that a pose of its own always has at 0 are none."""
        if self.align != "each":
            return self.skeleton.features
        still = (f"x of {self.centre}", f"y of {self.centre}", f"y of {self.heading}")
        return tuple(name for name in self.skeleton.features if name not in still)

    @property
    def nodes(self) -> tuple[int, int]:
        """Places of centre and heading."""
        return self.skeleton.nodes.index(self.centre), self.skeleton.nodes.index(self.heading)

    def vectors(self, points: Tensor) -> Tensor:
        """Vectors of poses, ``(..., nodes, 2)`` -> ``(..., F)``, each aligned if it is to be."""
        if self.align == "each":
            points = each_aligned(points, *self.nodes)
        names = self.skeleton.features
        return points.flatten(-2)[..., [names.index(name) for name in self.features]]

    def clips(self, values: Tensor) -> Tensor:
        """Vectors of clips, ``(B, T+1, F)``, aligned by the first one if they are to be."""
        if self.align != "start":
            return values
        return start_aligned(values.unflatten(-1, (-1, 2)), *self.nodes).flatten(-2)


def stance(skeleton: Skeleton, align: str, centre: str, heading: str, prefix: str = "") -> Stance:
    """How poses are to be moved and turned.

    Args:
        skeleton: with the nodes that are named.
        align: "none", "start" or "each".
        centre, heading: names of nodes; not asked for if nothing is aligned.
        prefix: of the keys, for messages.

    Raises:
        UserError: there is no such alignment, or no such node.

    Example:
        >>> stance(Skeleton(("thorax", "head")), "each", "thorax", "head").features
        ('x of head',)
    """
    require(align in ALIGNED, f"{prefix}align", align, f"one of {', '.join(ALIGNED)}")
    if align == "none":
        return Stance(skeleton)
    skeleton.place(centre, f"{prefix}centre")
    skeleton.place(heading, f"{prefix}heading")
    require(centre != heading, f"{prefix}heading", heading, "another node than the centre")
    return Stance(skeleton, "start" if align == "start" else "each", centre, heading)


class PoseSequences(GivenSequences):
    """Clips of poses: those of vectors, aligned as they are read, with the skeleton beside the features.

    A clip whose first pose lacks centre or heading cannot be aligned by it, and is left out. Mean and standard
    deviation of every coordinate are those of the training clips as they are read.

    Args:
        inner: clips of vectors from :meth:`Stance.vectors`, with :attr:`Stance.features`.
        stance: how they are aligned.

    Raises:
        UserError: no clip of a split can be aligned.

    Example:
        >>> walk = np.random.default_rng(0).normal(size=(40, 2, 2)).cumsum(0)
        >>> data = poses(walk, nodes=("thorax", "head"), align="start", centre="thorax", heading="head", num_steps=4)
        >>> data.mixed("train", torch.arange(3)).frames[:, 0, 0].tolist()
        [0.0, 0.0, 0.0]
    """

    def __init__(self, inner: VectorSequences, stance: Stance) -> None:
        self.inner, self.stance, self.name = inner, stance, inner.name
        every = list(range(inner.num_steps + 1))
        parts: dict[Split, Tensor] = {}
        aligned: dict[Split, Tensor] = {}
        for split, rows in inner.parts.items():
            clips = stance.clips(inner.read(rows, every).frames)
            known = ~clips[:, 0].isnan().all(-1) if stance.align == "start" else torch.ones(len(rows), dtype=torch.bool)
            expected = f"some in which {stance.centre} and {stance.heading} are not missing in the first frame"
            require(bool(known.any()), f"{split} clips", "none that can be aligned", expected)
            parts[split], aligned[split] = rows[known], clips[known]
        names = inner.transformations, inner.unit_steps
        super().__init__(parts, inner.image_shape, inner.num_steps, *names, inner.title)
        features = Features.of(aligned["train"], stance.features) if stance.align == "start" else inner.features
        assert features is not None
        self.features = replace(features, skeleton=stance.skeleton)
        self.about = self.about.replace("frames", f"poses of {len(stance.skeleton.nodes)} points")
        self.about += ALIGNED[stance.align].format(centre=stance.centre, heading=stance.heading)
        lost = sum(len(rows) for rows in inner.parts.values()) - sum(len(rows) for rows in parts.values())
        if lost:
            self.about += f", {lost} left out for want of them"
        if features.missing:
            self.about += f", {aligned['train'].isnan().double().mean():.1%} of the coordinates missing"

    def contents(self) -> Contents:
        """Hashes of the points by animal, and of what is held out."""
        return self.inner.contents()

    def recordings(self) -> list[Recorded]:
        """Those of the vectors, which are not aligned by the first one."""
        return self.inner.recordings()

    def read(self, clips: Tensor, frames: list[int]) -> SequenceBatch:
        """See :meth:`~ffrl.data.given.GivenSequences.read`."""
        if self.stance.align != "start":
            return self.inner.read(clips, frames)
        whole = self.inner.read(clips, list(range(self.num_steps + 1)))
        return whole._replace(frames=self.stance.clips(whole.frames)[:, frames])


def poses(
    points: ArrayLike | Tensor | Sequence[ArrayLike | Tensor],
    activity: ArrayLike | Tensor | Sequence[ArrayLike | Tensor] | None = None,
    *,
    nodes: Sequence[str] = (),
    edges: Sequence[tuple[str, str]] = (),
    align: Align = "none",
    centre: str = "",
    heading: str = "",
    num_steps: int | None = None,
    hop: int = 0,
    validation: Any = 0.2,
    transformations: Sequence[str] = (),
    unit_steps: Sequence[str] = (),
    title: str = "poses in memory",
) -> PoseSequences:
    """Sequences of poses: points of animals, or of anything that moves, at each instant.

    Args:
        points: clips ``(N, T+1, nodes, 2)``, one long recording ``(S, nodes, 2)``, or a list of recordings of any
            length, x to the right and y downwards in any unit; NaN is a point that is missing.
        activity: true speeds, ``(N, T, J)``, ``(S-1, J)`` or a list, exactly 0 where off, if they are known.
        nodes: names of the points; ``1``, ``2``, ... for none.
        edges: pairs of names of points that figures join.
        align: "none"; "start", every clip is moved and turned so that its first pose has the centre at the origin and
            the heading on the positive x axis; "each", every pose is: egocentric, the way that is taken is lost.
        centre, heading: the nodes by which poses are aligned.
        num_steps: T of the clips that are cut; that of ``(N, T+1, nodes, 2)``, and 8 for recordings, for None.
        hop: poses between the starts of two clips; 0 is half a clip.
        validation: share that is held out, or other sequences: points, or points and activity.
        transformations: names of the J transformations.
        unit_steps: what a unit step of each means, in words.
        title: what results call the data.

    Raises:
        UserError: shapes, types, names or values that cannot be used.

    Example:
        >>> walk = np.random.default_rng(0).normal(size=(20, 9, 3, 2)).cumsum(1)
        >>> data = poses(walk, nodes=("tail", "body", "head"), edges=[("tail", "body"), ("body", "head")])
        >>> data.features.names[:3], data.features.skeleton.edges
        (('x of tail', 'y of tail', 'x of body'), ((0, 1), (1, 2)))
    """
    first = points[0] if isinstance(points, list | tuple) and points else points
    shape = _array(first, "points").shape
    require(len(shape) in (3, 4) and 0 not in shape, "points", shape, "(S, nodes, 2) or (N, T+1, nodes, 2)")
    count = shape[-2]
    skeleton = joined(edges, tuple(nodes) or tuple(str(place + 1) for place in range(count)))
    require(len(skeleton.nodes) == count, "nodes", list(nodes), f"{count} names")
    chosen = stance(skeleton, align, centre, heading)
    held = validation
    if not isinstance(validation, int | float):
        both = isinstance(validation, tuple) and len(validation) == 2
        held = _flat(validation[0] if both else validation, "validation", chosen)
        held = (held, validation[1]) if both else held
    made = vectors(
        _flat(points, "points", chosen),
        activity,
        num_steps=num_steps,
        hop=hop,
        validation=held,
        features=chosen.features,
        transformations=transformations,
        unit_steps=unit_steps,
        title=title,
    )
    return PoseSequences(made, chosen)


def _flat(points: Any, source: str, stance: Stance) -> Any:
    """Points as vectors, of the same layout."""
    if isinstance(points, list | tuple) and points and _array(points[0], source).ndim == 3:
        return [_flat(one, f"{source}[{place}]", stance) for place, one in enumerate(points)]
    array, count = _array(points, source), len(stance.skeleton.nodes)
    if array.ndim not in (3, 4) or array.shape[-2:] != (count, 2):
        expected = f"(S, {count}, 2) or (N, T+1, {count}, 2)"
        raise UserError(f"{source}: found shape {array.shape}, expected {expected}")
    values = as_vectors(array.reshape(*array.shape[:-2], -1), source, (2, 3)).unflatten(-1, (-1, 2))
    return stance.vectors(torch.where(values.isnan().any(-1, keepdim=True), torch.nan, values))


def _array(points: Any, source: str) -> NDArray[Any]:
    try:
        return points.numpy(force=True) if isinstance(points, Tensor) else np.asarray(points)
    except (TypeError, ValueError):
        raise UserError(f"{source}: found {type(points).__name__}, expected an array of points") from None
