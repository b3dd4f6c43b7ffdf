"""The plots of a benchmark: error against training time, length of the prediction and number of training images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from stf.benchmark.suites import Suite
from stf.benchmark.tables.footer import span
from stf.benchmark.tables.series import Panel, Series, error_against_images, error_against_length, error_against_time
from stf.plot.drawing.page import Page
from stf.plot.drawing.style import FAINT, HEADING, NEUTRAL, SMALL, TEXT, field_style, save

WIDE, HIGH = 3.1, 3.3
"""Inches of the axes of a panel, and of a panel with what is written over and under it."""
LETTER = 0.066
"""Inches that a letter of a label takes."""
LINE = 0.155
"""Inches between two labels."""
TIME, LENGTH, IMAGES = "error-time.png", "extrapolation.png", "error-images.png"


def write_plots(suite: Suite, lines: Sequence[Mapping[str, Any]], out: Path) -> list[Path]:
    """Draw the plots of what is finished into ``out``, and return their paths; none where there is nothing to draw.

    Args:
        suite: the suite.
        lines: of ``results.jsonl``.
        out: folder.

    Raises:
        UserError: they cannot be written.
    """
    done = [line for line in lines if line.get("status") == "done" and line.get("suite") == suite.name]
    if not done:
        return []
    seeds, trained = _about_seeds(done), span(line["steps"] for line in done)
    mean = f"Mean {done[0]['metrics'].get('error_steps')}-step error over transformations"
    error = "equivariance error (L1)"
    written: list[Path] = []

    def draw(name: str, panels: Sequence[Panel], title: str, about: str, x: str, y: str, log_x: bool) -> None:
        if panels:
            figure = draw_panels(panels, title, f"{about}.", x, y, log_x)
            written.append(save(figure, out / name))

    panels = error_against_time(suite, done)
    about = f"{mean}, on 64 held-out images, at the checkpoints of training;\n{seeds}"
    if any(len(series.x) == 1 for panel in panels for series in panel.series):
        about += "; one point: calibrated after the last step"
    draw(TIME, panels, "Error against training time", about, "training time [s]", error, log_x=True)

    panels = error_against_length(suite, done)
    averaged = "" if suite.kind == "models" else ", mean over transformations"
    about = f"L1 error of the frame predicted t steps after the first, summed over its pixels{averaged};\n{seeds}"
    title = "Error against length of the prediction"
    draw(LENGTH, panels, title, about, "steps t", "error of frame t (L1)", log_x=False)

    panels = error_against_images(suite, done)
    about = f"{mean}, on held-out images, after {trained} steps of training;\n{seeds}"
    draw(IMAGES, panels, "Error against number of training images", about, "training images", error, log_x=True)
    return written


def _about_seeds(done: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter((line["model"], line["data"]) for line in done).values()
    least, most = min(counts, default=0), max(counts, default=0)
    if most < 2:
        return "one seed"
    return f"mean of {most if least == most else f'{least} to {most}'} seeds, band: lowest to highest"


def draw_panels(panels: Sequence[Panel], title: str, subtitle: str, x_label: str, y_label: str, log_x: bool) -> Figure:
    """Draw one pair of axes per panel, every line labelled at its end in its own colour.

    Args:
        panels: at least one.
        title: of the figure.
        subtitle: what is shown and what the bands are.
        x_label: with its unit.
        y_label: with its unit.
        log_x: whether x is logarithmic; y always is.

    Example:
        >>> panel = Panel("MNIST", [Series(0, "VAE", [1.0, 2.0], [9.0, 8.0], [8.5, 8.0], [9.5, 8.0])])
        >>> figure = draw_panels([panel], "Error", "one seed", "time [s]", "error", log_x=True)
        >>> figure.axes[1].lines[0].get_ydata().tolist()
        [9.0, 8.0]
    """
    wide = 1.7 * WIDE if len(panels) == 1 else WIDE
    letters = max(len(series.label) for panel in panels for series in panel.series)
    pitch = 0.65 + 1.125 * wide + LETTER * letters + 0.2
    most = max(len(panel.series) for panel in panels)
    high = max(HIGH, 1.3 + LINE * most) if len(panels) > 1 else max(4.2, 1.3 + LINE * most)
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    page = Page(max(0.2 + columns * pitch, 6.5), 1.05 + rows * high)
    page.title(title, subtitle)
    for number, panel in enumerate(panels):
        x, y = 0.2 + number % columns * pitch, 1.0 + number // columns * high
        axes = page.axes(x + 0.55, y + 0.25, wide, high - 0.85, panel.title)
        _draw(axes, panel, log_x)
        axes.set_title(panel.title, fontsize=HEADING, loc="left", pad=5)
        axes.set_xlabel(x_label, fontsize=TEXT, labelpad=2)
        axes.set_ylabel(y_label, fontsize=TEXT, labelpad=2)
        _label(axes, panel.series, high - 0.85)
    return page.figure


def _draw(axes: Axes, panel: Panel, log_x: bool) -> None:
    for series in panel.series:
        look = field_style(series.place)
        axes.fill_between(series.x, series.low, series.high, color=look.colour, alpha=0.18, linewidth=0)
        axes.plot(
            series.x,
            series.mean,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markersize=4 if len(series.x) <= 10 else 2.5,
            linewidth=1.4,
            label=series.label,
        )
    if log_x:
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis, [value for series in panel.series for value in series.x])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis, [value for series in panel.series for value in (*series.low, *series.high)])
    axes.grid(color=FAINT, linewidth=0.5)
    if panel.mark is not None:
        axes.axvline(panel.mark, color=NEUTRAL, linestyle="--", linewidth=1)
        place: dict[str, Any] = dict(xycoords=("data", "axes fraction"), xytext=(-2, -2), textcoords="offset points")
        axes.annotate("trained length", (panel.mark, 1), va="top", ha="right", fontsize=SMALL, color=NEUTRAL, **place)


def _plain_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Write out the numbers on a logarithmic axis, also between powers of ten where there are few of these."""
    positive = [value for value in values if value > 0]
    decades = math.log10(max(positive) / min(positive)) if positive else 1.0
    pitch = 1.0 if decades > 0.35 else 0.5 if decades > 0.15 else 0.1
    subs = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 0.7 else tuple(np.arange(1.0, 10.0, pitch))
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())


