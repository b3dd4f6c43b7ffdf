"""The colours of Shapes3D: saturated hues in steps of a tenth of the colour circle, and one pale blue sky."""

from __future__ import annotations

import torch
from torch import Tensor

SKY = (153 / 255, 226 / 255, 249 / 255)
"""Red, green and blue of what shows above the walls."""


def hue_to_rgb(digits: Tensor) -> Tensor:
    """Return fully saturated, full-value colours, ``(..., 3)`` in [0, 1], of hue digits ``(...)``.

    Digit d is the hue angle 36 d degrees: c = clamp(|(0.6 d + k) mod 6 − 3| − 1, 0, 1) with k = 0, 4, 2 for red,
    green, blue. Any real digit is allowed; the period is 10.

    Example:
        >>> hue_to_rgb(torch.tensor([0.0, 5.0, 10.0])).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    turned = torch.stack([digits * 0.6, digits * 0.6 + 4, digits * 0.6 + 2], dim=-1)
    return ((torch.remainder(turned, 6.0) - 3).abs() - 1).clamp(0, 1)
