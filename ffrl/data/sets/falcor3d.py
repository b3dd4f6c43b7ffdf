"""Falcor3D: a living room under lights and from cameras that move."""

from __future__ import annotations

from ffrl.data.catalogue import DataSet

NAMES = ("lighting-intensity", "lighting-x", "lighting-y", "lighting-z", "camera-x", "camera-y", "camera-z")
DATA_SET = DataSet("ffrl.data.grids.falcor3d:Falcor3DSequences", (3, 128, 128), NAMES, 4)
