"""Training curves from ``metrics.jsonl``: train against validation, with the ends of the phases of training marked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from stf.plot.compute.numbers import series
from stf.plot.drawing.style import COLOURS, FAINT, HEADING, NEUTRAL, SMALL, TEXT, Page

TRAIN, VALIDATION = COLOURS[0], COLOURS[1]
ABOUT = {
    "loss": ("Loss (minimised)", "nats per frame"),
    "l1": ("L1 error", "summed over a frame"),
    "reconstruction": ("Log-likelihood", "nats per frame"),
    "gradient_norm": ("Gradient norm", "before clipping"),
    "learning_rate": ("Learning rate", ""),
    "cross_entropy": ("Cross-entropy", "weighted nats per frame"),
    "kl_latent": ("KL of the first latent", "weighted nats per frame"),
    "kl_flow": ("KL along the flow", "nats per frame"),
    "kl_chain": ("KL of the warm-up's chain", "weighted nats per frame"),
    "kl_spike": ("KL of the spikes", "weighted nats per frame"),
    "kl_slab": ("KL of the slabs (speeds)", "weighted nats per frame"),
    "kl_speed": ("KL of the speeds", "weighted nats per frame"),
    "kl_field": ("KL of the field", "nats per frame"),
    "agreement": ("Misfit of flow and codes", "weighted nats per frame"),
    "divergence": ("Squared divergence", "weighted"),
    "hj_residual": ("Hamilton–Jacobi residual", "weighted"),
    "hj_initial": ("Hamilton–Jacobi start", "weighted"),
    "log_evidence": ("Log evidence (maximised)", "nats per transition"),
    "residual": ("Residual", "squared, in units of the noise"),
    "misfit": ("Relative misfit", "share of the fields' energy"),
}
FIRST, LAST = ("loss", "l1", "reconstruction"), ("gradient_norm", "learning_rate")
DISCOVERY, ALIVE = ("log_evidence", "residual", "misfit"), "fields_alive"
"""Terms of the discovery of the fields, which are no part of the loss of the other phases, and one that the figure of
the search shows."""
WIDE, HIGH, COLUMNS = 3.9, 2.35, 3
STILL, WARMUP = "still frames end", "warm-up ends"
MARKS = {STILL: ":", WARMUP: "--", "discovery ends": "-."}
OTHER_MARKS = ((0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (8, 3)))
"""Lines of the ends of phases of other names."""
SEPARATE = 0.45
"""Height of the heading above the terms of the discovery."""
RANGE = 20.0
"""Ratio of largest to smallest value above which an axis is logarithmic."""
EARLY = 0.1
"""Share of the steps whose values may lie off a linear axis."""


def terms(metrics: Sequence[dict[str, Any]]) -> list[str]:
    """Names of what was recorded, the most telling first, without those of the discovery.

    Example:
        >>> terms([{"step": 1, "train/kl_latent": 1.0, "learning_rate": 0.1, "validation/loss": 2.0}])
        ['loss', 'kl_latent', 'learning_rate']
    """
    prefixes = ("train/", "validation/")
    found = {key.split("/", 1)[1] for entry in metrics for key in entry if key.startswith(prefixes)}
    found |= {"learning_rate"} & {key for entry in metrics for key in entry}
    middle = sorted(found - {*FIRST, *LAST, *DISCOVERY, ALIVE}, key=lambda name: (not name.startswith("kl_"), name))
    return [*(name for name in FIRST if name in found), *middle, *(name for name in LAST if name in found)]


def discovery_terms(metrics: Sequence[dict[str, Any]]) -> list[str]:
    """Names of what was recorded of the discovery of the fields.

    Example:
        >>> discovery_terms([{"step": 1, "train/misfit": 1.0, "train/log_evidence": -2.0, "train/loss": 3.0}])
        ['log_evidence', 'misfit']
    """
    return [name for name in DISCOVERY if any(f"train/{name}" in entry for entry in metrics)]


def axis_scale(values: ArrayLike) -> tuple[str, dict[str, Any]]:
    """Scale of an axis: log if all values are positive and far apart, symlog if they are far apart, else linear.

    Example:
        >>> [axis_scale(values)[0] for values in ([1.0, 100.0], [1.0, 2.0], [-100.0, 0.1, 1.0, 2.0, 100.0])]
        ['log', 'linear', 'symlog']
    """
    values = np.asarray(values, dtype=np.float64)
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(sizes) or sizes.max() <= RANGE * sizes.min():
        return "linear", {}
    finite = values[np.isfinite(values)]
    if finite.min() > 0:
        return "log", {}
    if finite.min() >= 0 or finite.max() <= 0 or np.median(sizes) * RANGE > sizes.max():
        return "linear", {}
    return "symlog", {"linthresh": float(np.median(sizes))}


def later_window(values: ArrayLike, early: ArrayLike) -> tuple[float, float] | None:
    """Limits of a linear axis on which the later values are seen, None if all values together show them well.

    Example:
        >>> later_window([100.0, 2.0, 1.0], [True, False, False])
        (0.9, 2.5)
    """
    values, early = np.asarray(values, dtype=np.float64), np.asarray(early, dtype=bool)
    everything, later = values[np.isfinite(values)], values[np.isfinite(values) & ~early]
    if len(later) < 2 or np.ptp(later) == 0 or np.ptp(everything) <= 3 * np.ptp(later):
        return None
    below, above = everything.min() < later.min(), everything.max() > later.max()
    low, high, room = later.min(), later.max(), np.ptp(later)
    return float(low - (0.5 if below else 0.1) * room), float(high + (0.5 if above else 0.1) * room)


def phase_ends(config: Any) -> dict[str, float]:
    """Steps at which the phases of training of a run end, by what ends there; only those before the last step.

    Args:
        config: with ``steps`` and either ``schedule``, phases in order with ``name`` and ``fraction`` of the steps, or
            the fractions of ``still`` and, if it has one, ``warmup``.

    Example:
        >>> from ffrl.config import StillConfig, SupervisedConfig
        >>> phase_ends(SupervisedConfig(steps=1000, still=StillConfig(fraction=0.2)))
        {'still frames end': 200.0}
    """
    schedule = getattr(config, "schedule", None)
    if schedule is not None:
        return _scheduled(schedule, config.steps)
    ends = {STILL: config.still.fraction * config.steps}
    if getattr(config, "warmup", None) is not None:
        ends[WARMUP] = config.warmup.fraction * config.steps
    return {name: end for name, end in ends.items() if 0 < end < config.steps}


def _scheduled(schedule: Sequence[Any], steps: int) -> dict[str, float]:
    """Ends of the phases of a schedule that last at all, without that of the last one."""
    ends, passed = {}, 0.0
    for phase in schedule:
        passed += phase.fraction
        if phase.fraction > 0 and passed < 1 - 1e-9:
            ends[STILL if phase.name == "still" else f"{phase.name} ends"] = passed * steps
    return ends


def _marks(ends: Mapping[str, float]) -> dict[str, Any]:
    """Line of the end of each phase."""
    others = itertools.cycle(OTHER_MARKS)
    return {what: MARKS[what] if what in MARKS else next(others) for what in ends}


def draw_curves(
    metrics: Sequence[dict[str, Any]],
    ends: Mapping[str, float] | None = None,
    total: int | None = None,
    name: str = "",
) -> Figure:
    """Draw one panel per recorded term; the axes are labelled by the term, the lines by ``train`` and ``validation``.

    What was recorded of the discovery of the fields has panels of its own under the others.

    Args:
        metrics: entries of ``metrics.jsonl``, each with a ``step``.
        ends: from :func:`phase_ends`; those that were not reached are left out.
        total: steps of the whole run, to say how far it is.
        name: of the run, for the title.

    Example:
        >>> figure = draw_curves([{"step": step, "train/loss": 1 / step} for step in (1, 2, 3)])
        >>> figure.axes[1].lines[0].get_xdata().tolist()
        [1.0, 2.0, 3.0]
    """
    groups = [names for names in (terms(metrics), discovery_terms(metrics)) if names]
    rows = [math.ceil(len(names) / COLUMNS) for names in groups]
    page = Page(COLUMNS * WIDE + 0.2, 1.25 + max(1, sum(rows)) * HIGH + SEPARATE * bool(discovery_terms(metrics)))
    last = max((entry["step"] for entry in metrics), default=0)
    reached = {what: end for what, end in (ends or {}).items() if 0 < end <= last}
    done = f"{last:,} of {total:,} steps" if total else f"{last:,} steps"
    skipped = max((entry.get("skipped_steps") or 0 for entry in metrics), default=0)
    subtitle = f"{done}; averages since the last line of metrics.jsonl (train), fixed held-out sequences (validation)."
    subtitle += f" {skipped} step(s) skipped as not finite." if skipped else ""
    page.title("Training curves" + (f" of {name}" if name else ""), subtitle)
    top = 1.15
    for names, count in zip(groups, rows, strict=True):
        if names[0] in DISCOVERY:
            page.text(0.2, top, "Discovery of the fields", HEADING + 1, weight="bold")
            top += SEPARATE
        _draw_group(page, metrics, names, reached, last, top)
        top += count * HIGH
    if groups:
        _legend(page, reached)
    return page.figure


def _draw_group(
    page: Page,
    metrics: Sequence[dict[str, Any]],
    names: Sequence[str],
    ends: Mapping[str, float],
    last: int,
    top: float,
) -> None:
    """Draw the panels of some terms in rows from ``top``."""
    for number, term in enumerate(names):
        x, y = 0.1 + number % COLUMNS * WIDE, top + number // COLUMNS * HIGH
        axes = page.axes(x + 0.75, y + 0.1, WIDE - 0.95, HIGH - 0.75, term)
        draw_term(axes, metrics, term, last)
        _mark(axes, ends, last)
        if number // COLUMNS == (len(names) - 1 - number % COLUMNS) // COLUMNS:
            axes.set_xlabel("optimisation step", fontsize=TEXT, labelpad=2)


def draw_term(axes: Axes, metrics: Sequence[dict[str, Any]], term: str, last: int) -> None:
    """Draw one term of a run of ``last`` steps: training as a line, validation as a line with markers."""
    keys = {"train": f"train/{term}", "validation": f"validation/{term}"}
    if term == "learning_rate":
        keys = {"train": term}
    every, early = [], []
    for label, key in keys.items():
        steps, values = series(metrics, key)
        steps, values = _interrupted(steps, values, metrics, term)
        every.append(values)
        early.append(steps <= EARLY * last)
        look = dict(color=TRAIN, linewidth=1.3) if label == "train" else dict(color=VALIDATION, linewidth=1.3)
        marker = dict(marker="o", markersize=3.5) if label == "validation" or len(steps) == 1 else {}
        if len(steps):
            axes.plot(steps, values, label=label, **look, **marker)
    scale, options = axis_scale(np.concatenate(every))
    window = None if scale == "log" else later_window(np.concatenate(every), np.concatenate(early))
    if window is None:
        axes.set_yscale(scale, **options)
    else:
        axes.set_ylim(window)
    if scale == "log":
        _label_decades(axes)
    title, unit = ABOUT.get(term, (term.replace("_", " "), ""))
    note = "start off the axis" if window else "" if scale == "linear" else f"{scale} axis"
    axes.set_title(title, fontsize=HEADING, loc="left", pad=4)
    axes.set_title(note, fontsize=SMALL, loc="right", pad=4, color=NEUTRAL)
    axes.set_ylabel(unit, fontsize=TEXT, labelpad=3)
    axes.grid(color=FAINT, linewidth=0.5)
    axes.margins(x=0.02)
    axes.ticklabel_format(axis="x", style="plain")


def _interrupted(
    steps: NDArray[np.float64], values: NDArray[np.float64], metrics: Sequence[dict[str, Any]], term: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values with gaps over the phases that record other terms: those of the discovery, or all others."""
    encoded = {f"train/{name}" for name in (*DISCOVERY, ALIVE)}
    others = [
        entry["step"]
        for entry in metrics
        if any(key.startswith("train/") for key in entry) and (term in DISCOVERY) == encoded.isdisjoint(entry)
    ]
    gaps = np.flatnonzero(np.diff(np.searchsorted(others, steps))) + 1
    return np.insert(steps, gaps, math.nan), np.insert(values, gaps, math.nan)


