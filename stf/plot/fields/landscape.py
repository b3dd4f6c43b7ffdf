"""Potential landscapes: the potential of each field as a surface, with the flow on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import ArrayLike, NDArray

from stf.plot.compute.field_context import PlaneField
from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.empty import empty_figure
from stf.plot.drawing.page import Page
from stf.plot.drawing.panel import array, panel
from stf.plot.drawing.style import HEADING, NEUTRAL, SMALL, TEXT, TRUTH, field_name, field_style, fitted

WIDE, HIGH, COLUMNS = 4.0, 3.7, 3
TOP = 1.15
COLOUR_MAP = "cividis"
VIEW = dict(elev=34, azim=-64)
LEVELS, EVERY, LONGEST, INK = 12, 6, 0.85, "#303030"
FLOOR = 0.75
"""How far below the surface the contours lie, as a share of its height."""


def draw_landscape(fields: Sequence[PlaneField], roles: Sequence[FieldRole]) -> Figure:
    """Draw the potential of each field over its plane as a surface with contours below, and a real image's path on it.

    The axes are labelled ``field-K``; in them the surface has the gid ``surface``, the path ``path``.

    Args:
        fields: from :func:`stf.plot.compute.field_context.plane_fields`.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_landscape([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    title = "Potential landscapes: what each field climbs"
    if not fields:
        return empty_figure(title, roles)
    columns = min(COLUMNS, len(fields))
    rows = -(-len(fields) // columns)
    page = Page(max(0.3 + columns * WIDE, 9.8), TOP + rows * HIGH + 0.75)
    page.title(title, _subtitle(fields[0]))
    for number, one in enumerate(fields):
        x, y = 0.2 + number % columns * WIDE, TOP + number // columns * HIGH
        role = one.role
        page.chip(x + 0.1, y + 0.1, field_name(role.field), role.field, HEADING)
        name = role.caption
        page.text(x + 0.85, y + 0.1, name, fitted(name, HEADING, WIDE - 2.2), va="center", weight="bold")
        climb = f"{one.heights[-1] - one.heights[0]:+.2f}".replace("-", "−")
        page.text(x + WIDE - 0.35, y + 0.1, f"u along the path: {climb}", SMALL, ha="right", va="center", color=INK)
        flat = page.axes(x, y + 0.15, WIDE - 0.05, HIGH - 0.3)
        box = flat.get_position()
        flat.remove()
        axes = page.figure.add_axes(box.bounds, projection="3d", label=f"field-{role.field}", computed_zorder=False)
        moves, slope = (one.plane.components(part) for part in (one.whole, one.curl_free))
        plot_landscape(
            one.x,
            one.y,
            one.potential,
            axes,
            field=role.field,
            moves=moves,
            slope=slope,
            path=one.plane.coordinates(one.path),
            heights=one.heights,
            zoom=1.05,
        )
        axes.set_xlabel(one.plane.names[0], fontsize=SMALL, labelpad=-6)
        axes.set_ylabel(one.plane.names[1], fontsize=SMALL, labelpad=-6)
    _legend(page, page.height - 0.56, fields[0].divergence_free is not None)
    page.text(0.2, page.height - 0.3, f"{silence(roles)} The planes are spanned by {fields[0].plane.spanned}.", TEXT)
    return page.figure


def plot_landscape(
    x: ArrayLike,
    y: ArrayLike,
    potential: ArrayLike,
    ax: Axes3D | None = None,
    *,
    field: int = 0,
    moves: ArrayLike | None = None,
    slope: ArrayLike | None = None,
    path: ArrayLike | None = None,
    heights: ArrayLike | None = None,
    zoom: float = 0.85,
) -> Axes3D:
    """Draw a potential as a surface over a plane with contours below, tangent arrows of its field, and a path.

    The gids are ``surface``, ``contours``, ``arrows`` and ``path``.

    Args:
        x, y: coordinates of the grid, ``(n,)``.
        potential: ``(n, n)``, rows along y.
        ax: where, of ``projection="3d"``; axes of a new figure for None.
        field: whose colour the arrows have.
        moves: where each point is moved in one step, ``(n, n, 2)``; no arrows for None.
        slope: gradient of the potential along both axes, ``(n, n, 2)``; by differences on the grid for None.
        path: coordinates of a path, ``(T+1, 2)``.
        heights: the potential along it, ``(T+1,)``.
        zoom: how much of the axes it fills.

    Example:
        >>> x = np.linspace(-1, 1, 17)
        >>> plot_landscape(x, x, x[:, None] ** 2 - x**2).get_zlabel()
        'potential u'
    """
    ax = cast(Axes3D, panel(ax, 4, 4, solid=True))
    look, (x, y, potential) = field_style(field), map(array, (x, y, potential))
    ax.computed_zorder = False
    low, high = potential.min(), potential.max()
    height = max(high - low, 1e-12)
    floor, lift = low - FLOOR * height, [0, 0, 0.015 * height]
    grid = np.meshgrid(x, y)
    surface = ax.plot_surface(*grid, potential, cmap=COLOUR_MAP, rstride=1, cstride=1, linewidth=0, antialiased=False)
    surface.set(gid="surface", zorder=2)
    if high > low:
        lines: dict[str, Any] = dict(levels=LEVELS, zdir="z", offset=floor, cmap=COLOUR_MAP, linewidths=0.9)
        ax.contour(*grid, potential, **lines).set(gid="contours", zorder=1)
    if moves is not None:
        along_y, along_x = np.gradient(potential, y, x)
        slope = np.stack([along_x, along_y], axis=-1) if slope is None else slope
        starts, arrows = tangents(x, y, potential, array(moves), array(slope))
        options: dict[str, Any] = dict(color=look.colour, linewidth=1.3, arrow_length_ratio=0.4, zorder=3)
        drawn = ax.quiver(*(starts + lift).T, *arrows.T, **options)
        drawn.set(gid="arrows", path_effects=[withStroke(linewidth=3, foreground="white")])
    if path is not None and heights is not None:
        points = np.column_stack([array(path), array(heights)])
        line: dict[str, Any] = dict(
            color=TRUTH, linewidth=1.5, marker="o", markersize=4, markeredgecolor="white", markeredgewidth=0.6
        )
        ax.plot(*(points + lift).T, color="white", linewidth=3.2, zorder=4)
        ax.plot(*(points + lift).T, zorder=5, gid="path", **line)
        ax.plot(*points[:, :2].T, floor, color=TRUTH, linewidth=0.9, zorder=2)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), zlim=(floor, max(high, low + height)))
    ax.set_box_aspect((1, 1, 0.75), zoom=zoom)
    ax.view_init(**VIEW)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.patch.set_visible(False)
    ax.grid(False)
    ax.tick_params(labelsize=SMALL - 1, pad=-2)
    ax.set_zlabel("potential u", fontsize=SMALL, labelpad=-2)
    return ax


def tangents(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    potential: NDArray[np.float64],
    moves: NDArray[np.float64],
    slope: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Points of the surface and, tangent to it, where the field moves them: ``(M, 3)`` each.

    An arrow (p, q) on the plane rises by p du/dx + q du/dy, the gradient being that of the potential on the plane.
    """
    some = (slice(EVERY // 2, None, EVERY),) * 2
    starts = np.stack([*np.meshgrid(x, y), potential], axis=-1)[some].reshape(-1, 3)
    moves, slope = (part[some].reshape(-1, 2) for part in (moves, slope))
    scale = LONGEST * EVERY * (x[1] - x[0]) / max(np.linalg.norm(moves, axis=-1).max(initial=0), 1e-12)
    return starts, scale * np.column_stack([moves, (moves * slope).sum(-1)])


def _subtitle(one: PlaneField) -> str:
    time = "" if one.time is None else f" Shown at time t = {one.time[0]} of {one.time[1]}."
    also = ", r may also lead along a slope or down it" if one.divergence_free is not None else ""
    return (
        f"Height and colour: the potential u over a plane of latent space; ∇u always climbs{also}.{time}\n"
        "Black: a real image moved by this field alone, at the potential of its codes; on the floor: contours of u."
    )


def _legend(page: Page, y: float, split: bool) -> None:
    name = "v = ∇u + r" if split else "v = ∇u"
    entries = [
        Line2D([], [], color=TRUTH, marker="o", markersize=4, markeredgecolor="white", label="path, a dot per step"),
        Line2D([], [], color=NEUTRAL, linewidth=1.5, label=f"{name} on the surface, in the colour of the field"),
    ]
    box: dict[str, Any] = dict(
        loc="center left", bbox_to_anchor=(0.2 / page.width, 1 - y / page.height), ncols=3, frameon=False
    )
    page.figure.legend(handles=entries, fontsize=TEXT, borderpad=0, borderaxespad=0, **box)
