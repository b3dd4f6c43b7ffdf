"""A figure and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from stf.plot.compute.observed import Traversal

GLANCE, WHICH, ALONE, LATENT, TRAINING = (
    "At a glance",
    "Which field does what, and when",
    "Each field alone",
    "Fields in latent space",
    "Training",
)
"""Sections of the report that have figures, in order."""

Tell = Callable[[str], None]
"""Told what is being done now."""


@dataclass(frozen=True)
class Exhibit:
    """A figure and what is said about it.

    Args:
        name: of its file.
        section: of the report.
        title: in the report.
        figure: the figure.
        caption: one sentence that says what to see.
        alt: what is drawn, for those who do not see it.
        motion: what is animated beside it.
    """

    name: str
    section: str
    title: str
    figure: Figure
    caption: str
    alt: str
    motion: Traversal | None = None
