"""Shapes3D: an object in a room, from the published file or rendered."""

from __future__ import annotations

from ffrl.data.catalogue import DataSet

NAMES = ("floor-hue", "wall-hue", "object-hue", "scale", "orientation")
DATA_SET = DataSet("ffrl.data.shapes3d.sequences:shapes3d_sequences", (3, 64, 64), NAMES, 7)
