"""Traversals: real images moved by one field alone, backwards, forwards, and beyond the trained length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from stf.plot.compute.numbers import percent
from stf.plot.compute.observed import ErrorCurve, Traversal
from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.empty import empty_figure
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
    fitted,
    legend,
)

CELL, BETWEEN = 0.56, 0.04
"""Side of a picture of a small image, and the room between pictures."""
LABELS, INPUT = 0.2, 1.75
NARROWEST = 9.6
TOP, BLOCK_GAP, NUMBERS, TRUE_ROW = 1.5, 0.28, 0.17, 0.06
PAIR_GAP, PANEL = 0.14, 1.75
WIDE_LEGEND = 7.0
UNIT = "L1 error, summed over channels and pixels of images in [0, 1]"


def draw_traversals(traversals: Sequence[Traversal], roles: Sequence[FieldRole]) -> Figure:
    """Draw a block of rows per traversal, one row per image, with the L1 error under each frame whose truth is known.

    The gids of the pictures are ``field-K/image-N/PLACE`` (decoded), ``field-K/input-N`` and ``field-K/true/STEP``,
    those of the errors ``field-K/error-N/STEP``.

    Args:
        traversals: from :func:`stf.plot.compute.observed.move_images`; they share their steps.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_traversals([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    title = "Traversals: each field applied alone to held-out images"
    if not traversals:
        return empty_figure(title, roles)
    left, cell = _columns(traversals[0])
    high = height_of(traversals[0].inputs, cell)
    heights = [len(one.inputs) * (high + NUMBERS) + (high + TRUE_ROW if one.truth else 0) for one in traversals]
    bottom = TOP + sum(heights) + BLOCK_GAP * (len(heights) - 1)
    page = Page(_width(left, cell), bottom + 0.75)
    page.title(
        title,
        "An image is encoded, its latent code is moved by one field at unit speed, and every code is decoded.\n"
        "A good field changes one thing and keeps the rest, also backwards and beyond the length it was trained on.",
    )
    _header(page, left, cell, traversals[0].trained, bottom)
    y = TOP
    for one, height in zip(traversals, heights, strict=True):
        _block(page, one, left, cell, y)
        y += height + BLOCK_GAP
    page.text(0.2, bottom + 0.2, _caption(traversals, roles), TEXT, linespacing=1.4)
    return page.figure


def draw_strip(one: Traversal, curve: ErrorCurve | None = None) -> Figure:
    """Draw the traversal of one field: each image moved, the true transformation under it, and mean errors of many.

    The gids of the pictures are ``image-N/PLACE`` (decoded), ``input-N`` and ``true-N/STEP``, those of the errors
    ``error-N/STEP``; the lines of the axes labelled ``errors`` have the gids ``flow``, ``unmoved`` and
    ``reconstruction``.

    Args:
        one: from :func:`stf.plot.compute.observed.move_images`.
        curve: from :func:`stf.plot.compute.observed.error_curve`; None where no true transformation is known.

    Example:
        >>> import torch
        >>> frames = torch.zeros(1, 3, 1, 2, 2)
        >>> figure = draw_strip(Traversal(FieldRole(4, 0, "hue"), frames[:, 0], (-1, 0, 1), frames, 1))
        >>> figure.axes[0].texts[0].get_text()
        'Traversal of field 4: hue'
    """
    role, (left, cell) = one.role, _columns(one)
    pitch, high = cell + BETWEEN, height_of(one.inputs, cell)
    row = high + NUMBERS + (high if one.truth else 0) + PAIR_GAP
    bottom = TOP + len(one.inputs) * row
    page = Page(_width(left, cell), bottom + (0.35 if curve is None else PANEL + 0.75))
    name = caption(role)
    turned = " Forwards is speed −1: its sign is turned." if role.direction < 0 else ""
    page.title(
        f"Traversal of {field_name(role.field)}: {name}",
        "Held-out images, moved by this field alone at unit speed and decoded"
        + ("; under each, the true images." if one.truth else ".")
        + f"\nIt should change one thing and keep the rest, also backwards and beyond the trained length.{turned}",
    )
    page.chip(LABELS + 0.05, TOP - 0.3, field_name(role.field), role.field, HEADING)
    _header(page, left, cell, one.trained, bottom - PAIR_GAP + (0 if curve is None else PANEL + 0.2))
    y, edge = TOP, left[one.steps[0]] - 0.09
    errors = one.errors()
    for number, (image, frames) in enumerate(zip(one.inputs, one.frames, strict=True)):
        page.picture(image, INPUT, y, cell, name=f"input-{number}", high=high)
        page.text(INPUT - 0.1, y + high / 2, f"moved by {field_name(role.field)}", TEXT, ha="right", va="center")
        page.pictures(frames, left[one.steps[0]], y, cell, pitch, role.field, f"image-{number}", high)
        y += high
        _errors(page, errors, number, (left, cell), y, "error")
        y += NUMBERS
        if one.truth:
            words = f"true {role.transformation}"
            page.text(edge, y + high / 2, words, fitted(words, TEXT, edge - 0.1), ha="right", va="center")
            for step in errors:
                page.picture(one.truth[step][number], left[step], y, cell, name=f"true-{number}/{step}", high=high)
            y += high
        y += PAIR_GAP
    if curve is not None:
        wide = len(one.steps) * pitch
        axes = page.axes(left[one.steps[0]] - BETWEEN / 2, y + 0.12, wide, PANEL - 0.12, label="errors")
        stride = one.steps[1] - one.steps[0]
        axes.set(xlim=(one.steps[0] - stride / 2, one.steps[-1] + stride / 2), xticks=one.steps)
        plot_errors(curve.steps, curve.flow, axes, unmoved=curve.unmoved, reconstruction=curve.reconstruction,
                    field=role.field, names=False)  # fmt: skip
        page.text(edge - 0.42, y + 0.5, "L1 error\nper frame", TEXT, ha="right", linespacing=1.2)
        page.text(edge - 0.42, y + 0.85, f"mean over {len(curve.flow)}\nheld-out images", SMALL, ha="right")
        page.text(left[one.steps[-1]] + pitch / 2, y + PANEL + 0.22, "step t", TEXT, ha="center")
        page.text(0.2, y + PANEL + 0.26, f"Numbers: {UNIT}.", TEXT)
    return page.figure


def plot_errors(
    steps: ArrayLike,
    flow: ArrayLike,
    ax: Axes | None = None,
    *,
    unmoved: ArrayLike | None = None,
    reconstruction: ArrayLike | None = None,
    field: int = 0,
    names: bool = True,
) -> Axes:
    """Draw the mean errors of a field over steps, against those of images that are not moved and of reconstruction.

    The lines have the gids ``flow``, ``unmoved`` and ``reconstruction``.

    Args:
        steps: the S steps, in order.
        flow: errors of N moved images, ``(N, S)``.
        ax: where; axes of a new figure for None.
        unmoved: of the decoded images that are not moved, ``(N, S)``.
        reconstruction: of the true frames encoded and decoded, ``(N, S)``.
        field: whose errors they are.
        names: whether to name the axes.

    Example:
        >>> ax = plot_errors([0, 1, 2], [[1.0, 2.0, 3.0], [1.0, 4.0, 5.0]])
        >>> ax.lines[0].get_ydata().tolist()
        [1.0, 3.0, 4.0]
    """
    ax, look, flow = panel(ax, 6, 2.2), field_style(field), array(flow)
    ax.set_facecolor("none")
    for values, gid, words, style in (
        (unmoved, "unmoved", "not moved: decoded z₀", dict(color=NEUTRAL, linestyle="--")),
        (reconstruction, "reconstruction", "true frame, encoded and decoded", dict(color=TRUTH, linestyle=":")),
        (flow, "flow", "moved by " + field_name(field),
         dict(color=look.colour, marker=look.marker, markersize=4, linewidth=2)),
    ):  # fmt: skip
        if values is not None:
            ax.plot(steps, array(values).mean(0), gid=gid, label=words, **({"linewidth": 1.4} | style))
    low, high = np.percentile(flow, [25, 75], axis=0)
    ax.fill_between(steps, low, high, color=look.colour, alpha=0.25, linewidth=0, label="middle half of images")
    ax.set_ylim(0, None)
    ncols = 4 if ax.get_window_extent().width / ax.figure.dpi > WIDE_LEGEND else 2
    label(ax, *(("step t", "L1 error per frame") if names else ()))
    legend(ax, loc="upper center", ncols=ncols, columnspacing=1.2, bbox_to_anchor=(0.5, 1.0))
    ax.set_ylim(0, (1.18 if ncols == 4 else 1.4) * ax.get_ylim()[1])
    return ax


def caption(role: FieldRole) -> str:
    """Return what a field does, in words.

    Example:
        >>> caption(FieldRole(0)), caption(FieldRole(0, used=0.5))
        ('matches no transformation', 'on at 50 % of the steps')
    """
    if role.transformation is not None:
        return role.transformation
    return "matches no transformation" if role.used is None else f"on at {percent(role.used)} of the steps"


def _columns(one: Traversal) -> tuple[dict[int, float], float]:
    """Left edge of the pictures of each step, and their size."""
    cell = CELL * enlarged(one.inputs.shape[-1])
    start = INPUT + cell + 0.29
    return {step: start + place * (cell + BETWEEN) for place, step in enumerate(one.steps)}, cell


def _width(left: dict[int, float], cell: float) -> float:
    return max(max(left.values()) + cell + BETWEEN + 0.15, NARROWEST)


def _errors(
    page: Page,
    errors: dict[int, list[float]],
    image: int,
    columns: tuple[dict[int, float], float],
    y: float,
    name: str,
) -> None:
    """Write the errors of one image under its pictures."""
    left, cell = columns
    for step, values in errors.items():
        options: dict[str, Any] = dict(ha="center", gid=f"{name}-{image}/{step}")
        page.text(left[step] + cell / 2, y + 0.02, f"{values[image]:.0f}", SMALL, **options)
    if errors:
        page.text(left[min(errors)] - 0.09, y + 0.02, "L1 error", SMALL, ha="right", color="#303030")


def _header(page: Page, left: dict[int, float], cell: float, trained: int, bottom: float) -> None:
    """Name and shade the columns."""
    inside = [x for step, x in left.items() if 0 <= step <= trained]
    before = [x for step, x in left.items() if step < 0]
    after = [x for step, x in left.items() if step > trained]
    pitch = cell + BETWEEN
    for columns, names in (
        (before, ("backwards (speed −1)", "backwards", "back")),
        (inside, ("forwards (speed 1), trained length", "forwards (speed 1)", "forwards")),
        (after, ("beyond the trained length", "beyond")),
    ):
        if columns:
            width = columns[-1] - columns[0] + pitch
            if columns is not inside:
                page.shade(columns[0] - BETWEEN / 2, TOP - 0.47, width, bottom - TOP + 0.55)
            name = next((name for name in names if fitted(name, TEXT, width) == TEXT), names[-1])
            page.text(columns[0] + width / 2 - BETWEEN / 2, TOP - 0.42, name, TEXT, ha="center", weight="bold")
    for step, x in left.items():
        label = f"t = {step}" if step == 0 else f"{step}".replace("-", "−")
        page.text(x + cell / 2, TOP - 0.19, label, SMALL, ha="center", color="#303030")
    page.text(INPUT + cell / 2, TOP - 0.19, "input", SMALL, ha="center", color="#303030")


def _block(page: Page, one: Traversal, left: dict[int, float], cell: float, y: float) -> None:
    """Draw one field: its name, its rows, and the true frames under the last row."""
    role, name = one.role, f"field-{one.role.field}"
    page.chip(LABELS + 0.05, y + 0.18, field_name(role.field), role.field, HEADING)
    if role.transformation is None:
        words = caption(role).replace(" no ", " no\n").replace(" of ", "\nof ")
        page.text(LABELS, y + 0.4, words, HEADING, linespacing=1.2)
    else:
        size = fitted(role.transformation, HEADING, INPUT - LABELS - 0.1)
        page.text(LABELS, y + 0.4, role.transformation, size, weight="bold")
    if role.direction < 0:
        page.text(LABELS, y + 0.62, "forwards is speed −1\n(its sign is turned)", SMALL, color=NEUTRAL)
    errors, high = one.errors(), height_of(one.inputs, cell)
    for number, (image, frames) in enumerate(zip(one.inputs, one.frames, strict=True)):
        page.picture(image, INPUT, y, cell, name=f"{name}/input-{number}", high=high)
        page.pictures(frames, left[one.steps[0]], y, cell, cell + BETWEEN, role.field, f"{name}/image-{number}", high)
        _errors(page, errors, number, (left, cell), y + high, f"{name}/error")
        y += high + NUMBERS
    if one.truth:
        edge = left[min(errors)] - 0.09
        page.text(edge, y + high / 2, f"true {role.transformation}", SMALL, ha="right", va="center")
        for step in errors:
            page.picture(one.truth[step][-1], left[step], y + 0.02, cell, name=f"{name}/true/{step}", high=high)


def _caption(traversals: Sequence[Traversal], roles: Sequence[FieldRole]) -> str:
    lines = [silence(roles)]
    black = [true.sum((-3, -2, -1)).mean().item() for one in traversals for step, true in one.truth.items() if step]
    if black:
        lines.insert(0, f"Numbers: {UNIT}; a black image would score {np.mean(black):.0f}.")
    return "\n".join(lines)
