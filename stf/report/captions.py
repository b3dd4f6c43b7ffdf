"""One sentence under each figure that says what to see, from the numbers that the figure shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stf.discovery.moves_text import quantity
from stf.plot.compute.numbers import percent, series
from stf.plot.compute.observed import ErrorCurve, Traversal
from stf.plot.compute.roles import ActivityRow, FieldRole, listed, silent_fields
from stf.plot.compute.search_log import Move, Search
from stf.plot.drawing.style import field_name
from stf.plot.traversals import caption as does

SPEECHLESS = "true ones do not vary, or are never on together with inferred ones"
SILENCE = "All fields are silent, so that there is nothing to draw."


def join(parts: Sequence[str]) -> str:
    """Return parts as an enumeration.

    Example:
        >>> join(["a", "b", "c"]), join(["a"])
        ('a, b and c', 'a')
    """
    *head, last = parts
    return f"{', '.join(head)} and {last}" if head else last


def upper(text: str) -> str:
    """Return a text with a capital first letter.

    Example:
        >>> upper("hue by field 2")
        'Hue by field 2'
    """
    return text[:1].upper() + text[1:]


def of_alignment(alignment: Mapping[str, Any], roles: Sequence[FieldRole]) -> str:
    """Say which field carries which transformation, from :func:`ffrl.evaluation.matching.align`.

    Example:
        >>> from ffrl.evaluation.matching import align
        >>> from stf.plot.compute.roles import aligned_roles
        >>> truth = np.eye(2)[None]
        >>> found = align(truth[..., ::-1], truth, ["scaling", "hue"])
        >>> of_alignment(found, aligned_roles(found, 2))
        'Scaling is carried by field 1 (100 % of the activity while only it acts) and hue by field 0 (100 %).'
    """
    parts, missing, first = [], [], True
    for name, entry in alignment["transformations"].items():
        if entry["field"] is None:
            missing.append(name)
            continue
        verb, rest = (" is carried", " of the activity while only it acts") if first else ("", "")
        share = "share unknown" if entry["share"] is None else percent(entry["share"]) + rest
        parts.append(f"{name}{verb} by {field_name(entry['field'])} ({share})")
        first = False
    clauses = [join(parts)] if parts else []
    clauses += [f"no field responds to {join(missing)}"] if missing else []
    return upper("; ".join([*clauses, *_others(roles)])) + "."


def of_confusion(confusion: Mapping[str, Any], roles: Sequence[FieldRole]) -> str:
    """Say how often the right field is inferred, from :func:`ffrl.evaluation.measures.confusion.confusion`.

    Example:
        >>> from ffrl.evaluation.measures.confusion import confusion
        >>> of_confusion(confusion([1, 1, 0, 1], [0, 0, 1, 1], 2, ["scaling", "hue"]), [])
        'The matched field is inferred for 75 % of 4 held-out sequences: field 1 for scaling and field 0 for hue.'
    """
    matched = [
        f"{'none' if entry['field'] is None else field_name(entry['field'])} for {name}"
        for name, entry in confusion["fields"].items()
    ]
    start = f"the matched field is inferred for {percent(confusion['accuracy'])} of {confusion['sequences']} held-out"
    return upper("; ".join([f"{start} sequences: {join(matched)}", *_others(roles)])) + "."


def _others(roles: Sequence[FieldRole]) -> list[str]:
    active = sorted(role.field for role in roles if role.row is None and not role.silent)
    silent = silent_fields(roles)
    clauses = []
    if active:
        clauses.append(f"{listed(active)} {'acts' if len(active) == 1 else 'act'} without a transformation")
    if silent:
        clauses.append(f"{listed(silent)} {'is' if len(silent) == 1 else 'are'} silent")
    return clauses


def of_overview(
    rows: Sequence[ActivityRow], inferred: ArrayLike, truth: ArrayLike, error: float, still: float, given: bool
) -> str:
    """Say how well one sequence is explained.

    Args:
        rows: one per transformation, with its field if it has one.
        inferred: speeds of the sequence, ``(T, K)``.
        truth: ``(T, J)``.
        error: mean L1 error of its predicted frames t = 1 .. T.
        still: the same if nothing moved.
        given: whether the speeds are given and not inferred.
    """
    known = [row for row in rows if row.row is not None]
    acting = [str(row.transformation) for row in known if np.any(row.truth(truth))]
    if not known:
        acting = [field_name(row.role.field) for row in rows if row.role is not None and np.any(row.speeds(inferred))]
    start = f"In this held-out sequence {join(acting or ['nothing'])} {'acts' if len(acting) <= 1 else 'act'}"
    if known and not given:
        pairs = [(row.truth(truth), row.speeds(inferred)) for row in known]
        differences = [np.abs(true - (0 if speeds is None else speeds)) for true, speeds in pairs if true is not None]
        start += f" and the inferred speeds are off by {np.mean(differences):.2f} unit steps on average"
    return (
        f"{start}; moving only its first frame predicts the others with an L1 error of {error:.0f} per frame, where "
        f"standing still has {still:.0f}."
    )


def of_raster(alignment: Mapping[str, Any], sequences: int) -> str:
    """Say how many spikes are right and how speeds agree, from :func:`ffrl.evaluation.matching.align`."""
    found = alignment["transformations"]
    speeds = [
        f"{name} {entry['speed_correlation']:.2f}"
        for name, entry in found.items()
        if entry["speed_correlation"] is not None
    ]
    active, right = alignment["active_fields"], alignment["spikes_right"]
    matched = any(entry["field"] is not None for entry in found.values())
    text = f"{percent(right)} of the spikes are right" if matched else "no field matches a transformation yet"
    text += f"; inferred and true speeds correlate with r = {join(speeds)}" if speeds else ""
    text += f"; {active['inferred']:.2f} fields act per step where {active['true']:.2f} transformations do"
    return f"On {sequences} held-out sequences {text}."


def of_usage(usage: Sequence[Mapping[str, Any]]) -> str:
    """Say which fields act and how often, from :func:`ffrl.evaluation.measures.usage.usage`.

    Example:
        >>> from ffrl.evaluation.measures.usage import usage
        >>> of_usage(usage([[[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]]))
        '2 of 3 fields act: field 0 at 100 % of the steps and field 1 at 50 %; field 2 is silent.'
    """
    active = sorted((one for one in usage if not one["silent"]), key=lambda one: -one["on"])
    silent = [one["field"] for one in usage if one["silent"]]
    if not active:
        return f"None of the {len(usage)} fields acts."
    shares = [f"{field_name(one['field'])} at {percent(one['on'])}" for one in active]
    shares[0] += " of the steps"
    verb = "acts" if len(active) == 1 else "act"
    text = f"{len(active)} of {len(usage)} fields {verb}: {join(shares)}"
    return f"{text}; {listed(silent)} {'is' if len(silent) == 1 else 'are'} silent." if silent else f"{text}."


def of_traversals(traversals: Sequence[Traversal], roles: Sequence[FieldRole]) -> str:
    """Say what each row of the traversals of all fields is."""
    if not traversals:
        return SILENCE
    rows = [f"{field_name(one.role.field)} ({one.role.caption})" for one in traversals]
    return (
        f"Each block moves the same held-out images by one field alone: {join(rows)}; outside the white columns the "
        "model is asked for more than it was trained on."
    )


def of_strip(one: Traversal, curve: ErrorCurve | None) -> str:
    """Say how far a field alone is from its transformation, where that is known."""
    name = upper(field_name(one.role.field))
    if curve is None:
        what = "matches no transformation" if one.role.used is None else f"is {does(one.role)}"
        return f"{name} {what}, so that what it changes in these images is all there is to judge it by."
    trained, (first, last) = one.trained, (int(curve.steps[0]), int(curve.steps[-1]))
    still = float(curve.unmoved[:, (curve.steps >= 1) & (curve.steps <= trained)].mean())
    text = (
        f"{name} alone does {one.role.transformation} with a mean L1 error of {curve.mean(1, trained):.0f} over the "
        f"trained length (not moving: {still:.0f})"
    )
    text += f", {curve.mean(trained + 1, last):.0f} beyond it" if last > trained else ""
    text += f", and {curve.mean(first, -1):.0f} backwards" if first < 0 else ""
    return text + "."


def of_motion(one: Traversal) -> str:
    """Say what an animation shows."""
    name = does(one.role)
    last, first = one.steps[-1], f"{one.steps[0]}".replace("-", "−")
    true = "; below them, what is true" if one.truth else ""
    frames = "real images" if one.frame_kind.rank == 3 else "held-out vectors"
    return (
        f"{upper(field_name(one.role.field))} ({name}) moves {frames} forwards to t = {last}, beyond the "
        f"{one.trained} steps of training, and backwards to t = {first}{true}."
    )


def of_curves(metrics: Sequence[Mapping[str, Any]], ends: Mapping[str, float]) -> str:
    """Say where training went, and where its phases end."""
    last = max(entry["step"] for entry in metrics)
    text = f"Training took {last:,} steps"
    for key, name in (("validation/l1", "L1 error per frame"), ("validation/loss", "loss")):
        values = series(metrics, key)[1]
        values = values[np.isfinite(values)]
        if len(values):
            text += f"; the {name} of held-out sequences ended at {values[-1]:,.1f}"
            break
    reached = [
        f"{what.removesuffix(' end').removesuffix(' ends')} at {end:,.0f}" for what, end in ends.items() if end <= last
    ]
    return f"{text}{'; jumps where phases end are expected: ' + join(reached) if reached else ''}."


def of_search(search: Search) -> str:
    """Say what is left of the fields, what became of the others, and what it cost.

    Example:
        >>> from stf.plot.compute.search_log import read_search
        >>> shared = {"accepted": True, "evidence": None}
        >>> moves = [{"move": "start", "fields": [], "alive": [0, 1, 2]},
        ...          {"move": "merge", "fields": [0, 2], "ratio": 0.04, "alive": [0, 1]},
        ...          {"move": "end", "fields": [], "alive": [0, 1]}]
        >>> of_search(read_search([{"step": n, "search": move | shared} for n, move in enumerate(moves)]))
        'Of 3 fields, fields 0 and 1 are left: one was merged into another (ratio 0.04).'
    """
    again, search = len(search.searches) > 1, replace(search, moves=search.searches[-1])
    made = [move for move in search.moves if move.changes]
    text = "In the second search, of " if again else "Of "
    text += f"{'one field' if search.num_fields == 1 else f'{search.num_fields} fields'}, "
    text += (
        f"{listed(search.alive)} {'is' if len(search.alive) == 1 else 'are'} left" if search.alive else "none is left"
    )
    text += "" if search.ended else " so far"
    merges, deletions, silent, refills = (
        [move for move in made if move.kind == kind] for kind in ("merge", "delete", "silent", "refill")
    )
    parts = []
    if merges:
        parts.append(f"{_were(len(merges))} merged into {'another' if len(merges) == 1 else 'others'}{_ratios(merges)}")
    dropped = sum(len(move.fields) for move in deletions)
    if dropped:
        parts.append(f"{_were(dropped)} deleted{_ratios(deletions)}")
    unused = sum(len(move.fields) for move in silent)
    if unused:
        parts.append(f"{_were(unused)} dropped as hardly ever on")
    filled = sum(len(move.fields) for move in refills)
    if filled:
        parts.append(f"{_were(filled)} made anew from {'another' if filled == 1 else 'others'}")
    undone = sum(move.kind == "undo" for move in made)
    if undone:
        parts.append("a refill was taken back" if undone == 1 else f"{undone} refills were taken back")
    text += f": {join(parts)}" if parts else "; no move was made"
    best = search.refused()
    ratios = [move.ratio for move in best if move.ratio is not None]
    if ratios:
        text += f"; of the refused trials the best has the ratio {quantity(min(ratios))}"
    evidence = [move.evidence for move in search.moves if move.accepted and move.evidence is not None]
    if len(evidence) > 1:
        first, last = (f"{value:.2f}".replace("-", "−") for value in (evidence[0], evidence[-1]))
        text += f"; held-out log evidence went from {first} to {last} nats per transition"
    return text + "."


def _were(count: int) -> str:
    return "one was" if count == 1 else f"{count} were"


def _ratios(moves: Sequence[Move]) -> str:
    ratios = [move.ratio for move in moves if move.ratio is not None]
    if not ratios:
        return ""
    return f" (ratio {quantity(ratios[0])})" if len(ratios) == 1 else f" (ratios of at most {quantity(max(ratios))})"
