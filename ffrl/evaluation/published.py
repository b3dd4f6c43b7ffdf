"""Published equivariance errors, for comparison."""

from __future__ import annotations

from typing import Any, NamedTuple


class Published(NamedTuple):
    """Sums of errors over steps by mode and transformation, where they are printed, and what they sum."""

    sums: dict[str, dict[str, float]]
    where: str
    about: str


MNIST = Published(
    {
        "supervised": {"scaling": 185.42, "rotation": 153.54, "hue": 158.57},
        "weak": {"scaling": 193.84, "rotation": 157.16, "hue": 165.19},
    },
    "poster, Table 1",
    "7-step sums",
)
"""Flow Factorized Representation Learning on MNIST."""
SHAPES3D = Published(
    {
        "supervised": {"floor-hue": 613.29, "wall-hue": 653.45, "object-hue": 605.79, "scale": 599.71},
        "weak": {"floor-hue": 690.84, "wall-hue": 717.74, "object-hue": 681.59, "scale": 653.58},
    },
    "poster, Table 2",
    "taken to be 7-step sums as in Table 1, which the table does not say",
)
"""Flow Factorized Representation Learning on Shapes3D."""


def published(data: dict[str, Any]) -> Published | None:
    """Published sums of errors that compare with an evaluation on ``data``, or None if there are none.

    What is measured on rendered images in place of a data set does not compare.

    Args:
        data: the ``data`` entry of :func:`ffrl.evaluation.evaluate.evaluate`.

    Example:
        >>> published({"name": "mnist", "protocol": "ffrl"}).sums["supervised"]["rotation"]
        153.54
        >>> published({"name": "shapes3d", "title": "rendered Shapes3D", "protocol": "ffrl", "num_steps": 7}) is None
        True
    """
    if (data["name"], data["protocol"]) == ("mnist", "ffrl"):
        return MNIST
    return SHAPES3D if data.get("title") == "Shapes3D" and data["num_steps"] == 7 else None
