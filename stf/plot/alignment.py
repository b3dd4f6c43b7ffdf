"""Alignment matrix: which field acts while which transformation acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.panel import array, panel, titled
from stf.plot.drawing.style import HEADING, SMALL, TEXT, chip, field_style, ink_on

COLOUR_MAP = "cividis"
CELL = 0.72
"""Side of a cell in inches."""


def draw_matrix(
    matrix: ArrayLike,
    roles: Sequence[FieldRole],
    transformations: Sequence[str],
    title: str,
    subtitle: str,
    unit: str,
    columns: Mapping[str, Sequence[float | None]] | None = None,
) -> Figure:
    """Draw rows of transformations against columns of fields in axes labelled ``matrix``; see :func:`plot_alignment`.

    Args:
        matrix: ``(J, K)``, rows of nan where nothing is known.
        roles: of all K fields.
        transformations: names of the J transformations.
        title: of the figure.
        subtitle: one sentence that says what to see.
        unit: what the numbers are.
        columns: further columns of numbers, one per transformation, by name.
    """
    wide = 1.4 + 0.105 * max(map(len, transformations)) + CELL * (len(roles) + len(columns or {}))
    figure, body = titled(max(wide, 6.4), 2.4 + CELL * len(transformations), title, subtitle)
    ax = plot_alignment(matrix, transformations, body.subplots(), roles=roles, columns=columns)
    ax.set_label("matrix")
    bar = figure.colorbar(ax.images[0], ax=ax, location="bottom", aspect=45, pad=0.03)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.set_label(unit, fontsize=TEXT, labelpad=2)
    return figure


def plot_alignment(
    matrix: ArrayLike,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    roles: Sequence[FieldRole] | None = None,
    columns: Mapping[str, Sequence[float | None]] | None = None,
) -> Axes:
    """Draw how much each field acts while each transformation does: numbers on colours, matched cells outlined.

    The numbers have the gids ``J/K``, with K the number of the field.

    Args:
        matrix: ``(J, K)``, rows of nan where nothing is known, as from
            :func:`ffrl.evaluation.matching.activity_matrix`.
        names: of the J transformations.
        ax: where; axes of a new figure for None.
        roles: of all K fields, the columns in their order, with those that are matched outlined; fields in their own
            order and nothing outlined for None.
        columns: further columns of numbers, one per transformation, by name.

    Example:
        >>> ax = plot_alignment([[0.0, 1.0]], ["hue"], roles=[FieldRole(1, 0, "hue"), FieldRole(0)])
        >>> [text.get_text() for text in ax.texts][:2]
        ['1.00', '0.00']
    """
    matrix, columns = np.atleast_2d(array(matrix)), columns or {}
    count, fields = matrix.shape
    roles = [FieldRole(field) for field in range(fields)] if roles is None else roles
    ax = panel(ax, 1.8 + CELL * (fields + len(columns)), 0.8 + CELL * count)
    top = np.nanmax(matrix) if np.isfinite(matrix).any() else 1.0
    ordered = matrix[:, [role.field for role in roles]]
    shown = ax.imshow(ordered, cmap=COLOUR_MAP, vmin=0, vmax=max(top, 1e-9), aspect="auto", origin="upper")
    middle: dict[str, Any] = dict(ha="center", va="center")
    for (row, place), value in np.ndenumerate(ordered):
        ink = "black" if np.isnan(value) else ink_on(tuple(shown.cmap(shown.norm(value))))
        options: dict[str, Any] = dict(fontsize=HEADING, color=ink, gid=f"{row}/{roles[place].field}")
        ax.text(place, row, "–" if np.isnan(value) else f"{value:.2f}", **middle, **options)
    above: dict[str, Any] = dict(textcoords="offset points", annotation_clip=False, ha="center")
    for place, role in enumerate(roles):
        ax.annotate(str(role.field), (place, -0.5), (0, 14), va="center", fontsize=HEADING, **chip(role.field), **above)
        if role.silent:
            ax.annotate("silent", (place, -0.5), (0, 27), va="bottom", fontsize=SMALL, **above)
        if role.row is not None:
            outline(ax, place, role)
    ax.annotate("field", (-0.5, -0.5), (-9, 14), va="center", fontsize=TEXT, **above | {"ha": "right"})
    for place, (name, values) in enumerate(columns.items()):
        x = 72 * CELL * (place + 0.64)
        ax.annotate(name, (fields - 0.5, -0.5), (x, 6), va="bottom", fontsize=SMALL, linespacing=1.1, **above)
        for row, value in enumerate(values):
            text = "–" if value is None else f"{value:.3f}"
            ax.annotate(text, (fields - 0.5, row), (x, 0), va="center", fontsize=HEADING, **above)
    names = [str(row) for row in range(count)] if names is None else names
    ax.set_yticks(range(count), names, fontsize=HEADING, weight="bold")
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0, pad=8)
    ax.spines[:].set_visible(False)
    return ax


def outline(ax: Axes, place: int, role: FieldRole) -> None:
    """Outline the matched cell of a column in the colour of its field, on white so that it shows on every colour."""
    look, row = field_style(role.field), cast(int, role.row)
    inset = 0.035
    for colour, thickness, line in (("white", 5.5, "-"), (look.colour, 3.0, look.line)):
        corner, size = (place - 0.5 + inset, row - 0.5 + inset), 1 - 2 * inset
        ax.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=colour, linewidth=thickness, linestyle=line))


def draw_alignment(alignment: dict[str, Any], roles: Sequence[FieldRole]) -> Figure:
    """Draw :func:`~ffrl.evaluation.matching.align`, with shares, spike F1 and speed correlations.

    Entries are those of :func:`~ffrl.evaluation.matching.activity_matrix`.
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
