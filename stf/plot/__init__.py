"""Figures of a trained model: what its fields do, when they act, and how it was trained."""

from __future__ import annotations

from stf.plot.alignment import draw_alignment, draw_confusion
from stf.plot.calibration import draw_reliability
from stf.plot.composition import draw_composition
from stf.plot.compute.observed import Observed, Traversal
from stf.plot.curves import draw_curves
from stf.plot.fields.differential import draw_differential
from stf.plot.fields.helmholtz import draw_helmholtz
from stf.plot.fields.landscape import draw_landscape
from stf.plot.fields.planes import draw_field_planes
from stf.plot.motion import draw_moment, motion_frames
from stf.plot.overview import draw_overview
from stf.plot.raster import draw_raster
from stf.plot.samples import draw_samples
from stf.plot.search import draw_search
from stf.plot.traversals import draw_strip, draw_traversals

__all__ = [
    "Observed",
    "Traversal",
    "draw_alignment",
    "draw_composition",
    "draw_confusion",
    "draw_curves",
    "draw_differential",
    "draw_field_planes",
    "draw_helmholtz",
    "draw_landscape",
    "draw_moment",
    "draw_overview",
    "draw_raster",
    "draw_reliability",
    "draw_samples",
    "draw_search",
    "draw_strip",
    "draw_traversals",
    "motion_frames",
]
