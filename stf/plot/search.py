"""The search for fields: each field as a lane over the steps, what merged, ended and branched, and the log evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import Normal, withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from stf.discovery.moves_text import quantity
from stf.plot.compute.roles import FieldRole
from stf.plot.compute.search_log import Life, Move, Search, read_search
from stf.plot.curves import EARLY, TRAIN, VALIDATION, later_window
from stf.plot.drawing.panel import panel, titled
from stf.plot.drawing.style import FAINT, NEUTRAL, SMALL, TEXT, chip, field_name, field_style, fitted

WIDTH, EVIDENCE, NAMES = 11.2, 1.75, 1.3
"""Width of the figure, height of the log evidence, and width of what the fields became, in inches."""
BEND, LEAST_BEND = 0.016, 0.004
"""Width of a join or a branch, as a share of the steps of the search, and where moves follow closely on each other."""
INK = "#303030"
ENDS = {"delete": ("X", 6.5), "silent": ("s", 5.0), "undo": ("<", 5.5)}
"""Markers of fields that were deleted, hardly ever on, or taken back, and their sizes in points."""
TRIALS = {"merge": "o", "delete": "D"}
HALO = [withStroke(linewidth=2.2, foreground="white")]
CHARACTER = 0.075
"""Width of a small character in inches."""


def lane_pitch(num_fields: int) -> float:
    """Return how many inches lanes are apart.

    Example:
        >>> [round(lane_pitch(count), 2) for count in (1, 6, 12, 32)]
        [0.36, 0.36, 0.28, 0.21]
    """
    return float(np.clip(0.15 + 1.5 / num_fields, 0.21, 0.36))


def draw_search(search: Search, roles: Sequence[FieldRole] = (), name: str = "") -> Figure:
    """Draw the lanes of a search, and under them its log evidence.

    In the axes labelled ``lanes`` field K is at height K, with the gids ``life-K-N`` (N counts its lives), ``join-M``
    and ``ratio-M`` of a merge, ``end-M-K`` of a field that was dropped, ``branch-M-K`` of a refill, and ``refused-M``
    of a refused trial, M being the number of the entry. The axes labelled ``evidence``, which are there if any is
    known, have ``training`` and ``held-out``.

    Args:
        search: from :func:`stf.plot.compute.search_log.read_search`.
        roles: what the fields turned out to do, written where their lanes end; none if that is not known.
        name: of the run, for the title.

    Example:
        >>> from stf.plot.compute.search_log import read_search
        >>> start = {"move": "start", "fields": [], "alive": [0, 1], "accepted": True}
        >>> figure = draw_search(read_search([{"step": 0, "search": start}]))
        >>> figure.get_suptitle()
        'Search for the fields: 2 fields allocated, 2 alive so far, after 0 moves'
    """
    known = bool(np.isfinite(search.training).any() or _held_out(search))
    heights = [lane_pitch(search.num_fields) * search.num_fields + 0.1, EVIDENCE][: 1 + known]
    title = f"Search for the fields{f' of {name}' if name else ''}: {search.outcome}"
    figure, body = titled(WIDTH, 2.2 + sum(heights), title, _subtitle(search, known))
    lanes, *below = body.subplots(len(heights), squeeze=False, height_ratios=heights, sharex=True)[:, 0]
    lanes.set_label("lanes")
    plot_search(search, lanes, roles=roles)
    for ax in below:
        ax.set_label("evidence")
        plot_evidence(search, ax)
        lanes.tick_params(axis="x", bottom=False, labelbottom=False)
        lanes.set_xlabel("")
    figure.legend(handles=_legend(search), loc="outside lower left", ncols=5, fontsize=SMALL, frameon=False)
    return figure


def plot_search(
    search: Search | Sequence[Mapping[str, Any]], ax: Axes | None = None, *, roles: Sequence[FieldRole] = ()
) -> Axes:
    """Draw a lane for each field over the steps of a search, with what merged, ended and branched.

    Args:
        search: from :func:`stf.plot.compute.search_log.read_search`, or entries of ``metrics.jsonl`` that hold one.
        ax: where; axes of a new figure for None.
        roles: what the fields turned out to do, written where their lanes end; none if that is not known.

    Raises:
        ValueError: the entries hold no search.

    Example:
        >>> start = {"move": "start", "fields": [], "alive": [0, 1], "accepted": True}
        >>> plot_search([{"step": 0, "search": start}, {"step": 9, "train/log_evidence": -1.0}]).get_xlabel()
        'optimisation step'
    """
    search = _read(search)
    ax = panel(ax, 8, 0.8 + lane_pitch(search.num_fields) * search.num_fields)
    _Lanes(ax, search).draw()
    _names(ax, search, roles)
    ax.set_xlabel("optimisation step", fontsize=TEXT, labelpad=2)
    return ax


def _read(search: Search | Sequence[Mapping[str, Any]]) -> Search:
    found = search if isinstance(search, Search) else read_search(search)
    if found is None:
        raise ValueError("search: found metrics without one, expected those of a run that searched for its fields")
    return found


def _held_out(search: Search) -> list[tuple[float, float]]:
    """Steps and held-out log evidence where it is known."""
    return [(move.step, move.evidence) for move in search.moves if move.accepted and move.evidence is not None]


def _subtitle(search: Search, known: bool) -> str:
    """What to see, on up to four lines."""
    lines = ["A lane for each field that was allocated, drawn while it is there."]
    if any(move.kind == "merge" for move in search.moves):
        lines[0] += " A field that is merged bends into the lane of the other; beside it its ratio:"
        lines.append("the log evidence that the merge loses, relative to what leaving the field out loses.")
    if any(search.again(move) for move in search.moves):
        lines.append("The second search begins with fresh fields, on codes that joint training has shaped.")
    if known:
        lines.append("Below: log evidence of the encoded steps, in training tempered while fields form and in trials.")
    return "\n".join(lines)


def _span(search: Search) -> float:
    return max(search.last - search.first, 1.0)


def _limits(search: Search) -> tuple[float, float]:
    return search.first - 0.012 * _span(search), search.first + 1.012 * _span(search)


@dataclass(frozen=True)
class _Lanes:
    """Draws the lanes."""

    axes: Axes
    search: Search

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height of the axes."""
        box = self.axes.get_window_extent()
        return box.width / self.axes.figure.dpi, box.height / self.axes.figure.dpi

    @property
    def pitch(self) -> float:
        """Inches from lane to lane."""
        return (self.inches[1] - 0.1) / self.search.num_fields

    @property
    def inch(self) -> float:
        """Steps to an inch."""
        return _span(self.search) / self.inches[0]

    @property
    def width(self) -> float:
        """Of lines, in points."""
        return float(np.clip(10 * self.pitch, 2.2, 3.4))

    @property
    def bend(self) -> float:
        """Width of a join, in steps."""
        steps = np.unique([move.step for move in self.search.moves if move.changes])
        closest = float(np.diff(steps).min()) if len(steps) > 1 else np.inf
        return max(min(BEND * _span(self.search), 0.4 * closest), LEAST_BEND * _span(self.search))

    def draw(self) -> None:
        axes, search = self.axes, self.search
        axes.set(xlim=_limits(search), ylim=(search.num_fields - 0.5 + 0.05 / self.pitch, -0.5 - 0.05 / self.pitch))
        axes.spines[:].set_visible(False)
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        for place in range(search.num_fields):
            axes.axhline(place, color=FAINT, linewidth=0.5, zorder=0)
        lives, count = search.lives(), [0] * search.num_fields
        for life in sorted(lives, key=lambda life: life.begin):
            self._life(life, f"life-{life.field}-{count[life.field]}")
            count[life.field] += 1
        for life in lives:
            self._fate(life, lives)
        for move in search.refused():
            self._refused(move)
        self._rounds()
        self._starts()

    def _stroke(self, field: int) -> dict[str, Any]:
        look = field_style(field)
        edge = [withStroke(linewidth=self.width + 0.9, foreground=INK), Normal()]
        cap: dict[str, Any] = dict(solid_capstyle="butt", dash_capstyle="butt")
        return dict(color=look.colour, linewidth=self.width, linestyle=look.line, path_effects=edge, **cap)

    def _life(self, life: Life, gid: str) -> None:
        begin = life.begin if life.source is None else life.begin + self.bend
        end = life.end - self.bend if life.fate == "merge" else life.end
        end = max(end, life.begin)
        self.axes.plot([min(begin, end), end], [life.field] * 2, gid=gid, zorder=2, **self._stroke(life.field))
        if life.source is not None:
            number = next(
                number
                for number, move in enumerate(self.search.moves)
                if move.kind == "refill" and move.accepted and move.step == life.begin and life.field in move.fields
            )
            gid = f"branch-{number}-{life.field}"
            self._curve((life.begin, life.source), (begin, life.field), life.field, gid)
            self._dot(life.begin, life.source, life.field, ">")

    def _curve(self, start: tuple[float, float], end: tuple[float, float], field: int, gid: str) -> None:
        look, middle = field_style(field), (start[0] + end[0]) / 2
        points = [start, (middle, start[1]), (middle, end[1]), end]
        path = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        width = 0.6 * self.width
        edge = [
            withStroke(linewidth=width + 3.0, foreground="white"),
            withStroke(linewidth=width + 0.9, foreground=INK),
            Normal(),
        ]
        options: dict[str, Any] = dict(
            facecolor="none", edgecolor=look.colour, linewidth=width, capstyle="butt", path_effects=edge
        )
        self.axes.add_patch(PathPatch(path, gid=gid, zorder=3, **options))

    def _dot(self, x: float, y: float, field: int, marker: str, size: float = 5.0, gid: str | None = None) -> None:
        colour = field_style(field).colour
        look: dict[str, Any] = dict(color=colour, markersize=size, markeredgecolor=INK, markeredgewidth=0.7)
        self.axes.plot([x], [y], marker=marker, gid=gid, zorder=5, **look)

    def _fate(self, life: Life, lives: Sequence[Life]) -> None:
        if life.fate == "merge" and life.other is not None and life.move is not None:
            begin = max(life.end - self.bend, life.begin)
            self._curve((begin, life.field), (life.end, life.other), life.field, f"join-{life.move}")
            self._dot(life.end, life.other, life.field, "o")
            ratio = self.search.moves[life.move].ratio
            if ratio is not None:
                self._ratio(life, quantity(ratio), lives)
        elif life.fate in ENDS:
            marker, size = ENDS[life.fate]
            self._dot(life.end, life.field, life.field, marker, size, f"end-{life.move}-{life.field}")

    def _ratio(self, life: Life, text: str, lives: Sequence[Life]) -> None:
        """Write a ratio on the empty lane that a merge left, or, where there is no room on it, above that lane."""
        inch = self.inch
        room = 0.04 * inch + CHARACTER * len(text) * inch
        after = [other.begin for other in lives if other.field == life.field and other.begin >= life.end]
        free = min([*after, _limits(self.search)[1]]) - life.end
        at = life.end + 0.05 * inch
        options: dict[str, Any] = dict(
            fontsize=SMALL - 1, color=INK, gid=f"ratio-{life.move}", zorder=6, path_effects=HALO
        )
        if free >= room:
            self.axes.text(at, life.field, text, ha="left", va="center", **options)
        else:
            at = min(life.end - self.bend, life.end)
            side = -0.1 if cast(int, life.other) > life.field else 0.1
            va = "bottom" if side < 0 else "top"
            self.axes.text(at, life.field + side, text, ha="right", va=va, **options)

    def _refused(self, move: Move) -> None:
        """Mark a refused trial, just before the move that was made instead of it at the same step."""
        number = self.search.moves.index(move)
        moved = any(other.changes and other.step == move.step for other in self.search.moves)
        x, places = [move.step - moved * self.bend] * len(move.fields), list(move.fields)
        look: dict[str, Any] = dict(marker=TRIALS.get(move.kind, "o"), markersize=4.2, markerfacecolor="white")
        line: dict[str, Any] = dict(color=NEUTRAL, linewidth=0.8, linestyle=":")
        self.axes.plot(x, places, gid=f"refused-{number}", markeredgewidth=0.9, zorder=4, **look, **line)

    def _rounds(self) -> None:
        """Tick rounds in which all trials were refused, under the lanes."""
        steps = [move.step for move in self.search.moves if move.kind == "keep"]
        below = blended_transform_factory(self.axes.transData, self.axes.transAxes)
        if steps:
            look: dict[str, Any] = dict(linestyle="none", marker="|", markersize=6, color=NEUTRAL, markeredgewidth=1.1)
            self.axes.plot(steps, [0.0] * len(steps), transform=below, clip_on=False, gid="kept", **look)

    def _starts(self) -> None:
        """Mark further starts, where the best of several was chosen, and where another search begins."""
        marked = [move for move in self.search.moves[1:] if move.kind in ("start", "choose")]
        above, inch = blended_transform_factory(self.axes.transData, self.axes.transAxes), self.inch
        start = 1
        for move in marked:
            again = self.search.again(move)
            start = 1 if again else start + (move.kind == "start")
            others = [other.step for other in marked if other is not move]
            room = min([abs(other - move.step) for other in others], default=np.inf) > 0.75 * inch
            words = "best start" if move.kind == "choose" else f"start {start}" if room else f"{start}"
            words = "second search" if again else words
            self.axes.axvline(move.step, color=NEUTRAL, linewidth=0.9, linestyle="--", zorder=1)
            ha = "center" if room or move.kind == "start" else "left"
            options: dict[str, Any] = dict(fontsize=SMALL, color=NEUTRAL, va="bottom", ha=ha, transform=above)
            self.axes.text(move.step, 1.0, words, **options)


