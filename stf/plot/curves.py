"""Training curves from ``metrics.jsonl``: train against validation, with the ends of the phases of training marked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from ffrl.config import RunConfig
from stf.plot.compute.numbers import series
from stf.plot.drawing.panel import label, panel, titled
from stf.plot.drawing.style import COLOURS, HEADING, NEUTRAL, SMALL, TEXT, legend

TRAIN, VALIDATION = COLOURS[0], COLOURS[1]
LOOKS: dict[str, dict[str, Any]] = {
    "train": dict(color=TRAIN),
    "validation": dict(color=VALIDATION, marker="o", markersize=3.5),
}
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
    "alone": ("Loss of frames alone", "weighted nats per frame"),
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
STILL = "still frames end"
MARKS = {STILL: ":", "discovery ends": "-."}
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


def phase_ends(config: RunConfig) -> dict[str, float]:
    """Steps at which the phases of training of a run end, by what ends there; only those before the last step.

    Phases that last at all are among them.

    Example:
        >>> from ffrl.config import StillConfig, SupervisedConfig
        >>> phase_ends(SupervisedConfig(steps=1000, still=StillConfig(fraction=0.2)))
        {'still frames end': 200.0}
    """
    ends, passed = {}, 0.0
    for phase in config.schedule:
        passed += phase.fraction
        if phase.fraction > 0 and passed < 1 - 1e-9:
            ends[STILL if phase.name == "still" else f"{phase.name} ends"] = passed * config.steps
    return ends


def _lines(ends: Mapping[str, float]) -> dict[str, Any]:
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
        >>> figure.axes[0].lines[0].get_xdata().tolist()
        [1.0, 2.0, 3.0]
    """
    groups = [names for names in (terms(metrics), discovery_terms(metrics)) if names] or [[]]
    rows = [max(1, math.ceil(len(names) / COLUMNS)) for names in groups]
    last = _last(metrics)
    ends = {what: end for what, end in (ends or {}).items() if 0 < end <= last}
    done = f"{last:,} of {total:,} steps" if total else f"{last:,} steps"
    skipped = max((entry.get("skipped_steps") or 0 for entry in metrics), default=0)
    subtitle = f"{done}; averages since the last line of metrics.jsonl (train), fixed held-out sequences (validation)."
    subtitle += f" {skipped} step(s) skipped as not finite." if skipped else ""
    title = "Training curves" + (f" of {name}" if name else "")
    figure, body = titled(COLUMNS * WIDE, 1.1 + HIGH * sum(rows) + SEPARATE * (len(groups) - 1), title, subtitle)
    heights = [count * HIGH + SEPARATE * bool(number) for number, count in enumerate(rows)]
    parts = body.subfigures(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for names, count, part in zip(groups, rows, parts, strict=True):
        if names and names[0] in DISCOVERY:
            look: dict[str, Any] = dict(ha="left", fontsize=HEADING + 1, weight="bold")
            part.suptitle("Discovery of the fields", x=0.2 / (COLUMNS * WIDE), **look)
        for number, ax in enumerate(part.subplots(count, COLUMNS, squeeze=False).flat):
            if number >= len(names):
                ax.remove()
                continue
            ax.set_label(names[number])
            plot_curve(metrics, names[number], ax, ends=ends, key=False)
            if number + COLUMNS < len(names):
                ax.set_xlabel("")
    figure.legend(handles=_handles(ends), loc="outside lower left", ncols=5, fontsize=TEXT, frameon=False)
    return figure


def plot_curve(
    metrics: Sequence[dict[str, Any]],
    term: str = "loss",
    ax: Axes | None = None,
    *,
    ends: Mapping[str, float] | None = None,
    key: bool = True,
) -> Axes:
    """Draw the course of one term: training as a line, validation as a line with markers.

    Args:
        metrics: entries of ``metrics.jsonl``, as :attr:`stf.run.Run.metrics` has them.
        term: what was recorded, such as ``loss``, ``l1`` or ``kl_spike``; see :func:`terms`.
        ax: where; axes of a new figure for None.
        ends: steps at which phases of training end, to mark, by what ends there.
        key: whether to add a legend.

    Example:
        >>> ax = plot_curve([{"step": step, "train/l1": 1 / step} for step in (1, 2, 3)], "l1")
        >>> ax.get_title("left"), ax.get_ylabel()
        ('L1 error', 'summed over a frame')
    """
    ax, last = panel(ax), _last(metrics)
    keys = {"train": f"train/{term}", "validation": f"validation/{term}"}
    if term == "learning_rate":
        keys = {"train": term}
    every, early = [], []
    for name, key_ in keys.items():
        steps, values = _interrupted(*series(metrics, key_), metrics, term)
        every.append(values)
        early.append(steps <= EARLY * last)
        marker = LOOKS[name] if len(steps) != 1 else LOOKS["validation"] | {"color": LOOKS[name]["color"]}
        if len(steps):
            ax.plot(steps, values, label=name, linewidth=1.3, **marker)
    scale, options = axis_scale(np.concatenate(every))
    window = None if scale == "log" else later_window(np.concatenate(every), np.concatenate(early))
    if window is None:
        ax.set_yscale(scale, **options)
    else:
        ax.set_ylim(window)
    if scale == "log":
        _label_decades(ax)
    title, unit = ABOUT.get(term, (term.replace("_", " "), ""))
    label(ax, "optimisation step", unit, title)
    note = "start off the axis" if window else "" if scale == "linear" else f"{scale} axis"
    ax.set_title(note, fontsize=SMALL, loc="right", pad=4, color=NEUTRAL)
    marked = ends or {}
    for what, line in _lines(marked).items():
        ax.axvline(marked[what], color=NEUTRAL, linestyle=line, linewidth=1, label=what)
    ax.set_xlim(0, max(last, 1) * 1.02)
    ax.ticklabel_format(axis="x", style="plain")
    if key:
        legend(ax)
    return ax


def _last(metrics: Sequence[dict[str, Any]]) -> int:
    return max((entry["step"] for entry in metrics), default=0)


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


def _label_decades(ax: Axes) -> None:
    """Label powers of ten, and 2 and 5 times them where there are less than two."""
    low, high = ax.get_ylim()
    subs = (1.0,) if math.log10(high / low) >= 2 else (1.0, 2.0, 5.0)
    ax.yaxis.set_major_locator(LogLocator(subs=subs))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _handles(ends: Mapping[str, float]) -> list[Line2D]:
    """What the lines of all panels are."""
    known = [Line2D([], [], label=name, **look) for name, look in LOOKS.items()]
    return known + [Line2D([], [], color=NEUTRAL, linestyle=line, label=what) for what, line in _lines(ends).items()]
