"""The model at a glance: a sequence explained by sparse activity, and each field applied alone to other images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from stf.visualize.lanes import draw_frames, draw_lanes, speed_limits
from stf.visualize.material import Traversal
from stf.visualize.roles import FieldRole, Lane, lanes, remainder
from stf.visualize.style import FAINT, HEADING, NEUTRAL, SMALL, TEXT, Page, field_name, fitted

WIDTH, HEIGHT = 10.0, 5.5
LEFT, SPAN, CELL = 1.32, 3.69, 0.6
RIGHT, NAMES = 6.05, 0.95
TITLE_SIZE = 13.0
SHOWN = 6
"""Most frames in a row of the right half."""

WORDS = {
    "unsupervised": (
        "Which transformations act, when, and how fast – learned from image sequences alone",
        "Without labels, a sequence is explained by its first image and a few fields that switch on and off (left);\n"
        "a field found like this applies to any other image (right).",
    ),
    "weak": (
        "Which transformation acts – inferred from image sequences, one per sequence",
        "A sequence is explained by its first image and one field, which is inferred (left);\n"
        "a field found like this applies to any other image (right).",
    ),
    "supervised": (
        "Transformations as flows in latent space – learned from labelled image sequences",
        "A sequence is its first image moved by the field of its transformation, which is given (left);\n"
        "a field learned like this applies to any other image (right).",
    ),
}


def draw_overview(
    frames: ArrayLike,
    predicted: ArrayLike,
    inferred: ArrayLike,
    truth: ArrayLike,
    traversals: Sequence[Traversal],
    roles: Sequence[FieldRole],
    transformations: Sequence[str],
    mode: str = "unsupervised",
) -> Figure:
    """Draw one sequence with its activity and prediction (left) and every matched field alone (right).

    Fields without a transformation have a lane only if they act in this sequence.

    The gids of the pictures are ``input/T``, ``predicted/T`` and ``field-K/image-N/STEP``.

    Args:
        frames: a real sequence, ``(T+1, C, H, W)``.
        predicted: its first image moved by the inferred activity and decoded, ``(T+1, C, H, W)``.
        inferred: ``(T, K)``.
        truth: ``(T, J)``.
        traversals: of fields; those with a transformation are drawn.
        roles: of all fields.
        transformations: names of the J transformations.
        mode: of the model, which the title depends on.
    """
    title, caption = WORDS[mode]
    drawn = [lane for lane in lanes(roles, transformations) if lane.row is not None or np.any(lane.speeds(inferred))]
    matched = [one for one in traversals if one.role.row is not None]
    page = Page(WIDTH, HEIGHT + max(0.0, 0.42 * (len(drawn) - 4), 0.7 * (len(matched) - 4)))
    page.text(0.2, 0.14, title, TITLE_SIZE, weight="bold")
    page.text(0.2, page.height - 0.14, caption, TEXT + 0.5, va="bottom", linespacing=1.25)
    page.sheet.plot([RIGHT - 0.22] * 2, [0.6, page.height - 0.7], color=FAINT, linewidth=0.8)
    _left(page, frames, predicted, inferred, truth, drawn, "given" if mode == "supervised" else "inferred")
    _right(page, matched, roles)
    return page.figure


def _left(
    page: Page,
    frames: ArrayLike,
    predicted: ArrayLike,
    inferred: ArrayLike,
    truth: ArrayLike,
    drawn: Sequence[Lane],
    verb: str,
) -> None:
    """Draw the sequence, its speeds, and what they predict."""
    pitch = min(CELL, SPAN / len(frames))
    width, name_edge = pitch * len(frames), LEFT - 0.3
    y = 0.86
    page.text(0.2, 0.52, "One held-out sequence", HEADING + 0.5, weight="bold")
    size = draw_frames(page, frames, LEFT, y, pitch, "input")
    lane_top, lane_bottom = y + size + 0.36, page.height - size - 1.32
    page.text(name_edge, y + size / 2, "frames", TEXT, ha="right", va="center", weight="bold")
    explained = f"↓  speeds in unit steps per frame: colour {verb}, line true"
    page.text(LEFT, lane_top - 0.26, explained, TEXT)
    box = (LEFT, lane_top, width, lane_bottom - lane_top)
    draw_lanes(page, drawn, inferred, truth, box, speed_limits(drawn, inferred, truth))
    y = lane_bottom + 0.43
    page.text(LEFT, y - 0.21, "↓  the first frame, moved by these speeds", TEXT)
    draw_frames(page, predicted, LEFT, y, pitch, "predicted")
    page.text(name_edge, y + size / 2, "predicted", TEXT, ha="right", va="center", weight="bold")


def _right(page: Page, matched: Sequence[Traversal], roles: Sequence[FieldRole]) -> None:
    """Draw every field with a transformation alone, on the first images."""
    page.text(RIGHT, 0.52, "Each field alone, on other images", HEADING + 0.5, weight="bold")
    rest = remainder(roles)
    if rest:
        size = fitted(rest, SMALL, 1.15 * (WIDTH - RIGHT - 0.1))
        page.text(RIGHT, page.height - 0.72, rest, size, va="bottom", color=NEUTRAL)
    if not matched:
        page.text(RIGHT, 1.2, "No field matches a transformation yet.", TEXT)
        return
    rows = min(2 if len(matched) <= 4 else 1, len(matched[0].frames))
    top, start = 1.0, RIGHT + NAMES
    space = (page.height - 0.92 - top) / len(matched)
    trained = [step for step in matched[0].steps if 0 <= step <= matched[0].trained]
    chosen = trained[:: -(-len(trained) // SHOWN)]
    pitch = min((WIDTH - 0.15 - start) / len(chosen), (space - 0.14) / rows)
    for place, step in enumerate(chosen):
        label = f"t = {step}" if step == 0 else str(step)
        page.text(start + (place + 0.5) * pitch, top - 0.1, label, SMALL, ha="center", va="center", color=NEUTRAL)
    for number, one in enumerate(matched):
        role, y = one.role, top + number * space
        middle = y + rows * pitch / 2
        page.chip(RIGHT + 0.05, middle - 0.13, field_name(role.field), role.field, TEXT)
        size = fitted(str(role.transformation), TEXT + 0.5, NAMES - 0.08)
        page.text(RIGHT, middle + 0.13, str(role.transformation), size, weight="bold", va="center")
        for row in range(rows):
            for place, step in enumerate(chosen):
                frame, name = one.frames[row, one.steps.index(step)], f"field-{role.field}/image-{row}/{step}"
                page.picture(frame, start + place * pitch, y + row * pitch, pitch - 0.035, role.field, name)
