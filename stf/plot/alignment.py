"""Alignment matrix: which field acts while which transformation acts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import HEADING, SMALL, TEXT, Page, field_style, ink_on

COLOUR_MAP = "cividis"
CELL = 0.72
TOP, COLUMN = 1.55, 0.72


def draw_matrix(
    matrix: ArrayLike,
    roles: Sequence[FieldRole],
    transformations: Sequence[str],
    title: str,
    subtitle: str,
    unit: str,
    columns: dict[str, Sequence[float | None]] | None = None,
) -> Figure:
    """Draw rows of transformations against columns of fields, in the order of ``roles``, with matched cells outlined.

    The numbers have the gids ``J/K``, with K the number of the field.

    Args:
        matrix: ``(J, K)``, rows of nan where nothing is known.
        roles: of all K fields.
        transformations: names of the J transformations.
        title: of the figure.
        subtitle: one sentence that says what to see.
        unit: what the numbers are.
        columns: further columns of numbers, one per transformation, by name.

    Example:
        >>> figure = draw_matrix([[0.0, 1.0]], [FieldRole(1, 0, "hue"), FieldRole(0)], ["hue"], "title", "", "share")
        >>> [text.get_text() for text in figure.axes[1].texts]
        ['1.00', '0.00']
    """
    matrix, columns = np.asarray(matrix, dtype=np.float64), columns or {}
    count, fields = len(transformations), len(roles)
    wide, high = CELL * fields, CELL * count
    left = 0.35 + max(0.85, 0.105 * max(map(len, transformations)))
    right = left + wide + 0.1
    width = max(right + COLUMN * len(columns) + 0.3, 6.4)
    page = Page(width, TOP + high + 0.95)
    page.title(title, subtitle)
    axes = page.axes(left, TOP, wide, high, label="matrix")
    order = [role.field for role in roles]
    top = np.nanmax(matrix) if np.isfinite(matrix).any() else 1.0
    shown = axes.imshow(matrix[:, order], cmap=COLOUR_MAP, vmin=0, vmax=max(top, 1e-9), aspect="auto")
    colours = matplotlib.colormaps[COLOUR_MAP]
    for row in range(count):
        for place, field in enumerate(order):
            value = matrix[row, field]
            text = "–" if np.isnan(value) else f"{value:.2f}"
            ink = "black" if np.isnan(value) else ink_on(colours(shown.norm(value)))
            options = dict(fontsize=HEADING, ha="center", va="center", color=ink)
            axes.text(place, row, text, gid=f"{row}/{field}", **options)
    for place, role in enumerate(roles):
        x = left + (place + 0.5) * CELL
        page.chip(x, TOP - 0.2, str(role.field), role.field, HEADING, ha="center")
        if role.silent:
            page.text(x, TOP - 0.38, "silent", SMALL, ha="center", va="bottom")
        if role.row is not None:
            outline(axes, place, role)
    page.text(left - 0.12, TOP - 0.2, "field", TEXT, ha="right", va="center")
    for row, name in enumerate(transformations):
        y = TOP + (row + 0.5) * CELL
        page.text(left - 0.12, y, name, HEADING, ha="right", va="center", weight="bold")
        for place, values in enumerate(columns.values()):
            text = "–" if values[row] is None else f"{values[row]:.3f}"
            page.text(right + (place + 0.5) * COLUMN, y, text, HEADING, ha="center", va="center")
    for place, name in enumerate(columns):
        page.text(right + (place + 0.5) * COLUMN, TOP - 0.08, name, SMALL, ha="center", va="bottom", linespacing=1.1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    bar = page.axes(left, TOP + high + 0.18, wide, 0.14, label="colours")
    page.figure.colorbar(shown, cax=bar, orientation="horizontal")
    bar.tick_params(labelsize=SMALL, length=2)
    bar.set_xlabel(unit, fontsize=TEXT, labelpad=2)
    return page.figure


def outline(axes: Any, place: int, role: FieldRole) -> None:
    """Outline the matched cell of a column in the colour of its field, on white so that it shows on every colour."""
    look = field_style(role.field)
    inset = 0.035
    for colour, thickness, line in (("white", 5.5, "-"), (look.colour, 3.0, look.line)):
        corner, size = (place - 0.5 + inset, role.row - 0.5 + inset), 1 - 2 * inset
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=colour, linewidth=thickness, linestyle=line))


def draw_alignment(alignment: dict[str, Any], roles: Sequence[FieldRole]) -> Figure:
    """Draw :func:`~ffrl.evaluation.measures.alignment.align`, with shares, spike F1 and speed correlations.

    Entries are those of :func:`~ffrl.evaluation.measures.alignment.activity_matrix`.
    """
    described = alignment["transformations"]
    matrix = [[np.nan] * len(roles) if row is None else row for row in alignment["matrix"]]
    names = {"matched\nshare": "share", "spike\nF1": "f1", "speed\nr": "speed_correlation"}
    return draw_matrix(
        matrix,
        roles,
        list(described),
        "Alignment: one field per transformation?",
        "Each row: the steps of mixed held-out sequences in which only that transformation acts.\n"
        "Ideal is one bright cell per row and per column, outlined, and nothing else.",
        "mean |inferred speed| [unit steps per transition]",
        {title: [entry[key] for entry in described.values()] for title, key in names.items()},
    )


def draw_confusion(confusion: dict[str, Any], roles: Sequence[FieldRole]) -> Figure:
    """Draw :func:`~ffrl.evaluation.measures.confusion.confusion` as shares of the sequences of a transformation."""
    counts = np.asarray(confusion["counts"], dtype=np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    accuracies = [entry["accuracy"] for entry in confusion["fields"].values()]
    return draw_matrix(
        shares,
        roles,
        list(confusion["fields"]),
        "Alignment: which field for which transformation?",
        f"{confusion['sequences']} held-out sequences with one transformation each, and the field inferred for them;\n"
        f"{100 * confusion['accuracy']:.1f} % are in the matched, outlined cells.",
        "share of sequences",
        {"accuracy": accuracies},
    )
