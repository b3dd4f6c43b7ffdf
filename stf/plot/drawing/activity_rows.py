"""Activity over time: one row per transformation or field, inferred speeds in colour against the truth in black."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stf.plot.compute.certainty import Certainty
from stf.plot.compute.roles import ActivityRow
from stf.plot.drawing.certainty import error_bars, opacity
from stf.plot.drawing.page import Page, height_of
from stf.plot.drawing.panel import Images, array, panel
from stf.plot.drawing.style import FAINT, SMALL, TEXT, TRUTH, chip, field_name, field_style, fitted, to_image

FILLED = 0.78
"""Share of the height of a row that its axes take."""
MOST_FRAMES = 14
"""Frames of a sequence that are drawn and numbered."""


def speed_limits(
    drawn: Sequence[ActivityRow], inferred: ArrayLike, truth: ArrayLike, certainty: Certainty | None = None
) -> tuple[float, float]:
    """Return the range of speeds that rows have in common, which holds 0, 1 and all speeds with their error bars.

    Example:
        >>> speed_limits([ActivityRow(None, 0, "hue")], np.zeros((2, 1)), np.full((2, 1), 2.0))
        (0.0, 2.1)
    """
    found = [row.speeds(inferred) for row in drawn] + [row.truth(truth) for row in drawn]
    if certainty is not None:
        inferred = np.asarray(inferred)
        spread = np.where(inferred != 0, certainty.deviation, 0)
        found += [row.speeds(inferred + sign * spread) for row in drawn for sign in (-1, 1)]
    speeds = np.concatenate([np.array([0.0, 1.2]), *(np.ravel(values) for values in found if values is not None)])
    low, high = float(speeds.min()), float(speeds.max())
    return 1.05 * low if low < 0 else 0.0, 1.05 * high


def mean_difference(row: ActivityRow, inferred: ArrayLike, truth: ArrayLike) -> float | None:
    r"""Mean over time of :math:`|g_t - g_t^{true}|`, None for a field without transformation; no field counts as 0.

    Args:
        row: the transformation and its field.
        inferred: ``(T, K)``.
        truth: ``(T, J)``.

    Example:
        >>> mean_difference(ActivityRow(None, 0, "hue"), np.zeros((2, 1)), np.array([[1.0], [0.0]]))
        0.5
    """
    there, found = row.truth(truth), row.speeds(inferred)
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


def place_frames(page: Page, frames: Images, x: float, y: float, pitch: float, name: str, tight: bool = False) -> float:
    """Draw a sequence so that frame t is centred over t on the rows below; long sequences are thinned out.

    The gids of the pictures are ``name/T``.

    Args:
        page: where.
        frames: ``(T+1, C, H, W)``.
        x: left edge of the rows' axes.
        y: top.
        pitch: width of one step.
        name: of the sequence.
        tight: whether flat pictures take no more than their height, rather than standing in the middle of squares.

    Returns:
        Height of the row.
    """
    every = stride(len(frames))
    size = every * pitch - 0.02
    high = height_of(frames, size) if tight else size
    for t in range(0, len(frames), every):
        page.picture(frames[t], x + (t + 0.5) * pitch - size / 2, y, size, name=f"{name}/{t}", high=high)
    return high


def plot_row(
    row: ActivityRow,
    inferred: ArrayLike,
    truth: ArrayLike,
    ax: Axes | None = None,
    *,
    limits: tuple[float, float] | None = None,
    certainty: Certainty | None = None,
) -> Axes:
    """Draw g_1 .. g_T of one row as steps, g_t between frame t - 1 and frame t.

    The drawn steps have the gids ``inferred`` and ``truth``. Where it is known how sure they are, the inferred ones are
    an outline that is filled as opaquely as the field is likely on, with the gids ``on-T``, and with error bars,
    ``deviation``.

    Args:
        row: what.
        inferred: ``(T, K)``.
        truth: ``(T, J)``.
        ax: where, its x axis counting frames; axes of a new figure for None.
        limits: range of speeds; what holds those of the row for None.
        certainty: of ``(T, K)``, None if it is not known.

    Example:
        >>> ax = plot_row(ActivityRow(None, 0, "hue"), [[0.0], [0.0]], [[1.0], [0.0]])
        >>> [patch.get_gid() for patch in ax.patches]
        ['truth']
    """
    ax = panel(ax, 4, 0.8)
    edges = np.arange(len(np.asarray(inferred)) + 1)
    for level in (0, 1):
        ax.axhline(level, color=FAINT, linewidth=0.7, zorder=0)
    speeds, there = row.speeds(inferred), row.truth(truth)
    if speeds is not None and row.role is not None:
        look = field_style(row.role.field)
        options: dict[str, Any] = dict(facecolor=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None)
        if certainty is None:
            ax.stairs(speeds, edges, fill=True, gid="inferred", **options)
        else:
            _draw_sure(ax, speeds, certainty, row.role.field)
    if there is not None:
        ax.stairs(there, edges, color=TRUTH, linewidth=1.5, baseline=None, gid="truth", zorder=3)
    limits = speed_limits([row], inferred, truth, certainty) if limits is None else limits
    ax.set(ylim=limits, yticks=[0, 1], xlim=(-0.5, edges[-1] + 0.5), xticks=edges[:: stride(len(edges))])
    return ax


def _draw_sure(axes: Axes, speeds: NDArray[np.float64], certainty: Certainty, field: int) -> None:
    """Draw the speeds ``(T,)`` of a field whose probabilities are known."""
    look, on = field_style(field), np.flatnonzero(speeds)
    axes.stairs(speeds, np.arange(len(speeds) + 1), color=look.colour, linewidth=0.9, gid="inferred")
    for step, alpha in zip(on, opacity(certainty.probability[on, field]), strict=True):
        options: dict[str, Any] = dict(
            facecolor=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch or None, alpha=alpha
        )
        axes.add_patch(Rectangle((int(step), 0), 1, speeds[step], gid=f"on-{step + 1}", **options))
    error_bars(axes, on + 0.5, speeds[on], certainty.deviation[on, field], "deviation")


def plot_rows(
    rows: Sequence[ActivityRow],
    inferred: ArrayLike,
    truth: ArrayLike,
    ax: Axes | None = None,
    *,
    limits: tuple[float, float] | None = None,
    certainty: Certainty | None = None,
    named: bool = True,
) -> Axes:
    """Draw rows under each other with their names and mean differences, and number the frames under the last.

    Each row has axes of its own inside of ``ax``, labelled ``row-L``; the gids of the mean differences are
    ``difference-L``.

    Args:
        rows: what.
        inferred: of one sequence, ``(T, K)``.
        truth: ``(T, J)``.
        ax: where, its width being that of frames -1/2 to T + 1/2; axes of a new figure for None.
        limits: range of speeds; what holds those of all rows for None.
        certainty: of the inferred activity, ``(T, K)``, None if it is not known.
        named: whether names show the field of each row, and how far inferred and true speeds are apart.

    Example:
        >>> from stf.plot.compute.roles import FieldRole, activity_rows
        >>> ax = plot_rows(activity_rows([FieldRole(0, 0, "hue")], ["hue"]), [[1.0]], [[0.5]])
        >>> [text.get_text() for text in ax.child_axes[0].texts]
        ['hue', 'field 0', 'off by 0.50', 'frame t']
    """
    ax = panel(ax, 5, 0.6 * len(rows) + 0.3)
    ax.set_axis_off()
    limits = speed_limits(rows, inferred, truth, certainty) if limits is None else limits
    aside: dict[str, Any] = dict(
        xycoords="axes fraction", textcoords="offset points", annotation_clip=False, fontsize=SMALL
    )
    for number, row in enumerate(rows):
        box = (0, 1 - (number + FILLED) / len(rows), 1, FILLED / len(rows))
        inner, last = ax.inset_axes(box, label=f"row-{number}"), number == len(rows) - 1
        plot_row(row, inferred, truth, inner, limits=limits, certainty=certainty)
        inner.tick_params(axis="x", labelbottom=last, bottom=last, pad=1)
        _name(inner, row, named)
        difference = mean_difference(row, inferred, truth) if named else None
        if difference is not None:
            inner.annotate(
                f"off by {difference:.2f}", (1, 0.5), (3, 0), va="center", gid=f"difference-{number}", **aside
            )
        if last and named:
            inner.annotate("frame t", (1, 0), (3, -8), va="center", **aside)
    return ax


def _name(ax: Axes, row: ActivityRow, field: bool) -> None:
    """Write a row's transformation and its field left of its axes."""
    look: dict[str, Any] = dict(xycoords="axes fraction", textcoords="offset points", annotation_clip=False, ha="right")
    name = row.transformation or (row.role.caption if row.role is not None else "")
    size, weight = fitted(name or " ", TEXT, 1.1), "bold" if row.transformation and field else "normal"
    if not field:
        ax.annotate(name, (0, 0.5), (-22, 0), fontsize=size, va="center", **look)
        return
    ax.annotate(name, (0, 0.5), (-22, 1.5), fontsize=size, weight=weight, va="bottom", **look)
    if row.role is None:
        ax.annotate("no field", (0, 0.5), (-22, -1.5), fontsize=TEXT, va="top", **look)
        return
    turned = " × −1" if row.role.direction < 0 else ""
    words = field_name(row.role.field) + turned
    ax.annotate(words, (0, 0.5), (-25, -8.5), fontsize=SMALL, va="center", **chip(row.role.field), **look)


