"""Isaac3D: a robot arm in a kitchen (Nie et al., 2020, arXiv:2003.03461; CC BY 4.0)."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.published import PublishedSequences

LABELS = "labels.npy"
FACTORS = Factors(
    ("object_shape", "robot_x-move", "robot_y-move", "camera_height", "object_scale")
    + ("lighting_intensity", "lighting_y-dir", "object_color", "wall_color"),
    (3, 8, 5, 4, 4, 4, 6, 4, 4),
    categories=("object_shape", "object_color", "wall_color"),
)
"""The grid of 737,280 images, in the order of the files; the data set's own description lists the factors in another
order beside the bases of this one."""
MOVED = tuple(range(1, 9))
UNIT_STEPS = (
    "one of 8 positions on",
    "one of 5 positions on",
    "one of 4 heights up",
    "one of 4 sizes up",
    "one of 4 levels up",
    "one of 6 directions on",
    "the next of 4 colours",
    "the next of 4 colours",
)


class Isaac3DSequences(PublishedSequences):
    """Sequences of the 128 x 128 version of Isaac3D under eight transformations, T at most 3; the shape stays.

    A grid that ``stf data render`` made is read as well, by the title "rendered Isaac3D".

    Args:
        config: ``root`` is the folder with ``images/000000.png`` ... ``images/737279.png`` and ``labels.npy``.
        device: ignored: batches are made on the CPU.
        factors: the grid, a smaller one in tests.

    Raises:
        UserError: there is no root, labels are missing or in another order, or T is too large. Pictures are looked at
            when they are needed.

    Example:
        >>> Isaac3DSequences(DataConfig(name="isaac3d", num_steps=3))
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: data.root: found None, expected the folder of Isaac3D (stf data fetch isaac3d)
    """

    name, title, labels, columns = "isaac3d", "Isaac3D", LABELS, MOVED
    unit_steps = UNIT_STEPS

    def __init__(self, config: DataConfig, device: object = "cpu", factors: Factors = FACTORS) -> None:
        super().__init__(config, factors)
