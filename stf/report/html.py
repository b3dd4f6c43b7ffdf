"""``report.html``: figures, animations, tables and configuration of a run in one file that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import field_name, field_style
from stf.report.explorer import SPEEDS, Explorer
from stf.report.tables import Table, to_html
from stf.report.verdict import Verdict
from stf.report.words import of_vectors

LEGIBLE = 72
"""Pixels per inch below which a figure scrolls sideways instead of getting smaller still."""
LARGEST = 100
"""Pixels per inch above which a figure does not grow."""
BESIDE = "traversals"
"""Figure whose section has the sliders, which show the same moves."""
TEMPLATES = files("stf.report") / "templates"
"""Where ``report.html.j2``, its style sheet and its script are."""


@dataclass(frozen=True)
class Picture:
    """A figure or an animation as the report shows it.

    Args:
        name: of its file, of letters, digits and hyphens.
        section: that it stands in.
        title: above it.
        caption: under it.
        alt: what is drawn, for those who do not see it.
        png: a PNG, animated or not.
        size: its width and height in pixels.
        inches: its width on paper.
        still: a PNG in place of an animation, for those who want less motion.
    """

    name: str
    section: str
    title: str
    caption: str
    alt: str
    png: bytes
    size: tuple[int, int]
    inches: float
    still: bytes | None = None

    @property
    def narrowest(self) -> int:
        """Pixels below which it scrolls sideways."""
        return min(round(LEGIBLE * self.inches), self.size[0])

    @property
    def widest(self) -> int:
        """Pixels above which it does not grow."""
        return round(LARGEST * self.inches)


@dataclass(frozen=True)
class Section:
    """A section with figures.

    Args:
        title: above it.
        figures: its figures.
        animations: its animations, which stand behind the first figure.
        explorer: sliders, before everything else.
    """

    title: str
    figures: Sequence[Picture]
    animations: Sequence[Picture]
    explorer: Explorer | None


@dataclass(frozen=True)
class Report:
    """Everything that a report says.

    Args:
        run: name of the run.
        facts: what it is, by name.
        verdict: said first.
        roles: of all fields.
        pictures: in order; those of a section follow each other.
        evaluation: tables.
        source: where the numbers of these tables come from.
        configuration: table.
        explorer: sliders, which stand in the section of the traversals; None for none.
        vectors: whether frames are vectors.
        doubts: what looked wrong before training.
    """

    run: str
    facts: Mapping[str, str]
    verdict: Verdict
    roles: Sequence[FieldRole]
    pictures: Sequence[Picture]
    evaluation: Sequence[Table]
    source: str
    configuration: Table
    explorer: Explorer | None = None
    vectors: bool = False
    doubts: Sequence[str] = ()

    def said(self, text: str) -> str:
        """What is said of images, of vectors if frames are vectors."""
        return of_vectors(text) if self.vectors else text

    @property
    def sections(self) -> list[Section]:
        """The sections with figures, in order."""
        parts: dict[str, list[Picture]] = {}
        for picture in self.pictures:
            parts.setdefault(picture.section, []).append(picture)
        return [self._section(title, pictures) for title, pictures in parts.items()]

    def _section(self, title: str, pictures: list[Picture]) -> Section:
        still, moving = ([one for one in pictures if (one.still is not None) is moves] for moves in (False, True))
        return Section(title, still, moving, self.explorer if any(one.name == BESIDE for one in still) else None)


def render_report(report: Report) -> str:
    """Return the report as an HTML document; all text from the run is escaped.

    Example:
        >>> empty = Table("configuration", "Configuration", "key")
        >>> page = render_report(Report("<run>", {"mode": "weak"}, Verdict((), (), ()), [], [], [], "", empty))
        >>> "<h1>&lt;run&gt;</h1>" in page, "http:" in page
        (True, False)
    """
    return _template().render(report=report, style=_part("report.css"), script=_part("report.js"), policy=_policy())


def anchor(text: str) -> str:
    """Return an id for a title.

    Example:
        >>> anchor("Which field does what, and when")
        'which-field-does-what-and-when'
    """
    kept = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in text.lower())
    return "-".join(kept.split())


def data_uri(png: bytes) -> str:
    """Return a PNG as a ``data:`` URI.

    Example:
        >>> data_uri(b"PNG")
        'data:image/png;base64,UE5H'
    """
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def role_text(role: FieldRole) -> str:
    """Return what stands beside the name of a field.

    Example:
        >>> role_text(FieldRole(0)), role_text(FieldRole(0, silent=True)), role_text(FieldRole(0, 0, "hue"))
        ('no transformation', 'silent', 'hue')
    """
    if role.silent:
        return "silent"
    return "no transformation" if role.caption == FieldRole(0).caption else role.caption


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"anchor": anchor, "data_uri": data_uri, "role_text": role_text}
    environment.globals |= {"field_name": field_name, "field_style": field_style, "speeds": SPEEDS, "to_html": to_html}
    return environment.from_string(_part("report.html.j2"))


@cache
def _part(name: str) -> str:
    """The template, the style sheet or the script, which come with the package."""
    return (TEMPLATES / name).read_text("utf-8")


def _policy() -> str:
    """What the page may do: load nothing from anywhere, and run its own script alone."""
    digest = base64.b64encode(hashlib.sha256(_part("report.js").encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
