"""``report.html``: figures, animations, tables and configuration of a run in one file that loads nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from stf.plot.compute.roles import FieldRole
from stf.plot.drawing.style import field_name, field_style
from stf.report.tables import Table, to_html

EVALUATION, CONFIGURATION = "Evaluation", "Configuration"
LEGIBLE = 72
"""Pixels per inch below which a figure scrolls sideways instead of getting smaller still."""
LARGEST = 100
"""Pixels per inch above which a figure does not grow."""


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


@dataclass(frozen=True)
class Report:
    """Everything that a report says.

    Args:
        run: name of the run.
        facts: what it is, by name.
        lead: sentences at the top.
        roles: of all fields.
        pictures: in order; those of a section follow each other.
        evaluation: tables.
        source: where the numbers of these tables come from.
        configuration: table.
    """

    run: str
    facts: Mapping[str, str]
    lead: Sequence[str]
    roles: Sequence[FieldRole]
    pictures: Sequence[Picture]
    evaluation: Sequence[Table]
    source: str
    configuration: Table


def render_report(report: Report) -> str:
    """Return the report as an HTML document; all text from the run is escaped.

    Example:
        >>> empty = Table("configuration", "Configuration", "key")
        >>> page = render_report(Report("<run>", {"mode": "weak"}, [], [], [], [], "", empty))
        >>> "<h1>&lt;run&gt;</h1>" in page, "http:" in page
        (True, False)
    """
    sections: dict[str, list[Picture]] = {}
    for picture in report.pictures:
        sections.setdefault(picture.section, []).append(picture)
    body = [_header(report), _contents(report, sections), "<main>"]
    for title, pictures in sections.items():
        moving = [picture for picture in pictures if picture.still is not None]
        figures = [_figure(picture) for picture in pictures if picture.still is None]
        animations = [f'<div class="motion">{"".join(map(_figure, moving))}</div>'] if moving else []
        body.append(_section(title, [*figures[:1], *animations, *figures[1:]]))
    evaluation = [f"<p>{escape(report.source)}</p>", *map(to_html, report.evaluation)]
    body.append(_section(EVALUATION, evaluation))
    summary = f"<summary>All {len(report.configuration.rows)} settings of this run</summary>"
    body.append(_section(CONFIGURATION, [f"<details>{summary}{to_html(report.configuration)}</details>"]))
    body.append("</main>")
    title = escape(f"{report.run}: fields of a trained model")
    return PAGE.format(title=title, policy=POLICY, style=STYLE, body="\n".join(body))


def anchor(text: str) -> str:
    """Return an id for a title.

    Example:
        >>> anchor("Which field does what, and when")
        'which-field-does-what-and-when'
    """
    kept = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in text.lower())
    return "-".join(kept.split())


def _header(report: Report) -> str:
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in report.facts.items())
    lead = "".join(f"<p>{escape(sentence)}</p>" for sentence in report.lead)
    chips = "".join(map(_chip, report.roles))
    legend = f'<ul class="fields" aria-label="Fields and their colours">{chips}</ul>' if chips else ""
    kind = '<p class="kind">Fields of a trained model</p>'
    hint = '<p class="hint">Wide figures and tables scroll sideways.</p>'
    return f"<header>{kind}<h1>{escape(report.run)}</h1><dl>{facts}</dl>{lead}{legend}{hint}</header>"


def _chip(role: FieldRole) -> str:
    look = field_style(role.field)
    does = "silent" if role.silent else "no transformation" if role.caption == FieldRole(0).caption else role.caption
    style = f"background:{look.colour};color:{look.ink}"
    return f'<li><b style="{style}">{field_name(role.field)}</b> {escape(does)}</li>'


def _contents(report: Report, sections: Mapping[str, Sequence[Picture]]) -> str:
    entries = []
    for title, pictures in sections.items():
        still = [picture for picture in pictures if picture.still is None]
        links = "".join(f'<li><a href="#{_id(picture)}">{escape(picture.title)}</a></li>' for picture in still)
        entries.append(f"<li>{_link(title)}<ul>{links}</ul></li>")
    tables = "".join(f'<li><a href="#table-{table.name}">{escape(table.title)}</a></li>' for table in report.evaluation)
    entries.append(f"<li>{_link(EVALUATION)}<ul>{tables}</ul></li>")
    entries.append(f"<li>{_link(CONFIGURATION)}</li>")
    return f'<nav aria-label="Contents"><h2>Contents</h2><ul>{"".join(entries)}</ul></nav>'


def _link(title: str) -> str:
    return f'<a href="#{anchor(title)}">{escape(title)}</a>'


def _id(picture: Picture) -> str:
    return f"figure-{picture.name}"


def _section(title: str, parts: Sequence[str]) -> str:
    content = "\n".join(parts)
    return (
        f'<section aria-labelledby="{anchor(title)}"><h2 id="{anchor(title)}">{escape(title)}</h2>\n{content}</section>'
    )


def _figure(picture: Picture) -> str:
    width, height = picture.size
    narrow = min(round(LEGIBLE * picture.inches), width)
    wide = round(LARGEST * picture.inches)
    moving = picture.still is not None
    style = f"max-width:{wide}px" if moving else f"min-width:{narrow}px;max-width:{wide}px"
    source = f'src="{_data(picture.png)}" width="{width}" height="{height}"'
    image = f'<img {source} alt="{escape(picture.alt)}" style="{style}">'
    if picture.still is not None:
        calm = f'<source media="(prefers-reduced-motion: reduce)" srcset="{_data(picture.still)}">'
        image = f"<picture>{calm}{image}</picture>"
    name = escape(f"{picture.title}, scrolls sideways where it is wider than the window")
    box = "" if moving else f' tabindex="0" role="region" aria-label="{name}"'
    return (
        f'<figure id="{_id(picture)}"><h3>{escape(picture.title)}</h3><div class="sheet"{box}>{image}</div>'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Nothing is loaded from anywhere."""

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1b1b; --soft: #555555; --line: #d5d5d5; --tint: #f4f5f7;
  --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --ink: #e9e9e9; --soft: #b0b4ba; --line: #3b4048;
  --tint: #20242a; --link: #8ec2ff; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0 auto; padding: 1.5rem clamp(0.9rem, 3vw, 2.5rem) 4rem; max-width: 76rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere; }
