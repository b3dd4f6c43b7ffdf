"""Activity raster: what was inferred on mixed held-out sequences against what really happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ffrl.evaluation.matching import speed_agreement
from ffrl.evaluation.measures.usage import usage
from ffrl.models.interface import SpeedPosterior
from stf.inference.posterior import ON
from stf.plot.compute.certainty import Certainty
from stf.plot.compute.numbers import percent
from stf.plot.compute.observed import Observed
from stf.plot.compute.roles import ActivityRow, FieldRole, activity_rows, silence
from stf.plot.drawing.activity_rows import place_frames, plot_frames, plot_rows, speed_limits, stride
from stf.plot.drawing.certainty import PALER, error_bars, opacity
from stf.plot.drawing.page import Page, height_of
from stf.plot.drawing.panel import array, label, panel
from stf.plot.drawing.style import (
    HEADING,
    NEUTRAL,
    SMALL,
    TEXT,
    TRUTH,
    enlarged,
    field_name,
    field_style,
    legend,
)

CELL, LABELS, RIGHT, GAP = 0.48, 1.45, 0.78, 0.25
TOP, ROW, PANEL = 1.12, 0.52, 2.2
FEW, NARROW, HIGH = 6, 0.42, 3.2
"""Rows up to which they are few; heights of a row and of a panel where there are more."""
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
    where no transformations are known) and ``count``, the rows those labelled ``row-L``, sequence by sequence.

    Args:
        observed: frames of the sequences that are drawn, and the activity of all.
        roles: of all fields.
        transformations: names of the J transformations, none if they are not known.
        prior: distribution of the number of active fields, ``(K+1,)``.
    """
    drawn, known = activity_rows(roles, transformations), len(transformations) > 0
    count, steps = observed.frames.shape[0], observed.frames.shape[1] - 1
    cell, high = CELL * enlarged(observed.frames.shape[-1]), ROW if len(drawn) <= FEW else NARROW
    pitch, cell = cell / stride(steps + 1), height_of(observed.frames, cell)
    width = pitch * (steps + 1)
    columns = 1 if count == 1 or LABELS + width + RIGHT > WIDEST else 2
    total = max(columns * (LABELS + width + RIGHT) + 0.3, NARROWEST)
    column, row = (total - 0.3) / columns, cell + 0.12 + high * max(1, len(drawn)) + 0.25
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
        place_frames(page, frames, x, y, pitch, f"sequence-{number}", tight=True)
        page.text(x - 0.3, y + cell / 2, f"sequence {number + 1}", TEXT, ha="right", va="center")
        box = (x, y + cell + 0.08, width, high * len(drawn))
        if drawn:
            one = None if sure is None else sure[number]
            both = observed.inferred[number], observed.truth[number]
            plot_rows(drawn, *both, page.axes(*box), limits=limits, certainty=one)
        else:
            page.text(x, y + cell + 0.2, "no field acts", TEXT)
    y = bottom + 0.62
    page.text(0.2, bottom + 0.2, f"All {len(observed.truth)} held-out sequences", HEADING + 1, weight="bold")
    panel_width = (total - 0.3) / 3
    inferred, truth = observed.inferred, observed.truth
    for number, name in enumerate(("speeds", "agreement" if known else "usage", "count")):
        ax = page.axes(0.15 + number * panel_width + 0.68, y + 0.25, panel_width - 0.88, panel_height - 0.35, name)
        if name == "speeds":
            plot_speeds(inferred, ax, truth=truth, rows=drawn)
        elif name == "agreement":
            plot_agreement(inferred, truth, ax, rows=drawn, certainty=sure)
        elif name == "usage":
            plot_usage(inferred, ax, fields=[row.role.field for row in drawn if row.role is not None])
        else:
            plot_count(inferred, ax, truth=truth, prior=prior)
    page.text(0.2, page.height - 0.3, silence(roles), TEXT)
    return page.figure


