"""Composition: a density of latent codes carried step by step along the sum of the active fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike

from stf.plot.compute.numbers import percent
from stf.plot.compute.roles import FieldRole
from stf.plot.compute.transported_density import TransportedDensity
from stf.plot.drawing.activity_rows import stride
from stf.plot.drawing.certainty import PALER, error_bars, opacity
from stf.plot.drawing.empty import empty_figure
from stf.plot.drawing.page import Page
from stf.plot.drawing.panel import array, panel
from stf.plot.drawing.style import FAINT, NEUTRAL, SMALL, TEXT, TRUTH, field_name, field_style, fitted

LEFT, WIDE, GAP, RIGHT = 1.75, 10.8, 0.06, 0.15
TOP, BARS, NAME, LOWEST = 1.35, 1.05, 0.17, 0.9
SHADES = ("#F4F4F4", "#E8E8E8", "#DADADA", "#CACACA", "#B8B8B8", "#A4A4A4")
"""From one to the next the density doubles; the last one ends at the highest density of all steps."""
MOST = 16.0
"""Density above this multiple of the highest one at t = 0 is not told apart, so that the start stays visible."""
SOME, BAR = 40, 0.26
"""Images whose next step is drawn."""
PARTS = ("", "//////")
"""Hatches of the curl-free and the divergence-free part, where they have speeds of their own."""


def draw_composition(moved: TransportedDensity) -> Figure:
    """Draw a density at every step, the speeds that carry it there, and decoded and real frames of one sequence.

    The density at t is in the axes labelled ``density-T``, the speeds in those labelled ``speeds``, where the bar of
    control C in transition T has the gid ``speed-T/C``; pictures have the gids ``decoded/T`` and ``real/T``, the mean
    changes of log-density ``change-T``.

    Args:
        moved: from :func:`stf.plot.compute.transported_density.carried`.
    """
    title = "Composition: latent codes carried along the sum of the active fields"
    if all(role.silent for role in moved.roles):
        return empty_figure(title, moved.roles)
    steps = len(moved.activity)
    every = stride(steps + 1)
    shown = list(range(0, steps + 1, every))
    pitch = WIDE / len(shown)
    size = min(pitch, 2.2) - GAP
    cell = min(size, 1.0)
    speeds_top = TOP + size + 0.55
    high = _height(moved)
    frames_top = speeds_top + high + 0.22
    page = Page(LEFT + WIDE + RIGHT, frames_top + 2 * (cell + 0.06) + LOWEST)
    verb = "given" if moved.given else "inferred"
    page.title(
        title,
        f"Codes of {moved.means.shape[1]} held-out images (grey: their density) are all moved by the speeds {verb} "
        "for one sequence (bars): $z_t = z_{t-1} + \\Sigma_k\\, g_t^k\\, v^k(z_{t-1})$.\n"
        "Black: the code of that sequence; coloured arrows: what single fields add to its next step; grey arrows: the "
        "next steps of other images.",
    )
    scale = min(moved.density.max().item(), MOST * moved.density[0].max().item())
    for t in shown:
        left = LEFT + t // every * pitch + (pitch - GAP - size) / 2
        axes = page.axes(left, TOP, size, size, label=f"density-{t}")
        _density(axes, moved, t, scale)
        page.text(left + size / 2, TOP - 0.04, f"t = {t}", TEXT, ha="center", va="bottom", weight="bold")
        change = -moved.log_det[t].mean().item()
        words = f"{change:+.1f}".replace("-", "−") if t else "0"
        page.text(left + size / 2, TOP + size + 0.05, words, SMALL, ha="center", gid=f"change-{t}")
        x = LEFT + t // every * pitch + (pitch - GAP - cell) / 2
        page.picture(moved.decoded[t], x, frames_top, cell, name=f"decoded/{t}")
        page.picture(moved.frames[t], x, frames_top + cell + 0.06, cell, name=f"real/{t}")
    page.text(LEFT - 0.12, TOP + size / 2, "density\nof codes", TEXT, ha="right", va="center", weight="bold")
    page.text(LEFT - 0.12, TOP + size + 0.05, "Δ log q [nats]", SMALL, ha="right")
    for row, name in enumerate(("decoded", "real frames")):
        y = frames_top + row * (cell + 0.06) + cell / 2
        page.text(LEFT - 0.12, y, name, TEXT, ha="right", va="center", weight="bold")
    axes = page.axes(LEFT, speeds_top, WIDE - GAP, high, label="speeds")
    _draw_speeds(axes, moved, every)
    if moved.certainty is not None:
        look: dict[str, Any] = dict(ha="right", va="bottom", color=NEUTRAL)
        page.text(LEFT + WIDE - GAP, speeds_top - 0.05, f"Speeds – {PALER}", SMALL, **look)
    _names(page, moved, speeds_top)
    _explain(page, moved)
    return page.figure


def acting(moved: TransportedDensity) -> list[int]:
    """Controls that act in the example, in the order of the roles of their fields, curl-free parts first."""
    fields = [role.field for role in moved.roles]
    on = np.flatnonzero((moved.activity != 0).any(0).numpy())
    return sorted(on.tolist(), key=lambda control: (fields.index(control % len(fields)), control))


def role_of(moved: TransportedDensity, control: int) -> FieldRole:
    """Role of the field that a control drives."""
    return next(role for role in moved.roles if role.field == control % len(moved.roles))


def _density(ax: Axes, moved: TransportedDensity, t: int, scale: float) -> None:
    """Draw the density at t, the next step of some images, and the example with the contributions to its next step."""
    count = len(moved.roles)
    more: dict[str, Any] = {}
    if t < len(moved.activity):
        more = dict(points=moved.means[t, :SOME], steps=moved.means[t + 1, :SOME] - moved.means[t, :SOME])
        more["moves"] = {c: moved.plane.components(moved.moves[t, c]) for c in acting(moved)}
    path = moved.plane.coordinates(moved.path)[: t + 1]
    plot_density(moved.x, moved.y, moved.density[t], ax, scale=scale, path=path, num_fields=count, **more)


def plot_density(
    x: ArrayLike,
    y: ArrayLike,
    density: ArrayLike,
    ax: Axes | None = None,
    *,
    scale: float | None = None,
    points: ArrayLike | None = None,
    steps: ArrayLike | None = None,
    path: ArrayLike | None = None,
    moves: Mapping[int, ArrayLike] | None = None,
    num_fields: int | None = None,
) -> Axes:
    """Draw a density on a plane as shades of grey, the steps of points, a path, and what fields add to its next step.

    The gids are ``density``, ``steps``, ``path`` and, for the contribution of control C, ``move-C``.

    Args:
        x, y: coordinates of the grid, ``(n,)``.
        density: ``(n, n)``, rows along y; each shade doubles it.
        ax: where; axes of a new figure for None.
        scale: density at which the shades end; the highest for None.
        points: coordinates of images, ``(N, 2)``.
        steps: where they move next, ``(N, 2)``.
        path: coordinates of the example up to now, ``(t+1, 2)``.
        moves: what each control adds to its next step, ``(2,)``.
        num_fields: K, where controls from K on are the second part of a field.

    Example:
        >>> x = np.linspace(-2, 2, 9)
        >>> ax = plot_density(x, x, np.exp(-(x**2) - x[:, None] ** 2), path=[[0, 0]], moves={0: [1, 0], 1: [0, 1]})
        >>> [patch.get_gid() for patch in ax.patches]
        ['move-0', 'move-1']
    """
    ax, (x, y, density) = panel(ax, 3, 3), map(array, (x, y, density))
    scale = float(density.max()) if scale is None else scale
    if scale > 0:
        levels = scale * 2.0 ** np.arange(-len(SHADES), 1)
        ax.contourf(x, y, density.clip(max=scale), levels=levels, colors=SHADES, zorder=0).set_gid("density")
    if points is not None and steps is not None:
        options: dict[str, Any] = dict(
            angles="xy", scale_units="xy", scale=1, color=NEUTRAL, width=0.006, zorder=1, gid="steps"
        )
        ax.quiver(*array(points).T, *array(steps).T, **options)
    if path is not None:
        path = array(path)
        start = path[-1]
        for control, move in (moves or {}).items():
            if np.any(array(move)):
                colour = field_style(control if num_fields is None else control % num_fields).colour
                look: dict[str, Any] = dict(
                    arrowstyle="-|>", mutation_scale=7, shrinkA=0, shrinkB=0, linewidth=1.8, color=colour
                )
                ends = start, start + array(move)
                ax.add_patch(FancyArrowPatch(*ends, zorder=4, gid=f"move-{control}", **look))
                start = ends[1]
        ax.plot(*path.T, color=TRUTH, linewidth=1, zorder=3, gid="path")
        ax.plot(
            *path[-1], color=TRUTH, marker="o", markersize=4, markeredgecolor="white", markeredgewidth=0.6, zorder=5
        )
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(FAINT)
    return ax


def _draw_speeds(axes: Axes, moved: TransportedDensity, every: int) -> None:
    """Draw the speeds of the example as bars between the panels of frames t - 1 and t, forwards upwards.

    Where it is known how sure they are, bars are as opaque as the field is likely on, and have error bars of their own,
    with the gids ``deviation-T/C``.
    """
    controls, steps, sure = acting(moved), len(moved.activity), moved.certainty
    axes.axhline(0, color=TRUTH, linewidth=0.8)
    axes.axhline(1, color=FAINT, linewidth=0.7, zorder=0)
    width = min(BAR, 0.9 / max(len(controls), 1))
    for t, speeds in enumerate(moved.activity.numpy(), 1):
        on = [control for control in controls if speeds[control]]
        for place, control in enumerate(on):
            role = role_of(moved, control)
            look = field_style(role.field)
            hatch = look.hatch or PARTS[control // len(moved.roles)] or None
            x, height = t - 0.5 + (place - (len(on) - 1) / 2) * width, role.direction * speeds[control]
            bar = axes.bar(x, height, 0.94 * width, color=look.colour, edgecolor=look.ink, linewidth=0, hatch=hatch)
            bar[0].set_gid(f"speed-{t}/{control}")
            if sure is not None:
                column = control % sure.probability.shape[-1]
                bar[0].set(alpha=float(opacity(sure.probability[t - 1, column])))
                deviation = sure.deviation[t - 1, column]
                error_bars(axes, [x], [height], [deviation], f"deviation-{t}/{control}")
    half = every / 2
    axes.set(xlim=(-half, steps // every * every + half), xticks=[])
    axes.spines["bottom"].set_visible(False)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0), max(high, 1.2))
    axes.tick_params(labelsize=SMALL, pad=1)


def _height(moved: TransportedDensity) -> float:
    """Height of the speeds, so that the names of the fields fit beside them."""
    return max(BARS, 0.1 + NAME * len(acting(moved)))


def _names(page: Page, moved: TransportedDensity, y: float) -> None:
    """Name the fields left of the bars."""
    controls = acting(moved)
    separate = moved.activity.shape[1] > len(moved.roles)
    words = "speeds g (r hatched)" if separate else "speeds g"
    page.text(LEFT - 0.36, y - 0.08, words, TEXT, ha="right", va="center", weight="bold")
    pitch = min(0.3, (_height(moved) - 0.1) / max(len(controls), 1))
    for place, control in enumerate(controls):
        role, middle = role_of(moved, control), y + 0.1 + (place + 0.5) * pitch
        part = ("", " ∇u", " r")[1 + control // len(moved.roles) if separate else 0]
        name = (role.transformation or "") + part
        page.text(0.2, middle, name, fitted(name or " ", SMALL, 0.87), va="center")
        page.chip(LEFT - 0.36, middle, field_name(role.field), role.field, SMALL - 1, ha="right")


def _explain(page: Page, moved: TransportedDensity) -> None:
    outside = percent(moved.plane.outside(moved.path.diff(dim=0)))
    area = float((moved.x[1] - moved.x[0]) * (moved.y[1] - moved.y[0]))
    inside = percent(min(1.0, float(moved.density.sum((1, 2)).min()) * area))
    width, dim = float(moved.x[-1] - moved.x[0]), moved.path.shape[-1]
    lines = (
        f"Density (each shade doubles it): Gaussians of s.d. {moved.width:.2f} (Scott's rule) around the codes of "
        "the first frames, carried with the Jacobian of the flow and projected. Its integral stays 1.",
        f"Panels: the plane of {moved.plane.spanned}, {width:.1f} latent units wide, with at least {inside} of the "
        f"density; {outside} of the squared steps of the path are out of plane.",
        "Δ log q: change of log-density since t = 0 at the carried codes, −log |det ∂z_t/∂z_0|, exact in all "
        f"{dim} latent dimensions, mean over the images; positive where the flow contracts.",
    )
    page.text(0.2, page.height - 0.74, "\n".join(lines), SMALL, linespacing=1.35)