h1 { margin: 0 0 0.8rem; font-size: 1.7rem; line-height: 1.2; }
h2 { margin: 2.6rem 0 0.4rem; padding-bottom: 0.2rem; border-bottom: 1px solid var(--line); font-size: 1.3rem; }
h3 { margin: 1.6rem 0 0.4rem; font-size: 1.05rem; }
p { margin: 0.5rem 0; max-width: 60rem; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.kind { margin: 0; color: var(--soft); }
.hint { display: none; color: var(--soft); }
@media (max-width: 50rem) { .hint { display: block; } }
dl { display: flex; flex-wrap: wrap; gap: 0.6rem 1.8rem; margin: 0 0 1rem; }
dt { color: var(--soft); font-size: 0.82rem; }
dd { margin: 0; font-weight: 600; }
.fields { display: flex; flex-wrap: wrap; gap: 0.5rem 1.3rem; margin: 0.9rem 0 0; padding: 0; list-style: none; }
.fields b { padding: 0.1rem 0.45rem; border-radius: 0.3rem; }
nav { margin-top: 1.4rem; padding: 0.9rem 1.1rem; border-radius: 0.5rem; background: var(--tint); }
nav h2 { margin: 0 0 0.3rem; padding: 0; border: 0; font-size: 1rem; }
nav ul { margin: 0; padding: 0; list-style: none; }
nav > ul { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: 0.7rem 1.5rem; }
nav > ul > li > a { font-weight: 600; }
nav a { display: inline-block; padding: 0.12rem 0; }
figure { margin: 0 0 2rem; }
.sheet { overflow-x: auto; padding: 0.5rem; border: 1px solid var(--line); border-radius: 0.5rem; background: #ffffff; }
.sheet img { display: block; width: 100%; height: auto; margin: 0 auto; }
figcaption { margin-top: 0.5rem; max-width: 60rem; }
.motion { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 1.2rem; }
.table { margin: 1.4rem 0 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.3rem 0.8rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
td { white-space: nowrap; }
tbody th { min-width: 9rem; }
th:first-child, #table-configuration td { text-align: left; }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; }
tbody th { font-weight: 500; }
.table p { color: var(--soft); font-size: 0.9rem; }
summary { padding: 0.5rem 0; cursor: pointer; }
@media print { nav { display: none; } figure, .table { break-inside: avoid; } .sheet { border: 0; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
