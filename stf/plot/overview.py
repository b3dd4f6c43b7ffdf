"""The model at a glance: a sequence explained by sparse activity, and each field applied alone to other images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from stf.plot.compute.certainty import Certainty
from stf.plot.compute.observed import Traversal
from stf.plot.compute.roles import ActivityRow, FieldRole, activity_rows, remainder, silence
from stf.plot.drawing.activity_rows import place_frames, plot_rows
from stf.plot.drawing.certainty import PALER
from stf.plot.drawing.page import Page
from stf.plot.drawing.panel import Images
from stf.plot.drawing.style import FAINT, HEADING, NEUTRAL, SMALL, TEXT, enlarged, field_name, fitted

HEIGHT = 5.5
LEFT, SPAN, CELL = 1.32, 3.69, 0.6
ASIDE, REST, NAMES = 1.04, 3.95, 0.95
"""Between the halves, the width of the right one, and what the names of fields take of it."""
TITLE_SIZE = 13.0
UNKNOWN_SPEEDS = "inferred speeds (1: as the prior expects); left: share of all steps"
SHOWN, MOST_FIELDS = 6, 9
"""Most frames in a row of the right half, and most fields there."""

WITHOUT_LABELS = (
    "Which transformations act, when, and how fast – learned from sequences alone",
    "Without labels, a sequence is explained by its first image and a few fields that switch on and off (left);\n"
    "a field found like this applies to any other image (right).",
)
WORDS = {
    "unsupervised": WITHOUT_LABELS,
    "sta": WITHOUT_LABELS,
    "weak": (
        "Which transformation acts – inferred from sequences, one per sequence",
        "A sequence is explained by its first image and one field, which is inferred (left);\n"
        "a field found like this applies to any other image (right).",
    ),
    "supervised": (
        "Transformations as flows in latent space – learned from labelled sequences",
        "A sequence is its first image moved by the field of its transformation, which is given (left);\n"
        "a field learned like this applies to any other image (right).",
    ),
}


def draw_overview(
    frames: Images,
    predicted: Images,
    inferred: ArrayLike,
    truth: ArrayLike,
    traversals: Sequence[Traversal],
    roles: Sequence[FieldRole],
    transformations: Sequence[str],
    mode: str = "unsupervised",
    certainty: Certainty | None = None,
) -> Figure:
    """Draw one sequence with its activity and prediction (left) and every matched field alone (right).

    Fields without a transformation have a row only if they act in this sequence. Where no transformations are known,
    the right half shows the most used fields.

    The gids of the pictures are ``input/T``, ``predicted/T`` and ``field-K/image-N/STEP``.

    Args:
        frames: a real sequence, ``(T+1, C, H, W)``.
        predicted: its first image moved by the inferred activity and decoded, ``(T+1, C, H, W)``.
        inferred: ``(T, K)``.
        truth: ``(T, J)``.
        traversals: of fields; those with a transformation are drawn.
        roles: of all fields.
        transformations: names of the J transformations, none if they are not known.
        mode: of the model, which the title depends on.
        certainty: of the inferred activity, ``(T, K)``, where the model has a posterior of it.
    """
    title, caption = WORDS[mode]
    drawn = [
        row for row in activity_rows(roles, transformations) if row.row is not None or np.any(row.speeds(inferred))
    ]
    matched = [one for one in traversals if one.role.row is not None or one.role.used is not None][:MOST_FIELDS]
    larger = enlarged(np.shape(frames)[-1])
    span, rest = larger * SPAN, NAMES + larger * (REST - NAMES)
    width = LEFT + span + ASIDE + rest
    page = Page(width, HEIGHT + max(1.6 * (larger - 1), 0.42 * (len(drawn) - 4), larger * 0.7 * (len(matched) - 4)))
    page.text(0.2, 0.14, title, TITLE_SIZE, weight="bold")
    page.text(0.2, page.height - 0.14, caption, TEXT + 0.5, va="bottom", linespacing=1.25)
    right = LEFT + span + ASIDE
    page.sheet.plot([right - 0.22] * 2, [0.6, page.height - 0.7], color=FAINT, linewidth=0.8)
    explained = (
        UNKNOWN_SPEEDS
        if not transformations
        else (f"speeds in unit steps per frame: colour {'given' if mode == 'supervised' else 'inferred'}, line true")
    )
    _left(page, (frames, predicted), inferred, truth, drawn, explained, span, certainty)
    _right(page, matched, roles, right)
    return page.figure


def _left(
    page: Page,
    sequence: tuple[Images, Images],
    inferred: ArrayLike,
    truth: ArrayLike,
    drawn: Sequence[ActivityRow],
    explained: str,
    span: float,
    certainty: Certainty | None,
) -> None:
    """Draw the sequence, its speeds, and what they predict."""
    frames, predicted = sequence
    pitch = min(CELL * span / SPAN, span / len(frames))
    width, name_edge = pitch * len(frames), LEFT - 0.3
    y = 0.86
    page.text(0.2, 0.52, "One held-out sequence", HEADING + 0.5, weight="bold")
    size = place_frames(page, frames, LEFT, y, pitch, "input", tight=True)
    lane_top, lane_bottom = y + size + 0.36, page.height - size - 1.32
    page.text(name_edge, y + size / 2, "frames", TEXT, ha="right", va="center", weight="bold")
    if certainty is None:
        page.text(LEFT, lane_top - 0.26, f"↓  {explained}", TEXT)
    else:
        page.text(LEFT, lane_top - 0.29, f"↓  {explained}", TEXT)
        page.text(LEFT, lane_top - 0.14, PALER, SMALL - 1, color=NEUTRAL)
    box = (LEFT, lane_top, width, lane_bottom - lane_top)
    if drawn:
        plot_rows(drawn, inferred, truth, page.axes(*box), certainty=certainty)
    else:
        page.text(LEFT, lane_top + 0.2, "No field acts in this sequence.", TEXT)
    y = lane_bottom + 0.43
    page.text(LEFT, y - 0.21, "↓  the first frame, moved by these speeds", TEXT)
    place_frames(page, predicted, LEFT, y, pitch, "predicted", tight=True)
    page.text(name_edge, y + size / 2, "predicted", TEXT, ha="right", va="center", weight="bold")


def _right(page: Page, matched: Sequence[Traversal], roles: Sequence[FieldRole], left: float) -> None:
    """Draw every field of these alone, on the first images."""
    page.text(left, 0.52, "Each field alone, on other images", HEADING + 0.5, weight="bold")
    rest = remainder(roles)
    if rest:
        size = fitted(rest, SMALL, 1.15 * (page.width - left - 0.1))
        page.text(left, page.height - 0.72, rest, size, va="bottom", color=NEUTRAL)
    if not matched:
        unknown = any(role.used is not None for role in roles)
        page.text(left, 1.2, silence(roles) if unknown else "No field matches a transformation yet.", TEXT)
        return
    rows = min(2 if len(matched) <= 4 else 1, len(matched[0].frames))
    top, start = 1.0, left + NAMES
    space = (page.height - 0.92 - top) / len(matched)
    trained = [step for step in matched[0].steps if 0 <= step <= matched[0].trained]
    chosen = trained[:: -(-len(trained) // SHOWN)]
    pitch = min((page.width - 0.15 - start) / len(chosen), (space - 0.14) / rows)
    for place, step in enumerate(chosen):
        label = f"t = {step}" if step == 0 else str(step)
        page.text(start + (place + 0.5) * pitch, top - 0.1, label, SMALL, ha="center", va="center", color=NEUTRAL)
    for number, one in enumerate(matched):
        role, y = one.role, top + number * space
        middle = y + rows * pitch / 2
        page.chip(left + 0.05, middle - 0.13, field_name(role.field), role.field, TEXT)
        size = fitted(role.caption, TEXT + 0.5, NAMES - 0.08)
        page.text(left, middle + 0.13, role.caption, size, weight="bold", va="center")
        for row in range(rows):
            for place, step in enumerate(chosen):
                frame, name = one.frames[row, one.steps.index(step)], f"field-{role.field}/image-{row}/{step}"
                page.picture(frame, start + place * pitch, y + row * pitch, pitch - 0.035, role.field, name)