def plot_raster(
    activity: SpeedPosterior | ArrayLike | Tensor,
    frames: ArrayLike | Tensor | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    truth: ArrayLike | Tensor | None = None,
) -> Axes:
    """Draw which fields act in one sequence, when, and how fast: frames above, a row of speeds for each field below.

    Args:
        activity: what :meth:`model.activity` returns for one sequence, with ``probability``, ``speed`` and
            ``deviation``, drawn paler where less sure; or speeds alone, ``(T, K)`` or ``(1, T, K)``.
        frames: of the sequence, ``(T+1, C, H, W)`` or ``(1, T+1, C, H, W)``.
        names: of the K fields, such as what they turned out to do.
        ax: where; axes of a new figure for None.
        truth: true speeds of what the fields are named for, ``(T, K)``, drawn as black lines.

    Raises:
        ValueError: there is more than one sequence.

    Example:
        >>> ax = plot_raster([[0.0, 1.0], [0.5, 1.0]], np.zeros((3, 1, 12, 20)), ["scaling", "hue"])
        >>> [row.get_label() for row in ax.child_axes[1].child_axes]
        ['row-0', 'row-1']
    """
    sure = None
    if hasattr(activity, "probability"):
        found = cast(SpeedPosterior, activity)
        sure = Certainty(*(_one(part, 2, "activity") for part in (found.probability, found.deviation)))
        speeds = np.where(sure.probability > ON, _one(found.speed, 2, "activity"), 0.0)
    else:
        speeds = _one(cast(ArrayLike, activity), 2, "activity")
    steps, fields = speeds.shape
    truth = np.zeros((steps, 0)) if truth is None else _one(truth, 2, "truth")
    drawn = rows_of(fields, truth.shape[1], names)
    ax = panel(ax, 6, 0.6 * fields + (1.0 if frames is not None else 0.3))
    ax.set_axis_off()
    top = 0.0
    if frames is not None:
        top = 1 / (1 + 0.75 * fields)
        plot_frames(_one(frames, 4, "frames"), ax.inset_axes((0, 1 - top, 1, top)))
    plot_rows(drawn, speeds, truth, ax.inset_axes((0, 0, 1, 1 - 1.15 * top)), certainty=sure, named=names is not None)
    return ax


def _one(values: ArrayLike | Tensor, ndim: int, name: str) -> NDArray[np.float64]:
    """The only sequence in a batch of one, or the values as they are if there is no batch."""
    found = array(values)
    if found.ndim == ndim + 1 and len(found) == 1:
        found = found[0]
    if found.ndim != ndim:
        raise ValueError(f"{name}: found shape {found.shape}, expected one sequence, of {ndim} dimensions")
    return found


def rows_of(num_fields: int, num_true: int, names: Sequence[str] | None = None) -> list[ActivityRow]:
    """Rows of K fields of which the first J have true speeds, in the order of both, by their names or numbers.

    Example:
        >>> [row.row for row in rows_of(2, 1)]
        [0, None]
    """
    names = list(map(field_name, range(num_fields))) if names is None else names
    rows = [FieldRole(k, k if k < num_true else None, names[k]) for k in range(num_fields)]
    return [ActivityRow(role, role.row, role.transformation) for role in rows]


def plot_speeds(
    inferred: ArrayLike | Tensor,
    ax: Axes | None = None,
    *,
    truth: ArrayLike | Tensor | None = None,
    rows: Sequence[ActivityRow] | None = None,
) -> Axes:
    """Draw the histogram of inferred speeds other than 0, stacked by field, and the outline of the true ones.

    Args:
        inferred: ``(..., K)``.
        ax: where; axes of a new figure for None.
        truth: ``(..., J)``.
        rows: which fields; all for None.

    Example:
        >>> [text.get_text() for text in plot_speeds([[1.0, 0.0], [2.0, 0.0]]).get_legend().get_texts()]
        ['field 0, mean 1.50', 'field 1, never on']
    """
    axes, inferred = panel(ax), array(inferred)
    truth = inferred[..., :0] if truth is None else array(truth)
    drawn = rows_of(inferred.shape[-1], 0) if rows is None else rows
    stacks = {
        row.role.field: _on(speeds)
        for row in drawn
        if row.role is not None and (speeds := row.speeds(inferred)) is not None
    }
    true = _on(truth)
    every = np.concatenate([true, *stacks.values(), [0.5, 1.5]])
    edges = np.arange(np.floor(every.min() / BIN), np.ceil(every.max() / BIN) + 1) * BIN
    base = np.zeros(len(edges) - 1)
    for field, speeds in stacks.items():
        look, counts = field_style(field), np.histogram(speeds, edges)[0]
        options: dict[str, Any] = dict(facecolor=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None)
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
    label(axes, f"speed [{unit}]", f"steps per bin of {BIN:g}", "Speeds where on", "y")
    return axes


