"""Falcor3D, from its folder or rendered: a living room under seven transformations of lamp and camera."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.falcor3d import Falcor3DSequences
from ffrl.data.rendered.sequences import RenderedSequences

GRID = Factors(
    ("furnishing", "lighting_intensity", "lighting_x-dir", "lighting_y-dir", "lighting_z-dir")
    + ("camera_x-pos", "camera_y-pos", "camera_z-pos"),
    (4, 9, 9, 9, 9, 9, 9, 9),
    categories=("furnishing",),
)


class RenderedFalcor3D(RenderedSequences):
    """A living room under seven transformations of lamp and camera; the furnishing stays."""

    name, title = "falcor3d", "rendered Falcor3D"
    scene, grid, columns = "living_room", GRID, tuple(range(1, 8))
    unit_steps = (
        "lamp + 6.3 %",
        "lamp + 30 cm",
        "lamp + 16 cm up",
        "lamp + 23 cm ahead",
        "camera + 14 cm",
        "camera + 7.5 cm up",
        "camera + 14 cm ahead",
    )


def falcor3d_sequences(config: DataConfig, device: object = "cpu") -> Falcor3DSequences | RenderedFalcor3D:
    """Return sequences of the images in the folder ``config.root``, or rendered ones if there is none.

    The ``title`` of the data says which: "Falcor3D" or "rendered Falcor3D".

    Raises:
        UserError: the folder is missing, damaged or in another order, or T is too large.

    Example:
        >>> falcor3d_sequences(DataConfig(name="falcor3d")).title
        'rendered Falcor3D'
    """
    return RenderedFalcor3D(config) if config.root is None else Falcor3DSequences(config)