def _label_decades(axes: Axes) -> None:
    """Label powers of ten, and 2 and 5 times them where there are less than two."""
    low, high = axes.get_ylim()
    subs = (1.0,) if math.log10(high / low) >= 2 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _mark(axes: Axes, ends: Mapping[str, float], last: float) -> None:
    marks = _marks(ends)
    for what, end in ends.items():
        axes.axvline(end, color=NEUTRAL, linestyle=marks[what], linewidth=1, label=what)
    axes.set_xlim(0, max(last, 1) * 1.02)


def _legend(page: Page, ends: Mapping[str, float]) -> None:
    """Explain lines once, at the top right of the page."""
    entries = [("train", dict(color=TRAIN)), ("validation", dict(color=VALIDATION, marker="o", markersize=3.5))]
    entries += [(what, dict(color=NEUTRAL, linestyle=line)) for what, line in _marks(ends).items()]
    x, y = page.width - 0.2 - sum(map(_entry_width, entries)), 0.3
    for entry in entries:
        label, look = entry
        page.sheet.plot([x, x + 0.35], [y, y], linewidth=1.5, markevery=[0], **look)
        page.text(x + 0.42, y, label, TEXT, va="center")
        x += _entry_width(entry)


def _entry_width(entry: tuple[str, Any]) -> float:
    return 0.65 + 0.073 * len(entry[0])
