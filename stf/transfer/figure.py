"""Transfer at a glance: a sequence, its activity, and other images under the same activity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from stf.plot.compute.certainty import Certainty
from stf.plot.compute.roles import ActivityRow, FieldRole, activity_rows
from stf.plot.drawing.activity_rows import place_frames, plot_rows, speed_limits, stride
from stf.plot.drawing.certainty import PALER
from stf.plot.drawing.page import Page
from stf.plot.drawing.style import HEADING, NEUTRAL, SMALL, TEXT, enlarged, fitted
from stf.transfer.sources import Source, Targets

CELL, LEFT, RIGHT = 0.6, 2.0, 1.15
INPUT = 0.95
TOP, ROW, GAP, HEAD, FOOT = 1.05, 0.42, 0.34, 0.27, 0.25
NARROWEST = 8.6
MORE = 0.2
"""Height of a further line of the caption."""
SHOWN = 6
"""Most images that are drawn."""

TITLE = "Transfer: what happens in one sequence, done to other images"
WORDS = {
    "inferred": "inferred from the frames of a sequence alone",
    "given": "given here, and not inferred",
    "inferred or given": "inferred from the frames of a sequence, or given",
}


@dataclass(frozen=True)
class Transfer:
    """An activity, where it comes from, and what it does.

    Args:
        sources: one or two sequences.
        activities: of each, one speed per field, ``(T_i, K)``.
        join: how the two are combined, None for one.
        applied: the activity that was applied, ``(T, K)``.
        edits: what was done to it, in words; empty for nothing.
        reverse: whether it runs backwards.
        targets: the images.
        frames: the images moved and decoded, ``(N, T+1, C, H, W)``.
        truth: what was applied in terms of true speeds, ``(T, J)``, where that is known.
        true_frames: the images moved by ``truth``, ``(N, T+1, C, H, W)``, where that is known.
        certainties: of the activity of each source, ``(T_i, K)``, None where it is given or the model has no posterior.
    """

    sources: list[Source]
    activities: list[NDArray[np.float64]]
    join: Literal["then", "and"] | None
    applied: NDArray[np.float64]
    edits: str
    reverse: bool
    targets: Targets
    frames: Tensor
    truth: NDArray[np.float64] | None = None
    true_frames: Tensor | None = None
    certainties: Sequence[Certainty | None] = ()

    @property
    def verb(self) -> str:
        """Whether the speeds were inferred, given, or one of each."""
        given = [source.speeds is not None for source in self.sources]
        return "given" if all(given) else "inferred or given" if any(given) else "inferred"

    @property
    def certainty(self) -> Certainty | None:
        """How sure the applied activity is, where it is what was inferred from one sequence."""
        alone = self.join is None and not self.edits
        return self.certainties[0] if alone and self.certainties else None

    def errors(self) -> tuple[list[float], list[float]] | None:
        r"""Mean over t = 1 .. T of the L1 error of each image, and what it would be had nothing moved.

        .. math:: \frac{1}{T} \sum_t \| decode(z_t) - x_t \|_1, \quad \frac{1}{T} \sum_t \| decode(z_0) - x_t \|_1
        """
        if self.true_frames is None:
            return None
        moved, still = (
            (images - self.true_frames)[:, 1:].abs().sum((-3, -2, -1)).mean(1).tolist()
            for images in (self.frames, self.frames[:, :1])
        )
        return moved, still


def drawn_rows(transfer: Transfer, roles: Sequence[FieldRole], transformations: Sequence[str]) -> list[ActivityRow]:
    """Return rows of the fields that act or have a transformation, and of true transformations without a field."""
    active = np.flatnonzero(np.any(np.concatenate([transfer.applied, *transfer.activities]) != 0, axis=0))
    if not transformations:
        used = {role.field: role for role in roles if role.used is not None}
        return [
            ActivityRow(used.get(field, FieldRole(field)), None, None if used else "unknown")
            for field in active.tolist()
        ]
    known = activity_rows([replace(role, silent=role.field not in active) for role in roles], transformations)
    true = any(source.truth is not None for source in transfer.sources)
    return [row for row in known if row.role is not None or true]


def known_truth(source: Source) -> NDArray[Any] | None:
    """Return the true speeds that inferred ones are compared with, ``(T, J)``: none where the activity is given."""
    return None if source.truth is None or source.speeds is not None else source.truth.cpu().numpy()


def applied_truth(transfer: Transfer) -> NDArray[Any] | None:
    """Return the true speeds that the applied ones are compared with, ``(T, J)``, where all of them are inferred."""
    return None if any(known_truth(source) is None for source in transfer.sources) else transfer.truth


def or_zeros(truth: NDArray[Any] | None, activity: NDArray[Any], drawn: Sequence[ActivityRow]) -> NDArray[Any]:
    """Return the true speeds, or zeros in their place."""
    rows = [row.row + 1 for row in drawn if row.row is not None]
    return np.zeros((len(activity), max(rows, default=0))) if truth is None else truth


def stretch(limits: tuple[float, float]) -> float:
    """Return how many times higher than usual rows are for a range of speeds, so that 0 and 1 stay apart.

    Example:
        >>> stretch((0.0, 1.8)), stretch((-2.2, 1.1)), stretch((-9.0, 9.0))
        (1.0, 1.5, 2.0)
    """
    return float(np.clip((limits[1] - limits[0]) / 2.2, 1, 2))


def draw_transfer(transfer: Transfer, roles: Sequence[FieldRole], transformations: Sequence[str]) -> Figure:
    """Draw the sources with their activity, the activity that was applied, and the images under it.

    The gids of the pictures are ``source-S/T``, ``image-N`` (inputs), ``moved-N/T`` and ``true-N/T``, those of the
    errors ``error-N``; the axes of the rows are labelled ``row-L``, block by block: sources, then what was applied
    if that differs.

    Args:
        transfer: what is drawn.
        roles: of all fields.
        transformations: names of the J transformations; none if it is not known what the fields do.
    """
    drawn = drawn_rows(transfer, roles, transformations)
    blocks = _blocks(transfer)
    columns = max(len(activity) for _, _, activity, _ in blocks) + 1
    side = CELL * enlarged(transfer.frames.shape[-1])
    pitch, left = side / stride(columns), LEFT + side - CELL
    shown = min(len(transfer.frames), SHOWN)
    cell = side + 0.1
    sure = [*transfer.certainties, *[None] * len(blocks)][: len(blocks)]
    ranges = [
        speed_limits(drawn, activity, or_zeros(truth, activity, drawn), one)
        for (_, _, activity, truth), one in zip(blocks, sure, strict=True)
    ]
    limits = min(low for low, _ in ranges), max(high for _, high in ranges)
    high = ROW * stretch(limits)
    strips = [0.0 if frames is None else stride(len(frames)) * pitch + 0.06 for _, frames, _, _ in blocks]
    heights = [HEAD + strip + high * max(1, len(drawn)) + GAP for strip in strips]
    known, y = transfer.true_frames is not None, TOP + MORE * any(one is not None for one in sure)
    rows = shown * cell + side * known
    page = Page(max(left + columns * pitch + RIGHT, NARROWEST), y + sum(heights) + 0.5 + rows + 0.2 + FOOT * known)
    page.title(TITLE, _caption(transfer, roles))
    for number, (heading, frames, activity, truth) in enumerate(blocks):
        size = fitted(heading, HEADING, 1.25 * (page.width - 0.3))
        page.text(0.2, y, heading, size, weight="bold")
        top = y + HEAD
        if frames is not None:
            place_frames(page, frames.cpu(), left, top, pitch, f"source-{number}")
            page.text(left - 0.3, top + strips[number] / 2 - 0.04, "frames", TEXT, ha="right", va="center")
            top += strips[number]
        box = (left, top, pitch * (len(activity) + 1), high * len(drawn))
        draw_activity(page, drawn, activity, truth, box, limits, sure[number])
        y += heights[number]
    _targets(page, transfer, shown, (left, y), pitch, cell)
    return page.figure


def draw_activity(
    page: Page,
    drawn: Sequence[ActivityRow],
    activity: NDArray[Any],
    truth: NDArray[Any] | None,
    box: tuple[float, float, float, float],
    limits: tuple[float, float],
    certainty: Certainty | None = None,
) -> None:
    """Draw the rows of an activity, without true speeds where there are none; see :func:`plot_rows`."""
    known = drawn if truth is not None else [replace(row, row=None) for row in drawn]
    if known:
        truth = or_zeros(truth, activity, drawn)
        plot_rows(known, activity, truth, page.axes(*box), limits=limits, certainty=certainty)
    else:
        page.text(box[0], box[1], "no field acts", TEXT)


def _blocks(
    transfer: Transfer,
) -> list[tuple[str, Tensor | None, NDArray[np.float64], NDArray[np.float64] | None]]:
    """Heading, frames, activity and true activity of everything that has rows."""
    prefixes = {None: [""], "then": ["First: ", "Then: "], "and": ["One: ", "And at the same time: "]}[transfer.join]
    blocks = [
        (prefix + source.about, source.frames, activity, known_truth(source))
        for prefix, source, activity in zip(prefixes, transfer.sources, transfer.activities, strict=True)
    ]
    if transfer.join or transfer.edits:
        joined = {None: "", "then": "one after the other", "and": "added step by step"}[transfer.join]
        words = ", ".join(part for part in (joined, transfer.edits) if part)
        blocks.append((f"What is applied: {words}", None, transfer.applied, applied_truth(transfer)))
    return blocks


def _caption(transfer: Transfer, roles: Sequence[FieldRole]) -> str:
    words = f"The speeds of the fields are {WORDS[transfer.verb]}. Other images are encoded, moved by the same\nfields "
    words += f"at these speeds, and decoded. Colour: {transfer.verb} speed, "
    unknown = any(role.used is not None for role in roles)
    words += "1 being what the prior expects" if unknown else "in unit steps per transition"
    if any(known_truth(source) is not None for source in transfer.sources):
        words += "; black line: true speed"
    sure = any(one is not None for one in transfer.certainties)
    return f"{words};\n{PALER}." if sure else f"{words}."


def _targets(
    page: Page, transfer: Transfer, shown: int, corner: tuple[float, float], pitch: float, cell: float
) -> None:
    """Draw the images, what became of them, and what is true."""
    frames, errors, (left, y), side = transfer.frames, transfer.errors(), corner, cell - 0.1
    number = f"; the first {shown} of {len(frames)}" if len(frames) > shown else ""
    heading = f"Other images under this activity: {transfer.targets.about}{number}"
    page.text(0.2, y, heading, fitted(heading, HEADING, 1.25 * (page.width - 0.3)), weight="bold")
    y += 0.5
    right = left + pitch * frames.shape[1] + 0.06
    page.text(INPUT + side / 2, y - 0.05, "image", SMALL, ha="center", va="bottom")
    page.text(left, y - 0.05, "decoded", SMALL, va="bottom")
    if errors is not None:
        page.text(right, y - 0.05, "L1 error per frame", SMALL, va="bottom")
    for row in range(shown):
        page.picture(transfer.targets.images[row], INPUT, y, side - 0.02, name=f"image-{row}")
        place_frames(page, frames[row], left, y, pitch, f"moved-{row}")
        if errors is not None:
            moved, still = (values[row] for values in errors)
            page.text(right, y + side / 2 - 0.01, f"{moved:.0f}", TEXT, va="bottom", weight="bold", gid=f"error-{row}")
            page.text(right, y + side / 2 + 0.01, f"unmoved: {still:.0f}", SMALL, color=NEUTRAL)
        y += cell
    if transfer.true_frames is not None:
        place_frames(page, transfer.true_frames[shown - 1], left, y, pitch, f"true-{shown - 1}")
        page.text(
            left - 0.12, y + side / 2, "the last one under\nthe true transformations", SMALL, ha="right", va="center"
        )
        y += side
    if errors is not None:
        words = "L1 error: against the true transformations, summed over channels and pixels, mean over t = 1 .. T; "
        page.text(0.2, page.height - 0.16, words + "unmoved: without any activity.", SMALL, va="bottom", color=NEUTRAL)
