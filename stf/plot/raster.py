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

from ffrl.evaluation.measures.alignment import speed_agreement
from ffrl.evaluation.measures.usage import usage
from stf.plot.compute.certainty import Certainty
from stf.plot.compute.numbers import percent
from stf.plot.compute.observed import Observed
from stf.plot.compute.roles import FieldRole, Lane, lanes, silence
from stf.plot.drawing.activity_rows import draw_frames, draw_lanes, speed_limits, stride
from stf.plot.drawing.certainty import PALER, error_bars, opacity
from stf.plot.drawing.style import (
    FAINT,
    HEADING,
    NEUTRAL,
    SMALL,
    TEXT,
    TRUTH,
    Page,
    enlarged,
    field_name,
    field_style,
    legend,
)

CELL, LABELS, RIGHT, GAP = 0.48, 1.45, 0.78, 0.25
TOP, LANE, PANEL = 1.12, 0.52, 2.2
FEW, NARROW, HIGH = 6, 0.42, 3.2
"""Lanes up to which they are few; heights of a lane and of a panel where there are more."""
ENTRY = 0.165
"""Height of a line of a legend."""
NARROWEST, WIDEST = 12.0, 8.6
BIN, WIDE_BIN = 0.1, 0.2
"""Widths of the bins of speeds, of the histogram and of the means."""
FEWEST_POINTS, MOST_POINTS = 5, 400
"""Fewest points that a mean is drawn of, and most points that are drawn themselves."""


