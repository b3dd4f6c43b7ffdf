"""Write the figures of a trained run, and a page of them: ``python docs/scripts/gallery.py RUN OUT``."""

from __future__ import annotations

import sys
from collections import defaultdict
from io import BytesIO
from itertools import chain
from pathlib import Path

from PIL import Image

from ffrl.core.errors import UserError
from ffrl.core.evaluation_mode import evaluation_mode
from stf.plot.compute.assignment import assign
from stf.plot.curves import phase_ends
from stf.plot.drawing.style import encode
from stf.report.all_figures import exhibits, searching, training
from stf.report.exhibit import Exhibit
from stf.run import Run

WIDEST, COLOURS = 1250, 64
"""Pixels, beyond which pictures are made smaller by a whole number of times, and colours that they keep."""
LEFT_OUT = "traversal-field-"
"""Figures of one field each, which the one of all fields shows too."""
PAGE = "gallery.md"


def drawn(run: Run) -> list[Exhibit]:
    """The figures of a run, in the order of the report."""
    run.require_fields()
    with evaluation_mode(run.model):
        found = assign(run.model, run.data)
        name = run.path.resolve().name
        search = searching(run.metrics, found.roles, name)
        curves = training(run.metrics, phase_ends(run.config), run.config.steps, name)
        every = chain(exhibits(run.model, run.data, found), [search] * (search is not None), [curves])
        return [one for one in every if not one.name.startswith(LEFT_OUT)]


def write(one: Exhibit, out: Path) -> None:
    """Write one figure as ``NAME.png``."""
    with Image.open(BytesIO(encode(one.figure))) as image:
        small = image.convert("RGB").reduce(-(-image.width // WIDEST))
        few = small.quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(out / f"{one.name}.png", optimize=True)


def page(every: list[Exhibit], command: str) -> str:
    """The page in Markdown: a heading per section and figure, the picture with its alternative text, the caption."""
    sections = defaultdict(list)
    for one in every:
        sections[one.section].append(f"### {one.title}\n\n![{one.alt}]({one.name}.png)\n\n{one.caption}\n")
    parts = [f"## {section}\n\n" + "\n".join(figures) for section, figures in sections.items()]
    python = "How to draw each from Python: [figures](../python.md#figures)."
    first = f"# Gallery\n\nFigures of one run, as `{command}` draws them. {python}\n"
    return "\n".join([first, *parts])


def main(run: Path, out: Path) -> None:
    """Draw into ``out``, which is made if it is not there."""
    every = drawn(Run.open(run))
    out.mkdir(parents=True, exist_ok=True)
    for one in every:
        write(one, out)
    (out / PAGE).write_text(page(every, f"stf visualize-fields runs/{run.resolve().name}"), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python docs/scripts/gallery.py RUN OUT")
    try:
        main(*map(Path, sys.argv[1:]))
    except UserError as error:
        sys.exit(f"gallery: error: {error}")