def plot_frames(frames: ArrayLike | Tensor, ax: Axes | None = None, *, names: Sequence[str] | None = None) -> Axes:
    """Draw sequences of images in rows, one frame beside the other; long ones are thinned out.

    Every picture has axes of its own inside of ``ax``, keeps its proportions, and has the gid ``N/T``.

    Args:
        frames: of one sequence ``(T+1, C, H, W)`` or of several ``(N, T+1, C, H, W)``, in [0, 1].
        ax: where; axes of a new figure for None.
        names: of the sequences, written left of them.

    Example:
        >>> len(plot_frames(np.zeros((2, 5, 1, 12, 20)), names=["first", "second"]).child_axes)
        10
    """
    frames = array(frames)
    frames = frames[None] if frames.ndim == 4 else frames
    count, length, _, height, width = frames.shape
    shown = range(0, length, stride(length))
    wide = min(1.2, 8 / len(shown))
    ax = panel(ax, wide * len(shown), wide * count * height / width)
    ax.set_axis_off()
    for (row, sequence), (column, t) in itertools.product(enumerate(frames), enumerate(shown)):
        box = ((column + 0.02) / len(shown), 1 - (row + 0.98) / count, 0.96 / len(shown), 0.96 / count)
        plot_image(sequence[t], ax.inset_axes(box)).images[0].set_gid(f"{row}/{t}")
    for row, name in enumerate(names or ()):
        look: dict[str, Any] = dict(
            xycoords="axes fraction", textcoords="offset points", annotation_clip=False, ha="right"
        )
        ax.annotate(name, (0, 1 - (row + 0.5) / count), (-6, 0), fontsize=TEXT, va="center", **look)
    return ax


def plot_image(frame: ArrayLike | Tensor, ax: Axes | None = None) -> Axes:
    """Draw one frame ``(C, H, W)`` in [0, 1] in its proportions; other than three channels are averaged to grey.

    Example:
        >>> plot_image(np.zeros((1, 12, 20))).get_aspect()
        1.0
    """
    ax = panel(ax, 2, 2)
    ax.imshow(to_image(frame), vmin=0, vmax=1, interpolation="nearest", origin="upper")
    ax.set_axis_off()
    return ax
