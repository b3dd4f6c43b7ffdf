"""Helmholtz shares: how much of each field is curl-free and how much divergence-free, where it acts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stf.plot.compute.field_material import Shares
from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.empty import draw_nothing
from stf.plot.drawing.style import (
    FAINT,
    HEADING,
    NEUTRAL,
    SMALL,
    TEXT,
    TRUTH,
    Page,
    field_name,
    field_style,
    fitted,
    legend,
)

TOP, SQUARE, NAMES, BARS = 1.5, 2.75, 1.25, 2.5
ROW, MOST_POINTS, FEW = 0.6, 400, 6
"""Height of a row, most points of a field, and fields up to which their names fit beside the points."""
KINDS = {
    "expansion": ("#1A1A1A", "", "trace (changes volume): only ∇u can"),
    "shear": ("#FFFFFF", "///", "rest of symmetric part (shears): either can"),
    "rotation": ("#9A9A9A", "", "antisymmetric part (turns): only r can"),
}


def norm_share(one: Shares) -> float:
    r"""Share of the curl-free part in the norms of both, mean \|grad u\| / (mean \|grad u\| + mean \|r\|).

    Example:
        >>> import torch
        >>> three, one = torch.tensor([3.0, 3.0]), torch.tensor([0.0, 2.0])
        >>> norm_share(Shares(FieldRole(0), three, one, three, one, one, one))
        0.75
    """
    curl_free, divergence_free = float(one.curl_free.mean()), float(one.divergence_free.mean())
    total = curl_free + divergence_free
    return curl_free / total if total > 0 else float("nan")


def jacobian_shares(one: Shares) -> dict[str, float]:
    r"""Shares of trace part, shear and rotation in the squared norms of the Jacobian of v; they add up to 1.

    .. math:: \|J\|^2 = (\mathrm{tr} J)^2 / D + \|(J + J^T)/2 - (\mathrm{tr} J / D) I\|^2 + \|(J - J^T)/2\|^2

    Only a curl-free part can have a trace and only a divergence-free part can rotate; shear without a change of volume
    can be written as either, so that the split of a field into its parts is not unique there.

    Example:
        >>> import torch
        >>> two, one = torch.tensor([2.0]), torch.tensor([1.0])
        >>> jacobian_shares(Shares(FieldRole(0), one, one, one, two, one, one))
        {'expansion': 0.5, 'shear': 0.25, 'rotation': 0.25}
    """
    sums = {kind: float(getattr(one, kind).sum()) for kind in KINDS}
    total = sum(sums.values())
    return {kind: value / total if total > 0 else float("nan") for kind, value in sums.items()}


def draw_helmholtz(shares: Sequence[Shares], roles: Sequence[FieldRole]) -> Figure:
    """Draw the norms of both parts of each field against each other, their shares, and the shares of the Jacobian.

    The points of field K have the gid ``field-K`` in the axes labelled ``norms``; the bars have the gids
    ``norm/K/PART`` and ``jacobian/K/KIND`` in those labelled ``shares`` and ``jacobian``.

    Args:
        shares: from :func:`stf.plot.compute.field_material.shares`.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_helmholtz([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    title = "Helmholtz shares: does a field push, or does it turn?"
    if not shares:
        return draw_nothing(title, roles)
    height = max(SQUARE, ROW * len(shares))
    names = 0.75 + SQUARE + 0.2
    page = Page(names + NAMES + 2 * BARS + 0.75, TOP + height + 1.0)
    page.title(
        title,
        "Both parts of every field v = ∇u + r at the codes of real held-out frames that the field is about to move.\n"
        "Middle: mean norms of the learned parts. Right: parts of the Jacobian J = ∂v/∂z by squared norm, which are "
        "unique; the split of v is not.",
    )
    heads = ("Norms at single frames", "Share of the norms", "Share of the Jacobian of v")
    spots = (0.75, names + NAMES, names + NAMES + BARS + 0.35)
    for x, head in zip(spots, heads, strict=True):
        page.text(x, TOP - 0.12, head, HEADING, weight="bold", va="bottom")
    draw_norms(page.axes(spots[0], TOP, SQUARE, SQUARE, label="norms"), shares)
    _draw_bars(page.axes(spots[1], TOP, BARS, ROW * len(shares), label="shares"), shares)
    _draw_jacobians(page.axes(spots[2], TOP, BARS, ROW * len(shares), label="jacobian"), shares)
    for place, one in enumerate(shares):
        y, role = TOP + (place + 0.5) * ROW, one.role
        page.chip(names + NAMES - 0.15, y - 0.11, field_name(role.field), role.field, TEXT, ha="right")
        name = role.caption
        page.text(names + NAMES - 0.1, y + 0.06, name, fitted(name, TEXT, NAMES - 0.1), ha="right", weight="bold")
    _legends(page, spots, TOP + ROW * len(shares) + 0.36)
    page.text(0.2, page.height - 0.3, silence(roles), TEXT)
    return page.figure


def draw_norms(axes: Axes, shares: Sequence[Shares]) -> None:
    """Draw one point per real frame: norm of the divergence-free against that of the curl-free part."""
    largest, handles = 0.0, []
    for one in shares:
        look = field_style(one.role.field)
        few = slice(None, None, -(-len(one.whole) // MOST_POINTS))
        x, y = one.divergence_free[few].numpy(), one.curl_free[few].numpy()
        style = dict(marker=look.marker, color=look.colour, linestyle="none", markeredgewidth=0)
        axes.plot(x, y, markersize=3, alpha=0.6, gid=f"field-{one.role.field}", **style)
        name = one.role.transformation or field_name(one.role.field)
        handles.append(Line2D([], [], markersize=5, label=name, **style))
        largest = max(largest, x.max(), y.max())
    largest = 1.06 * max(largest, 1e-12)
    for share, label in ((0.25, "25 %"), (0.5, "50 % curl-free"), (0.75, "75 %")):
        slope = share / (1 - share)
        end = np.array([1, slope]) * largest / max(1, slope)
        axes.plot([0, end[0]], [0, end[1]], color=FAINT, linewidth=0.8, zorder=0)
        look = dict(fontsize=SMALL, color=NEUTRAL, ha="right", va="bottom" if slope < 1 else "top")
        angle = np.degrees(np.arctan(slope))
        axes.annotate(label, (0.97 if slope <= 1 else 0.7) * end, rotation=angle, rotation_mode="anchor", **look)
    axes.set(xlim=(0, largest), ylim=(0, largest), aspect="equal")
    axes.set_xlabel("‖r‖, divergence-free [latent units per step]", fontsize=TEXT, labelpad=2)
    axes.set_ylabel("‖∇u‖, curl-free [latent units per step]", fontsize=TEXT, labelpad=3)
    below = dict(bbox_to_anchor=(0, -0.2)) if len(handles) > FEW else {}
    legend(axes, handles=handles, loc="upper left", handlelength=1, **below)


def _draw_bars(axes: Axes, shares: Sequence[Shares]) -> None:
    """Draw the share of each part in the norms, the curl-free one filled and the other one open."""
    for place, one in enumerate(shares):
        look, share = field_style(one.role.field), norm_share(one)
        common = dict(height=0.56, edgecolor=TRUTH, linewidth=0.9)
        first = axes.barh(place, share, color=look.colour, hatch=look.hatch or None, **common)
        second = axes.barh(place, 1 - share, left=share, color="white", **common)
        for bars, part in ((first, "curl-free"), (second, "divergence-free")):
            bars[0].set_gid(f"norm/{one.role.field}/{part}")
        _write(axes, share / 2, place, share)
        _write(axes, (1 + share) / 2, place, 1 - share)
    _shape(axes, len(shares))


def _draw_jacobians(axes: Axes, shares: Sequence[Shares]) -> None:
    """Draw the three shares of the Jacobian of each field."""
    for place, one in enumerate(shares):
        left = 0.0
        for kind, share in jacobian_shares(one).items():
            colour, hatch, _ = KINDS[kind]
            bar = axes.barh(place, share, 0.56, left, color=colour, hatch=hatch, edgecolor=TRUTH, linewidth=0.9)
            bar[0].set_gid(f"jacobian/{one.role.field}/{kind}")
            _write(axes, left + share / 2, place, share)
            left += share
    _shape(axes, len(shares))


def _write(axes: Axes, x: float, y: float, share: float) -> None:
    """Write a share in its part of a bar if it is wide enough."""
    if share > 0.12:
        box = dict(boxstyle="round,pad=0.15", facecolor="white", edgecolor="none")
        axes.text(x, y, f"{100 * share:.0f} %", fontsize=SMALL, ha="center", va="center", bbox=box)


def _shape(axes: Axes, count: int) -> None:
    axes.set(xlim=(0, 1), ylim=(count - 0.5, -0.5), yticks=[], xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"])
    axes.spines["left"].set_visible(False)


def _legends(page: Page, spots: Sequence[float], y: float) -> None:
    groups = (
        [Patch(facecolor=NEUTRAL, edgecolor=TRUTH, label="curl-free ∇u (in colour)"),
         Patch(facecolor="white", edgecolor=TRUTH, label="divergence-free r")],
        [Patch(facecolor=colour, hatch=hatch, edgecolor=TRUTH, label=text) for colour, hatch, text in KINDS.values()],
    )  # fmt: skip
    for x, handles in zip(spots[1:], groups, strict=True):
        place = dict(loc="upper left", bbox_to_anchor=(x / page.width, 1 - y / page.height), frameon=False)
        page.figure.legend(handles=handles, fontsize=SMALL, borderpad=0, borderaxespad=0, **place)
