"""Falcor3D: a living room under moving light and camera (Nie et al., 2020, arXiv:2003.03461; CC BY 4.0)."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.published import PublishedSequences

LABELS = "train-rec.labels"
"""The labels, a ``.npy`` array in spite of the name."""
FACTORS = Factors(
    ("lighting_intensity", "lighting_x-dir", "lighting_y-dir", "lighting_z-dir")
    + ("camera_x-pos", "camera_y-pos", "camera_z-pos"),
    (5, 6, 6, 6, 6, 6, 6),
)
"""The grid of 233,280 images, in the order of the files."""
MOVED = tuple(range(7))
UNIT_STEPS = ("one of 5 levels up",) + 3 * ("one of 6 directions on",) + 3 * ("one of 6 positions on",)


class Falcor3DSequences(PublishedSequences):
    """Sequences of the 128 x 128 version of Falcor3D under seven transformations, T at most 4.

    A grid that ``stf data render`` made is read as well, by the title "rendered Falcor3D".

    Args:
        config: ``root`` is the folder with ``images/000000.png`` ... ``images/233279.png`` and ``train-rec.labels``.
        device: ignored: batches are made on the CPU.
        factors: the grid, a smaller one in tests.

    Raises:
        UserError: there is no root, labels are missing or in another order, or T is too large. Pictures are looked at
            when they are needed.

    Example:
        >>> Falcor3DSequences(DataConfig(name="falcor3d", num_steps=4))
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: data.root: found None, expected the folder of Falcor3D (stf data fetch falcor3d)
    """

    name, title, labels, columns = "falcor3d", "Falcor3D", LABELS, MOVED
    unit_steps = UNIT_STEPS

    def __init__(self, config: DataConfig, device: object = "cpu", factors: Factors = FACTORS) -> None:
        super().__init__(config, factors)