def plot_agreement(
    inferred: ArrayLike | Tensor,
    truth: ArrayLike | Tensor,
    ax: Axes | None = None,
    *,
    rows: Sequence[ActivityRow] | None = None,
    certainty: Certainty | None = None,
) -> Axes:
    """Draw inferred against true speeds of matched fields where both are on, their bin means and correlation.

    Where it is known how sure the inferred speeds are, points are as opaque as the field is likely on, and bin means
    have bars of the mean deviation, with the gids ``deviation-K``.

    Args:
        inferred: ``(..., K)`` [unit steps].
        truth: ``(..., J)`` [unit steps].
        ax: where; axes of a new figure for None.
        rows: which fields, and what they are matched to; field k and transformation k for None.
        certainty: of the inferred activity, ``(..., K)``, None if it is not known.

    Example:
        >>> ax = plot_agreement([[1.0], [2.0], [2.5]], [[1.0], [2.0], [3.0]])
        >>> ax.get_legend().get_texts()[0].get_text()
        'field 0, r = 0.98'
    """
    axes, inferred, truth = panel(ax), array(inferred), array(truth)
    drawn = rows_of(inferred.shape[-1], truth.shape[-1]) if rows is None else rows
    handles, largest, least = [], 1.5, 0.0
    for row in drawn:
        speeds, real = row.speeds(inferred), row.truth(truth)
        if row.role is None or speeds is None or real is None:
            continue
        found, true = np.ravel(speeds), np.ravel(real)
        both = (found != 0) & (true != 0)
        look = field_style(row.role.field)
        places, means = binned_means(true[both], found[both])
        if certainty is not None:
            one = (
                np.ravel(values[..., row.role.field])[both] for values in (certainty.probability, certainty.deviation)
            )
            alpha, spread = opacity(next(one))[:MOST_POINTS], binned_means(true[both], next(one))[1]
            error_bars(axes, places, means, spread, f"deviation-{row.role.field}", cap=2.2)
        found, true = found[both][:MOST_POINTS], true[both][:MOST_POINTS]
        options: dict[str, Any] = dict(marker=look.marker, color=look.colour, markeredgewidth=0)
        points: dict[str, Any] = dict(markersize=2.2, linestyle="none", alpha=0.35)
        if certainty is None:
            axes.plot(true, found, gid=f"field-{row.role.field}", **options, **points)
        else:
            look_of: dict[str, Any] = dict(s=2.2**2, color=look.colour, marker=look.marker, linewidths=0)
            look_of["alpha"] = 0.7 * alpha
            axes.scatter(true, found, gid=f"field-{row.role.field}", **look_of)
        line = options | dict(markersize=5.5, linestyle=look.line, markeredgewidth=0.7, markeredgecolor="white")
        halo = [withStroke(linewidth=3, foreground="white")]
        axes.plot(places, means, gid=f"mean-{row.role.field}", zorder=4, path_effects=halo, linewidth=1.6, **line)
        correlation = speed_agreement(speeds, real)["speed_correlation"]
        name = row.transformation if len(drawn) <= FEW else field_name(row.role.field)
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
    title = f"Inferred against true speed ({'lines: means' if certainty is None else 'means ± s.d.'})"
    label(axes, "true speed [unit steps]", "inferred speed [unit steps]", title, "y")
    return axes


