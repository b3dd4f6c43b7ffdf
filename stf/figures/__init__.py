"""Figures of a trained model: what its fields do, when they act, and how it was trained."""

from __future__ import annotations

from stf.figures.alignment import draw_alignment, draw_confusion
from stf.figures.calibration import draw_reliability
from stf.figures.composition import draw_composition
from stf.figures.compute.observed import Observed, Traversal
from stf.figures.curves import draw_curves
from stf.figures.fields.differential import draw_differential
from stf.figures.fields.helmholtz import draw_helmholtz
from stf.figures.fields.landscape import draw_landscape
from stf.figures.fields.planes import draw_field_planes
from stf.figures.motion import draw_moment, motion_frames
from stf.figures.overview import draw_overview
from stf.figures.raster import draw_raster
from stf.figures.samples import draw_samples
from stf.figures.search import draw_search
from stf.figures.traversals import draw_strip, draw_traversals

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
