"""Isaac3D: a robot arm and an object in a kitchen."""

from __future__ import annotations

from ffrl.data.catalogue import DataSet

NAMES = (
    "robot-x",
    "robot-y",
    "camera-height",
    "object-scale",
    "lighting-intensity",
    "lighting-y",
    "object-color",
    "wall-color",
)
DATA_SET = DataSet("ffrl.data.grids.isaac3d:Isaac3DSequences", (3, 128, 128), NAMES, 3)
