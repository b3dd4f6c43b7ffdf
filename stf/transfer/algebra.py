"""Transfer: the activity of one sequence, edited and combined, applied to other images."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrl.core.errors import UserError
from ffrl.models.interface import SequenceModel

MOST_VALUES = 2**28
"""Largest number of pixel values that are made (1 GiB in float32)."""
BATCH_VALUES = 2**23
"""Pixel values that are made at once."""


def followed_by(first: Tensor, second: Tensor) -> Tensor:
    """Return one activity after the other, ``(T1, C)`` and ``(T2, C)`` -> ``(T1 + T2, C)``.

    Example:
        >>> followed_by(torch.ones(2, 1), torch.zeros(1, 1)).flatten().tolist()
        [1.0, 1.0, 0.0]
    """
    return torch.cat([first, second])


def together_with(first: Tensor, second: Tensor) -> Tensor:
    """Return the sum of two activities step by step; the shorter one rests (speed 0) when it has ended.

    Example:
        >>> together_with(torch.ones(2, 1), torch.ones(1, 1)).flatten().tolist()
        [2.0, 1.0]
    """
    steps = max(len(first), len(second))
    return F.pad(first, (0, 0, 0, steps - len(first))) + F.pad(second, (0, 0, 0, steps - len(second)))


def edit(
    activity: Tensor, columns: int, scale: float = 1.0, reverse: bool = False, without: Collection[int] = ()
) -> Tensor:
    r"""Return an activity with some of its columns switched off, its speeds scaled, and run backwards in time.

    .. math:: g'_t = c \, g_t \quad \text{or, reversed,} \quad g'_t = -c \, g_{T+1-t}

    A reversed activity undoes the original one, step by step; exactly so, up to the integrator, for fields that do not
    depend on time.

    Args:
        activity: ``(T, C)``.
        columns: the number K that columns are counted by: ``without`` holds numbers k < K and switches off the columns
            k, k + K, ..., so both parts of a field under separate control.
        scale: c.
        reverse: whether to run it backwards.
        without: what is switched off.

    Example:
        >>> edit(torch.tensor([[1.0, 5.0], [2.0, 6.0]]), 2, scale=2.0, reverse=True, without=[1]).tolist()
        [[-4.0, 0.0], [-2.0, 0.0]]
    """
    off = [column % columns in without for column in range(activity.shape[-1])]
    edited = torch.where(torch.tensor(off, device=activity.device), 0.0, scale * activity)
    return 0.0 - edited.flip(0) if reverse else edited


@torch.no_grad()
def apply(model: SequenceModel, images: Tensor, activity: Tensor, parts: int = 1) -> Tensor:
    """Return images moved by an activity and decoded: ``(N, C, H, W)``, ``(T, controls)`` -> ``(N, T+1, C, H, W)``.

    Args:
        model: with ``encode``, ``flow`` and ``decode``.
        images: in [0, 1], on the device of the model.
        activity: on the device of the model.
        parts: how many equal parts every step is integrated in; more than one for speeds beyond the trained ones, and
            only for fields that do not depend on time.

    Raises:
        UserError: more frames than fit.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> apply(model, torch.rand(2, 3, 28, 28), torch.ones(4, 3)).shape
        torch.Size([2, 5, 3, 28, 28])
    """
    frames = len(activity) + 1
    values = frames * math.prod(images.shape[1:])
    if len(images) * values > MOST_VALUES:
        expected = f"fewer, at most {MOST_VALUES} pixel values in all"
        raise UserError(f"transfer: found {len(images)} images times {frames} frames to make, expected {expected}")
    speeds = (activity / parts).repeat_interleave(parts, 0)

    def move(some: Tensor) -> Tensor:
        return model.decode(model.flow(model.encode(some), speeds.expand(len(some), -1, -1))[:, ::parts])

    return torch.cat([move(some) for some in images.split(max(1, BATCH_VALUES // (values * parts)))])


def parts_for(model: SequenceModel, scale: float) -> int:
    """Return how many parts the steps of an activity scaled by ``scale`` are integrated in.

    As many as keep every part as slow as the unscaled step; one for fields that depend on time, which would age.

    Example:
        >>> from types import SimpleNamespace
        >>> [parts_for(SimpleNamespace(timed=False), scale) for scale in (0.5, 1.0, -2.5)]
        [1, 1, 3]
    """
    return 1 if model.timed else max(1, math.ceil(abs(scale)))
