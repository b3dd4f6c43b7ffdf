"""Reliability diagrams: whether a posterior over activity is as sure as it should be, of spikes and of speeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from ffrl.evaluation.measures.alignment import varies
from ffrl.evaluation.measures.calibration import ECE
from stf.plot.compute.observed import Observed
from stf.plot.drawing.style import (
    FAINT,
    HEADING,
    NEUTRAL,
    SMALL,
    TEXT,
    TRUTH,
    FieldStyle,
    Page,
    field_name,
    field_style,
    fitted,
)

PANEL, BARS, LEFT, PITCH = 1.8, 0.5, 0.85, 2.5
"""Side of a panel, height of a histogram, place of the first panel, and from one to the next, in inches."""
TOP, HEAD, UNDER, GAP, FOOT = 1.4, 0.52, 0.12, 0.8, 0.66
PER_ROW = 5
MOST_POINTS = 150
"""Steps that are drawn of a transformation."""


def draw_reliability(calibration: Mapping[str, Any], alignment: Mapping[str, Any], observed: Observed) -> Figure:
    """Draw for every transformation a reliability diagram, a histogram of probabilities, and its speeds.

    The axes are labelled ``reliability-J``, ``pairs-J`` and ``speed-J``. Gids: ``bins`` and ``pooled`` are the
    frequencies over the mean probabilities of one transformation and of all, ``points`` the speeds.

    Args:
        calibration: from :func:`ffrl.evaluation.measures.calibration.calibrate`.
        alignment: from :func:`ffrl.evaluation.measures.alignment.align`.
        observed: what both are of, with the deviations of its posterior.

    Example:
        >>> from ffrl.evaluation.measures.alignment import align
        >>> from ffrl.evaluation.measures.calibration import calibrate
        >>> truth = np.ones((4, 2, 1)) * [[1.0], [2.0]]
        >>> from stf.plot.compute.certainty import Certainty
        >>> seen = Observed(None, truth, truth, None, Certainty(0.9 * (truth > 0), 0.1 * truth))
        >>> found = align(truth, truth, ["hue"])
        >>> made = calibrate(0.9 * (truth > 0), truth, 0.1 * truth, truth, found)
        >>> [axes.get_title("left") for axes in draw_reliability(made, found, seen).axes[1:]]
        ['ECE 0.100', '', 'RMSE 0.00, 100 % within 1 dev.']
    """
    described, pooled = calibration["transformations"], calibration["pooled"]
    columns = min(len(described), PER_ROW)
    band = HEAD + PANEL + UNDER + BARS + GAP + PANEL + FOOT
    bands = -(-len(described) // columns)
    page = Page(max(LEFT + columns * PITCH - 0.4, 8.2), TOP + bands * band)
    error = "undefined" if pooled["ece"] is None else f"{pooled['ece']:.3f}"
    page.title(
        f"Reliability: is the model as sure as it should be? ECE {error}",
        "Above: how often a transformation acts, by how probable the model calls its field, and how many such steps.\n"
        f"ECE: expected calibration error, pooled, at most {ECE:g} is wanted. Below: inferred against true speeds.",
    )
    _key(page, calibration)
    limits = _limits(alignment, observed)
    for j, (name, one) in enumerate(described.items()):
        row, column = divmod(j, columns)
        x, y, first = LEFT + column * PITCH, TOP + row * band, column == 0
        page.text(x, y + 0.08, name, fitted(name, HEADING, PITCH - 0.2), weight="bold", va="center")
        if one["field"] is None:
            page.text(x, y + HEAD, f"No field matches {name}.", TEXT, va="top", wrap=True)
            continue
        page.chip(x + PANEL - 0.06, y + HEAD - 0.14, field_name(one["field"]), one["field"], SMALL, ha="right")
        look = field_style(one["field"])
        y += HEAD
        above = page.axes(x, y, PANEL, PANEL, f"reliability-{j}")
        draw_diagram(above, one["reliability"], pooled["reliability"], look)
        above.set_title(f"ECE {one['ece']:.3f}" if one["ece"] is not None else "ECE undefined", **TITLE)
        bars = page.axes(x, y + PANEL + UNDER, PANEL, BARS, f"pairs-{j}")
        draw_pairs(bars, one["reliability"]["count"], look)
        speed = page.axes(x, y + PANEL + UNDER + BARS + GAP, PANEL, PANEL, f"speed-{j}")
        entry = alignment["transformations"][name]
        draw_speeds(speed, *_speeds(entry, j, observed), limits, look, varies(observed.truth[..., j]))
        speed.set_title(_title(entry["speed_rmse"], one["coverage"]["one_deviation"]), **TITLE | {"fontsize": SMALL})
        if first:
            above.set_ylabel("observed frequency", fontsize=TEXT, labelpad=3)
            bars.set_ylabel("steps", fontsize=TEXT, labelpad=3)
            speed.set_ylabel("inferred speed [unit steps]", fontsize=TEXT, labelpad=3)
    return page.figure


TITLE = dict(fontsize=TEXT, loc="left", pad=5)


def draw_diagram(axes: Axes, found: Mapping[str, Any], pooled: Mapping[str, Any], look: FieldStyle) -> None:
    r"""Draw frequencies over mean probabilities of the bins that hold pairs, of one transformation and pooled.

    Bars reach two standard errors of a frequency to either side, :math:`2 \sqrt{p (1 - p) / n}` with the mean
    probability p of the n pairs of a bin: where they miss the diagonal, it is hardly by chance.

    Args:
        axes: where.
        found: from :func:`ffrl.evaluation.measures.calibration.reliability`.
        pooled: the same of all transformations.
        look: of the field.
    """
    axes.plot([0, 1], [0, 1], color=TRUTH, linewidth=0.9, zorder=1)
    p, frequency, _ = _filled(pooled)
    axes.plot(p, frequency, color=NEUTRAL, linewidth=2.4, linestyle=(0, (2, 1)), gid="pooled", zorder=2)
    p, frequency, count = _filled(found)
    bars = 2 * np.sqrt(np.maximum(p * (1 - p), 0) / np.maximum(count, 1))
    axes.errorbar(p, frequency, bars, fmt="none", ecolor=look.colour, elinewidth=1.1, capsize=2, zorder=3)
    line = dict(color=look.colour, linestyle=look.line, linewidth=1.4)
    edge = dict(markersize=5.5, markeredgecolor=TRUTH, markeredgewidth=0.5)
    axes.plot(p, frequency, marker=look.marker, gid="bins", zorder=4, **line, **edge)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=TICKS, yticks=TICKS)
    axes.tick_params(labelbottom=False)
    axes.grid(color=FAINT, linewidth=0.5)


TICKS = (0, 0.25, 0.5, 0.75, 1)


def draw_pairs(axes: Axes, count: ArrayLike, look: FieldStyle) -> None:
    """Draw how many pairs every bin of the probability holds ``(M,)``, on a logarithmic scale."""
    count = np.asarray(count)
    edges = np.linspace(0, 1, len(count) + 1)
    options = dict(color=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None)
    axes.bar(edges[:-1], np.maximum(count, 0.5) - 0.5, 0.92 / len(count), 0.5, align="edge", gid="pairs", **options)
    axes.set(yscale="log", xlim=(-0.04, 1.04), ylim=(0.5, 2 * max(count.max(initial=1), 1)), xticks=TICKS)
    axes.set_xticklabels([f"{tick:g}" for tick in TICKS])
    powers = int(np.log10(max(count.max(initial=1), 1)))
    axes.set_yticks([1, 10**powers] if powers else [1])
    axes.minorticks_off()
    axes.set_xlabel("inferred probability of on", fontsize=TEXT, labelpad=2)


def draw_speeds(
    axes: Axes,
    speeds: ArrayLike,
    deviations: ArrayLike,
    truth: ArrayLike,
    limits: tuple[float, float],
    look: FieldStyle,
    vary: bool = True,
) -> None:
    """Draw inferred over true speeds with bars of one deviation, of at most :data:`MOST_POINTS` steps.

    Args:
        axes: where.
        speeds: inferred where both are on, ``(S,)`` [unit steps].
        deviations: of them, ``(S,)`` [unit steps].
        truth: ``(S,)`` [unit steps].
        limits: range of both axes.
        look: of the field.
        vary: whether true speeds do.
    """
    speeds, deviations, truth = (np.asarray(values) for values in (speeds, deviations, truth))
    shown = np.unique(np.linspace(0, len(truth) - 1, MOST_POINTS).astype(int)) if len(truth) else []
    axes.plot(limits, limits, color=TRUTH, linewidth=0.9, zorder=1)
    bars = dict(fmt="none", ecolor=look.colour, elinewidth=0.8, alpha=0.35, zorder=2)
    axes.errorbar(truth[shown], speeds[shown], deviations[shown], **bars)
    points = dict(
        marker=look.marker, markersize=3, markeredgecolor=TRUTH, markeredgewidth=0.25, linestyle="none", alpha=0.8
    )
    axes.plot(truth[shown], speeds[shown], color=look.colour, gid="points", zorder=3, **points)
    if not len(truth) or not vary:
        reason = "never on together" if not len(truth) else "true speeds do not vary"
        axes.text(0.05, 0.95, reason, fontsize=SMALL, transform=axes.transAxes, va="top")
    axes.set(xlim=limits, ylim=limits)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_xlabel("true speed [unit steps]", fontsize=TEXT, labelpad=2)


def _title(error: float | None, within: float | None) -> str:
    return "RMSE undefined" if error is None else f"RMSE {error:.2f}, {100 * within:.0f} % within 1 dev."


def _key(page: Page, calibration: Mapping[str, Any]) -> None:
    """What lines, marks and bars are, for all panels; marks as in the first one."""
    fields = [one["field"] for one in calibration["transformations"].values() if one["field"] is not None]
    look = field_style(fields[0] if fields else 0)
    mark = dict(color=look.colour, marker=look.marker, markersize=5.5)
    handles = [
        Line2D([], [], linestyle=look.line, linewidth=1.4, label="one transformation", **mark),
        Line2D([], [], color=NEUTRAL, linewidth=2.4, linestyle=(0, (2, 1)), label="all pooled"),
        Line2D([], [], color=TRUTH, linewidth=0.9, label="ideal"),
        Line2D([], [], color=look.colour, marker="|", markersize=11, linestyle="none",
               label="bars: two standard errors; of speeds, one deviation"),
    ]  # fmt: skip
    place = (0.17 / page.width, 1 - 0.98 / page.height)
    page.figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=place, ncols=4, fontsize=SMALL, frameon=False,
        borderaxespad=0, borderpad=0, columnspacing=1.6,
    )  # fmt: skip


def _filled(found: Mapping[str, Any]) -> tuple[NDArray[np.float64], ...]:
    """Mean probability, frequency and count of the bins that hold pairs."""
    rows = zip(found["probability"], found["frequency"], found["count"], strict=True)
    kept = [row for row in rows if row[2]]
    return tuple(np.array(kept, dtype=np.float64).reshape(-1, 3).T)


def _speeds(entry: Mapping[str, Any], row: int, observed: Observed) -> tuple[NDArray[np.float64], ...]:
    """Inferred speeds, their deviations and the true speeds of one transformation where both are on: ``(S,)`` each."""
    if entry["field"] is None:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    speeds = (entry["direction"] or 1.0) * observed.inferred[..., entry["field"]]
    deviations, truth = observed.certainty.deviation[..., entry["field"]], observed.truth[..., row]
    both = (speeds != 0) & (truth != 0)
    return speeds[both], deviations[both], truth[both]


def _limits(alignment: Mapping[str, Any], observed: Observed) -> tuple[float, float]:
    """What speeds of all transformations lie in, and 0.5 to 1.5, with a margin."""
    each = [_speeds(entry, row, observed) for row, entry in enumerate(alignment["transformations"].values())]
    every = np.concatenate([[0.5, 1.5], *(values for speeds, _, truth in each for values in (speeds, truth))])
    every = every[np.isfinite(every)]
    margin = 0.06 * np.ptp(every)
    return float(every.min() - margin), float(every.max() + margin)
