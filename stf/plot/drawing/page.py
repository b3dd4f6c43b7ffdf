"""Pages: figures of many pictures, laid out in inches."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import ArrayLike

from stf.plot.drawing.panel import Images, panel
from stf.plot.drawing.style import HEADING, SHADE, TEXT, TITLE, ShownFigure, chip, field_style, to_image


class Page:
    """A figure laid out in inches from its top left corner, without any global state.

    Args:
        width: inches.
        height: inches.

    Attributes:
        figure: the matplotlib figure, with an Agg canvas.
        sheet: its first axes, which cover the page, with inches as data units and y downwards.

    Example:
        >>> page = Page(4, 2)
        >>> image = page.picture(np.zeros((3, 8, 8)), x=1, y=0.5, size=1)
        >>> [float(edge) for edge in image.get_extent()]  # left, right, bottom, top
        [1.0, 2.0, 1.5, 0.5]
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = ShownFigure(figsize=(width, height))
        self.sheet = self.figure.add_axes((0, 0, 1, 1), label="sheet")
        self.sheet.set_axis_off()
        self.sheet.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)

    def axes(self, x: float, y: float, width: float, height: float, label: str = "") -> Axes:
        """Add axes whose top left corner is at (x, y)."""
        bottom = self.height - y - height
        box = (x / self.width, bottom / self.height, width / self.width, height / self.height)
        return panel(self.figure.add_axes(box, label=label))

    def text(self, x: float, y: float, text: str, size: float = TEXT, **options: Any) -> Text:
        """Write ``text`` with its left top corner at (x, y), unless ``ha`` and ``va`` say otherwise."""
        return self.sheet.text(x, y, text, fontsize=size, **({"ha": "left", "va": "top"} | options))

    def title(self, title: str, subtitle: str = "", x: float = 0.2, y: float = 0.16) -> None:
        """Write the title of the page and, under it, one line or two that say what to see."""
        self.text(x, y, title, TITLE, weight="bold")
        self.text(x, y + 0.3, subtitle, HEADING - 1, color="#303030", linespacing=1.3)

    def chip(self, x: float, y: float, text: str, field: int, size: float = TEXT, **options: Any) -> Text:
        """Write ``text`` on the colour of a field, centred vertically at y."""
        return self.text(x, y, text, size, **({"va": "center"} | chip(field) | options))

    def picture(
        self,
        frame: ArrayLike,
        x: float,
        y: float,
        size: float,
        field: int | None = None,
        name: str | None = None,
        high: float | None = None,
    ) -> AxesImage:
        """Draw a frame ``(C, H, W)`` in the middle of a box, bordered in the colour of ``field``.

        It is as large as fits into the box, a square unless ``high`` says otherwise; ``name`` is its gid.
        """
        shown, high = to_image(frame), size if high is None else high
        scale = min(high / shown.shape[0], size / shown.shape[1])
        height, width = (scale * side for side in shown.shape[:2])
        x, y = x + (size - width) / 2, y + (high - height) / 2
        image = self.sheet.imshow(
            shown, extent=(x, x + width, y + height, y), aspect="auto", vmin=0, vmax=1, origin="upper"
        )
        image.set_gid(name)
        if field is not None:
            look = field_style(field)
            border = Rectangle(
                (x, y), width, height, fill=False, edgecolor=look.colour, linewidth=1.6, linestyle=look.line
            )
            self.sheet.add_patch(border)
        return image

    def pictures(
        self,
        frames: Images,
        x: float,
        y: float,
        size: float,
        pitch: float,
        field: int | None = None,
        name: str = "",
        high: float | None = None,
    ) -> list[AxesImage]:
        """Draw frames ``(N, C, H, W)`` in a row, one every ``pitch`` inches, with gids ``name/0``, ``name/1``, ..."""
        return [
            self.picture(frame, x + number * pitch, y, size, field, f"{name}/{number}", high)
            for number, frame in enumerate(frames)
        ]

    def shade(self, x: float, y: float, width: float, height: float, colour: str = SHADE) -> None:
        """Fill a rectangle behind everything else."""
        self.sheet.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="none", zorder=-1))


def height_of(frames: Images, width: float) -> float:
    """Return how high images ``(..., H, W)`` are that are so many inches wide, at most as high as wide.

    Example:
        >>> height_of(np.zeros((3, 12, 20)), 1.0), height_of(np.zeros((3, 20, 12)), 1.0)
        (0.6, 1.0)
    """
    height, across = np.shape(frames)[-2:]
    return width * min(1.0, height / across)