def _label(axes: Axes, series: Sequence[Series], high: float) -> None:
    """Name every line to the right of the axes, at the height of its end as far as the labels leave room."""
    ends = axes.transAxes.inverted().transform(axes.transData.transform([(one.x[-1], one.mean[-1]) for one in series]))
    order = np.argsort(-ends[:, 1])
    heights = spread_out([ends[place, 1] for place in order], LINE / high)
    for place, height in zip(order, heights, strict=True):
        look = field_style(series[place].place)
        end = ends[place]
        axes.plot(
            [end[0], 1.015, 1.035],
            [end[1], height, height],
            color=look.colour,
            linewidth=0.6,
            alpha=0.6,
            transform=axes.transAxes,
            clip_on=False,
            zorder=1,
            label="_leader",
        )
        axes.plot(
            [1.04, 1.105],
            [height, height],
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markersize=3.5,
            markevery=[1],
            linewidth=1.4,
            transform=axes.transAxes,
            clip_on=False,
            label="_key",
        )
        axes.text(1.125, height, series[place].label, transform=axes.transAxes, fontsize=SMALL, va="center")


def spread_out(heights: Sequence[float], least: float) -> list[float]:
    """Move heights, highest first, as little as needed to be ``least`` apart, and into [0, 1] if they fit.

    Example:
        >>> [round(height, 6) for height in spread_out([0.5, 0.5, 0.1], 0.1)]
        [0.55, 0.45, 0.1]
    """
    groups: list[tuple[float, int]] = []
    for height in heights:
        groups.append((height, 1))
        while len(groups) > 1 and _bottom(groups[-2], least) - _top(groups[-1], least) < least - 1e-12:
            (above, many), (below, few) = groups[-2:]
            groups[-2:] = [((above * many + below * few) / (many + few), many + few)]
    found = [centre + (count - 1) / 2 * least - place * least for centre, count in groups for place in range(count)]
    room = (len(found) - 1) * least
    if room >= 1:
        return [(1 + room) / 2 - place * least for place in range(len(found))]
    for place, height in enumerate(found):  # from the top
        found[place] = min(height, 1.0 if place == 0 else found[place - 1] - least)
    for place in reversed(range(len(found))):  # from the bottom
        found[place] = max(found[place], 0.0 if place == len(found) - 1 else found[place + 1] + least)
    return found


def _top(group: tuple[float, int], least: float) -> float:
    return group[0] + (group[1] - 1) / 2 * least


def _bottom(group: tuple[float, int], least: float) -> float:
    return group[0] - (group[1] - 1) / 2 * least
