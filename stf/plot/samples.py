"""Samples of a data set: sequences with their true activity, and every transformation alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ffrl.core.files import reporting, to_json, write_atomically
from ffrl.core.seed import generator
from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.evaluation.protocol.data_summary import described
from ffrl.evaluation.protocol.sequences import choose
from stf.plot.compute.pictures import as_pictures
from stf.plot.compute.roles import ActivityRow
from stf.plot.drawing.activity_rows import place_frames, plot_rows, speed_limits, stride
from stf.plot.drawing.page import Page, height_of
from stf.plot.drawing.style import FAINT, HEADING, SMALL, TEXT, enlarged, fitted, house_style, save

CELL, LABELS, GAP = 0.52, 1.15, 0.3
TOP, ROW, NARROW, FEW = 1.1, 0.36, 0.27, 6
"""Height of a row of speeds, and of one where there are more than a few."""
NARROWEST, WIDEST = 9.0, 12.6
SEQUENCES, LONGEST = 6, 70
"""How many are drawn, and letters of a title that fit a page."""


def sample(data: SequenceData, split: Split, seed: int = 0) -> tuple[SequenceBatch, SequenceBatch | None]:
    """Return mixed sequences of random images, and one image under every transformation alone, from its start.

    Frames of vectors are images of their features, see :func:`stf.plot.compute.pictures.pictures`.

    The latter is None where transformations are not known.

    Raises:
        UserError: the split is not there.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> [len(batch.frames) for batch in sample(load(DataConfig()), "validation")]
        [6, 3]
    """
    indices = choose(data, split, min(SEQUENCES, data.size(split)), seed)
    mixed = as_pictures(data, data.mixed(split, indices, generator(data.device, seed, "samples")))
    if not data.prescribed:
        return mixed, None
    which = torch.arange(len(data.transformations), device=data.device)
    return mixed, data.single(split, indices[:1].expand(len(which)), which)


def draw_samples(
    mixed: SequenceBatch,
    single: SequenceBatch | None,
    transformations: Sequence[str],
    unit_steps: dict[str, str],
    about: str,
) -> Figure:
    """Draw mixed sequences with their true activity, and each transformation alone.

    The gids of the pictures are ``sequence-N/T`` and ``single-J/T``; the axes of the rows are labelled ``row-J``,
    sequence by sequence.

    Args:
        mixed: N sequences.
        single: one sequence of each of the J transformations, None if they are not known.
        transformations: their names.
        unit_steps: what one unit step means, in words, by name.
        about: what data these are, in words.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> data = load(DataConfig())
        >>> draw_samples(*sample(data, "validation"), data.transformations, {}, "mnist").axes[0].get_label()
        'sheet'
    """
    count, frames = mixed.frames.shape[:2]
    drawn = [ActivityRow(None, row, name) for row, name in enumerate(transformations)]
    truth = mixed.activity.cpu().numpy()
    cell, high = CELL * enlarged(mixed.frames.shape[-1]), ROW if len(drawn) <= FEW else NARROW
    pitch, labels = cell / stride(frames), min(1.7, max(LABELS, 0.35 + 0.085 * max(map(len, ("", *transformations)))))
    width, cell = pitch * frames, height_of(mixed.frames, cell)
    columns = 2 if count > 1 and 2 * (labels + width) + GAP + 0.4 <= WIDEST else 1
    total = max(columns * (labels + width) + (columns - 1) * GAP + 0.4, NARROWEST)
    column = (total - 0.4 + GAP) / columns
    row = cell + 0.1 + high * len(drawn) + 0.4
    rows = -(-count // columns)
    singles = TOP + rows * row + 0.1
    page = Page(total, singles + (0.1 if single is None else 0.5 + len(drawn) * (cell + 0.08) + 0.35))
    about = about if len(about) <= LONGEST else f"{about[: LONGEST // 2]} ... {about[-LONGEST // 2 :]}"
    page.title(
        f"What the data hold: {about}",
        "Random mixed sequences, and the true speeds of what acts in them, in unit steps per transition. What is drawn "
        "between\nframes t − 1 and t moves the one to the other. Unsupervised training sees frames like these, and no "
        "activity."
        if drawn
        else "Random sequences as training sees them. Which transformations act in them is not known.",
    )
    limits = speed_limits(drawn, np.zeros((count, frames - 1, 1)), truth)
    for number in range(count):
        x, y = 0.2 + number % columns * column + labels, TOP + number // columns * row
        place_frames(page, mixed.frames[number].cpu(), x, y, pitch, f"sequence-{number}", tight=True)
        page.text(x - 0.3, y + cell / 2, f"sequence {number + 1}", TEXT, ha="right", va="center", weight="bold")
        if drawn:
            zeros, box = np.zeros((frames - 1, 1)), (x, y + cell + 0.1, width, high * len(drawn))
            ax = plot_rows(drawn, zeros, truth[number], page.axes(*box), limits=limits, named=False)
            for inner, one in zip(ax.child_axes, drawn, strict=True):
                true = one.truth(truth[number])
                if true is not None:
                    cast(Axes, inner).stairs(true, fill=True, color=FAINT, zorder=1)
    if single is None:
        return page.figure
    page.text(
        0.2,
        singles,
        "Each transformation alone at unit speed, as supervised and weak training see it",
        HEADING,
        weight="bold",
    )
    y, left = singles + 0.5, 0.2 + labels
    for t in range(0, frames, stride(frames)):
        label = f"t = {t}" if t == 0 else str(t)
        page.text(left + (t + 0.5) * pitch, y - 0.06, label, SMALL, ha="center", va="bottom")
    for j, name in enumerate(transformations):
        place_frames(page, single.frames[j].cpu(), left, y, pitch, f"single-{j}", tight=True)
        look: dict[str, Any] = dict(ha="right", va="center", weight="bold")
        page.text(left - 0.12, y + cell / 2, name, fitted(name, TEXT, labels - 0.15), **look)
        words = unit_steps.get(name)
        if words:
            words, room = f"one step: {words}", total - left - width - 0.2
            page.text(left + width + 0.1, y + cell / 2, words, fitted(words, TEXT, 1.2 * room), va="center")
        y += cell + 0.08
    return page.figure


@house_style()
def write_samples(data: SequenceData, summary: dict[str, Any], out: Path) -> list[Path]:
    """Write ``samples.png`` and ``summary.json`` into a folder, and return their paths.

    Args:
        data: the sequences.
        summary: from :func:`ffrl.evaluation.protocol.data_summary.summarise`; its split and seed choose the samples.
        out: made if it is not there.

    Raises:
        UserError: the folder cannot be written.
    """
    about = f"{described(summary)}, {summary['split']} split, seed {summary['seed']}"
    drawn = sample(data, summary["split"], summary["seed"])
    with reporting("write", out):
        out.mkdir(parents=True, exist_ok=True)
    figure = draw_samples(*drawn, data.transformations, summary["unit_steps"], about)
    write_atomically(out / "summary.json", to_json(summary))
    return [save(figure, out / "samples.png"), out / "summary.json"]
