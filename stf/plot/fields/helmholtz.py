"""Helmholtz shares: how much of each field is curl-free and how much divergence-free, where it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from stf.plot.compute.field_context import Shares
from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.empty import empty_figure
from stf.plot.drawing.panel import array, panel, titled
from stf.plot.drawing.style import (
    FAINT,
    HEADING,
    NEUTRAL,
    SMALL,
    TEXT,
    TRUTH,
    chip,
    field_name,
    field_style,
    fitted,
    legend,
)

ROW, MOST_POINTS, FEW = 0.6, 400, 6
"""Height of a row, most points of a field, and fields up to which their names fit beside the points."""
NORMS = {"curl-free": (None, "", "curl-free ∇u (in colour)"), "divergence-free": ("white", "", "divergence-free r")}
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

    The points of field K have the gid ``field-K`` in the axes labelled ``norms``; the bars have the gids ``K/PART``
    and ``K/KIND`` in those labelled ``shares`` and ``jacobian``.

    Args:
        shares: from :func:`stf.plot.compute.field_context.shares`.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_helmholtz([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    title = "Helmholtz shares: does a field push, or does it turn?"
    if not shares:
        return empty_figure(title, roles)
    width, high = 10.6, max(2.75, ROW * len(shares))
    figure, body = titled(
        width,
        1.0 + high + 1.7,
        title,
        "Both parts of every field v = ∇u + r at the codes of real held-out frames that the field is about to move.\n"
        "Middle: mean norms of the learned parts. Right: parts of the Jacobian J = ∂v/∂z by squared norm, which are "
        "unique; the split of v is not.",
        silence(roles),
    )
    layout = body.subplot_mosaic([["norms", "shares", "jacobian"]], width_ratios=(3.2, 3, 2.4))
    for name, ax in layout.items():
        ax.set_label(name)
    names = {one.role.field: one.role.caption for one in shares}
    norms = {one.role.field: (one.curl_free, one.divergence_free) for one in shares}
    plot_norms(norms, layout["norms"], names={one.role.field: one.role.transformation for one in shares})
    halves = {one.role.field: norm_share(one) for one in shares}
    split = {field: dict(zip(NORMS, (share, 1 - share), strict=True)) for field, share in halves.items()}
    plot_shares(split, layout["shares"], names=names, kinds=NORMS)
    plot_shares({one.role.field: jacobian_shares(one) for one in shares}, layout["jacobian"])
    for name, head in zip(layout, HEADS, strict=True):
        layout[name].set_title(head, fontsize=HEADING, weight="bold", loc="left")
    return figure


HEADS = ("Norms at single frames", "Share of the norms", "Share of the Jacobian of v")


def plot_norms(
    norms: Mapping[int, tuple[ArrayLike, ArrayLike]],
    ax: Axes | None = None,
    *,
    names: Mapping[int, str | None] | None = None,
) -> Axes:
    r"""Draw one point per real frame: norm of the divergence-free against that of the curl-free part.

    Args:
        norms: \|grad u\| and \|r\| ``(M,)`` of each field, by its number.
        ax: where; axes of a new figure for None.
        names: of the fields.

    Example:
        >>> [text.get_text() for text in plot_norms({0: ([1.0, 2.0], [0.5, 0.1])}).get_legend().get_texts()]
        ['field 0']
    """
    ax, largest = panel(ax, 3.6, 3.6), 1e-12
    for field, both in norms.items():
        look = field_style(field)
        y, x = (points[:: -(-len(points) // MOST_POINTS)] for points in map(array, both))
        style: dict[str, Any] = dict(marker=look.marker, color=look.colour, linestyle="none", markeredgewidth=0)
        ax.plot(x, y, markersize=3, alpha=0.6, gid=f"field-{field}", **style)
        ax.plot([], [], markersize=5, label=(names or {}).get(field) or field_name(field), **style)
        largest = max(largest, 1.06 * x.max(), 1.06 * y.max())
    for share, words in ((0.25, "25 %"), (0.5, "50 % curl-free"), (0.75, "75 %")):
        slope = share / (1 - share)
        end = np.array([1, slope]) * largest / max(1, slope)
        ax.plot([0, end[0]], [0, end[1]], color=FAINT, linewidth=0.8, zorder=0)
        words_look: dict[str, Any] = dict(
            fontsize=SMALL, color=NEUTRAL, ha="right", va="bottom" if slope < 1 else "top"
        )
        angle = np.degrees(np.arctan(slope))
        at = (0.97 if slope <= 1 else 0.7) * end
        ax.annotate(words, (at[0], at[1]), rotation=angle, rotation_mode="anchor", **words_look)
    ax.set(xlim=(0, largest), ylim=(0, largest), aspect="equal", anchor="NW")
    ax.set_xlabel("‖r‖, divergence-free [latent units per step]", fontsize=TEXT, labelpad=2)
    ax.set_ylabel("‖∇u‖, curl-free [latent units per step]", fontsize=TEXT, labelpad=3)
    below: dict[str, Any] = dict(bbox_to_anchor=(0, -0.2), ncols=2) if len(norms) > FEW else {}
    legend(ax, loc="upper left", handlelength=1, **below)
    return ax


def plot_shares(
    shares: Mapping[int, Mapping[str, float]],
    ax: Axes | None = None,
    *,
    names: Mapping[int, str] | None = None,
    kinds: Mapping[str, tuple[str | None, str, str]] = KINDS,
) -> Axes:
    """Draw the shares of each field as a bar of parts, with the gids ``K/KIND``; they are written where there is room.

    Args:
        shares: of each field by its number, those of each kind, which add up to 1.
        ax: where; axes of a new figure for None.
        names: what the fields do, written beside the bars; without, the bars have no names.
        kinds: colour (None for that of the field), hatch and meaning of each kind.

    Example:
        >>> ax = plot_shares({0: {"expansion": 0.25, "shear": 0.5, "rotation": 0.25}}, names={0: "hue"})
        >>> [text.get_text() for text in ax.texts][:3]
        ['25 %', '50 %', '25 %']
    """
    ax = panel(ax, 4, 1 + ROW * len(shares))
    for place, (field, parts) in enumerate(shares.items()):
        left, look = 0.0, field_style(field)
        for kind, share in parts.items():
            colour, hatch, _ = kinds[kind]
            filled = (
                dict(color=look.colour, hatch=look.hatch or None) if colour is None else dict(color=colour, hatch=hatch)
            )
            (bar,) = ax.barh(place, share, 0.56, left, edgecolor=TRUTH, linewidth=0.9, **filled)
            bar.set_gid(f"{field}/{kind}")
            if share > 0.12:
                box = dict(boxstyle="round,pad=0.15", facecolor="white", edgecolor="none")
                look_of: dict[str, Any] = dict(fontsize=SMALL, ha="center", va="center", bbox=box)
                ax.text(left + share / 2, place, f"{100 * share:.0f} %", **look_of)
            left += share
        if names is not None:
            beside: dict[str, Any] = dict(textcoords="offset points", ha="right", annotation_clip=False)
            ax.annotate(field_name(field), (0, place), (-10, 5), fontsize=TEXT, **chip(field), **beside)
            size = fitted(names[field], TEXT, 1.15)
            ax.annotate(names[field], (0, place), (-7, -4), fontsize=size, weight="bold", va="top", **beside)
    count = max(len(shares), 3)
    ax.set(xlim=(0, 1), ylim=(count - 0.5, -0.5), yticks=[], xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"])
    ax.spines["left"].set_visible(False)
    marks = [
        Patch(facecolor=colour or NEUTRAL, hatch=hatch, edgecolor=TRUTH, label=words)
        for colour, hatch, words in kinds.values()
    ]
    corner: dict[str, Any] = dict(loc="upper left", bbox_to_anchor=(0, 0), borderpad=0, borderaxespad=2.4)
    ax.legend(handles=marks, fontsize=SMALL, frameon=False, **corner)
    return ax
