"""Potential landscapes: the potential of each field as a surface, with the flow on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import NDArray

from stf.plot.compute.field_material import PlaneField
from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.empty import draw_nothing
from stf.plot.drawing.style import HEADING, NEUTRAL, SMALL, TEXT, TRUTH, Page, field_name, field_style, fitted

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
        fields: from :func:`stf.plot.compute.field_material.plane_fields`.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_landscape([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    title = "Potential landscapes: what each field climbs"
    if not fields:
        return draw_nothing(title, roles)
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
        axes = page.figure.add_axes(box, projection="3d", label=f"field-{role.field}", computed_zorder=False)
        draw_surface(axes, one)
    _legend(page, page.height - 0.56, fields[0].divergence_free is not None)
    page.text(0.2, page.height - 0.3, f"{silence(roles)} The planes are spanned by {fields[0].plane.spanned}.", TEXT)
    return page.figure


def draw_surface(axes: Axes3D, one: PlaneField) -> None:
    """Draw the potential of one field as a surface over its plane, tangent arrows of the field, and the path."""
    look = field_style(one.role.field)
    x, y, potential = one.x.numpy(), one.y.numpy(), one.potential.numpy()
    low, high = potential.min(), potential.max()
    height = max(high - low, 1e-12)
    floor = low - FLOOR * height
    grid = np.meshgrid(x, y)
    surface = axes.plot_surface(*grid, potential, cmap=COLOUR_MAP, rstride=1, cstride=1, linewidth=0, antialiased=False)
    surface.set(gid="surface", zorder=2)
    if high > low:
        contours = axes.contour(
            *grid, potential, levels=LEVELS, zdir="z", offset=floor, cmap=COLOUR_MAP, linewidths=0.9
        )
        contours.set(gid="contours", zorder=1)
    starts, arrows = tangents(one)
    lift = 0.015 * height
    options = dict(color=look.colour, linewidth=1.3, arrow_length_ratio=0.4, zorder=3)
    drawn = axes.quiver(*(starts + [0, 0, lift]).T, *arrows.T, **options)
    drawn.set(gid="arrows", path_effects=[withStroke(linewidth=3, foreground="white")])
    path = np.column_stack([one.plane.coordinates(one.path).numpy(), one.heights.numpy()])
    axes.plot(*(path + [0, 0, lift]).T, color="white", linewidth=3.2, zorder=4)
    line = dict(color=TRUTH, linewidth=1.5, marker="o", markersize=4, markeredgecolor="white", markeredgewidth=0.6)
    axes.plot(*(path + [0, 0, lift]).T, zorder=5, gid="path", **line)
    axes.plot(*path[:, :2].T, floor, color=TRUTH, linewidth=0.9, zorder=2)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), zlim=(floor, high))
    axes.set_box_aspect((1, 1, 0.75), zoom=1.05)
    axes.view_init(**VIEW)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.patch.set_visible(False)
    axes.grid(False)
    axes.tick_params(labelsize=SMALL - 1, pad=-2)
    axes.set_xlabel(one.plane.names[0], fontsize=SMALL, labelpad=-6)
    axes.set_ylabel(one.plane.names[1], fontsize=SMALL, labelpad=-6)
    axes.set_zlabel("potential u", fontsize=SMALL, labelpad=-2)


def tangents(one: PlaneField) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Points of the surface and, tangent to it, where the field moves them: ``(M, 3)`` each.

    An arrow (p, q) on the plane rises by p du/dx + q du/dy, the gradient being that of the potential on the plane.
    """
    some = (slice(EVERY // 2, None, EVERY),) * 2
    rows, columns = torch.meshgrid(one.y, one.x, indexing="ij")
    starts = torch.stack([columns[some], rows[some], one.potential[some]], dim=-1).flatten(0, 1)
    moves, slope = (one.plane.components(part[some]).flatten(0, 1) for part in (one.whole, one.curl_free))
    longest = float(moves.norm(dim=-1).max())
    scale = LONGEST * EVERY * float(one.x[1] - one.x[0]) / max(longest, 1e-12)
    arrows = scale * torch.cat([moves, (moves * slope).sum(-1, keepdim=True)], dim=-1)
    return starts.numpy(), arrows.numpy()


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
    box = dict(loc="center left", bbox_to_anchor=(0.2 / page.width, 1 - y / page.height), ncols=3, frameon=False)
    page.figure.legend(handles=entries, fontsize=TEXT, borderpad=0, borderaxespad=0, **box)
