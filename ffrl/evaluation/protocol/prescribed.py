"""Held-out images moved along prescribed paths, where frames are a function of image and state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.data.synthesis.activity_process import states
from ffrl.data.synthesis.states import StateSequences, made_from_states

FEW = 6
"""Paths that are named where they are not shown."""

WHY = "paths are prescribed"
"""What needs states here, for messages."""


def moving(data: SequenceData, *acting: int, steps: int | None = None) -> Tensor:
    """Activity in which the transformations ``acting`` run at unit speed for ``steps`` (by default T): ``(N, J)``.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> moving(load(DataConfig()), 0, 2, steps=2).tolist()
        [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]
    """
    activity = torch.zeros(data.num_steps if steps is None else steps, len(data.transformations), device=data.device)
    activity[:, list(acting)] = 1.0
    return activity


def shown(data: SequenceData, split: Split, indices: Tensor, activity: Tensor) -> bool:
    """Tell whether all images can be shown along the path of ``activity (N, J)``; see :func:`prescribed`.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> data = load(DataConfig())
        >>> shown(data, "validation", torch.arange(2), moving(data, 0)), why_not(data)
        (True, 'MNIST shows scale factors of at least 0.05')
    """
    source = made_from_states(data, WHY)
    return bool(source.showable(_walked(source, split, indices, activity)[1]).all())


def why_not(data: SequenceData) -> str:
    """Say which states there are, for paths that lead to others."""
    return f"{data.title} shows {made_from_states(data, WHY).limits}"


def not_shown(missing: Mapping[str, str]) -> list[str]:
    """Say which paths are not shown, and why; of many, how many these are.

    Args:
        missing: reason by path.

    Example:
        >>> not_shown({"hue": "few colours", "scale": "few colours"})
        ['Not shown (hue, scale): few colours.']
    """
    reasons: dict[str, list[str]] = {}
    for name, why in missing.items():
        reasons.setdefault(why, []).append(name)
    return [
        f"Not shown ({', '.join(names) if len(names) <= FEW else f'{len(names)} of them'}): {why}."
        for why, names in reasons.items()
    ]


def prescribed(data: SequenceData, split: Split, indices: Tensor, activity: Tensor) -> SequenceBatch:
    """Sequences of images under one prescribed activity, from where the published sequences start.

    Args:
        data: data whose frames are made from states.
        split: which of its splits.
        indices: ``(B,)``, the images.
        activity: ``(N, J)``, any number of steps.

    Raises:
        UserError: a split that is not there, or states of stored images that cannot be shown.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> data = load(DataConfig())
        >>> prescribed(data, "validation", torch.arange(2), moving(data, 0, 1)).frames.shape
        torch.Size([2, 9, 3, 28, 28])
    """
    source = made_from_states(data, WHY)
    speeds, visited = _walked(source, split, indices, activity)
    frames = source.in_states(split, indices.to(source.device), visited)
    return SequenceBatch(frames.to(data.device), speeds.to(data.device))


def _walked(source: StateSequences, split: Split, indices: Tensor, activity: Tensor) -> tuple[Tensor, Tensor]:
    """Speeds (B, N, J) and states (B, N+1, J)."""
    everyone = activity.to(source.device).expand(len(indices), -1, -1)
    speeds, start = source.placed(split, indices.to(source.device), everyone, None)
    return speeds, states(speeds, start)
