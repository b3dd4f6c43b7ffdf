"""Axes to draw one panel into, and figures that are made of panels."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stf.plot.drawing.style import FAINT, HEADING, SMALL, TEXT, TITLE, ShownFigure, encode, fitted

Images = Tensor | NDArray[Any]
"""Pictures, or sequences of them."""


class _Shown:
    """Axes whose figure a notebook draws where they are the value of a cell."""

    def _repr_png_(self) -> bytes:
        return encode(cast(Figure, cast(Axes, self).figure))


class _ShownAxes(_Shown, Axes):
    pass


class _ShownAxes3D(_Shown, Axes3D):  # type: ignore[misc]  # mpl_toolkits has no types
    pass


def panel(ax: Axes | None, width: float = 4.0, height: float = 3.0, *, solid: bool = False) -> Axes:
    """Return the axes of a panel: ``ax``, or those of a new figure of so many inches, in the look of all figures.

    Args:
        ax: of a figure of one's own.
        width, height: of the new figure.
        solid: whether the axes have three dimensions.

    Raises:
        TypeError: axes of three dimensions are needed and others given, or the other way round.

    Example:
        >>> [float(inches) for inches in panel(None, 5, 2).figure.get_size_inches()]
        [5.0, 2.0]
    """
    if ax is None:
        figure = ShownFigure(figsize=(width, height), layout="constrained")
        ax = figure.add_subplot(axes_class=_ShownAxes3D if solid else _ShownAxes)
    if isinstance(ax, Axes3D) != solid:
        raise TypeError(f"ax: found axes {'without' if solid else 'of'} three dimensions (projection='3d')")
    if not solid:
        ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SMALL, length=3)
    ax.set_axisbelow(True)
    return ax


def array(values: ArrayLike | Tensor) -> NDArray[np.float64]:
    """Return numbers, also those of a tensor on any device with or without gradients, as float64.

    Example:
        >>> import torch
        >>> array(torch.ones(2, requires_grad=True))
        array([1., 1.])
    """
    values = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return np.asarray(values, dtype=np.float64)


def titled(
    width: float, height: float, title: str, subtitle: str = "", footer: str = ""
) -> tuple[ShownFigure, SubFigure]:
    """Return a figure whose parts make room for each other, with a title, and the part of it that holds its panels.

    Args:
        width, height: inches.
        title: of the figure.
        subtitle: one line or two under it that say what to see.
        footer: at its foot.

    Example:
        >>> figure, body = titled(4, 3, "title", "subtitle")
        >>> body.subplots(2, 2).shape
        (2, 2)
    """
    figure, left = ShownFigure(figsize=(width, height), layout="constrained"), 0.2 / width
    cast(ConstrainedLayoutEngine, figure.get_layout_engine()).set(w_pad=0.1, h_pad=0.1, wspace=0.02, hspace=0.02)
    figure.suptitle(title, x=left, ha="left", fontsize=fitted(title, TITLE, 1.05 * width), weight="bold")
    body = cast(SubFigure, figure.subfigures())
    body.set_facecolor("none")
    body.suptitle(subtitle, x=left, ha="left", fontsize=HEADING - 1, color="#303030", linespacing=1.3)
    if footer:
        body.supxlabel(footer, x=left, ha="left", fontsize=TEXT)
    return figure, body


def label(ax: Axes, x: str = "", y: str = "", title: str = "", grid: Literal["both", "x", "y"] = "both") -> None:
    """Name the axes and the panel in the sizes of all figures, and draw a faint grid along ``both``, ``x`` or ``y``."""
    ax.set_xlabel(x, fontsize=TEXT, labelpad=2)
    ax.set_ylabel(y, fontsize=TEXT, labelpad=3)
    ax.set_title(title, fontsize=HEADING, loc="left", pad=5)
    ax.grid(axis=grid, color=FAINT, linewidth=0.5)
