"""The look shared by all figures: one colour per field everywhere, sizes, and how figures are written."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context, rcdefaults
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ffrl.core.files import write_atomically
from ffrl.core.terminal import visible

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Okabe and Ito's colour-blind-safe colours without black, which stands for the truth."""
COLOURS = (*OKABE_ITO, "#2900A6", "#592D00", "#B3F29D", "#3E2459", "#8561F2")
"""These and five more that differ from them and from each other for the colour-blind too."""
HATCHES = ("", "////", "....", "xxxx", "oo", "++")
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TRUTH = "black"
NEUTRAL, FAINT, SHADE = "#6E6E6E", "#C8C8C8", "#ECECEC"
DPI = 200
TITLE, HEADING, TEXT, SMALL = 14.0, 10.5, 9.0, 8.0
"""Font sizes in points."""


@dataclass(frozen=True)
class FieldStyle:
    """How one field looks in every figure; hatch and line style tell apart fields that share a colour."""

    colour: str
    hatch: str
    line: Any
    marker: str
    ink: str


def field_style(field: int) -> FieldStyle:
    """Return the look of a field; colours repeat after twelve fields, with another hatch, line style and marker.

    Example:
        >>> field_style(0).colour == field_style(12).colour, field_style(0).hatch == field_style(12).hatch
        (True, False)
    """
    turn, place = divmod(field, len(COLOURS))
    colour = COLOURS[place]
    return FieldStyle(
        colour=colour,
        hatch=HATCHES[turn % len(HATCHES)],
        line=LINES[turn % len(LINES)],
        marker=MARKERS[(place + turn) % len(MARKERS)],
        ink=ink_on(to_rgb(colour)),
    )


def ink_on(colour: tuple[float, ...]) -> str:
    """Return black or white, whichever contrasts more with an RGB ``colour`` in [0, 1] (relative luminance of WCAG 2).

    Example:
        >>> ink_on((1.0, 1.0, 1.0)), ink_on((0.0, 0.0, 0.4))
        ('black', 'white')
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def field_name(field: int) -> str:
    """Return what a field is called; fields are counted from 0, as in the last dimension of the activity.

    Example:
        >>> field_name(2)
        'field 2'
    """
    return f"field {field}"


def fitted(text: str, size: float, width: float) -> float:
    """Return the font size, at most ``size`` points, at which even bold ``text`` is about ``width`` inches wide.

    Example:
        >>> fitted("hue", 10, width=1.0), round(fitted("lighting intensity", 10, width=1.0), 1)
        (10, 5.7)
    """
    return min(size, 72 * width / (0.7 * len(text)))


def enlarged(side: int) -> float:
    """Return how many times larger than small ones images of ``side`` pixels are drawn.

    Example:
        >>> [round(enlarged(side), 2) for side in (28, 64, 128)]
        [1.0, 1.3, 1.6]
    """
    return 1.0 if side <= 40 else min(1.6, 1.3 * (side / 64) ** 0.3)


def to_image(frame: ArrayLike) -> NDArray[np.float32]:
    """Return a frame ``(C, H, W)`` in [0, 1] as an ``(H, W, 3)`` image; other than three channels are averaged to grey.

    Example:
        >>> to_image(np.full((1, 2, 2), 0.5)).shape
        (2, 2, 3)
    """
    frame = frame.detach().cpu() if isinstance(frame, Tensor) else frame
    image = np.moveaxis(np.asarray(frame, dtype=np.float32), 0, -1)
    if image.shape[-1] != 3:
        image = image.mean(-1, keepdims=True).repeat(3, axis=-1)
    return image.clip(0, 1)


def legend(axes: Axes, **options: Any) -> None:
    """Add a legend without a frame through which the data still show a little, if there is anything to name."""
    if "handles" not in options and not axes.get_legend_handles_labels()[0]:
        return
    box = dict(frameon=True, framealpha=0.8, edgecolor="none", facecolor="white", borderpad=0.1, borderaxespad=0.1)
    axes.legend(**(dict(fontsize=SMALL) | box | options))


def chip(field: int) -> dict[str, Any]:
    """Return the options of a text that stands on the colour of a field.

    Example:
        >>> chip(0)["bbox"]["facecolor"] == field_style(0).colour
        True
    """
    look = field_style(field)
    box = dict(boxstyle="round,pad=0.3", facecolor=look.colour, edgecolor=look.ink, linewidth=0, hatch=look.hatch)
    halo = [withStroke(linewidth=3, foreground=look.colour)] if look.hatch else None
    return {"weight": "bold", "color": look.ink, "bbox": box, "path_effects": halo}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw whole figures alike whatever a user's ``matplotlibrc`` says, such as ``text.usetex`` where LaTeX is not.

    Example:
        >>> from matplotlib import rcParams
        >>> with rc_context({"image.origin": "lower"}), house_style():
        ...     rcParams["image.origin"]
        'upper'
    """
    with rc_context():
        rcdefaults()
        yield


class ShownFigure(Figure):
    """A figure with an Agg canvas, drawn by a notebook where it is the value of a cell."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        usual: dict[str, Any] = {"dpi": DPI, "facecolor": "white"}
        super().__init__(*arguments, **usual | options)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        return encode(self)


def legible(figure: Figure) -> Figure:
    """Return ``figure`` with no name in it that steers how it is drawn, or keeps it from being drawn.

    What cannot be printed is made visible; what is no formula, though it has dollars like one, stands as it is.

    Example:
        >>> figure = Figure()
        >>> words = [figure.text(0, 0, word) for word in ("$x^2$", "$x^$")]
        >>> [word.get_parse_math() for word in legible(figure).texts]
        [True, False]
    """
    parser = MathTextParser("path")
    for text in figure.findobj(Text):
        said = text.get_text()
        if not said.replace("\n", "").isprintable():
            text.set_text(visible(said).encode("utf-8", "replace").decode())
        for line in said.split("\n"):
            try:
                if "$" in line:
                    parser.parse(line)
            except ValueError:
                text.set_parse_math(False)
    return figure


def encode(figure: Figure, form: str = "png") -> bytes:
    """Return ``figure`` as a PNG of 200 dots per inch, or as SVG or PDF; the same figure gives the same bytes.

    Where its panels make room for each other, they do so once: another round would move them a little again.

    Example:
        >>> encode(Figure())[1:4], encode(Figure(), "svg")[:5]
        (b'PNG', b'<?xml')
    """
    buffer = BytesIO()
    timeless = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    legible(figure)
    with house_style(), warnings.catch_warnings(), rc_context({"svg.hashsalt": "stf"}):
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # of names in scripts the font lacks
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        figure.savefig(buffer, format=form, dpi=DPI, metadata=timeless)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write ``figure`` atomically, as PNG, SVG or PDF by the ending of ``path``, and return ``path``.

    Raises:
        UserError: it cannot be written.
    """
    write_atomically(path, encode(figure, path.suffix.removeprefix(".")))
    return path
