"""Frames as changes from a static background, and what a model has to know of that."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

UNCHANGED = 0.5
"""Value of a pixel that is that of the background."""


class Static(NamedTuple):
    """What is static in recordings whose frames are changes.

    Attributes:
        spread: root mean square of the change of each pixel in the training data, in units of pixels, ``(C, H, W)``.
        background: the one background ``(C, H, W)`` of all recordings; None where there are several.
    """

    spread: Tensor
    background: Tensor | None = None


def changes(frames: Tensor, background: Tensor) -> Tensor:
    r"""Return frames as changes from a background, :math:`(1 + x - b) / 2`: in [0, 1], and 1/2 where nothing changes.

    Args:
        frames: in [0, 1], ``(..., C, H, W)``.
        background: in [0, 1], of a shape that goes with it.

    Example:
        >>> import torch
        >>> changes(torch.tensor([[[0.25, 1.0]]]), torch.tensor([[[0.25, 0.5]]]))
        tensor([[[0.5000, 0.7500]]])
    """
    return (1 + frames - background) / 2


def restored(found: Tensor, background: Tensor) -> Tensor:
    """Return the frames that changes are from a background: the inverse of :func:`changes`, kept in [0, 1].

    Example:
        >>> import torch
        >>> restored(torch.tensor([[[0.5, 0.75]]]), torch.tensor([[[0.25, 0.5]]]))
        tensor([[[0.2500, 1.0000]]])
    """
    return (2 * found - 1 + background).clamp(0, 1)
