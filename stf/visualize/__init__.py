"""Figures of a trained model: what its fields do, when they act, and how it was trained."""

from __future__ import annotations

from stf.visualize.alignment import draw_alignment, draw_confusion
from stf.visualize.calibration import draw_reliability
from stf.visualize.composition import draw_composition
from stf.visualize.curves import draw_curves
from stf.visualize.differential import draw_differential
from stf.visualize.field_planes import draw_field_planes
from stf.visualize.from_run import run
from stf.visualize.gallery import figures
from stf.visualize.helmholtz import draw_helmholtz
from stf.visualize.landscape import draw_landscape
from stf.visualize.material import Observed, Traversal
from stf.visualize.motion import draw_moment, motion_frames
from stf.visualize.overview import draw_overview
from stf.visualize.raster import draw_raster
from stf.visualize.report import render_report
from stf.visualize.samples import draw_samples
from stf.visualize.search import draw_search
from stf.visualize.transfer import draw_transfer
from stf.visualize.traversals import draw_strip, draw_traversals

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
    "draw_transfer",
    "draw_traversals",
    "figures",
    "motion_frames",
    "render_report",
    "run",
]
