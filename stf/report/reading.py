"""What an evaluation says of the fields and of prediction, in one form for all modes, and in a sentence for each field.

An evaluation is what :func:`ffrl.evaluation.evaluate.evaluate` returns and ``stf evaluate --json`` writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ffrl.evaluation.measures.alignment import F1, SHARE
from ffrl.evaluation.measures.usage import by_growth
from stf.discovery.moves_text import quantity
from stf.plot.compute.numbers import percent
from stf.plot.compute.roles import listed
from stf.report.captions import join, upper

MOSTLY = 0.9
"""Share and spike F1 from which on a field mostly does its transformation; from their targets on it does."""
RIGHT = 0.95
"""Share of the sequences for which the right field is inferred, if a weak model tells the transformations apart."""
NOISE = 2.0
"""Standard errors of a difference that are taken for chance."""
ALWAYS = 0.95
"""Share of the steps from which on something is taken to act always."""


class Mean(NamedTuple):
    """A mean over sequences and its standard error, None for a single sequence."""

    mean: float
    standard_error: float | None

    def exceeds(self, other: Mean) -> bool:
        """Whether it is larger than the other one by more than chance, as if the two were independent."""
        if self.standard_error is None or other.standard_error is None:
            return False
        return self.mean - other.mean > NOISE * math.hypot(self.standard_error, other.standard_error)


@dataclass(frozen=True)
class Errors:
    """L1 errors per frame of sequences of the kind that the model was trained on.

    Args:
        flow: of what the model predicts.
        reconstruction: of each frame encoded and decoded by itself.
        still: of the first frame repeated, as it is or decoded, whichever is less.
        empty: of the static background alone; None where the model knows none.
    """

    flow: Mean
    reconstruction: Mean
    still: Mean
    empty: Mean | None = None


@dataclass(frozen=True)
class Reading:
    """What is known of the fields.

    Args:
        headline: a sentence on all of them.
        fields: a sentence on each that matters.
        alive: how many act; None where there are none, or where their activity was given.
        separated: whether fields and transformations match one to one; None where nothing can tell.
        always: whether whatever acts does so all the time, so that on and off tells nothing.
    """

    headline: str
    fields: tuple[str, ...] = field(default=())
    alive: int | None = None
    separated: bool | None = None
    always: bool = False


def read_errors(evaluation: Mapping[str, Any]) -> Errors:
    """The errors of prediction: of one transformation at a time if the model was trained on these, else of mixed ones.

    Example:
        >>> errors = {kind: {"mean_per_frame": {"mean": mean, "standard_error": 1.0}} for kind, mean in
        ...           (("flow", 40.0), ("reconstruction", 35.0), ("copy", 90.0), ("raw_copy", 80.0))}
        >>> read_errors({"model": {"trained_on": "mixed"}, "prediction": errors}).still
        Mean(mean=80.0, standard_error=1.0)
    """
    if evaluation["model"]["trained_on"] != "mixed" and evaluation.get("equivariance"):
        kinds = evaluation["equivariance"].values()
        return Errors(*(_average([one[kind] for one in kinds]) for kind in ("flow", "reconstruction", "copy")))
    found = {kind: _mean(evaluation["prediction"][kind]) for kind in ("flow", "reconstruction", "copy", "raw_copy")}
    still = min(found["copy"], found["raw_copy"], key=lambda one: one[0])
    empty = evaluation["prediction"].get("background")
    return Errors(found["flow"], found["reconstruction"], still, None if empty is None else _mean(empty))


def blind(evaluation: Mapping[str, Any]) -> tuple[float, float] | None:
    """The errors of reconstruction and of the real first frame repeated, if the former is no smaller; else None.

    What moves is then not in what encoder and decoder make of a frame.
    """
    reconstruction, still = (_mean(evaluation["prediction"][kind]) for kind in ("reconstruction", "raw_copy"))
    return (reconstruction.mean, still.mean) if reconstruction.mean >= still.mean else None


def read_fields(evaluation: Mapping[str, Any], has_fields: bool, unit_steps: Mapping[str, str]) -> Reading:
    """What is known of the fields, by how that is known.

    Args:
        evaluation: of a model of any mode.
        has_fields: whether its activity drives vector fields.
        unit_steps: what one unit step of a transformation means, in words.
    """
    if not has_fields:
        return Reading(
            f"A model of mode {evaluation['model']['mode']} has no vector fields, so that nothing is said of which "
            "transformation acts when: what is judged is how well it predicts."
        )
    if "alignment" in evaluation:
        return _aligned(evaluation, unit_steps)
    if "confusion" in evaluation:
        return _confused(evaluation)
    if "fields" in evaluation:
        return _used(evaluation)
    return _given(evaluation)


def _aligned(evaluation: Mapping[str, Any], unit_steps: Mapping[str, str]) -> Reading:
    """Any fields at each step, matched with what really acts."""
    found, count = evaluation["alignment"], evaluation["model"]["num_fields"]
    described, alive = found["transformations"], found["alive"]["fields"]
    acting = [one for one in described.values() if not _absent(one)]
    kinds = len(acting)
    grades = [_grade(one) for one in acting]
    own = kinds > 0 and all(grade == "does" for grade in grades)
    nearly = kinds > 0 and all(grade in ("does", "mostly does") for grade in grades)
    living = f"{alive} of {count} fields {'is' if alive == 1 else 'are'} alive"
    what = "the one transformation has" if kinds == 1 else f"each of the {kinds} transformations has"
    if alive == 0:
        headline = f"No motion was found: none of the {count} fields is alive."
    elif kinds == 0:
        headline = f"Nothing can be said of the fields, {living}: no transformation acts in these sequences."
    elif own or nearly:
        link = "; " if alive == kinds else ", but "
        headline = f"{upper(what)} {'' if own else 'mostly '}a field of its own{link}{living}."
    else:
        headline = f"The fields do not separate the transformations: {living}, for {_transformations(kinds)}."
    said = [_matched(name, one, unit_steps) for name, one in described.items()] if alive else []
    others = [one["field"] for one in found["unmatched"] if not one["silent"]]
    if others:
        said.append(f"{upper(listed(others))} {'acts' if len(others) == 1 else 'act'} without a transformation.")
    always = kinds > 0 and found["active_fields"]["true"] >= ALWAYS * kinds
    return Reading(headline, tuple(said), alive, nearly and alive == kinds, always)


def _transformations(count: int) -> str:
    return f"{count} transformation{'' if count == 1 else 's'}"


def _grade(one: Mapping[str, Any]) -> str | None:
    """How well a matched field does its transformation, in words; None where it cannot be said."""
    if one["field"] is None or one["share"] is None or one["f1"] is None:
        return None
    if one["share"] >= SHARE and one["f1"] >= F1:
        return "does"
    return "mostly does" if min(one["share"], one["f1"]) >= MOSTLY else "comes closest to"


def _absent(one: Mapping[str, Any]) -> bool:
    """Whether a transformation never acts in the sequences that were measured."""
    return one["f1"] is None and one["share"] is None


def _matched(name: str, one: Mapping[str, Any], unit_steps: Mapping[str, str]) -> str:
    grade = _grade(one)
    if one["field"] is None and not _absent(one):
        return f"No field responds to {name}."
    if grade is None:
        return f"Of {name} nothing can be said: in these sequences it does not act, or never apart from others."
    step = f" (one step: {unit_steps[name]})" if unit_steps.get(name) else ""
    speed = "" if one["speed_correlation"] is None else f", speeds r = {one['speed_correlation']:.2f}"
    return (
        f"Field {one['field']} {grade} {name}{step}: {percent(one['share'])} of the activity while only it acts, "
        f"spike F1 {one['f1']:.3f}{speed}."
    )


def _confused(evaluation: Mapping[str, Any]) -> Reading:
    """One field throughout each sequence."""
    found, count = evaluation["confusion"], evaluation["model"]["num_fields"]
    fields = found["fields"]
    alive = sum(any(column) for column in zip(*found["counts"], strict=True))
    accuracies = [one["accuracy"] or 0.0 for one in fields.values()]
    separated = min(accuracies, default=0.0) >= RIGHT
    headline = (
        f"{'The' if separated else 'The fields do not separate the transformations: the'} right field is inferred for "
        f"{percent(found['accuracy'])} of the sequences; {alive} of {count} fields {'is' if alive == 1 else 'are'} "
        f"alive, for {_transformations(len(fields))}."
    )
    said = [
        f"No field is left for {name}."
        if one["field"] is None
        else f"Field {one['field']} is inferred for {percent(one['accuracy'])} of the sequences of {name}."
        for name, one in fields.items()
        if one["field"] is None or one["accuracy"] is not None
    ]
    return Reading(headline, tuple(said), alive, separated)


def _used(evaluation: Mapping[str, Any]) -> Reading:
    """Fields of which only their use is known."""
    fields, whole = evaluation["fields"], evaluation["prediction"]["flow"]["mean_per_frame"]["mean"]
    living = [one for one in by_growth(fields) if not one["silent"]]
    count = evaluation["model"]["num_fields"]
    if not living:
        return Reading(f"No motion was found: none of the {count} fields is alive.", (), 0)
    headline = (
        f"{len(living)} of {count} fields {'is' if len(living) == 1 else 'are'} alive; which transformations really "
        "act is not known, so that the pictures of each field alone have to say what it is."
    )
    said = [
        f"Field {one['field']} acts at {percent(one['on'])} of the steps; without it the prediction gets "
        f"{_growth(_mean(one, 'growth'), whole)}."
        for one in living
    ]
    constant = evaluation["model"]["trained_on"] == "single"  # such a model says so of every sequence
    always = not constant and all(one["on"] >= ALWAYS for one in living)
    return Reading(headline, tuple(said), len(living), None, always)


def _growth(growth: Mean, whole: float) -> str:
    nothing = Mean(0.0, 0.0)
    if growth.exceeds(nothing) and whole > 0:
        return f"{percent(growth.mean / whole)} worse"
    return "better" if nothing.exceeds(growth) else "not measurably worse"


def _given(evaluation: Mapping[str, Any]) -> Reading:
    """Fields that were told their transformations."""
    names = evaluation["data"]["transformations"]
    headline = f"Each field was told its transformation ({join(names)}), so that there was nothing to find."
    said = []
    for name, kinds in (evaluation.get("equivariance") or {}).items():
        flow, reconstruction, still = (_mean(kinds[kind]) for kind in ("flow", "reconstruction", "copy"))
        does = "does" if still.exceeds(flow) else "does not measurably do"
        off, unmoved, left = (quantity(one.mean) for one in (flow, still, reconstruction))
        said.append(
            f"Field {list(names).index(name)} {does} {name}: an image moved by it is off by an L1 error of {off} per "
            f"frame (not moved: {unmoved}; encoded and decoded: {left})."
        )
    return Reading(headline, tuple(said))


def _mean(entry: Mapping[str, Any], key: str = "mean_per_frame") -> Mean:
    return Mean(entry[key]["mean"], entry[key]["standard_error"])


def _average(entries: list[Mapping[str, Any]]) -> Mean:
    """Of means over the same images; their standard errors are added, as if the errors were one."""
    means = [_mean(entry) for entry in entries]
    errors = [one.standard_error for one in means if one.standard_error is not None]
    spread = sum(errors) / len(means) if len(errors) == len(means) else None
    return Mean(sum(one.mean for one in means) / len(means), spread)
