"""Figures of the report that are one file each, here or in an installed package.

A module of this folder, or an entry point of the group ``stf.figures``, has a function ``FIGURE`` that takes
:class:`Shown` and returns an :class:`~stf.report.exhibit.Exhibit`, or None where there is nothing to draw. Its name,
which is that of the picture's file, is that of the module or of the entry point.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from ffrl.core.errors import UserError, reason_of, require
from ffrl.core.registry import Registry, modules_in
from ffrl.data.base import SequenceData
from ffrl.models.interface import SequenceModel
from stf.plot.compute.assignment import Assignment
from stf.report.exhibit import TRAINING, Exhibit, Tell


@dataclass(frozen=True)
class Shown:
    """What a figure may show.

    Args:
        model: in evaluation mode, on the device of the data; gradients are off.
        data: the sequences, with a validation split.
        found: what the fields do on held-out sequences, with frames, inferred and true activity.
        seed: of everything random.
    """

    model: SequenceModel
    data: SequenceData
    found: Assignment
    seed: int


Draw = Callable[[Shown], Exhibit | None]
FIGURES = Registry("stf.figures", "figure", modules_in("stf.report.exhibits", "FIGURE"))
"""Figures by name: functions of :class:`Shown`."""


def own_exhibits(shown: Shown, tell: Tell, taken: Collection[str] = ()) -> Iterator[Exhibit]:
    """Draw the figures that are one file each.

    One of an installed package that fails is a picture that says so, and the others are drawn nevertheless.

    Args:
        shown: what there is to see.
        tell: told what is drawn next.
        taken: names of figures that there are already.
    """
    for number, name in enumerate(FIGURES):
        tell(name)
        package = FIGURES.source(name)
        try:
            exhibit = _draw(name, shown, taken)
        except Exception as error:
            if not package:
                raise
            known = isinstance(error, UserError) and str(error).startswith(f"{package}: ")
            said = error if known else f"{package}: figure {name!r}: {type(error).__name__}: {reason_of(error)}"
            exhibit = _failed(f"not-drawn-{number}", name, str(said))
        if exhibit is not None:
            yield exhibit


def _draw(name: str, shown: Shown, taken: Collection[str]) -> Exhibit | None:
    require(name.replace("-", "").isalnum() and name.isascii(), "name", name, "letters, digits and hyphens")
    require(name not in taken, "name", name, "one that no other figure has")
    exhibit = FIGURES[name](shown)
    require(exhibit is None or isinstance(exhibit, Exhibit), "figure", type(exhibit).__name__, "an Exhibit or None")
    return None if exhibit is None else replace(exhibit, name=name)


def _failed(file: str, name: str, said: str) -> Exhibit:
    """A picture in the place of one that could not be drawn."""
    figure = Figure(figsize=(8, 1.2))
    figure.text(0.02, 0.5, said, va="center", wrap=True)
    return Exhibit(file, TRAINING, f"{name}: not drawn", figure, f"This figure could not be drawn: {said}.", said)
