"""Activity raster: what was inferred on mixed held-out sequences against what really happened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from ffrl.evaluation.alignment import speed_agreement
from stf.visualize.lanes import draw_frames, draw_lanes, speed_limits, stride
from stf.visualize.material import Observed
from stf.visualize.roles import FieldRole, Lane, lanes, silence
from stf.visualize.style import FAINT, HEADING, NEUTRAL, TEXT, TRUTH, Page, field_name, field_style, legend

CELL, LABELS, RIGHT, GAP = 0.48, 1.45, 0.78, 0.25
TOP, LANE, PANEL = 1.12, 0.52, 2.2
NARROWEST, WIDEST = 12.0, 8.0
BIN, WIDE_BIN = 0.1, 0.2
"""Widths of the bins of speeds, of the histogram and of the means."""
FEWEST_POINTS, MOST_POINTS = 5, 400
"""Fewest points that a mean is drawn of, and most points that are drawn themselves."""


def draw_raster(
    observed: Observed, roles: Sequence[FieldRole], transformations: Sequence[str], prior: ArrayLike
) -> Figure:
    """Draw frames and activity of a few sequences, and the statistics of many.

    The gids of the pictures are ``sequence-N/T``; the panels are the axes labelled ``speeds``, ``agreement`` and
    ``count``, the lanes those labelled ``lane-L``, sequence by sequence.

    Args:
        observed: frames of the sequences that are drawn, and the activity of all.
        roles: of all fields.
        transformations: names of the J transformations.
        prior: distribution of the number of active fields, ``(K+1,)``.
    """
    drawn = lanes(roles, transformations)
    count, steps = observed.frames.shape[0], observed.frames.shape[1] - 1
    pitch = CELL / stride(steps + 1)
    width = pitch * (steps + 1)
    columns = 1 if count == 1 or LABELS + width + RIGHT > WIDEST else 2
    total = max(columns * (LABELS + width + RIGHT) + 0.3, NARROWEST)
    column, row = (total - 0.3) / columns, CELL + 0.12 + LANE * len(drawn) + 0.25
    rows = -(-count // columns)
    bottom = TOP + rows * row + (rows - 1) * GAP
    page = Page(total, bottom + PANEL + 1.55)
    page.title(
        "Activity raster: which field acts, when, and how fast",
        "Mixed held-out sequences: speeds inferred from the frames alone (colour) and true speeds (black line), in "
        "unit steps per transition.\nWhat is drawn between frames t − 1 and t moves the one to the other; "
        "“off by” is the mean absolute difference over the sequence.",
    )
    limits = speed_limits(drawn, observed.inferred[:count], observed.truth[:count])
    for number, frames in enumerate(observed.frames):
        x = 0.15 + number % columns * column + LABELS
        y = TOP + number // columns * (row + GAP)
        draw_frames(page, frames, x, y, pitch, f"sequence-{number}")
        page.text(x - 0.3, y + CELL / 2, f"sequence {number + 1}", TEXT, ha="right", va="center")
        box = (x, y + CELL + 0.08, width, LANE * len(drawn))
        draw_lanes(page, drawn, observed.inferred[number], observed.truth[number], box, limits)
    y = bottom + 0.62
    page.text(0.2, bottom + 0.2, f"All {len(observed.truth)} held-out sequences", HEADING + 1, weight="bold")
    panel = (total - 0.3) / 3
    titles = ("Speeds where on", "Inferred against true speed (lines: means)", "How many fields act at once")
    draws = (
        lambda axes: draw_speeds(axes, drawn, observed.inferred, observed.truth),
        lambda axes: draw_agreement(axes, drawn, observed.inferred, observed.truth),
        lambda axes: draw_count(axes, observed.inferred, observed.truth, prior),
    )
    for number, (title, draw, label) in enumerate(zip(titles, draws, ("speeds", "agreement", "count"), strict=True)):
        axes = page.axes(0.15 + number * panel + 0.68, y + 0.25, panel - 0.88, PANEL - 0.35, label)
        axes.set_title(title, fontsize=HEADING, loc="left", pad=5)
        draw(axes)
    page.text(0.2, page.height - 0.3, silence(roles), TEXT)
    return page.figure


def draw_speeds(axes: Axes, drawn: Sequence[Lane], inferred: ArrayLike, truth: ArrayLike) -> None:
    """Draw the histogram of inferred speeds other than 0, stacked by field, and the outline of the true ones."""
    stacks = {lane.role.field: _on(lane.speeds(inferred)) for lane in drawn if lane.role is not None}
    true = _on(truth)
    every = np.concatenate([true, *stacks.values(), [0.5, 1.5]])
    edges = np.arange(np.floor(every.min() / BIN), np.ceil(every.max() / BIN) + 1) * BIN
    base = np.zeros(len(edges) - 1)
    for field, speeds in stacks.items():
        look, counts = field_style(field), np.histogram(speeds, edges)[0]
        options = dict(facecolor=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None)
        name = f"{field_name(field)}, mean {speeds.mean():.2f}" if len(speeds) else f"{field_name(field)}, never on"
        axes.stairs(base + counts, edges, baseline=base, fill=True, gid=f"field-{field}", label=name, **options)
        base = base + counts
    name = f"true, mean {true.mean():.2f}" if len(true) else "true, never on"
    outline = np.histogram(true, edges)[0]
    axes.stairs(outline, edges, color=TRUTH, linewidth=1.5, gid="truth", label=name)
    entries, ncols = len(stacks) + 1, 1 if len(stacks) < 6 else 2
    axes.set_ylim(0, 1.12 * max(base.max(), outline.max(), 1) * (1 + 0.09 * -(-entries // ncols)))
    legend(axes, loc="upper right", handlelength=1.2, ncols=ncols, columnspacing=1.0)
    _label(axes, "speed [unit steps per transition]", f"steps per bin of {BIN:g}")


def draw_agreement(axes: Axes, drawn: Sequence[Lane], inferred: ArrayLike, truth: ArrayLike) -> None:
    """Draw inferred against true speeds of matched fields where both are on, their bin means and correlation."""
    handles, largest, least = [], 1.5, 0.0
    for lane in drawn:
        if lane.role is None or lane.row is None:
            continue
        found, true = np.ravel(lane.speeds(inferred)), np.ravel(lane.truth(truth))
        both = (found != 0) & (true != 0)
        look = field_style(lane.role.field)
        places, means = binned_means(true[both], found[both])
        found, true = found[both][:MOST_POINTS], true[both][:MOST_POINTS]
        options = dict(marker=look.marker, color=look.colour, markeredgewidth=0)
        points = dict(markersize=2.2, linestyle="none", alpha=0.35)
        axes.plot(true, found, gid=f"field-{lane.role.field}", **options, **points)
        line = options | dict(markersize=5.5, linestyle=look.line, markeredgewidth=0.7, markeredgecolor="white")
        halo = [withStroke(linewidth=3, foreground="white")]
        axes.plot(places, means, gid=f"mean-{lane.role.field}", zorder=4, path_effects=halo, linewidth=1.6, **line)
        correlation = speed_agreement(lane.speeds(inferred), lane.truth(truth))["speed_correlation"]
        name = f"{lane.transformation}, r = " + ("–" if correlation is None else f"{correlation:.2f}")
        handles.append(Line2D([], [], label=name, **line))
        if len(found):
            largest, least = max(largest, found.max(), true.max()), min(least, found.min(), true.min())
    axes.plot([least, largest], [least, largest], color=TRUTH, linewidth=1)
    handles.append(Line2D([], [], color=TRUTH, linewidth=1, label="equal"))
    margin = 0.05 * (largest - least)
    axes.set(xlim=(least - margin, largest + margin), ylim=(least - margin, largest + margin))
    legend(axes, handles=handles, loc="upper left", handlelength=1)
    _label(axes, "true speed [unit steps]", "inferred speed [unit steps]")


def binned_means(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of x and of y over bins of x that hold enough points.

    Example:
        >>> [means.round(2).tolist() for means in binned_means([0.1] * 9 + [0.5], [1.0] * 9 + [7.0])]
        [[0.1], [1.0]]
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _, bins, counts = np.unique(np.floor(x / WIDE_BIN), return_inverse=True, return_counts=True)
    enough = counts >= FEWEST_POINTS
    return tuple((np.bincount(bins, values, len(counts))[enough] / counts[enough]) for values in (x, y))


def draw_count(axes: Axes, inferred: ArrayLike, truth: ArrayLike, prior: ArrayLike) -> None:
    """Draw the distribution of the number of active fields per step: inferred, true, and under the prior."""
    inferred, truth, prior = np.asarray(inferred), np.asarray(truth), np.asarray(prior)
    found, true = ((speeds != 0).sum(-1).ravel() for speeds in (inferred, truth))
    size = max(found.max(), true.max(), np.flatnonzero(prior > 0.005).max()) + 1
    shares = [np.bincount(counts, minlength=size) / len(counts) for counts in (found, true)]
    places = np.arange(size)
    axes.bar(places - 0.2, shares[0], 0.38, color=NEUTRAL, gid="inferred")
    axes.bar(places + 0.2, shares[1], 0.38, facecolor="white", edgecolor=TRUTH, linewidth=1.3, gid="truth")
    look = dict(color=TRUTH, marker="D", markersize=4, linestyle=":", linewidth=1)
    axes.plot(places[: len(prior)], prior[:size], gid="prior", **look)
    handles = [
        Patch(color=NEUTRAL, label=f"inferred, mean {found.mean():.2f}"),
        Patch(facecolor="white", edgecolor=TRUTH, label=f"true, mean {true.mean():.2f}"),
        Line2D([], [], label=f"prior, mean {prior @ np.arange(len(prior)):.2f}", **look),
    ]
    axes.set(xticks=places, ylim=(0, 1.15 * max(*map(np.max, shares), prior.max())))
    legend(axes, handles=handles, loc="upper right")
    _label(axes, "active fields or transformations per step", "share of steps")


def _on(speeds: ArrayLike) -> NDArray[np.float64]:
    speeds = np.ravel(speeds)
    return speeds[speeds != 0]


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=TEXT, labelpad=2)
    axes.set_ylabel(y, fontsize=TEXT, labelpad=3)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
