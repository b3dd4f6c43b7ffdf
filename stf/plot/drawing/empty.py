"""The page that stands in for a figure when there is no field to draw."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from stf.plot.compute.roles import FieldRole, silence
from stf.plot.drawing.page import Page
from stf.plot.drawing.style import HEADING


def empty_figure(title: str, roles: Sequence[FieldRole]) -> Figure:
    """Draw a page that says that there is no field to draw.

    Example:
        >>> empty_figure("Fields", [FieldRole(0, silent=True)]).axes[0].texts[-1].get_text()
        'All fields are silent (field 0): there is nothing to draw.'
    """
    page = Page(9, 1.6)
    page.title(title)
    silent = all(role.silent for role in roles)
    page.text(0.2, 0.85, silence(roles) if silent else "No field acts in these sequences.", HEADING)
    return page.figure