def draw_raster(
    observed: Observed, roles: Sequence[FieldRole], transformations: Sequence[str], prior: ArrayLike
) -> Figure:
    """Draw frames and activity of a few sequences, and the statistics of many.

    The gids of the pictures are ``sequence-N/T``; the panels are the axes labelled ``speeds``, ``agreement`` (``usage``
    where no transformations are known) and ``count``, the lanes those labelled ``lane-L``, sequence by sequence.

    Args:
        observed: frames of the sequences that are drawn, and the activity of all.
        roles: of all fields.
        transformations: names of the J transformations, none if they are not known.
        prior: distribution of the number of active fields, ``(K+1,)``.
    """
    drawn, known = lanes(roles, transformations), len(transformations) > 0
    count, steps = observed.frames.shape[0], observed.frames.shape[1] - 1
    cell, lane = CELL * enlarged(observed.frames.shape[-1]), LANE if len(drawn) <= FEW else NARROW
    pitch = cell / stride(steps + 1)
    width = pitch * (steps + 1)
    columns = 1 if count == 1 or LABELS + width + RIGHT > WIDEST else 2
    total = max(columns * (LABELS + width + RIGHT) + 0.3, NARROWEST)
    column, row = (total - 0.3) / columns, cell + 0.12 + lane * max(1, len(drawn)) + 0.25
    rows = -(-count // columns)
    bottom = TOP + rows * row + (rows - 1) * GAP
    panel_height = PANEL if len(drawn) <= FEW else HIGH
    page = Page(total, bottom + panel_height + 1.55)
    page.title(
        "Activity raster: which field acts, when, and how fast",
        "Mixed held-out sequences: speeds inferred from the frames alone (colour) and true speeds (black line), in "
        "unit steps per transition.\nWhat is drawn between frames t − 1 and t moves the one to the other; "
        "“off by” is the mean absolute difference over the sequence."
        if known
        else "Held-out sequences: speeds of the fields, inferred from the frames alone (1: as the prior expects), "
        "and the share of all steps at which they are on.\n"
        "What is drawn between frames t − 1 and t moves the one to the other. What really happened is not known.",
    )
    sure = observed.certainty
    if sure is not None:
        page.text(total - 0.2, 0.22, PALER, TEXT, ha="right")
    shown = None if sure is None else sure[:count]
    limits = speed_limits(drawn, observed.inferred[:count], observed.truth[:count], shown)
    for number, frames in enumerate(observed.frames):
        x = 0.15 + number % columns * column + LABELS
        y = TOP + number // columns * (row + GAP)
        draw_frames(page, frames, x, y, pitch, f"sequence-{number}")
        page.text(x - 0.3, y + cell / 2, f"sequence {number + 1}", TEXT, ha="right", va="center")
        box = (x, y + cell + 0.08, width, lane * len(drawn))
        if drawn:
            one = None if sure is None else sure[number]
            draw_lanes(page, drawn, observed.inferred[number], observed.truth[number], box, limits, one)
        else:
            page.text(x, y + cell + 0.2, "no field acts", TEXT)
    y = bottom + 0.62
    page.text(0.2, bottom + 0.2, f"All {len(observed.truth)} held-out sequences", HEADING + 1, weight="bold")
    panel = (total - 0.3) / 3
    inferred, truth = observed.inferred, observed.truth
    panels = {
        "speeds": ("Speeds where on", lambda axes: draw_speeds(axes, drawn, inferred, truth)),
        "agreement": (
            f"Inferred against true speed ({'lines: means' if sure is None else 'means ± s.d.'})",
            lambda axes: draw_agreement(axes, drawn, inferred, truth, sure),
        ),
        "usage": ("How often each field acts", lambda axes: draw_usage(axes, drawn, inferred)),
        "count": ("How many fields act at once", lambda axes: draw_count(axes, inferred, truth, prior)),
    }
    del panels["usage" if known else "agreement"]
    for number, (label, (title, draw)) in enumerate(panels.items()):
        axes = page.axes(0.15 + number * panel + 0.68, y + 0.25, panel - 0.88, panel_height - 0.35, label)
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
    if np.shape(truth)[-1]:
        axes.stairs(outline, edges, color=TRUTH, linewidth=1.5, gid="truth", label=name)
    entries, ncols = len(stacks) + 1, 1 if len(stacks) < 6 else 2
    axes.set_ylim(0, 1.12 * max(base.max(), outline.max(), 1) / _free(axes, -(-entries // ncols)))
    legend(axes, loc="upper right", handlelength=1.2, ncols=ncols, columnspacing=1.0)
    unit = "unit steps per transition" if np.shape(truth)[-1] else "1: as the prior expects"
    _label(axes, f"speed [{unit}]", f"steps per bin of {BIN:g}")


def draw_agreement(
    axes: Axes, drawn: Sequence[Lane], inferred: ArrayLike, truth: ArrayLike, certainty: Certainty | None = None
) -> None:
    """Draw inferred against true speeds of matched fields where both are on, their bin means and correlation.

    Where it is known how sure the inferred speeds are, points are as opaque as the field is likely on, and bin means
    have bars of the mean deviation, with the gids ``deviation-K``.
    """
    handles, largest, least = [], 1.5, 0.0
    for lane in drawn:
        if lane.role is None or lane.row is None:
            continue
        found, true = np.ravel(lane.speeds(inferred)), np.ravel(lane.truth(truth))
        both = (found != 0) & (true != 0)
        look = field_style(lane.role.field)
        places, means = binned_means(true[both], found[both])
        if certainty is not None:
            one = (
                np.ravel(values[..., lane.role.field])[both] for values in (certainty.probability, certainty.deviation)
            )
            alpha, spread = opacity(next(one))[:MOST_POINTS], binned_means(true[both], next(one))[1]
            error_bars(axes, places, means, spread, f"deviation-{lane.role.field}", cap=2.2)
        found, true = found[both][:MOST_POINTS], true[both][:MOST_POINTS]
        options = dict(marker=look.marker, color=look.colour, markeredgewidth=0)
        points = dict(markersize=2.2, linestyle="none", alpha=0.35)
        if certainty is None:
            axes.plot(true, found, gid=f"field-{lane.role.field}", **options, **points)
        else:
            look_of = dict(s=2.2**2, color=look.colour, marker=look.marker, linewidths=0)
            axes.scatter(true, found, gid=f"field-{lane.role.field}", alpha=0.7 * alpha, **look_of)
        line = options | dict(markersize=5.5, linestyle=look.line, markeredgewidth=0.7, markeredgecolor="white")
        halo = [withStroke(linewidth=3, foreground="white")]
        axes.plot(places, means, gid=f"mean-{lane.role.field}", zorder=4, path_effects=halo, linewidth=1.6, **line)
        correlation = speed_agreement(lane.speeds(inferred), lane.truth(truth))["speed_correlation"]
        name = lane.transformation if len(drawn) <= FEW else field_name(lane.role.field)
        name = f"{name}, r = " + ("–" if correlation is None else f"{correlation:.2f}")
        handles.append(Line2D([], [], label=name, **line))
        if len(found):
            largest, least = max(largest, found.max(), true.max()), min(least, found.min(), true.min())
    axes.plot([least, largest], [least, largest], color=TRUTH, linewidth=1)
    handles.append(Line2D([], [], color=TRUTH, linewidth=1, label="equal"))
    margin = 0.05 * (largest - least)
    ncols = 1 if len(handles) <= FEW + 1 else 2
    span = (largest - least + 2 * margin) / (1 if ncols == 1 else _free(axes, -(-len(handles) // ncols)))
    axes.set(xlim=(least - margin, largest + margin), ylim=(least - margin, least - margin + span))
    legend(axes, handles=handles, loc="upper left", handlelength=1, ncols=ncols, columnspacing=1.0)
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
    known = truth.shape[-1] > 0
    axes.bar(places - 0.2 * known, shares[0], 0.38, color=NEUTRAL, gid="inferred")
    look = dict(color=TRUTH, marker="D", markersize=4, linestyle=":", linewidth=1)
    axes.plot(places[: len(prior)], prior[:size], gid="prior", **look)
    handles = [
        Patch(color=NEUTRAL, label=f"inferred, mean {found.mean():.2f}"),
        Line2D([], [], label=f"prior, mean {prior @ np.arange(len(prior)):.2f}", **look),
    ]
    if known:
        axes.bar(places + 0.2, shares[1], 0.38, facecolor="white", edgecolor=TRUTH, linewidth=1.3, gid="truth")
        handles.insert(1, Patch(facecolor="white", edgecolor=TRUTH, label=f"true, mean {true.mean():.2f}"))
    tops = [shares[0].max(), prior.max(), *([shares[1].max()] if known else [])]
    axes.set(xticks=places, ylim=(0, 1.15 * max(tops)))
    legend(axes, handles=handles, loc="upper right")
    _label(axes, f"active fields {'or transformations ' if known else ''}per step", "share of steps")


def _free(axes: Axes, entries: int) -> float:
    """Share of the height that a legend of so many lines leaves."""
    return max(0.3, 1 - ENTRY * entries / (axes.get_window_extent().height / axes.figure.dpi))


def draw_usage(axes: Axes, drawn: Sequence[Lane], inferred: ArrayLike) -> None:
    """Draw the share of the steps at which each field acts, and how likely it is to go on acting; gids ``field-K``."""
    fields = [lane.role.field for lane in drawn if lane.role is not None]
    every = usage(np.reshape(inferred, (-1, *np.shape(inferred)[-2:])))
    for place, field in enumerate(fields):
        look, one = field_style(field), every[field]
        bar = axes.barh(
            place, one["on"], 0.7, color=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None
        )
        bar[0].set_gid(f"field-{field}")
        stays = "" if one["persistence"] is None else f", stays on {percent(one['persistence'])}"
        axes.text(one["on"], place, f" {percent(one['on'])}{stays}", fontsize=SMALL, va="center")
    top = max([every[field]["on"] for field in fields], default=1.0) or 1.0
    axes.set(xlim=(0, 1.9 * top), ylim=(max(len(fields), 1) - 0.4, -0.6), yticks=range(len(fields)))
    axes.set_yticklabels([field_name(field) for field in fields], fontsize=SMALL)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 1.0001 and tick <= 1.9 * top])
    axes.set_xlabel("share of steps", fontsize=TEXT, labelpad=2)


def _on(speeds: ArrayLike) -> NDArray[np.float64]:
    speeds = np.ravel(speeds)
    return speeds[speeds != 0]


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=TEXT, labelpad=2)
    axes.set_ylabel(y, fontsize=TEXT, labelpad=3)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
