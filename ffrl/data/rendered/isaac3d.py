"""Isaac3D, from its folder or rendered: a robot arm that holds an object in a kitchen, under eight transformations."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.isaac3d import Isaac3DSequences
from ffrl.data.rendered.sequences import RenderedSequences

GRID = Factors(
    ("object_shape", "robot_x-move", "robot_y-move", "camera_height", "object_scale")
    + ("lighting_intensity", "lighting_y-dir", "object_color", "wall_color"),
    (4, 9, 9, 9, 9, 9, 9, 10, 10),
    circles=("object_color", "wall_color"),
    categories=("object_shape",),
)


class RenderedIsaac3D(RenderedSequences):
    """A robot arm that holds an object in a kitchen, under eight transformations; the shape of the object stays."""

    name, title = "isaac3d", "rendered Isaac3D"
    scene, grid, columns = "kitchen", GRID, tuple(range(1, 9))
    unit_steps = (
        "hand + 14 cm",
        "hand + 8.8 cm",
        "camera + 10 cm",
        "half a side + 2.6 cm",
        "light + 5.6 %",
        "light + 0.24 sideways",
        "hue + 36°",
        "hue + 36°",
    )


def isaac3d_sequences(config: DataConfig, device: object = "cpu") -> Isaac3DSequences | RenderedIsaac3D:
    """Return sequences of the images in the folder ``config.root``, or rendered ones if there is none.

    The ``title`` of the data says which: "Isaac3D" or "rendered Isaac3D".

    Raises:
        UserError: the folder is missing, damaged or in another order, or T is too large.

    Example:
        >>> isaac3d_sequences(DataConfig(name="isaac3d")).title
        'rendered Isaac3D'
    """
    return RenderedIsaac3D(config) if config.root is None else Isaac3DSequences(config)