def binned_means(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of x and of y over bins of x that hold enough points.

    Example:
        >>> [means.round(2).tolist() for means in binned_means([0.1] * 9 + [0.5], [1.0] * 9 + [7.0])]
        [[0.1], [1.0]]
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _, bins, counts = np.unique(np.floor(x / WIDE_BIN), return_inverse=True, return_counts=True)
    enough = counts >= FEWEST_POINTS
    of_x, of_y = (np.bincount(bins, values, len(counts))[enough] / counts[enough] for values in (x, y))
    return of_x, of_y


def plot_count(
    inferred: ArrayLike | Tensor,
    ax: Axes | None = None,
    *,
    truth: ArrayLike | Tensor | None = None,
    prior: ArrayLike | None = None,
) -> Axes:
    """Draw the distribution of the number of active fields per step: inferred, true, and under the prior.

    Args:
        inferred: ``(..., K)``.
        ax: where; axes of a new figure for None.
        truth: ``(..., J)``, J = 0 where it is not known.
        prior: probability of each number, ``(n + 1,)``.

    Example:
        >>> [float(bar.get_height()) for bar in plot_count([[0.0, 1.0], [1.0, 1.0]]).patches]
        [0.0, 0.5, 0.5]
    """
    axes, inferred = panel(ax), array(inferred)
    truth = inferred[..., :0] if truth is None else array(truth)
    prior = np.zeros(0) if prior is None else array(prior)
    found, true = ((speeds != 0).sum(-1).ravel() for speeds in (inferred, truth))
    size = max(found.max(), true.max(), np.flatnonzero(prior > 0.005).max(initial=0)) + 1
    shares = [np.bincount(counts, minlength=size) / len(counts) for counts in (found, true)]
    places = np.arange(size)
    known = truth.shape[-1] > 0
    axes.bar(places - 0.2 * known, shares[0], 0.38, color=NEUTRAL, gid="inferred")
    handles: list[Artist] = [Patch(color=NEUTRAL, label=f"inferred, mean {found.mean():.2f}")]
    if known:
        axes.bar(places + 0.2, shares[1], 0.38, facecolor="white", edgecolor=TRUTH, linewidth=1.3, gid="truth")
        handles.append(Patch(facecolor="white", edgecolor=TRUTH, label=f"true, mean {true.mean():.2f}"))
    if len(prior):
        look: dict[str, Any] = dict(color=TRUTH, marker="D", markersize=4, linestyle=":", linewidth=1)
        axes.plot(places[: len(prior)], prior[:size], gid="prior", **look)
        handles.append(Line2D([], [], label=f"prior, mean {prior @ np.arange(len(prior)):.2f}", **look))
    tops = [shares[0].max(), prior.max(initial=0), *([shares[1].max()] if known else [])]
    axes.set(xticks=places, ylim=(0, 1.15 * max(tops)))
    legend(axes, handles=handles, loc="upper right")
    words = f"active fields {'or transformations ' if known else ''}per step"
    label(axes, words, "share of steps", "How many fields act at once", "y")
    return axes


def _free(axes: Axes, entries: int) -> float:
    """Share of the height that a legend of so many lines leaves."""
    return max(0.3, 1 - ENTRY * entries / (axes.get_window_extent().height / axes.figure.dpi))


def plot_usage(inferred: ArrayLike | Tensor, ax: Axes | None = None, *, fields: Sequence[int] | None = None) -> Axes:
    """Draw the share of the steps at which each field acts, and how likely it is to go on acting; gids ``field-K``.

    Args:
        inferred: ``(..., T, K)``.
        ax: where; axes of a new figure for None.
        fields: which; all for None.

    Example:
        >>> float(plot_usage([[0.0, 1.0], [1.0, 1.0]]).patches[1].get_width())
        1.0
    """
    axes, inferred = panel(ax), array(inferred)
    fields = range(inferred.shape[-1]) if fields is None else fields
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
    axes.set_xticks([tick for tick in MaxNLocator(5).tick_values(0, 1.9 * top) if tick <= min(1.0001, 1.9 * top)])
    label(axes, "share of steps", title="How often each field acts", grid="x")
    return axes


def _on(speeds: ArrayLike) -> NDArray[np.float64]:
    speeds = np.ravel(speeds)
    return speeds[speeds != 0]
