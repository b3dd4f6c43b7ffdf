"""Colours and directions that scenes are set with; numpy alone, so that processes that render start quickly."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray


def between(low: float, high: float, share: float) -> float:
    """Return low + share (high - low).

    Example:
        >>> between(1.0, 3.0, 0.25)
        1.5
    """
    return low + share * (high - low)


def hue(turns: float, saturation: float, value: float) -> tuple[float, float, float, float]:
    """Return the opaque colour (red, green, blue, 1) of a hue in turns.

    Example:
        >>> hue(1.0, 1.0, 1.0)
        (1.0, 0.0, 0.0, 1.0)
    """
    return (*colorsys.hsv_to_rgb(turns % 1.0, saturation, value), 1.0)


def from_z(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quaternion (w, x, y, z) that turns the z axis into a direction ``(3,)`` other than -z.

    Example:
        >>> from_z(np.array([0.0, 0.0, 2.0])).tolist()
        [1.0, 0.0, 0.0, 0.0]
    """
    x, y, z = direction / np.linalg.norm(direction)
    quaternion = np.array([1.0 + z, 0.0 - y, x, 0.0])
    return quaternion / np.linalg.norm(quaternion)


def looking(towards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quaternion of a camera that looks in a direction ``(3,)``, which is not upright, with z up.

    Cameras look along their -z axis, with x to the right and y up.

    Example:
        >>> looking(np.array([0.0, 1.0, 0.0])).round(4).tolist()
        [0.7071, 0.7071, 0.0, 0.0]
    """
    x, y, z = towards / np.linalg.norm(towards)
    pitch, yaw = np.arctan2(z, np.hypot(x, y)) + np.pi / 2, np.arctan2(0.0 - x, y)
    cp, sp, cy, sy = np.cos(pitch / 2), np.sin(pitch / 2), np.cos(yaw / 2), np.sin(yaw / 2)
    return np.array([cy * cp, cy * sp, sy * sp, sy * cp])