def plot_evidence(search: Search | Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Draw training log evidence as a line, with gaps between starts, and held-out evidence at moves as dots.

    Args:
        search: from :func:`stf.plot.compute.search_log.read_search`, or entries of ``metrics.jsonl`` that hold one.
        ax: where; axes of a new figure for None.

    Raises:
        ValueError: the entries hold no search.

    Example:
        >>> start = {"move": "start", "fields": [], "alive": [0], "accepted": True, "evidence": -2.0}
        >>> plot_evidence([{"step": 0, "search": start}]).get_ylabel()
        'log evidence\\n[nats per transition]'
    """
    search, axes = _read(search), panel(ax, 8, 2.2)
    for move in search.moves:
        if move.changes:
            axes.axvline(move.step, color=FAINT, linewidth=0.6, zorder=0)
    steps, values = search.steps, search.training
    if np.isfinite(values).any():
        starts = [move.step for move in search.moves[1:] if move.kind == "start"]
        gaps = np.searchsorted(steps, starts, side="right")
        marker: dict[str, Any] = dict(marker="o", markersize=3) if len(steps) == 1 else {}
        line = np.insert(steps, gaps, np.nan), np.insert(values, gaps, np.nan)
        axes.plot(
            *line,
            color=TRAIN,
            linewidth=1.3,
            label="training",
            gid="training",
            **marker,
        )
    x, y = np.array(_held_out(search), dtype=np.float64).reshape(-1, 2).T
    if len(x):
        look: dict[str, Any] = dict(
            linestyle="none", marker="D", markersize=4.5, markeredgecolor="white", markeredgewidth=0.5
        )
        axes.plot(x, y, color=VALIDATION, label="held out, at moves", gid="held-out", zorder=4, **look)
    every, places = np.concatenate([values, y]), np.concatenate([steps, x])
    window = later_window(every, places <= search.first + EARLY * _span(search))
    if window is not None:
        axes.set_ylim(window)
        axes.set_title("start off the axis", fontsize=SMALL, loc="left", pad=3, color=NEUTRAL)
    axes.set_xlim(_limits(search))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(axis="both", style="plain", useOffset=False)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_ylabel("log evidence\n[nats per transition]", fontsize=TEXT, labelpad=3)
    axes.set_xlabel("optimisation step", fontsize=TEXT, labelpad=2)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=SMALL, frameon=False, handlelength=1.4)
    return axes


def _names(ax: Axes, search: Search, roles: Sequence[FieldRole]) -> None:
    """Name the lanes at the left, and at the right say what became of the fields that are alive."""
    known, beside = {role.field: role for role in roles}, blended_transform_factory(ax.transAxes, ax.transData)
    small = SMALL if _Lanes(ax, search).pitch > 0.24 else SMALL - 1
    look: dict[str, Any] = dict(xycoords=beside, textcoords="offset points", va="center", annotation_clip=False)
    for place in range(search.num_fields):
        ax.annotate(field_name(place), (0, place), (-9, 0), fontsize=small, ha="right", **chip(place), **look)
        role = known.get(place)
        if place in search.alive and role is not None:
            words = "silent" if role.silent else role.caption
            ax.annotate(words, (1, place), (4, 0), fontsize=fitted(words, TEXT, NAMES - 0.15), **look)


def _legend(search: Search) -> list[Line2D]:
    """Explain the marks that are there."""
    kinds = {move.kind for move in search.moves if move.accepted}
    refused = {f"refused {move.kind}" for move in search.refused()}
    mark: dict[str, Any] = dict(color=FAINT, markeredgecolor=INK, markeredgewidth=0.7, linestyle="none")
    trial: dict[str, Any] = dict(
        color=NEUTRAL, markerfacecolor="white", markeredgewidth=0.9, linestyle=":", linewidth=0.8
    )
    entries: dict[str, tuple[str, dict[str, Any]]] = {
        "merge": ("merged", dict(marker="o", markersize=5) | mark),
        "delete": ("deleted", dict(marker="X", markersize=6.5) | mark),
        "silent": ("hardly ever on, dropped", dict(marker="s", markersize=5) | mark),
        "undo": ("refill taken back", dict(marker="<", markersize=5.5) | mark),
        "refill": ("copied to another lane", dict(marker=">", markersize=5) | mark),
        "refused merge": ("best refused merge of a round", dict(marker="o", markersize=4.2) | trial),
        "refused delete": ("best refused deletion", dict(marker="D", markersize=4.2) | trial | {"linestyle": "none"}),
        "keep": ("round without a move", dict(marker="|", markersize=6, color=NEUTRAL, linestyle="none")),
    }
    return [Line2D([], [], label=words, **look) for kind, (words, look) in entries.items() if kind in kinds | refused]
