"""Vectors over time: their features beside the activity that moves them, and moved by each field alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ffrl.data.features import Features
from stf.plot.compute.certainty import Certainty
from stf.plot.compute.roles import ActivityRow, FieldRole
from stf.plot.drawing.activity_rows import plot_rows
from stf.plot.drawing.panel import array, panel, titled
from stf.plot.drawing.style import (
    FAINT,
    HEADING,
    NEUTRAL,
    OKABE_ITO,
    SMALL,
    TEXT,
    TRUTH,
    chip,
    field_name,
    field_style,
    fitted,
)

PREDICTED = OKABE_ITO[1]
MOST = 12
"""Features that are drawn; of more, the first ones."""
LONGEST = 24
"""Letters of a name that are drawn."""
ROW, ACTIVITY_ROW, WIDE = 0.55, 0.6, 3.4
"""Height of a feature and of a field, and width of a sequence, in inches."""


def plot_feature(
    values: ArrayLike | Tensor,
    predicted: ArrayLike | Tensor | None = None,
    ax: Axes | None = None,
    *,
    name: str = "",
    period: float | None = None,
) -> Axes:
    """Draw one feature of a sequence over its frames, and what was predicted of it.

    Args:
        values: ``(T+1,)``, NaN where one is missing.
        predicted: ``(T+1,)``.
        ax: where; axes of a new figure for None.
        name: of the feature, on the vertical axis.
        period: of an angle, whose lines go on where it begins anew.

    Example:
        >>> ax = plot_feature([0.0, 1.0, float("nan")], [0.0, 0.9, 2.1], name="x")
        >>> [line.get_gid() for line in ax.lines]
        ['true', 'predicted']
    """
    ax = panel(ax, 3.4, 1.0)
    truth = _unwrapped(array(values), period)
    ax.plot(truth, color=TRUTH, linewidth=1.3, marker="o", markersize=2.2, gid="true")
    if predicted is not None:
        guess = _unwrapped(array(predicted), period)
        apart = (truth - guess)[~np.isnan(truth)]
        if period is not None and len(apart):
            guess = guess + period * np.round(np.median(apart) / period)  # the turn that the true one is in
        ax.plot(guess, color=PREDICTED, linewidth=1.3, linestyle="--", gid="predicted")
    _name(ax, name)
    ax.locator_params(axis="y", nbins=3)
    ax.grid(axis="y", color=FAINT, linewidth=0.5)
    ax.margins(x=0.02, y=0.12)
    return ax


def draw_feature_sequences(
    values: ArrayLike | Tensor,
    predicted: ArrayLike | Tensor,
    inferred: ArrayLike,
    truth: ArrayLike,
    rows: Sequence[ActivityRow],
    features: Features,
    certainty: Sequence[Certainty] | None = None,
) -> Figure:
    """Draw sequences of vectors side by side: the speeds of each field, and under them every feature over time.

    Axes of feature F of sequence N are labelled ``feature-N/F``.

    Args:
        values: in their own units, ``(N, T+1, F)``.
        predicted: the first one moved by the inferred activity, ``(N, T+1, F)``.
        inferred: speeds, ``(N, T, K)``.
        truth: ``(N, T, J)``.
        rows: fields and transformations, from :func:`stf.plot.compute.roles.activity_rows`.
        features: names and periods.
        certainty: of the inferred activity of each sequence.

    Example:
        >>> from ffrl.data.features import Feature
        >>> from stf.plot.compute.roles import activity_rows
        >>> rows, features = activity_rows([FieldRole(0, 0, "turn")], ["turn"]), Features((Feature("x"), Feature("y")))
        >>> still, speeds = np.zeros((1, 5, 2)), np.ones((1, 4, 1))
        >>> figure = draw_feature_sequences(still, still, speeds, speeds, rows, features)
        >>> [axes.get_label() for axes in figure.axes if axes.get_label().startswith("feature")]
        ['feature-0/0', 'feature-0/1']
    """
    shown, guessed, inferred, truth = array(values), array(predicted), np.asarray(inferred), np.asarray(truth)
    count, drawn = len(shown), features.each[:MOST]
    high = [ACTIVITY_ROW * len(rows) + 0.25, *[ROW] * len(drawn)]
    left = f", the first {MOST} of {len(features)} features" if len(features) > MOST else ""
    line = ", line true" if truth.shape[-1] else ""
    above = f"Above: speed of each field in unit steps per frame, colour inferred{line}. Below" if rows else "Shown"
    figure, body = titled(
        1.6 + WIDE * count,
        1.6 + sum(high),
        "Held-out sequences: what acts, and what it does to the features",
        f"{above}{left}: true values,\nand the first vector moved by the inferred speeds, in the features' own units.",
    )
    grid = body.subplots(1 + len(drawn), count, squeeze=False, height_ratios=high)
    for number in range(count):
        sure = None if certainty is None else certainty[number]
        plot_rows(rows, inferred[number], truth[number], grid[0, number], certainty=sure, named=number == 0)
        for place, feature in enumerate(drawn):
            ax = grid[1 + place, number]
            ax.set_label(f"feature-{number}/{place}")
            name = feature.name if number == 0 else ""
            plot_feature(shown[number, :, place], guessed[number, :, place], ax, name=name, period=feature.period)
            ax.set_xlim(-0.5, shown.shape[1] - 0.5)
            ax.tick_params(labelbottom=place == len(drawn) - 1)
        grid[-1, number].set_xlabel("frame t", fontsize=TEXT)
    key = [
        Line2D([], [], color=TRUTH, marker="o", markersize=2.2, label="true"),
        Line2D([], [], color=PREDICTED, linestyle="--", label="predicted"),
    ]
    figure.legend(handles=key, loc="outside lower left", ncols=2, fontsize=SMALL, frameon=False)
    return figure


def draw_features_alone(
    moved: ArrayLike | Tensor, steps: Sequence[int], roles: Sequence[FieldRole], features: Features, trained: int
) -> Figure:
    """Draw what each field alone does to the features of held-out vectors: a column for each field.

    Axes of feature F under the field in column N are labelled ``alone-N/F``.

    Args:
        moved: decoded vectors in their own units, ``(fields, vectors, steps, F)``.
        steps: how often each was moved at unit speed, negative ones backwards.
        roles: of the fields.
        features: names and periods.
        trained: T; beyond it the background is shaded.

    Example:
        >>> from ffrl.data.features import Feature
        >>> moved = np.zeros((1, 3, 4, 2))
        >>> figure = draw_features_alone(moved, range(-1, 3), [FieldRole(1)], Features((Feature("x"), Feature("y"))), 1)
        >>> [axes.get_label() for axes in figure.axes]
        ['alone-0/0', 'alone-0/1']
    """
    frames, drawn = array(moved), features.each[:MOST]
    left = f" The first {MOST} of {len(features)} features." if len(features) > MOST else ""
    figure, body = titled(
        1.6 + 2.2 * len(roles),
        1.5 + ROW * len(drawn),
        "Each field alone: what it does to the features",
        "Held-out vectors (one line each), moved at unit speed backwards and forwards and decoded, in the features'\n"
        f"own units; flat where the field leaves a feature alone. Shaded: beyond the trained length.{left}",
    )
    grid = body.subplots(len(drawn), len(roles), squeeze=False, sharey="row", sharex=True)
    for column, role in enumerate(roles):
        look = field_style(role.field)
        options: dict[str, Any] = dict(linewidth=1.4, path_effects=[withStroke(linewidth=2.1, foreground=NEUTRAL)])
        for place, feature in enumerate(drawn):
            ax = panel(grid[place, column])
            ax.set_label(f"alone-{column}/{place}")
            for line in frames[column, :, :, place]:
                ax.plot(steps, _unwrapped(line, feature.period), color=look.colour, linestyle=look.line, **options)
            ax.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
            ax.axvspan(trained, max(steps), color=FAINT, alpha=0.4, linewidth=0, zorder=-1)
            ax.margins(x=0)
            if column == 0:
                _name(ax, feature.name)
        heading = dict(xycoords="axes fraction", textcoords="offset points", annotation_clip=False)
        top = grid[0, column]
        top.annotate(field_name(role.field), (0, 1), (4, 9), fontsize=SMALL, **chip(role.field), **heading)
        size = fitted(role.caption, HEADING, 1.2)
        top.annotate(role.caption, (0.45, 1), (4, 9), fontsize=size, va="baseline", **heading)
        grid[-1, column].set_xlabel("steps", fontsize=TEXT)
    return figure


def _name(ax: Axes, name: str) -> None:
    """Write the name of a feature, or its beginning, beside its panel."""
    shown = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    ax.set_ylabel(shown, fontsize=fitted(shown or " ", SMALL, 1.2), rotation=0, ha="right", va="center")


def _unwrapped(values: NDArray[np.float64], period: float | None) -> NDArray[np.float64]:
    """Values of an angle without jumps of a whole period; others as they are."""
    if period is None:
        return values
    known = ~np.isnan(values)
    made = values.copy()
    made[known] = np.unwrap(values[known], period=period)
    return made
