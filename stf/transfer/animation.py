"""Transfer in motion: the sequence, the images under its activity, and where on the activity's rows they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray

from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.activity_rows import speed_limits
from stf.plot.drawing.certainty import PALER
from stf.plot.drawing.page import Page
from stf.plot.drawing.style import HEADING, TEXT, fitted, to_image
from stf.transfer.figure import Transfer, applied_truth, draw_activity, drawn_rows, or_zeros, stretch

PIXELS = 100
"""Per inch."""
PANEL, GAP, ARROW, MARGIN = 112, 10, 54, 20
TOP, ROW, LABELS, RIGHT = 34, 42, 150, 90
NARROWEST, WIDEST, HEADLINE, LARGEST = 640, 1600, 350, 256
SHOWN, MOST_FRAMES = 6, 120
SECONDS, FIRST, LAST = 0.3, 0.9, 1.2
"""How long a frame of a short animation is shown, the first one, and the last one."""
CURSOR = np.array([90, 90, 90], dtype=np.uint8)


def times(steps: int) -> list[int]:
    """Return the frames of 0 .. ``steps`` that are shown: all, or evenly spaced ones including both ends.

    Example:
        >>> times(4), len(times(1000))
        ([0, 1, 2, 3, 4], 120)
    """
    return np.linspace(0, steps, min(steps + 1, MOST_FRAMES)).round().astype(int).tolist()


def durations(count: int) -> list[float]:
    """Return how many seconds each of ``count`` frames is shown; the first and the last one stay longer.

    Example:
        >>> durations(3)
        [0.9, 0.3, 1.2]
    """
    return [FIRST, *[min(SECONDS, 6 / count)] * (count - 2), LAST][-count:]


def source_images(transfer: Transfer, t: int) -> list[NDArray[np.float32]]:
    """Return what the sources show at frame t, ``(H, W, 3)`` each; sources without frames are left out.

    One after the other they share one picture; reversed, they run backwards from their end.
    """
    shown = [source.frames for source in transfer.sources if source.frames is not None]
    steps = len(transfer.applied)
    t = steps - t if transfer.reverse else t
    if transfer.join == "then" and len(shown) == 2:
        first = len(shown[0]) - 1
        shown = [shown[0] if t <= first else shown[1][t - first :][:1]]
    return [to_image(frames[min(t, len(frames) - 1)]) for frames in shown]


def animate(transfer: Transfer, roles: Sequence[FieldRole], transformations: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Return the frames, ``(H, W, 3)`` uint8 each, for :func:`~stf.plot.drawing.animation.write_animation`.

    Pictures are enlarged by a whole number, so that pixels stay crisp; of very large ones only some pixels are shown.

    Args:
        transfer: what is shown.
        roles: of all fields.
        transformations: names of the J transformations; none if it is not known what the fields do.
    """
    side = max(transfer.frames.shape[-2:])
    zoom, every = max(1, round(PANEL / side)), -(-side // LARGEST)
    high, wide = (zoom * -(-size // every) for size in transfer.frames.shape[-2:])
    sources = len(source_images(transfer, 0))
    left = MARGIN + sources * (wide + GAP) + (ARROW if sources else 0)
    shown = transfer.frames[: min(SHOWN, max(1, (WIDEST - left - MARGIN) // (wide + GAP)))]
    places = [MARGIN + number * (wide + GAP) for number in range(sources)]
    places += [left + number * (wide + GAP) for number in range(len(shown))]
    width = max(NARROWEST, places[-1] + wide + MARGIN, left + HEADLINE)
    background, box = _background(transfer, roles, transformations, (width, high, left, sources))
    frames = []
    for t in times(len(transfer.applied)):
        canvas = background.copy()
        for x, image in zip(places, [*source_images(transfer, t), *map(to_image, shown[:, t])], strict=True):
            pixels = (255 * image[::every, ::every]).round().astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)
            canvas[TOP : TOP + high, x : x + wide] = pixels
        x0, y0, x1, y1 = box
        x = round(x0 + (x1 - x0) * (t + 0.5) / (len(transfer.applied) + 1))
        canvas[y0:y1, x - 1 : x + 1] = CURSOR
        frames.append(canvas)
    return frames


def _background(
    transfer: Transfer,
    roles: Sequence[FieldRole],
    transformations: Sequence[str],
    layout: tuple[int, int, int, int],
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """All that does not move, and the box of the rows in pixels."""
    width, high, left, sources = layout
    drawn, truth = drawn_rows(transfer, roles, transformations), applied_truth(transfer)
    limits = speed_limits(drawn, transfer.applied, or_zeros(truth, transfer.applied, drawn), transfer.certainty)
    top = TOP + high + 44
    box = (LABELS, top, width - RIGHT, top + round(ROW * stretch(limits)) * max(1, len(drawn)))
    page = Page(width / PIXELS, (box[3] + 24) / PIXELS)
    if sources:
        heading = "a sequence" if sources == 1 else "two sequences"
        page.text(MARGIN / PIXELS, 0.09, heading, HEADING, weight="bold")
        middle = (left - GAP - ARROW / 2 + 5) / PIXELS
        page.text(middle, (TOP + high / 2) / PIXELS, "→", 24, ha="center", va="center")
    heading = f"{('this', 'its', 'their')[sources]} activity, applied to other images"
    page.text(left / PIXELS, 0.09, heading, HEADING, weight="bold")
    words = f"applied: {transfer.edits}" if transfer.edits else f"{transfer.verb} speeds"
    words += "" if truth is None else " (black line: true)"
    words += "" if transfer.certainty is None else f"; {PALER}"
    page.text(
        LABELS / PIXELS, (top - 26) / PIXELS, words, fitted(words, TEXT, 1.25 * (page.width - LABELS / PIXELS - 0.1))
    )
    inches = (box[0] / PIXELS, box[1] / PIXELS, (box[2] - box[0]) / PIXELS, (box[3] - box[1]) / PIXELS)
    draw_activity(page, drawn, transfer.applied, truth, inches, limits, transfer.certainty)
    page.figure.set_dpi(PIXELS)
    page.figure.canvas.draw()
    pixels = np.asarray(cast(FigureCanvasAgg, page.figure.canvas).buffer_rgba())[..., :3].copy()
    return pixels, (*box[:3], box[3] - 8)
