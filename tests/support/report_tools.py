"""Reading a report as a browser would, and what has to hold for every report."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = {"meta", "img", "source", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """What an HTML document holds; ``faults`` lists elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: dict[str, list[str]] = {}
        self.figures: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.place = ""
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> stays open" for tag in self.open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if len(found) < len(attributes):
            self.faults.append(f"<{tag}> has an attribute twice")
        self.elements.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        self.place = found.get("id", self.place)
        if tag == "tr":
            self.tables.setdefault(self.place.removesuffix("-title"), []).append([])
        if tag in ("td", "th"):
            self.tables[self.place.removesuffix("-title")][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another element")

    def handle_data(self, data: str) -> None:
        if not self.open:
            return
        self.words.setdefault(self.open[-1], []).append(data)
        if {"td", "th"} & set(self.open[-2:]):
            self.tables[self.place.removesuffix("-title")][-1][-1] += data
        if self.open[-1] == "figcaption":
            self.figures[self.place] = data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check(page: Page) -> None:
    """Assert what has to hold for every report."""
    assert page.faults == []
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[a-z0-9-]+", one) for one in ids)
    for found in (*page.of("img"), *page.of("source")):
        assert found.get("src", found.get("srcset")).startswith("data:image/png;base64,")
    assert all(found["alt"] and int(found["width"]) > 0 and int(found["height"]) > 0 for found in page.of("img"))
    links = [found["href"] for found in page.of("a")]
    assert links and all(link[0] == "#" and link[1:] in ids for link in links)
    named = [found["aria-labelledby"] for _, found in page.elements if "aria-labelledby" in found]
    assert all(name in ids for name in named)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    (script,) = page.words["script"]
    assert page.of("script") == [{}] and not re.search("fetch|XMLHttp|innerHTML|eval|import", script)
    assert not any(name in found for _, found in page.elements for name in ("onload", "onclick", "action", "poster"))
    (style,) = page.words["style"]
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style
    (policy,) = (found["content"] for found in page.of("meta") if found.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ") and policy.endswith(f"; script-src 'sha256-{digest}'")
    labelled = {found["for"] for found in page.of("label") if "for" in found}
    assert {found["id"] for found in page.of("input") if found["type"] == "range"} <= labelled
    assert [found["lang"] for found in page.of("html")] == ["en"] and len(page.words["title"]) == 1
    assert [tag for tag, _ in page.elements if tag in ("header", "nav", "main")] == ["header", "nav", "main"]
