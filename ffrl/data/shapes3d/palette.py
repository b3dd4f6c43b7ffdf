"""The colours of Shapes3D: saturated hues in steps of a tenth of the colour circle, and one pale blue sky."""

from __future__ import annotations

from torch import Tensor

from ffrl.data.digits import render as transform

SKY = (153 / 255, 226 / 255, 249 / 255)
"""Red, green and blue of what shows above the walls."""


def hue_to_rgb(digits: Tensor) -> Tensor:
    """Return fully saturated, full-value colours, ``(..., 3)`` in [0, 1], of hue digits ``(...)``.

    Digit d is the hue angle 36 d degrees, see :func:`ffrl.data.digits.render.hue_to_rgb`. Any real digit is allowed;
    the period is 10.

    Example:
        >>> import torch
        >>> hue_to_rgb(torch.tensor([0.0, 5.0, 10.0])).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return transform.hue_to_rgb(36 * digits)
