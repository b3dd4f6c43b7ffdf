"""Divergence and curl of both parts of each field on its plane: exactly zero where they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from stf.plot.compute.field_context import Derivatives, PlaneDerivatives
from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.empty import empty_figure
from stf.plot.drawing.panel import array, panel, titled
from stf.plot.drawing.style import HEADING, SMALL, TRUTH, chip, field_name, fitted

SIDE = 2.15
"""Of a map with its margins, in inches."""
DIVERGING, SEQUENTIAL = "RdBu_r", "Purples"
TITLES = {
    ("divergence", "curl-free"): "div ∇u = Δu",
    ("divergence", "divergence-free"): "div r",
    ("curl", "curl-free"): "curl ∇u",
    ("curl", "divergence-free"): "curl r",
}
ZERO = {("divergence", "divergence-free"), ("curl", "curl-free")}
"""What vanishes identically, unless the divergence is only penalised."""
ROUNDING = 1e-9
"""Relative size up to which it does."""


def relative(one: Derivatives, kind: str) -> Tensor:
    r"""Size of divergence or curl in units of the Jacobian: \|tr J\| / \|J\| or \|(J - J') / 2\| / \|J\|, ``(n, n)``.

    Example:
        >>> import torch
        >>> relative(Derivatives(torch.tensor([-1.0]), torch.tensor([0.0]), torch.tensor([2.0])), "divergence")
        tensor([0.5000])
    """
    size = one.size.clamp_min(1e-300)
    return (one.divergence.abs() if kind == "divergence" else one.curl) / size


def draw_differential(planes: Sequence[PlaneDerivatives], roles: Sequence[FieldRole]) -> Figure:
    """Draw divergence and curl of both parts of every field, with the largest relative size of what should vanish.

    The maps are in the axes labelled ``field-K/KIND/PART``, KIND being ``divergence`` or ``curl``, with the gid
    ``map``; the largest relative sizes have the gids ``field-K/KIND/PART/largest``.

    Args:
        planes: from :func:`stf.plot.compute.field_context.plane_derivatives`.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_differential([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    title = "Divergence and curl: zero where they should be"
    if not planes:
        return empty_figure(title, roles)
    split = planes[0].divergence_free is not None
    parts = ("curl-free", "divergence-free") if split else ("curl-free",)
    free = [one.divergence_free for one in planes if one.divergence_free is not None]
    exact = split and max(float(relative(part, "divergence").max()) for part in free) <= ROUNDING
    figure, body = titled(
        max(1.6 + 2 * (len(parts) * SIDE + 0.6), 9.6),
        1.5 + len(planes) * (SIDE + 0.4),
        title,
        _subtitle(planes[0], split, exact),
        f"{silence(roles)} The planes are spanned by {planes[0].plane.spanned}.",
    )
    kinds = [(kind, part) for kind in ("divergence", "curl") for part in parts]
    grid = body.subplots(len(planes), len(kinds), squeeze=False, sharey="row")
    for row, one in enumerate(planes):
        for ax, (kind, part) in zip(grid[row], kinds, strict=True):
            name, derivatives = f"field-{one.role.field}/{kind}/{part}", getattr(one, part.replace("-", "_"))
            ax.set_label(name)
            pair = [getattr(one, part.replace("-", "_")) for part in parts]
            values, path = getattr(derivatives, kind), one.path
            plot_map(one.x, one.y, values, ax, signed=kind == "divergence", limit=_limit(pair, kind), path=path)
            ax.set_xlabel(one.plane.names[0], fontsize=SMALL, labelpad=1)
            ax.set_title(
                TITLES[kind, part] + "\n" if row == 0 else "", fontsize=HEADING, loc="left", weight="bold", pad=6
            )
            largest = float(relative(derivatives, kind).max())
            zero = (kind, part) in ZERO and largest <= ROUNDING
            text = f"zero: at most {scientific(largest)} ‖J‖" if zero else f"up to {largest:.2g} ‖J‖"
            look: dict[str, Any] = dict(fontsize=SMALL, weight="bold" if zero else None, gid=f"{name}/largest")
            ax.annotate(text, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", **look)
            if part == parts[-1]:
                bar = figure.colorbar(ax.collections[0], cax=ax.inset_axes((1.04, 0, 0.05, 1)))
                bar.ax.tick_params(labelsize=SMALL - 1, length=2, pad=1)
                bar.ax.set_title("per step", fontsize=SMALL - 1, pad=3, loc="left")
        _label(grid[row, 0], one)
    return figure


def plot_map(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    ax: Axes | None = None,
    *,
    signed: bool = True,
    limit: float | None = None,
    path: ArrayLike | None = None,
) -> Axes:
    """Draw numbers on a plane as colours, such as the divergence or the curl of a field, with the path of an image.

    Args:
        x, y: coordinates of the grid, ``(n,)``.
        values: ``(n, n)``, rows along y.
        ax: where; axes of a new figure for None.
        signed: whether values have a sign, as the divergence has and the curl has not.
        limit: size at which the colours end; that of the largest value for None.
        path: coordinates, ``(T+1, 2)``.

    Example:
        >>> plot_map([0, 1], [0, 1], [[0.0, -2.0], [1.0, 0.5]]).collections[0].get_clim()
        (-2.0, 2.0)
    """
    ax, (x, y, values) = panel(ax, 3, 3), map(array, (x, y, values))
    limit = (np.abs(values).max() or 1.0) if limit is None else limit
    look: dict[str, Any] = dict(cmap=DIVERGING if signed else SEQUENTIAL, vmin=-limit if signed else 0.0, vmax=limit)
    ax.pcolormesh(x, y, values, gid="map", shading="nearest", rasterized=True, **look)
    if path is not None:
        ax.plot(*array(path).T, color="white", linewidth=2.6)
        ax.plot(*array(path).T, color=TRUTH, linewidth=1.2, marker="o", markersize=2.5)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
    ax.spines[:].set_visible(True)
    ax.tick_params(pad=1.5, length=2)
    return ax


def scientific(value: float) -> str:
    """Return a number with one decimal and its power of ten.

    Example:
        >>> scientific(1.3e-16), scientific(0.0)
        ('1.3e−16', '0')
    """
    return f"{value:.1e}".replace("-", "−") if value else "0"


def _limit(pair: Sequence[Derivatives], kind: str) -> float:
    """End of the colours that the maps of a pair share; it holds the norms of J, so that rounding errors stay pale."""
    return max(float(getattr(one, name).abs().max()) for one in pair for name in (kind, "size")) or 1.0


def _subtitle(one: PlaneDerivatives, split: bool, exact: bool) -> str:
    turns = f"; r turns but {'never' if exact else 'by its penalty hardly'} compresses or expands" if split else ""
    time = "" if one.time is None else f" (t = {one.time[0]} of {one.time[1]})"
    return (
        f"A gradient compresses or expands but never turns{turns}. Trace (divergence) and norm of the antisymmetric\n"
        f"part (curl) of the exact Jacobian J in all latent dimensions, on the fields' planes{time}. "
        "1e−16 ‖J‖ is rounding."
    )


def _label(ax: Axes, one: PlaneDerivatives) -> None:
    """Name the field left of its first map."""
    beside: dict[str, Any] = dict(
        xycoords="axes fraction", textcoords="offset points", annotation_clip=False, ha="right"
    )
    name, role = one.role.caption, one.role
    ax.set_ylabel(one.plane.names[1], fontsize=SMALL, labelpad=1)
    ax.annotate(field_name(role.field), (0, 1), (-44, -8), va="center", fontsize=HEADING, **chip(role.field), **beside)
    ax.annotate(name, (0, 1), (-40, -22), va="top", fontsize=fitted(name, HEADING, 0.95), weight="bold", **beside)
