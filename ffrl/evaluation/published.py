"""Published equivariance errors, for comparison."""

from __future__ import annotations

from typing import Any

MNIST = {
    "supervised": {"scaling": 185.42, "rotation": 153.54, "hue": 158.57},
    "weak": {"scaling": 193.84, "rotation": 157.16, "hue": 165.19},
}
"""Seven-step sums of Flow Factorized Representation Learning on MNIST (poster, Table 1)."""


def published(data: dict[str, Any]) -> dict[str, dict[str, float]] | None:
    """Published seven-step sums that compare with an evaluation on ``data``, or None if there are none.

    Args:
        data: the ``data`` entry of :func:`ffrl.evaluation.evaluate.evaluate`.

    Example:
        >>> published({"name": "mnist", "protocol": "ffrl"})["supervised"]["rotation"]
        153.54
    """
    return MNIST if (data["name"], data["protocol"]) == ("mnist", "ffrl") else None
