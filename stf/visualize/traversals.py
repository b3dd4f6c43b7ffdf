"""Traversals: real images moved by one field alone, backwards, forwards, and beyond the trained length."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from stf.visualize.material import Traversal
from stf.visualize.roles import FieldRole, silence
from stf.visualize.style import HEADING, NEUTRAL, SMALL, TEXT, Page, field_name, fitted

CELL, PITCH = 0.56, 0.6
LABELS, INPUT = 0.2, 1.75
NARROWEST = 9.6
TOP, BLOCK_GAP, NUMBERS, TRUE_ROW = 1.5, 0.28, 0.17, 0.62


def draw_traversals(traversals: Sequence[Traversal], roles: Sequence[FieldRole]) -> Figure:
    """Draw a block of rows per traversal, one row per image, with the L1 error under each frame whose truth is known.

    The gids of the pictures are ``field-K/image-N/PLACE`` (decoded), ``field-K/input-N`` and ``field-K/true/STEP``,
    those of the errors ``field-K/error-N/STEP``.

    Args:
        traversals: from :func:`stf.visualize.material.move_images`; they share their steps.
        roles: of all fields, to name the silent ones.

    Example:
        >>> draw_traversals([], [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    if not traversals:
        page = Page(9, 1.6)
        page.title("Traversals: each field applied alone to held-out images")
        page.text(0.2, 0.85, silence(roles), HEADING)
        return page.figure
    steps, trained = traversals[0].steps, traversals[0].trained
    start = INPUT + PITCH + 0.25
    left = {step: start + place * PITCH for place, step in enumerate(steps)}
    heights = [len(one.inputs) * (CELL + NUMBERS) + (TRUE_ROW if one.truth is not None else 0) for one in traversals]
    bottom = TOP + sum(heights) + BLOCK_GAP * (len(heights) - 1)
    page = Page(max(start + len(steps) * PITCH + 0.15, NARROWEST), bottom + 0.75)
    page.title(
        "Traversals: each field applied alone to held-out images",
        "An image is encoded, its latent code is moved by one field at unit speed, and every code is decoded.\n"
        "A good field changes one thing and keeps the rest, also backwards and beyond the length it was trained on.",
    )
    _header(page, left, trained, bottom)
    y = TOP
    for one, height in zip(traversals, heights, strict=True):
        _block(page, one, left, y)
        y += height + BLOCK_GAP
    page.text(0.2, bottom + 0.2, _caption(traversals, roles), TEXT, linespacing=1.4)
    return page.figure


def _header(page: Page, left: dict[int, float], trained: int, bottom: float) -> None:
    """Name and shade the columns."""
    inside = [x for step, x in left.items() if 0 <= step <= trained]
    before = [x for step, x in left.items() if step < 0]
    after = [x for step, x in left.items() if step > trained]
    gap = PITCH - CELL
    for columns, names in (
        (before, ("backwards (speed −1)", "backwards", "back")),
        (inside, ("forwards (speed 1), trained length", "forwards (speed 1)", "forwards")),
        (after, ("beyond the trained length", "beyond")),
    ):
        if columns:
            width = columns[-1] - columns[0] + PITCH
            if columns is not inside:
                page.shade(columns[0] - gap / 2, TOP - 0.47, width, bottom - TOP + 0.55)
            name = next((name for name in names if fitted(name, TEXT, width) == TEXT), names[-1])
            page.text(columns[0] + width / 2 - gap / 2, TOP - 0.42, name, TEXT, ha="center", weight="bold")
    for step, x in left.items():
        label = f"t = {step}" if step == 0 else f"{step}".replace("-", "−")
        page.text(x + CELL / 2, TOP - 0.19, label, SMALL, ha="center", color="#303030")
    page.text(INPUT + CELL / 2, TOP - 0.19, "input", SMALL, ha="center", color="#303030")


def _block(page: Page, one: Traversal, left: dict[int, float], y: float) -> None:
    """Draw one field: its name, its rows, and the true frames under the last row."""
    role, name = one.role, f"field-{one.role.field}"
    page.chip(LABELS + 0.05, y + 0.18, field_name(role.field), role.field, HEADING)
    if role.transformation is None:
        page.text(LABELS, y + 0.4, "matches no\ntransformation", HEADING, linespacing=1.2)
    else:
        size = fitted(role.transformation, HEADING, INPUT - LABELS - 0.1)
        page.text(LABELS, y + 0.4, role.transformation, size, weight="bold")
    if role.direction < 0:
        page.text(LABELS, y + 0.62, "forwards is speed −1\n(its sign is turned)", SMALL, color=NEUTRAL)
    errors = one.errors()
    for number, (image, frames) in enumerate(zip(one.inputs, one.frames, strict=True)):
        page.picture(image, INPUT, y, CELL, name=f"{name}/input-{number}")
        page.pictures(frames, left[one.steps[0]], y, CELL, PITCH, role.field, f"{name}/image-{number}")
        for step, values in errors.items():
            options = dict(ha="center", gid=f"{name}/error-{number}/{step}")
            page.text(left[step] + CELL / 2, y + CELL + 0.02, f"{values[number]:.0f}", SMALL, **options)
        if errors:
            page.text(left[0] - 0.09, y + CELL + 0.02, "L1 error", SMALL, ha="right", color="#303030")
        y += CELL + NUMBERS
    if one.truth is not None:
        page.text(left[0] - 0.09, y + CELL / 2, f"true {role.transformation}", SMALL, ha="right", va="center")
        for step in errors:
            page.picture(one.truth[-1, step], left[step], y + 0.02, CELL, name=f"{name}/true/{step}")


def _caption(traversals: Sequence[Traversal], roles: Sequence[FieldRole]) -> str:
    known = [one.truth for one in traversals if one.truth is not None]
    lines = []
    if known:
        black = sum(float(truth[:, 1:].sum((-3, -2, -1)).mean()) for truth in known) / len(known)
        lines.append(
            "Numbers: L1 error against the true transformation, summed over channels and pixels of images in [0, 1]; "
            f"a black image would score {black:.0f}."
        )
    lines.append(silence(roles))
    return "\n".join(lines)
