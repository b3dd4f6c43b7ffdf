"""Activity over time: one lane per transformation or field, inferred speeds in colour against the truth in black."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from stf.plot.compute.certainty import Certainty
from stf.plot.compute.roles import Lane
from stf.plot.drawing.certainty import error_bars, opacity
from stf.plot.drawing.style import FAINT, SMALL, TEXT, TRUTH, Page, field_name, field_style, fitted

MOST_FRAMES = 14
"""Frames of a sequence that are drawn and numbered."""


def speed_limits(
    drawn: Sequence[Lane], inferred: ArrayLike, truth: ArrayLike, certainty: Certainty | None = None
) -> tuple[float, float]:
    """Return the range of speeds that lanes have in common, which holds 0, 1 and all speeds with their error bars.

    Example:
        >>> speed_limits([Lane(None, 0, "hue")], np.zeros((2, 1)), np.full((2, 1), 2.0))
        (0.0, 2.1)
    """
    found = [lane.speeds(inferred) for lane in drawn] + [lane.truth(truth) for lane in drawn]
    if certainty is not None:
        inferred = np.asarray(inferred)
        spread = np.where(inferred != 0, certainty.deviation, 0)
        found += [lane.speeds(inferred + sign * spread) for lane in drawn for sign in (-1, 1)]
    speeds = np.concatenate([np.array([0.0, 1.2]), *(np.ravel(values) for values in found if values is not None)])
    low, high = float(speeds.min()), float(speeds.max())
    return 1.05 * low if low < 0 else 0.0, 1.05 * high


def mean_difference(lane: Lane, inferred: ArrayLike, truth: ArrayLike) -> float | None:
    r"""Mean over time of :math:`|g_t - g_t^{true}|`, None for a field without transformation; no field counts as 0.

    Args:
        lane: the transformation and its field.
        inferred: ``(T, K)``.
        truth: ``(T, J)``.

    Example:
        >>> mean_difference(Lane(None, 0, "hue"), np.zeros((2, 1)), np.array([[1.0], [0.0]]))
        0.5
    """
    there, found = lane.truth(truth), lane.speeds(inferred)
    if there is None:
        return None
    return float(np.abs(there - (0.0 if found is None else found)).mean())


def stride(count: int) -> int:
    """Return every how many of ``count`` frames one is drawn and numbered.

    Example:
        >>> stride(9), stride(21)
        (1, 2)
    """
    return -(-count // MOST_FRAMES)


def draw_frames(page: Page, frames: ArrayLike, x: float, y: float, pitch: float, name: str) -> float:
    """Draw a sequence so that frame t is centred over t on the lanes below; long sequences are thinned out.

    The gids of the pictures are ``name/T``.

    Args:
        page: where.
        frames: ``(T+1, C, H, W)``.
        x: left edge of the lanes' axes.
        y: top.
        pitch: width of one step.
        name: of the sequence.

    Returns:
        Width and height of a picture.
    """
    every = stride(len(frames))
    size = every * pitch - 0.02
    for t in range(0, len(frames), every):
        page.picture(frames[t], x + (t + 0.5) * pitch - size / 2, y, size, name=f"{name}/{t}")
    return size


def draw_lane(
    axes: Axes,
    lane: Lane,
    inferred: ArrayLike,
    truth: ArrayLike,
    limits: tuple[float, float],
    certainty: Certainty | None = None,
) -> None:
    """Draw g_1 .. g_T of one lane as steps, g_t between frame t - 1 and frame t.

    The drawn steps have the gids ``inferred`` and ``truth``. Where it is known how sure they are, the inferred ones are
    an outline that is filled as opaquely as the field is likely on, with the gids ``on-T``, and with error bars,
    ``deviation``.

    Args:
        axes: where; its x axis counts frames.
        lane: what.
        inferred: ``(T, K)``.
        truth: ``(T, J)``.
        limits: range of speeds.
        certainty: of ``(T, K)``, None if it is not known.
    """
    edges = np.arange(len(np.asarray(inferred)) + 1)
    for level in (0, 1):
        axes.axhline(level, color=FAINT, linewidth=0.7, zorder=0)
    speeds, there = lane.speeds(inferred), lane.truth(truth)
    if speeds is not None:
        look = field_style(lane.role.field)
        options = dict(facecolor=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None)
        if certainty is None:
            axes.stairs(speeds, edges, fill=True, gid="inferred", **options)
        else:
            _draw_sure(axes, speeds, certainty, lane.role.field)
    if there is not None:
        axes.stairs(there, edges, color=TRUTH, linewidth=1.5, baseline=None, gid="truth", zorder=3)
    axes.set(ylim=limits, yticks=[0, 1], xlim=(-0.5, edges[-1] + 0.5), xticks=edges[:: stride(len(edges))])
    axes.tick_params(labelsize=SMALL)


def _draw_sure(axes: Axes, speeds: NDArray[np.float64], certainty: Certainty, field: int) -> None:
    """Draw the speeds ``(T,)`` of a field whose probabilities are known."""
    look, on = field_style(field), np.flatnonzero(speeds)
    axes.stairs(speeds, np.arange(len(speeds) + 1), color=look.colour, linewidth=0.9, gid="inferred")
    for step, alpha in zip(on, opacity(certainty.probability[on, field]), strict=True):
        options = dict(facecolor=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None, alpha=alpha)
        axes.add_patch(Rectangle((step, 0), 1, speeds[step], gid=f"on-{step + 1}", **options))
    error_bars(axes, on + 0.5, speeds[on], certainty.deviation[on, field], "deviation")


def draw_lanes(
    page: Page,
    drawn: Sequence[Lane],
    inferred: ArrayLike,
    truth: ArrayLike,
    box: tuple[float, float, float, float],
    limits: tuple[float, float],
    certainty: Certainty | None = None,
) -> None:
    """Draw lanes under each other with their names and mean differences, and number the frames under the last.

    The axes are labelled ``lane-L``; the gids of the mean differences are ``difference-L``.

    Args:
        page: where.
        drawn: the lanes.
        inferred: of one sequence, ``(T, K)``.
        truth: ``(T, J)``.
        box: x, y, width and height in inches; the x axis spans frames -1/2 to T + 1/2.
        limits: range of speeds.
        certainty: of the inferred activity, ``(T, K)``, None if it is not known.
    """
    x, y, width, height = box
    pitch = height / len(drawn)
    for number, lane in enumerate(drawn):
        top = y + number * pitch
        middle, last = top + pitch / 2 - 0.06, number == len(drawn) - 1
        axes = page.axes(x, top, width, pitch - 0.12, label=f"lane-{number}")
        draw_lane(axes, lane, inferred, truth, limits, certainty)
        axes.tick_params(axis="x", labelbottom=last, bottom=last, pad=1)
        label_lane(page, lane, x - 0.3, middle)
        difference = mean_difference(lane, inferred, truth)
        if difference is not None:
            text = f"off by {difference:.2f}"
            page.text(x + width + 0.04, middle, text, SMALL, va="center", gid=f"difference-{number}")
    page.text(x + width + 0.04, y + height + 0.02, "frame t", SMALL, va="center")


def label_lane(page: Page, lane: Lane, right: float, y: float) -> None:
    """Write a lane's transformation and its field, right-aligned."""
    name = lane.transformation or (lane.role.caption if lane.role is not None else "")
    size, weight = fitted(name, TEXT, min(1.1, right - 0.15)), "bold" if lane.transformation else "normal"
    page.text(right, y - 0.02, name, size, ha="right", va="bottom", weight=weight)
    if lane.role is None:
        page.text(right, y + 0.02, "no field", TEXT, ha="right", va="top")
        return
    turned = " × −1" if lane.role.direction < 0 else ""
    page.chip(right - 0.05, y + 0.12, field_name(lane.role.field) + turned, lane.role.field, SMALL, ha="right")
