"""Figures of a trained model: what its fields do, when they act, and how it was trained.

Functions ``plot_NAME(numbers, ax=None)`` draw one panel into the axes of any figure, of any backend, and return them;
without ``ax`` they make a figure, which a notebook shows. They take arrays and tensors alone. Functions ``draw_NAME``
return the whole figures that a report is made of. Neither changes any global state, and equal numbers give equal bytes.

Example:
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> left, right = Figure(figsize=(9, 3), layout="constrained").subplots(1, 2)
    >>> frames = np.random.default_rng(0).random((6, 1, 12, 20))     # T + 1 images
    >>> speeds = [[0, 1], [0, 1], [1, 1], [1, 0], [0, 0]]            # or model.activity(frames[None])
    >>> ax = plot_raster(speeds, frames, ["shift", "fade"], left)
    >>> ax = plot_speeds(speeds, right)
    >>> ax.get_xlabel()
    'speed [1: as the prior expects]'
"""

from __future__ import annotations

from stf.plot.alignment import draw_alignment, draw_confusion, plot_alignment
from stf.plot.calibration import draw_reliability, plot_reliability, plot_speed_errors
from stf.plot.composition import draw_composition, plot_density
from stf.plot.compute.observed import Observed, Traversal
from stf.plot.curves import draw_curves, plot_curve
from stf.plot.drawing.activity_rows import plot_frames, plot_image
from stf.plot.features import draw_feature_sequences, draw_features_alone, plot_feature
from stf.plot.fields.differential import draw_differential, plot_map
from stf.plot.fields.helmholtz import draw_helmholtz, plot_norms, plot_shares
from stf.plot.fields.landscape import draw_landscape, plot_landscape
from stf.plot.fields.planes import draw_field_planes, plot_field
from stf.plot.motion import draw_moment, motion_frames
from stf.plot.overview import draw_overview
from stf.plot.raster import draw_raster, plot_agreement, plot_count, plot_raster, plot_speeds, plot_usage
from stf.plot.samples import draw_samples
from stf.plot.search import draw_search, plot_evidence, plot_search
from stf.plot.traversals import draw_strip, draw_traversals, plot_errors

__all__ = [
    "Observed",
    "Traversal",
    "draw_alignment",
    "draw_composition",
    "draw_confusion",
    "draw_curves",
    "draw_differential",
    "draw_feature_sequences",
    "draw_features_alone",
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
    "plot_agreement",
    "plot_alignment",
    "plot_count",
    "plot_curve",
    "plot_density",
    "plot_errors",
    "plot_evidence",
    "plot_feature",
    "plot_field",
    "plot_frames",
    "plot_image",
    "plot_landscape",
    "plot_map",
    "plot_norms",
    "plot_raster",
    "plot_reliability",
    "plot_search",
    "plot_shares",
    "plot_speed_errors",
    "plot_speeds",
    "plot_usage",
]
