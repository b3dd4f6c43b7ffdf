"""Reliability diagrams: whether a posterior over activity is as sure as it should be, of spikes and of speeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from ffrl.evaluation.matching import varies
from ffrl.evaluation.measures.calibration import BINS, ECE, expected_calibration_error, reliability
from stf.plot.compute.certainty import Certainty
from stf.plot.compute.observed import Observed
from stf.plot.drawing.panel import array, label, panel, titled
from stf.plot.drawing.style import HEADING, NEUTRAL, SMALL, TEXT, TRUTH, chip, field_name, field_style, fitted

PITCH, BAND, HEIGHTS, LEAST, PER_ROW = 2.5, 6.1, (1.8, 0.5, 1.8), 3, 5
"""Width and height of the panels of a transformation in inches, their relative heights, and for how many there is room
side by side, at least and at most."""
MOST_POINTS = 150
"""Steps that are drawn of a transformation."""


def draw_reliability(calibration: Mapping[str, Any], alignment: Mapping[str, Any], observed: Observed) -> Figure:
    """Draw for every transformation a reliability diagram, a histogram of probabilities, and its speeds.

    The axes are labelled ``reliability-J``, ``pairs-J`` and ``speed-J``. Gids: ``bins`` and ``pooled`` are the
    frequencies over the mean probabilities of one transformation and of all, ``points`` the speeds.

    Args:
        calibration: from :func:`ffrl.evaluation.measures.calibration.calibrate`.
        alignment: from :func:`ffrl.evaluation.matching.align`.
        observed: what both are of, with the deviations of its posterior.

    Example:
        >>> from ffrl.evaluation.matching import align
        >>> from ffrl.evaluation.measures.calibration import calibrate
        >>> truth = np.ones((4, 2, 1)) * [[1.0], [2.0]]
        >>> from stf.plot.compute.certainty import Certainty
        >>> seen = Observed(None, truth, truth, None, Certainty(0.9 * (truth > 0), 0.1 * truth))
        >>> found = align(truth, truth, ["hue"])
        >>> made = calibrate(0.9 * (truth > 0), truth, 0.1 * truth, truth, found)
        >>> [axes.get_title("left") for axes in draw_reliability(made, found, seen).axes]
        ['ECE 0.100', '', 'RMSE 0.00, 100 % within 1 dev.']
    """
    described, pooled = calibration["transformations"], calibration["pooled"]
    columns = min(max(len(described), LEAST), PER_ROW)
    bands = -(-len(described) // columns)
    error = "undefined" if pooled["ece"] is None else f"{pooled['ece']:.3f}"
    figure, body = titled(
        0.7 + columns * PITCH,
        1.4 + bands * BAND,
        f"Reliability: is the model as sure as it should be? ECE {error}",
        "Above: how often a transformation acts, by how probable the model calls its field, and how many such steps.\n"
        f"ECE: expected calibration error, pooled, at most {ECE:g} is wanted. Below: inferred against true speeds.",
    )
    limits = _limits(alignment, observed)
    parts = np.ravel(np.asarray(body.subfigures(bands), dtype=object))
    panels = [part.subplots(3, columns, squeeze=False, height_ratios=HEIGHTS) for part in parts]
    for j, (name, one) in enumerate(described.items()):
        above, bars, speed = panels[j // columns][:, j % columns]
        heading: dict[str, Any] = dict(xycoords="axes fraction", textcoords="offset points", annotation_clip=False)
        size = fitted(name, HEADING, PITCH - 0.6)
        above.annotate(name, (0, 1), (0, 26), fontsize=size, weight="bold", **heading)
        if one["field"] is None:
            above.text(0, 1, f"No field matches\n{name}.", fontsize=TEXT, va="top", transform=above.transAxes)
            above.set_axis_off()
            bars.remove()
            speed.remove()
            continue
        field, entry = one["field"], alignment["transformations"][name]
        above.annotate(field_name(field), (1, 1), (-4, 9), fontsize=SMALL, ha="right", **chip(field), **heading)
        for ax, what in ((above, "reliability"), (bars, "pairs"), (speed, "speed")):
            ax.set_label(f"{what}-{j}")
        plot_bins(one["reliability"], above, field=field, pooled=pooled["reliability"])
        above.set_title(f"ECE {one['ece']:.3f}" if one["ece"] is not None else "ECE undefined", **HEAD)
        above.tick_params(labelbottom=False)
        plot_pairs(one["reliability"]["count"], bars, field=field)
        found = _speeds(entry, j, observed)
        plot_speed_errors(*found, ax=speed, limits=limits, field=field, vary=varies(observed.truth[..., j]))
        speed.set_title(_title(entry["speed_rmse"], one["coverage"]["one_deviation"]), **HEAD | {"fontsize": SMALL})
        for ax in (above, bars, speed):
            ax.set_ylabel(ax.get_ylabel() if j % columns == 0 else "")
        above.set_xlabel("")
    for ax in [ax for band in panels for ax in band.T.flat][3 * len(described) :]:
        ax.remove()
    figure.legend(handles=_key(calibration), loc="outside lower left", ncols=4, fontsize=SMALL, frameon=False)
    return figure


HEAD: dict[str, Any] = dict(fontsize=TEXT, loc="left", pad=5)


def plot_reliability(
    probability: ArrayLike, on: ArrayLike, ax: Axes | None = None, *, field: int = 0, bins: int = BINS
) -> Axes:
    """Draw how often something happened over how probable it was called, in bins; the title is the calibration error.

    Args:
        probability: called, ``(...)``, as ``probability`` of :meth:`model.activity`.
        on: whether it happened, ``(...)``.
        ax: where; axes of a new figure for None.
        field: whose colour it has.
        bins: how many.

    Example:
        >>> plot_reliability([0.25, 0.25, 0.25, 0.25, 0.75], [0, 0, 0, 1, 1]).get_title("left")
        'ECE 0.050'
    """
    probability, on = array(probability), array(on) != 0
    ax = plot_bins(reliability(probability, on, bins), ax, field=field)
    error = expected_calibration_error(probability, on, bins)
    ax.set_title("ECE undefined" if error is None else f"ECE {error:.3f}", **HEAD)
    return ax


def plot_bins(
    found: Mapping[str, Any], ax: Axes | None = None, *, field: int = 0, pooled: Mapping[str, Any] | None = None
) -> Axes:
    r"""Draw frequencies over mean probabilities of the bins that hold pairs, of one transformation and pooled.

    Bars reach two standard errors of a frequency to either side, :math:`2 \sqrt{p (1 - p) / n}` with the mean
    probability p of the n pairs of a bin: where they miss the diagonal, it is hardly by chance.

    Args:
        found: from :func:`ffrl.evaluation.measures.calibration.reliability`.
        ax: where; axes of a new figure for None.
        field: whose colour it has.
        pooled: the same of all transformations.
    """
    ax, look = panel(ax, 3, 3), field_style(field)
    ax.plot([0, 1], [0, 1], color=TRUTH, linewidth=0.9, zorder=1)
    if pooled is not None:
        p, frequency, _ = _filled(pooled)
        ax.plot(p, frequency, gid="pooled", zorder=2, **POOLED)
    p, frequency, count = _filled(found)
    bars = 2 * np.sqrt(np.maximum(p * (1 - p), 0) / np.maximum(count, 1))
    ax.errorbar(p, frequency, bars, fmt="none", ecolor=look.colour, elinewidth=1.1, capsize=2, zorder=3)
    line: dict[str, Any] = dict(color=look.colour, linestyle=look.line, linewidth=1.4)
    edge: dict[str, Any] = dict(markersize=5.5, markeredgecolor=TRUTH, markeredgewidth=0.5)
    ax.plot(p, frequency, marker=look.marker, gid="bins", zorder=4, **line, **edge)
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=TICKS, yticks=TICKS)
    label(ax, ON, "observed frequency")
    return ax


TICKS, ON = (0, 0.25, 0.5, 0.75, 1), "inferred probability of on"
POOLED: dict[str, Any] = dict(color=NEUTRAL, linewidth=2.4, linestyle=(0, (2, 1)))


def plot_pairs(count: ArrayLike, ax: Axes | None = None, *, field: int = 0) -> Axes:
    """Draw how many pairs every bin of the probability holds ``(M,)``, on a logarithmic scale.

    Example:
        >>> len(plot_pairs([3, 0, 100]).patches)
        3
    """
    ax, look, count = panel(ax, 3, 1), field_style(field), np.asarray(count)
    edges = np.linspace(0, 1, len(count) + 1)
    options: dict[str, Any] = dict(color=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None)
    ax.bar(edges[:-1], np.maximum(count, 0.5) - 0.5, 0.92 / len(count), 0.5, align="edge", gid="pairs", **options)
    ax.set(yscale="log", xlim=(-0.04, 1.04), ylim=(0.5, 2 * max(count.max(initial=1), 1)), xticks=TICKS)
    ax.set_xticklabels([f"{tick:g}" for tick in TICKS])
    powers = int(np.log10(max(count.max(initial=1), 1)))
    ax.set_yticks([1, 10**powers] if powers else [1])
    ax.minorticks_off()
    ax.set_xlabel(ON, fontsize=TEXT, labelpad=2)
    ax.set_ylabel("steps", fontsize=TEXT, labelpad=3)
    return ax


def plot_speed_errors(
    speeds: ArrayLike,
    deviations: ArrayLike,
    truth: ArrayLike,
    ax: Axes | None = None,
    *,
    field: int = 0,
    limits: tuple[float, float] | None = None,
    vary: bool = True,
) -> Axes:
    """Draw inferred over true speeds with bars of one deviation, of at most :data:`MOST_POINTS` steps.

    Args:
        speeds: inferred where both are on, ``(S,)`` [unit steps].
        deviations: of them, ``(S,)`` [unit steps].
        truth: ``(S,)`` [unit steps].
        ax: where; axes of a new figure for None.
        field: whose colour it has.
        limits: range of both axes; what holds all speeds for None.
        vary: whether true speeds do.

    Example:
        >>> plot_speed_errors([1.1, 2.1], [0.1, 0.2], [1.0, 2.0]).lines[1].get_ydata().tolist()
        [1.1, 2.1]
    """
    ax, look = panel(ax, 3, 3), field_style(field)
    speeds, deviations, truth = map(array, (speeds, deviations, truth))
    limits = holding(speeds, truth) if limits is None else limits
    shown = np.unique(np.linspace(0, max(len(truth) - 1, 0), MOST_POINTS).astype(int))[: len(truth)]
    ax.plot(limits, limits, color=TRUTH, linewidth=0.9, zorder=1)
    bars: dict[str, Any] = dict(fmt="none", ecolor=look.colour, elinewidth=0.8, alpha=0.35, zorder=2)
    ax.errorbar(truth[shown], speeds[shown], deviations[shown], **bars)
    points: dict[str, Any] = dict(
        marker=look.marker, markersize=3, markeredgecolor=TRUTH, markeredgewidth=0.25, linestyle="none", alpha=0.8
    )
    ax.plot(truth[shown], speeds[shown], color=look.colour, gid="points", zorder=3, **points)
    if not len(truth) or not vary:
        reason = "never on together" if not len(truth) else "true speeds do not vary"
        ax.text(0.05, 0.95, reason, fontsize=SMALL, transform=ax.transAxes, va="top")
    ax.set(xlim=limits, ylim=limits)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    label(ax, "true speed [unit steps]", "inferred speed [unit steps]")
    return ax


def _title(error: float | None, within: float | None) -> str:
    return (
        "RMSE undefined" if error is None or within is None else f"RMSE {error:.2f}, {100 * within:.0f} % within 1 dev."
    )


def _key(calibration: Mapping[str, Any]) -> list[Line2D]:
    """What lines, marks and bars are, for all panels; marks as in the first one."""
    fields = [one["field"] for one in calibration["transformations"].values() if one["field"] is not None]
    look = field_style(fields[0] if fields else 0)
    return [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=5.5, linestyle=look.line, linewidth=1.4,
               label="one transformation"),
        Line2D([], [], label="all pooled", **POOLED),
        Line2D([], [], color=TRUTH, linewidth=0.9, label="ideal"),
        Line2D([], [], color=look.colour, marker="|", markersize=11, linestyle="none",
               label="bars: two standard errors; of speeds, one deviation"),
    ]  # fmt: skip


def _filled(found: Mapping[str, Any]) -> tuple[NDArray[np.float64], ...]:
    """Mean probability, frequency and count of the bins that hold pairs."""
    rows = zip(found["probability"], found["frequency"], found["count"], strict=True)
    kept = [row for row in rows if row[2]]
    return tuple(np.array(kept, dtype=np.float64).reshape(-1, 3).T)


Pairs = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _speeds(entry: Mapping[str, Any], row: int, observed: Observed) -> Pairs:
    """Inferred speeds, their deviations and the true speeds of one transformation where both are on: ``(S,)`` each."""
    if entry["field"] is None:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    speeds = (entry["direction"] or 1.0) * observed.inferred[..., entry["field"]]
    deviations, truth = cast(Certainty, observed.certainty).deviation[..., entry["field"]], observed.truth[..., row]
    both = (speeds != 0) & (truth != 0)
    return speeds[both], deviations[both], truth[both]


def _limits(alignment: Mapping[str, Any], observed: Observed) -> tuple[float, float]:
    """What speeds of all transformations lie in, and 0.5 to 1.5, with a margin."""
    each = [_speeds(entry, row, observed) for row, entry in enumerate(alignment["transformations"].values())]
    return holding(*(values for speeds, _, truth in each for values in (speeds, truth)))


def holding(*speeds: NDArray[np.float64]) -> tuple[float, float]:
    """Return what all speeds that are finite lie in, and 0.5 to 1.5, with a margin.

    Example:
        >>> [round(end, 2) for end in holding(np.array([1.0, np.nan]), np.array([2.0]))]
        [0.41, 2.09]
    """
    every = np.concatenate([[0.5, 1.5], *speeds])
    every = every[np.isfinite(every)]
    margin = 0.06 * np.ptp(every)
    return float(every.min() - margin), float(every.max() + margin)
