"""Divergence and curl of both parts of each field on its plane: exactly zero where they should be."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from torch import Tensor

from stf.plot.compute.field_material import Derivatives, PlaneDerivatives
from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.empty import draw_nothing
from stf.plot.drawing.style import HEADING, SMALL, TEXT, TRUTH, Page, field_name, fitted

PANEL, GAP, LABELS, BAR = 1.95, 0.18, 1.45, 0.1
TOP, BETWEEN = 1.72, 0.66
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
        planes: from :func:`stf.plot.compute.field_material.plane_derivatives`.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_differential([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    title = "Divergence and curl: zero where they should be"
    if not planes:
        return draw_nothing(title, roles)
    split = planes[0].divergence_free is not None
    parts = ("curl-free", "divergence-free") if split else ("curl-free",)
    group = len(parts) * (PANEL + GAP) + BAR + 0.75
    page = Page(max(0.2 + LABELS + 2 * group, 9.6), TOP + len(planes) * (PANEL + BETWEEN) + 0.45)
    exact = split and max(float(relative(one.divergence_free, "divergence").max()) for one in planes) <= ROUNDING
    page.title(title, _subtitle(planes[0], split, exact))
    for row, one in enumerate(planes):
        y = TOP + row * (PANEL + BETWEEN)
        _label(page, one.role, y)
        for column, kind in enumerate(("divergence", "curl")):
            left = 0.2 + LABELS + column * group
            found = {part: getattr(one, part.replace("-", "_")) for part in parts}
            limits = _limits(list(found.values()), kind)
            for place, (part, derivatives) in enumerate(found.items()):
                x, name = left + place * (PANEL + GAP), f"field-{one.role.field}/{kind}/{part}"
                axes = page.axes(x, y, PANEL, PANEL, label=name)
                drawn = draw_map(axes, one, getattr(derivatives, kind), kind, limits)
                if row == 0:
                    page.text(x, y - 0.25, TITLES[kind, part], HEADING, weight="bold", va="bottom")
                largest = float(relative(derivatives, kind).max())
                zero = (kind, part) in ZERO and largest <= ROUNDING
                text = f"zero: at most {scientific(largest)} ‖J‖" if zero else f"up to {largest:.2g} ‖J‖"
                page.text(x, y - 0.04, text, SMALL, va="bottom", gid=f"{name}/largest", weight="bold" if zero else None)
                if not column and not place:
                    axes.set_ylabel(one.plane.names[1], fontsize=SMALL, labelpad=1)
                axes.tick_params(labelleft=not column and not place)
                axes.set_xlabel(one.plane.names[0], fontsize=SMALL, labelpad=1)
            bar = page.axes(left + len(parts) * (PANEL + GAP) - GAP + 0.08, y, BAR, PANEL)
            page.figure.colorbar(drawn, cax=bar)
            bar.tick_params(labelsize=SMALL - 1, length=2, pad=1)
            bar.set_title("per step", fontsize=SMALL - 1, pad=3, loc="left")
    page.text(0.2, page.height - 0.3, f"{silence(roles)} The planes are spanned by {planes[0].plane.spanned}.", TEXT)
    return page.figure


def draw_map(axes: Axes, one: PlaneDerivatives, values: Tensor, kind: str, limits: tuple[float, float]) -> QuadMesh:
    """Draw divergence or curl ``(n, n)`` on a plane, with the path of an image."""
    colours = DIVERGING if kind == "divergence" else SEQUENTIAL
    x, y = one.x.numpy(), one.y.numpy()
    options = dict(cmap=colours, vmin=limits[0], vmax=limits[1], shading="nearest", rasterized=True)
    drawn = axes.pcolormesh(x, y, values.numpy(), gid="map", **options)
    path = one.path.numpy()
    axes.plot(*path.T, color="white", linewidth=2.6)
    axes.plot(*path.T, color=TRUTH, linewidth=1.2, marker="o", markersize=2.5)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
    axes.spines[:].set_visible(True)
    axes.tick_params(pad=1.5, length=2)
    return drawn


def scientific(value: float) -> str:
    """Return a number with one decimal and its power of ten.

    Example:
        >>> scientific(1.3e-16), scientific(0.0)
        ('1.3e−16', '0')
    """
    return f"{value:.1e}".replace("-", "−") if value else "0"


def _limits(pair: Sequence[Derivatives], kind: str) -> tuple[float, float]:
    """Range of colours that the maps of a pair share; it holds the norms of J, so that rounding errors stay pale."""
    largest = max(float(getattr(one, name).abs().max()) for one in pair for name in (kind, "size")) or 1.0
    return (-largest if kind == "divergence" else 0.0), largest


def _subtitle(one: PlaneDerivatives, split: bool, exact: bool) -> str:
    turns = f"; r turns but {'never' if exact else 'by its penalty hardly'} compresses or expands" if split else ""
    time = "" if one.time is None else f" (t = {one.time[0]} of {one.time[1]})"
    return (
        f"A gradient compresses or expands but never turns{turns}. Trace (divergence) and norm of the antisymmetric\n"
        f"part (curl) of the exact Jacobian J in all latent dimensions, on the fields' planes{time}. "
        "1e−16 ‖J‖ is rounding."
    )


def _label(page: Page, role: FieldRole, y: float) -> None:
    page.chip(0.25, y + 0.1, field_name(role.field), role.field, HEADING)
    name = role.caption
    page.text(0.2, y + 0.3, name, fitted(name, HEADING, LABELS - 0.5), weight="bold")
