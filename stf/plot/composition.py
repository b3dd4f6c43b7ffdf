"""Composition: a density of latent codes carried step by step along the sum of the active fields."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from stf.plot.compute.numbers import percent
from stf.plot.compute.roles import FieldRole
from stf.plot.compute.transported_density import Carried
from stf.plot.drawing.activity_rows import stride
from stf.plot.drawing.certainty import PALER, error_bars, opacity
from stf.plot.drawing.empty import draw_nothing
from stf.plot.drawing.style import FAINT, NEUTRAL, SMALL, TEXT, TRUTH, Page, field_name, field_style, fitted

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


def draw_composition(carried: Carried) -> Figure:
    """Draw a density at every step, the speeds that carry it there, and decoded and real frames of one sequence.

    The density at t is in the axes labelled ``density-T``, the speeds in those labelled ``speeds``, where the bar of
    control C in transition T has the gid ``speed-T/C``; pictures have the gids ``decoded/T`` and ``real/T``, the mean
    changes of log-density ``change-T``.

    Args:
        carried: from :func:`stf.plot.compute.transported_density.carried`.
    """
    title = "Composition: latent codes carried along the sum of the active fields"
    if all(role.silent for role in carried.roles):
        return draw_nothing(title, carried.roles)
    steps = len(carried.activity)
    every = stride(steps + 1)
    shown = list(range(0, steps + 1, every))
    pitch = WIDE / len(shown)
    size = min(pitch, 2.2) - GAP
    cell = min(size, 1.0)
    speeds_top = TOP + size + 0.55
    high = _height(carried)
    frames_top = speeds_top + high + 0.22
    page = Page(LEFT + WIDE + RIGHT, frames_top + 2 * (cell + 0.06) + LOWEST)
    verb = "given" if carried.given else "inferred"
    page.title(
        title,
        f"Codes of {carried.means.shape[1]} held-out images (grey: their density) are all moved by the speeds {verb} "
        "for one sequence (bars): $z_t = z_{t-1} + \\Sigma_k\\, g_t^k\\, v^k(z_{t-1})$.\n"
        "Black: the code of that sequence; coloured arrows: what single fields add to its next step; grey arrows: the "
        "next steps of other images.",
    )
    scale = min(carried.density.max().item(), MOST * carried.density[0].max().item())
    for t in shown:
        left = LEFT + t // every * pitch + (pitch - GAP - size) / 2
        axes = page.axes(left, TOP, size, size, label=f"density-{t}")
        draw_density(axes, carried, t, scale)
        page.text(left + size / 2, TOP - 0.04, f"t = {t}", TEXT, ha="center", va="bottom", weight="bold")
        change = -carried.log_det[t].mean().item()
        words = f"{change:+.1f}".replace("-", "−") if t else "0"
        page.text(left + size / 2, TOP + size + 0.05, words, SMALL, ha="center", gid=f"change-{t}")
        x = LEFT + t // every * pitch + (pitch - GAP - cell) / 2
        page.picture(carried.decoded[t], x, frames_top, cell, name=f"decoded/{t}")
        page.picture(carried.frames[t], x, frames_top + cell + 0.06, cell, name=f"real/{t}")
    page.text(LEFT - 0.12, TOP + size / 2, "density\nof codes", TEXT, ha="right", va="center", weight="bold")
    page.text(LEFT - 0.12, TOP + size + 0.05, "Δ log q [nats]", SMALL, ha="right")
    for row, name in enumerate(("decoded", "real frames")):
        y = frames_top + row * (cell + 0.06) + cell / 2
        page.text(LEFT - 0.12, y, name, TEXT, ha="right", va="center", weight="bold")
    axes = page.axes(LEFT, speeds_top, WIDE - GAP, high, label="speeds")
    draw_speeds(axes, carried, every)
    if carried.certainty is not None:
        look = dict(ha="right", va="bottom", color=NEUTRAL)
        page.text(LEFT + WIDE - GAP, speeds_top - 0.05, f"Speeds – {PALER}", SMALL, **look)
    _names(page, carried, speeds_top)
    _explain(page, carried)
    return page.figure


def acting(carried: Carried) -> list[int]:
    """Controls that act in the example, in the order of the roles of their fields, curl-free parts first."""
    fields = [role.field for role in carried.roles]
    on = np.flatnonzero((carried.activity != 0).any(0).numpy())
    return sorted(on.tolist(), key=lambda control: (fields.index(control % len(fields)), control))


def role_of(carried: Carried, control: int) -> FieldRole:
    """Role of the field that a control drives."""
    return next(role for role in carried.roles if role.field == control % len(carried.roles))


def draw_density(axes: Axes, carried: Carried, t: int, scale: float) -> None:
    """Draw the density at t, the next step of some images, and the example with the contributions to its next step.

    Filled contours have the gid ``density``, the steps of images ``steps``, the path ``path`` and the contribution of
    control C ``move-C``.
    """
    x, y = carried.x.numpy(), carried.y.numpy()
    density = carried.density[t].clamp(max=scale).numpy()
    if scale > 0:
        levels = scale * 2.0 ** np.arange(-len(SHADES), 1)
        axes.contourf(x, y, density, levels=levels, colors=SHADES, zorder=0).set_gid("density")
    path = carried.plane.coordinates(carried.path).numpy()
    if t < len(carried.activity):
        starts = carried.means[t, :SOME].numpy()
        steps = carried.means[t + 1, :SOME].numpy() - starts
        options = dict(angles="xy", scale_units="xy", scale=1, color=NEUTRAL, width=0.006, zorder=1, gid="steps")
        axes.quiver(*starts.T, *steps.T, **options)
        start = path[t]
        for control in acting(carried):
            move = carried.plane.components(carried.moves[t, control]).numpy()
            if np.any(move):
                colour = field_style(control % len(carried.roles)).colour
                look = dict(arrowstyle="-|>", mutation_scale=7, shrinkA=0, shrinkB=0, linewidth=1.8, color=colour)
                axes.add_patch(FancyArrowPatch(start, start + move, zorder=4, gid=f"move-{control}", **look))
                start = start + move
    axes.plot(*path[: t + 1].T, color=TRUTH, linewidth=1, zorder=3, gid="path")
    axes.plot(*path[t], color=TRUTH, marker="o", markersize=4, markeredgecolor="white", markeredgewidth=0.6, zorder=5)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(FAINT)


def draw_speeds(axes: Axes, carried: Carried, every: int) -> None:
    """Draw the speeds of the example as bars between the panels of frames t - 1 and t, forwards upwards.

    Where it is known how sure they are, bars are as opaque as the field is likely on, and have error bars of their own,
    with the gids ``deviation-T/C``.
    """
    controls, steps, sure = acting(carried), len(carried.activity), carried.certainty
    axes.axhline(0, color=TRUTH, linewidth=0.8)
    axes.axhline(1, color=FAINT, linewidth=0.7, zorder=0)
    width = min(BAR, 0.9 / max(len(controls), 1))
    for t, speeds in enumerate(carried.activity.numpy(), 1):
        on = [control for control in controls if speeds[control]]
        for place, control in enumerate(on):
            role = role_of(carried, control)
            look = field_style(role.field)
            hatch = look.hatch or PARTS[control // len(carried.roles)] or None
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


def _height(carried: Carried) -> float:
    """Height of the speeds, so that the names of the fields fit beside them."""
    return max(BARS, 0.1 + NAME * len(acting(carried)))


def _names(page: Page, carried: Carried, y: float) -> None:
    """Name the fields left of the bars."""
    controls = acting(carried)
    separate = carried.activity.shape[1] > len(carried.roles)
    words = "speeds g (r hatched)" if separate else "speeds g"
    page.text(LEFT - 0.36, y - 0.08, words, TEXT, ha="right", va="center", weight="bold")
    pitch = min(0.3, (_height(carried) - 0.1) / max(len(controls), 1))
    for place, control in enumerate(controls):
        role, middle = role_of(carried, control), y + 0.1 + (place + 0.5) * pitch
        part = ("", " ∇u", " r")[1 + control // len(carried.roles) if separate else 0]
        name = (role.transformation or "") + part
        page.text(0.2, middle, name, fitted(name or " ", SMALL, 0.87), va="center")
        page.chip(LEFT - 0.36, middle, field_name(role.field), role.field, SMALL - 1, ha="right")


def _explain(page: Page, carried: Carried) -> None:
    outside = percent(carried.plane.outside(carried.path.diff(dim=0)))
    area = float((carried.x[1] - carried.x[0]) * (carried.y[1] - carried.y[0]))
    inside = percent(min(1.0, float(carried.density.sum((1, 2)).min()) * area))
    width, dim = float(carried.x[-1] - carried.x[0]), carried.path.shape[-1]
    lines = (
        f"Density (each shade doubles it): Gaussians of s.d. {carried.width:.2f} (Scott's rule) around the codes of "
        "the first frames, carried with the Jacobian of the flow and projected. Its integral stays 1.",
        f"Panels: the plane of {carried.plane.spanned}, {width:.1f} latent units wide, with at least {inside} of the "
        f"density; {outside} of the squared steps of the path are out of plane.",
        "Δ log q: change of log-density since t = 0 at the carried codes, −log |det ∂z_t/∂z_0|, exact in all "
        f"{dim} latent dimensions, mean over the images; positive where the flow contracts.",
    )
    page.text(0.2, page.height - 0.74, "\n".join(lines), SMALL, linespacing=1.35)
