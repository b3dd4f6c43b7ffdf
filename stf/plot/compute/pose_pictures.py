"""Poses as small images of their skeletons."""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor

from ffrl.data.features import Features

SIDE = 56
"""Pixels a side."""
REACH = 3.0
"""Standard deviations around the mean of every coordinate that have to be within an image."""
EDGE, DOT, MARGIN = 0.75, 1.7, 2.5
"""Half the width of a line and the radius of a dot, in pixels, and what is left free at the sides."""
LINE = (0.55, 0.55, 0.55)


def pose_pictures(frames: Tensor, features: Features) -> Tensor:
    """Images of poses: a dot for every point, in the colour that it has in all images, and lines between joined ones.

    What an image shows is the same in all of them, and follows from mean and scale of the features: they are in the
    same place and of the same size.

    Args:
        frames: ``(..., F)`` in their own units, NaN where a coordinate is missing; its point is not drawn then.
        features: with their skeleton.

    Returns:
        ``(..., 3, SIDE, SIDE)`` in [0, 1], y downwards.

    Example:
        >>> from ffrl.data.features import Feature
        >>> from ffrl.data.skeleton import Skeleton
        >>> skeleton = Skeleton(("thorax", "head"), ((0, 1),))
        >>> features = Features(tuple(Feature(name) for name in skeleton.features), skeleton=skeleton)
        >>> pose_pictures(torch.zeros(4, 9, 4), features).shape
        torch.Size([4, 9, 3, 56, 56])
    """
    skeleton = features.skeleton
    assert skeleton is not None
    places = _on_image(frames, features)
    image = torch.ones(*frames.shape[:-1], 3, SIDE, SIDE, device=frames.device)
    level = torch.arange(SIDE, device=frames.device) + 0.5
    grid = torch.stack(torch.meshgrid(level, level, indexing="xy"), -1)
    for first, last in skeleton.edges:
        image = _painted(image, _to_segment(grid, places[..., first, :], places[..., last, :]) - EDGE, LINE)
    for node in range(len(skeleton.nodes)):
        colour = colorsys.hls_to_rgb(0.75 * node / len(skeleton.nodes), 0.42, 0.85)
        image = _painted(image, _to_segment(grid, places[..., node, :], places[..., node, :]) - DOT, colour)
    return image


def _on_image(frames: Tensor, features: Features) -> Tensor:
    """Points in pixels, ``(..., nodes, 2)``, NaN where one is missing."""
    skeleton = features.skeleton
    assert skeleton is not None
    names = features.names
    mean, scale = (torch.tensor(values, dtype=torch.float64) for values in zip(*_sizes(features), strict=True))
    middle, around = skeleton.points(mean, names), REACH * skeleton.points(scale, names)
    low, high = (middle - around).amin(0), (middle + around).amax(0)
    unit = (SIDE - 2 * MARGIN) / (high - low).amax().clamp(min=1e-12)
    points = skeleton.points(frames.double(), names)
    centred = (points - ((low + high) / 2).to(points)) * unit.to(points) + SIDE / 2
    return torch.where(centred.isnan().any(-1, keepdim=True), torch.nan, centred).float()


def _sizes(features: Features) -> list[tuple[float, float]]:
    return [(feature.mean, feature.scale) for feature in features.each]


def _to_segment(grid: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Distance of pixels ``(S, S, 2)`` to segments ``(..., 2)``, ``(..., S, S)``; far where an end is missing."""
    first, along = first[..., None, None, :], (last - first)[..., None, None, :]
    length = along.square().sum(-1, keepdim=True).clamp(min=1e-12)
    share = ((grid - first) * along).sum(-1, keepdim=True).div(length).clamp(0, 1)
    return torch.linalg.vector_norm(grid - first - share * along, dim=-1).nan_to_num(nan=1e6)


def _painted(image: Tensor, outside: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """Images with a shape in one colour, from how many pixels outside of it a pixel is."""
    cover = (0.5 - outside).clamp(0, 1).unsqueeze(-3)
    paint = torch.tensor(colour, device=image.device)[:, None, None]
    return image + cover * (paint - image)
