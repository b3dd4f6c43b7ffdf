"""Field planes: what each field does on a plane of latent space, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from torch import Tensor

from stf.plot.compute.field_context import PlaneField
from stf.plot.compute.numbers import percent
from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.empty import empty_figure
from stf.plot.drawing.page import Page
from stf.plot.drawing.panel import array, panel
from stf.plot.drawing.style import HEADING, NEUTRAL, SMALL, TEXT, TRUTH, field_name, field_style, fitted

PANEL, GAP, LABELS = 2.75, 0.22, 1.62
TOP, LOW_TOP, BETWEEN = 1.62, 1.1, 0.62
ALONE, EDGES, ABOVE = 3, 0.45, 1.3
"""Fields side by side where each has one panel, and the room left of the panel and above it."""
EVERY = 4
"""An arrow at every how many points of the grid."""
LONGEST = 1.15
"""Length of the longest arrow of a row, in distances between arrows."""
DENSITY = ("#FFFFFF", "#F1F1F1", "#E4E4E4", "#D6D6D6", "#C8C8C8")
POTENTIAL, LEVELS, DASHES = "#505050", 12, [(0, (4, 2))]
EDGE = "#303030"
CELL = 0.5
TITLES = {"curl-free": "Curl-free part ∇u", "divergence-free": "Divergence-free part r", "whole": "Field v = ∇u + r"}


def draw_field_planes(fields: Sequence[PlaneField], roles: Sequence[FieldRole]) -> Figure:
    """Draw the parts of every field and their sum as arrows and streamlines, over the potential and the data.

    The axes are labelled ``field-K/PART``, PART being ``curl-free``, ``divergence-free`` or ``whole`` (the latter alone
    for models whose fields are potentials). In them the arrows have the gid ``arrows``, the path the gid ``path``; the
    contours ``potential`` and ``density``.

    Args:
        fields: from :func:`stf.plot.compute.field_context.plane_fields`.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_field_planes([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    title = "Field planes: how each field moves a latent code"
    if not fields:
        return empty_figure(title, roles)
    split = fields[0].divergence_free is not None
    (width, height, rows, beside), corner = _layout(len(fields), split), (LABELS, 0.0) if split else (EDGES, ABOVE)
    page = Page(max(0.2 + beside * width, 9.8), (TOP if split else LOW_TOP) + rows * height + 0.65)
    page.title(title, _subtitle(fields[0], split))
    for number, one in enumerate(fields):
        x, y = 0.2 + number % beside * width, page.height - 0.65 - (rows - number // beside) * height
        _label(page, one, x, y, split)
        scale = arrow_scale(one)
        for place, part in enumerate(TITLES if split else ["whole"]):
            left, top = x + corner[0] + place * (PANEL + GAP), y + corner[1]
            axes = page.axes(left, top, PANEL, PANEL, label=f"field-{one.role.field}/{part}")
            whole = part == "whole"
            plot_field(
                one.x,
                one.y,
                one.plane.components(vectors(one, part)),
                axes,
                field=one.role.field,
                scale=scale,
                potential=one.potential,
                density=one.density,
                path=one.plane.coordinates(one.path) if whole else None,
            )
            if number < beside and split:
                page.text(left, top - 0.3, TITLES[part], HEADING, weight="bold", va="bottom")
            note: dict[str, Any] = dict(size=SMALL, va="bottom", color="#303030")
            share = f"out of plane: {percent(one.plane.outside(vectors(one, part)))} of |v|²"
            page.text(left + PANEL, top - 0.04, share, ha="right", **note)
            if place == 0:
                page.text(left, top - 0.04, f"arrows × {scale:.2g}", **note)
                axes.set_ylabel(one.plane.names[1], fontsize=SMALL, labelpad=1)
            axes.tick_params(labelleft=place == 0)
            axes.set_xlabel(one.plane.names[0], fontsize=SMALL, labelpad=1)
    _legend(page, page.height - 0.62)
    page.text(0.2, page.height - 0.3, f"{silence(roles)} The planes are spanned by {fields[0].plane.spanned}.", TEXT)
    return page.figure


def _layout(count: int, split: bool) -> tuple[float, float, int, int]:
    """Width and height of what belongs to one field, rows, and fields beside each other."""
    beside = 1 if split else min(ALONE, count)
    width = LABELS + len(TITLES) * (PANEL + GAP) if split else EDGES + PANEL + GAP
    return width, PANEL + BETWEEN + (0 if split else ABOVE), -(-count // beside), beside


def vectors(one: PlaneField, part: str) -> Tensor:
    """The vectors ``(n, n, D)`` of one part of a field, which it has to have."""
    return cast(Tensor, {"curl-free": one.curl_free, "divergence-free": one.divergence_free, "whole": one.whole}[part])


def arrow_scale(one: PlaneField) -> float:
    """By how much arrows are shortened in the panels of one field."""
    parts = [one.whole] if one.divergence_free is None else [one.curl_free, one.divergence_free, one.whole]
    return shortened(one.plane.components(torch.stack(parts)), one.x)


def plot_field(
    x: ArrayLike,
    y: ArrayLike,
    moves: ArrayLike,
    ax: Axes | None = None,
    *,
    field: int = 0,
    scale: float | None = None,
    potential: ArrayLike | None = None,
    density: ArrayLike | None = None,
    path: ArrayLike | None = None,
) -> Axes:
    """Draw a field on a plane: arrows of true length times ``scale``, and streamlines.

    Arrows have the gid ``arrows``, the path ``path``, the contours ``potential`` and ``density``.

    Args:
        x, y: coordinates of the grid, ``(n,)``.
        moves: where each point of it is moved in one step, along both axes, ``(n, n, 2)``, rows along y.
        ax: where; axes of a new figure for None.
        field: whose colour it has.
        scale: of the arrows; such that the longest one does not reach over its neighbour for None.
        potential: drawn as dashed contours, ``(n, n)``.
        density: drawn as shades of grey, ``(n, n)``.
        path: coordinates of a path, ``(T+1, 2)``.

    Example:
        >>> x = np.linspace(-1, 1, 17)
        >>> turning = np.stack(np.meshgrid(x, x)[::-1], -1) * [-0.1, 0.1]
        >>> plot_field(x, x, turning, path=[[0.5, 0.0], [0.5, 0.1]]).get_aspect()
        1.0
    """
    ax, look, (x, y, moves) = panel(ax, 3.2, 3.2), field_style(field), map(array, (x, y, moves))
    scale = shortened(moves, x) if scale is None else scale
    if density is not None and array(density).max() > 0:  # codes may be too far from the path to be seen
        shading = np.linspace(0, array(density).max(), len(DENSITY) + 1)
        ax.contourf(x, y, array(density), levels=shading, colors=DENSITY, zorder=0).set_gid("density")
    if potential is not None and np.ptp(array(potential)) > 0:
        lines: dict[str, Any] = dict(levels=LEVELS, colors=POTENTIAL, linewidths=0.7, linestyles=DASHES)
        ax.contour(x, y, array(potential), **lines).set(gid="potential", zorder=1)
    if np.ptp(moves) > 0:
        style: dict[str, Any] = dict(color=paler(look.colour), linewidth=0.8, density=0.85, num_arrows=0, zorder=2)
        ax.streamplot(x, y, moves[..., 0], moves[..., 1], **style).lines.set_gid("streamlines")
    some = slice(EVERY // 2, None, EVERY)
    length: dict[str, Any] = dict(angles="xy", scale_units="xy", scale=1 / scale)
    arrows: dict[str, Any] = dict(color=look.colour, edgecolor=EDGE, linewidth=0.3, width=0.011, zorder=3, gid="arrows")
    ax.quiver(x[some], y[some], moves[some, some, 0], moves[some, some, 1], **length, **arrows)
    if path is not None:
        plot_path(path, ax)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(NEUTRAL)
    ax.tick_params(pad=1.5, length=2)
    return ax


def shortened(moves: ArrayLike, x: ArrayLike) -> float:
    """Return by how much arrows of a grid with coordinates ``x (n,)`` are shortened, so that none covers its neighbour.

    Example:
        >>> float(round(shortened([[[4.0, 3.0]]], [0.0, 1.0]), 2))
        0.92
    """
    longest, x = np.linalg.norm(array(moves), axis=-1).max(), array(x)
    return LONGEST * EVERY * (x[1] - x[0]) / max(longest, 1e-12)


def paler(colour: str, share: float = 0.5) -> str:
    """Mix a colour with white.

    Example:
        >>> paler("#000000")
        '#808080'
    """
    red, green, blue = (share + (1 - share) * part for part in to_rgb(colour))
    return to_hex((red, green, blue))


def plot_path(path: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw a path ``(T+1, 2)`` with a dot per frame; the first is a ring.

    Example:
        >>> plot_path([[0.0, 0.0], [1.0, 2.0]]).lines[0].get_gid()
        'path'
    """
    ax, path = panel(ax, 3.2, 3.2), array(path)
    look: dict[str, Any] = dict(color=TRUTH, markeredgecolor="white", zorder=4)
    ax.plot(*path.T, marker="o", markersize=4, linewidth=1.4, markeredgewidth=0.6, gid="path", **look)
    ax.plot(*path[0], marker="o", markersize=5.5, color="white", markeredgecolor=TRUTH, zorder=5, markeredgewidth=1.3)
    return ax


def _label(page: Page, one: PlaneField, x: float, y: float, left: bool) -> None:
    """Name a field, show what happens along its path, and say how much motion the plane holds, left or on top."""
    role, pitch = one.role, CELL + 0.04
    page.chip(x + 0.05, y + 0.1, field_name(role.field), role.field, HEADING)
    name, room = role.caption, LABELS - 0.5 if left else PANEL - 0.7
    page.text(x + (0 if left else 0.75), y + (0.3 if left else 0.02), name, fitted(name, HEADING, room), weight="bold")
    if role.direction < 0:
        page.text(x if left else x + EDGES + PANEL, y + (0.5 if left else 0.02), "drawn at speed −1", SMALL,
                  color=NEUTRAL, ha="left" if left else "right")  # fmt: skip
    for place, (frame, step) in enumerate(zip(one.frames, one.steps, strict=True)):
        corner = (x, y + 0.68 + place * pitch) if left else (x + place * (pitch + 0.02), y + 0.3)
        page.picture(frame, *corner, CELL, role.field, f"field-{role.field}/frame-{step}")
        label = f"t = {step}" if not step else str(step)
        if left:
            page.text(corner[0] + CELL + 0.06, corner[1] + CELL / 2, label, SMALL, va="center")
        else:
            page.text(corner[0] + CELL / 2, corner[1] + CELL + 0.02, label, SMALL, ha="center")
    own, every = (percent(1 - one.plane.outside(paths.diff(dim=-2))) for paths in (one.path, one.paths))
    text = f"in plane: {own} of\nthis path's motion,\n{every} of that of\n{len(one.paths)} images"
    corner = (
        (x, y + 0.72 + len(one.frames) * pitch) if left else (x + len(one.frames) * (pitch + 0.02) + 0.06, y + 0.32)
    )
    page.text(*corner, text, SMALL, linespacing=1.15, color="#303030")


def _subtitle(one: PlaneField, split: bool) -> str:
    parts = "Each row is one field on one plane of latent space, all three panels to the same scale. " if split else ""
    time = "" if one.time is None else f" Shown at time t = {one.time[0]} of {one.time[1]}."
    climbing = ", uphill on the potential u" if one.climbs else ""
    return (
        f"{parts}Arrows: where a code on the plane is moved in one step at speed 1.\n"
        "∇u climbs the potential u at right angles to its contours, r turns, and what moves images is their sum." + time
        if split
        else f"Arrows: where a code on the plane is moved in one step at speed 1{climbing}.{time}"
    )


def _legend(page: Page, y: float) -> None:
    entries = [
        Line2D(
            [],
            [],
            color=TRUTH,
            marker="o",
            markersize=4,
            markeredgecolor="white",
            label="a real image moved by this field alone, a dot per step",
        ),
        Line2D([], [], color=POTENTIAL, linewidth=0.9, linestyle=DASHES[0], label="contours of the potential"),
        Patch(color=DENSITY[-1], label="encoded held-out frames"),
    ]
    box: dict[str, Any] = dict(
        loc="center left", bbox_to_anchor=(0.2 / page.width, 1 - y / page.height), ncols=3, frameon=False
    )
    page.figure.legend(handles=entries, fontsize=TEXT, borderpad=0, borderaxespad=0, **box)
