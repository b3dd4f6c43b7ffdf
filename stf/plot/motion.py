"""Animations of traversals: one field moves real images forwards, beyond the trained length, and backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from torch import Tensor

from stf.plot.compute.observed import Traversal
from stf.plot.drawing.page import Page, height_of
from stf.plot.drawing.style import (
    FAINT,
    HEADING,
    NEUTRAL,
    SHADE,
    SMALL,
    TEXT,
    enlarged,
    field_name,
    field_style,
    fitted,
    to_image,
)

CELL, BETWEEN, LEFT, TOP = 1.0, 0.06, 1.0, 0.62
LINE, BOTTOM, STATE = 0.22, 0.5, 2.3
"""Room above and under the line of steps, and width of what says where on it the images are."""
NARROWEST = 4.4
DPI = 100
STEP_SECONDS, HOLD_SECONDS = 0.14, 0.6
"""How long a frame is shown, and the first one and both turning points."""


def order(steps: Sequence[int]) -> list[int]:
    """Places in ``steps`` in the order in which they are shown: from 0 to the end, to the start, and back before 0.

    Example:
        >>> order([-1, 0, 1, 2])
        [1, 2, 3, 2, 1, 0]
    """
    zero, last = list(steps).index(0), len(steps) - 1
    return [*range(zero, last), *range(last, 0, -1), *range(zero)]


def durations(steps: Sequence[int]) -> list[float]:
    """Seconds that each frame of :func:`order` is shown: longer at the start, at the end, and at the original image.

    Example:
        >>> durations([-1, 0, 1, 2])
        [0.6, 0.14, 0.6, 0.14, 0.14, 0.6]
    """
    shown = order(steps)
    held = {0, shown.index(len(steps) - 1), shown.index(0)}
    return [HOLD_SECONDS if turn in held else STEP_SECONDS for turn in range(len(shown))]


def draw_moment(one: Traversal, place: int) -> Figure:
    """Draw one instant of an animation: the images moved by the field, what is true then, and where on the way it is.

    The gids of the pictures are ``image-N`` and, where the truth is known, ``true-N``.

    Args:
        one: from :func:`stf.plot.compute.observed.move_images`.
        place: of the step in ``one.steps``.

    Example:
        >>> import torch
        >>> from stf.plot.compute.roles import FieldRole
        >>> frames = torch.zeros(2, 3, 1, 2, 2)
        >>> figure = draw_moment(Traversal(FieldRole(4, 0, "hue"), frames[:, 0], (-1, 0, 1), frames, 1), 2)
        >>> figure.axes[0].texts[1].get_text()
        'hue'
    """
    return _MovingPage(one).show(place).figure


def motion_frames(one: Traversal) -> list[NDArray[np.uint8]]:
    """All frames of the animation of one field, ``(H, W, 3)`` each, in the order and for the time they are shown.

    The times are those of :func:`durations`.
    """
    stage = _MovingPage(one)
    drawn = [stage.show(place).pixels() for place in range(len(one.steps))]
    return [drawn[place] for place in order(one.steps)]


class _MovingPage:
    """A page of which only the pictures and the mark on the line of steps change."""

    def __init__(self, one: Traversal) -> None:
        self.one = one
        role, rows = one.role, 2 if one.truth else 1
        cell = CELL * enlarged(one.inputs.shape[-1])
        high, pitch = height_of(one.inputs, cell), cell + BETWEEN
        page = Page(max(LEFT + len(one.inputs) * pitch + 0.1, NARROWEST), TOP + rows * (high + BETWEEN) + LINE + BOTTOM)
        page.figure.set_dpi(DPI)
        self.figure = page.figure
        look = field_style(role.field)
        page.chip(0.18, 0.3, field_name(role.field), role.field, HEADING + 1)
        name = role.caption
        page.text(LEFT, 0.3, name, fitted(name, HEADING + 1, page.width - LEFT - STATE), va="center", weight="bold")
        self.state = page.text(page.width - 0.14, 0.3, "", TEXT, ha="right", va="center")
        blank, lower = np.ones(one.inputs.shape[-3:]), TOP + high + BETWEEN
        self.moved, self.true = [], []
        for number in range(len(one.inputs)):
            x = LEFT + number * pitch
            self.moved.append(page.picture(blank, x, TOP, cell, role.field, f"image-{number}", high))
            if one.truth:
                self.true.append(page.picture(blank, x, lower, cell, name=f"true-{number}", high=high))
        page.text(LEFT - 0.1, TOP + high / 2, "moved by\nthe field", TEXT, ha="right", va="center", linespacing=1.2)
        if one.truth:
            label, size = f"true\n{name}", fitted(name, TEXT, LEFT)
            page.text(LEFT - 0.1, lower + high / 2, label, size, ha="right", va="center", linespacing=1.2)
        y = TOP + rows * (high + BETWEEN) + LINE
        left, right = LEFT, page.width - 0.25
        span = one.steps[-1] - one.steps[0]
        self.at = {step: left + (step - one.steps[0]) / span * (right - left) for step in one.steps}
        for step in one.steps:
            page.sheet.plot([self.at[step]] * 2, [y - 0.04, y + 0.04], color=FAINT, linewidth=0.8)
        page.sheet.plot([left, right], [y, y], color=FAINT, linewidth=1.2)
        inside = [step for step in one.steps if 0 <= step <= one.trained]
        page.sheet.plot([self.at[inside[0]], self.at[inside[-1]]], [y, y], color=NEUTRAL, linewidth=3.5)
        for step in {one.steps[0], 0, inside[-1], one.steps[-1]}:
            page.text(self.at[step], y + 0.09, f"{step}".replace("-", "−"), SMALL, ha="center")
        note = "thick: the\ntrained length"
        page.text(LEFT - 0.1, y, note, SMALL, ha="right", va="center", color=NEUTRAL, linespacing=1.15)
        (self.mark,) = page.sheet.plot([0], [y], marker=look.marker, markersize=9, color=look.colour, gid="mark")
        self.mark.set(markeredgecolor="black", markeredgewidth=0.8, zorder=4)

    def show(self, place: int) -> _MovingPage:
        """Move everything to one step."""
        step = self.one.steps[place]
        for images, frames in ((self.moved, self.one.frames[:, place]), (self.true, self.one.truth.get(step))):
            for number, image in enumerate(images):
                self._fill(image, None if frames is None else frames[number])
        self.mark.set_xdata([self.at[step]])
        where = "backwards" if step < 0 else "beyond the trained length" if step > self.one.trained else "forwards"
        time = f"t = {step}".replace("-", "−")
        self.state.set_text(f"{time}, {where}" if step else f"{time}, decoded")
        return self

    @staticmethod
    def _fill(image: AxesImage, frame: Tensor | None) -> None:
        """A frame, or grey where none is known."""
        image.set_data(np.full((1, 1, 3), int(SHADE[1:3], 16) / 255) if frame is None else to_image(frame))

    def pixels(self) -> NDArray[np.uint8]:
        """What is drawn now."""
        self.figure.canvas.draw()
        return np.asarray(cast(FigureCanvasAgg, self.figure.canvas).buffer_rgba())[..., :3].copy()
