"""The evaluation and the configuration of a run as tables for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ffrl.evaluation.criteria import CORRELATION, F1, SHARE
from ffrl.evaluation.published import published
from ffrl.evaluation.report import number, with_error
from stf.visualize.style import field_name

MAY_LACK = (KeyError, TypeError, IndexError, AttributeError, ValueError)
"""What :func:`evaluation_tables` raises for an evaluation of another form."""


@dataclass(frozen=True)
class Table:
    """A table of text and what its numbers mean.

    Args:
        name: of the table, of letters and hyphens.
        title: above it.
        columns: their names, that of the rows first.
        rows: one text per column.
        meaning: sentences under it.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    meaning: Sequence[str]


def evaluation_tables(evaluation: Mapping[str, Any]) -> list[Table]:
    """Tables of everything that :func:`ffrl.evaluation.evaluate.evaluate` found, with targets and published values."""
    tables = []
    if "criteria" in evaluation:
        tables.append(_criteria(evaluation["criteria"]))
    if "alignment" in evaluation:
        tables.append(_alignment(evaluation["alignment"]))
    if "confusion" in evaluation:
        tables.append(_confusion(evaluation["confusion"], evaluation["model"]["num_fields"]))
    return [*tables, _equivariance(evaluation), _likelihood(evaluation)]


def _criteria(criteria: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for line in criteria:
        wanted = f"at least {line['at_least']:g}" if "at_least" in line else f"at most {line['at_most']:g}"
        worst = ("there are none" if line["reached"] else "undefined") if line["worst"] is None else None
        verdict = "reached" if line["reached"] else "not reached"
        rows.append((line["name"], wanted, worst or number(line["worst"], 4), verdict))
    meaning = ("The worst value over all transformations or fields decides.",)
    return Table(
        "criteria", "Targets of unsupervised learning", ("criterion", "target", "worst", "verdict"), rows, meaning
    )


def _alignment(found: Mapping[str, Any]) -> Table:
    keys = ("share", "precision", "recall", "f1", "speed_correlation", "speed_ratio")
    rows = [
        (name, "none" if one["field"] is None else str(one["field"]), *(number(one[key], 3) for key in keys))
        for name, one in found["transformations"].items()
    ]
    rows.append(("target", "", f"≥ {SHARE:g}", "", "", f"≥ {F1:g}", f"≥ {CORRELATION:g}", "1"))
    further = [
        f"{field_name(one['field'])} {one['mean']:.4f}{'' if one['silent'] else ' (not silent)'}"
        for one in found["unmatched"]
    ]
    active = found["active_fields"]
    meaning = (
        "Share: of all inferred activity while only this transformation acts, the part in the matched field.",
        "Precision, recall, F1: the steps at which the field is on against those at which the transformation is.",
        "Speed r: Pearson correlation of inferred and true speed where both are on; ratio: mean inferred by mean true.",
        f"Spikes right: {number(found['spikes_right'], 4)}. Fields that act per step: {number(active['inferred'], 3)} "
        f"inferred, {number(active['true'], 3)} true. Mean activity of further fields, at most "
        f"{found['silent_threshold']:g} where they are silent: {', '.join(further) or 'there are none'}.",
    )
    columns = ("transformation", "field", "share", "precision", "recall", "spike F1", "speed r", "speed ratio")
    return Table("alignment", "Which field does what, on mixed sequences", columns, rows, meaning)


def _confusion(found: Mapping[str, Any], fields: int) -> Table:
    rows = [
        (name, "none" if one["field"] is None else str(one["field"]), *map(str, counts), number(one["accuracy"], 4))
        for (name, one), counts in zip(found["fields"].items(), found["counts"], strict=True)
    ]
    columns = ("transformation", "matched", *(field_name(k) for k in range(fields)), "accuracy")
    meaning = (
        "Counts: sequences of one transformation each for which the field was inferred.",
        f"Accuracy over all {found['sequences']} sequences: {number(found['accuracy'], 4)} (target: 1).",
    )
    return Table("confusion", "Which field is inferred for which transformation", columns, rows, meaning)


def _equivariance(evaluation: Mapping[str, Any]) -> Table:
    steps, reference = evaluation["data"]["num_steps"], published(evaluation["data"])
    columns = ["transformation", "7-step sum", *([f"{steps}-step sum"] if steps != 7 else [])]
    columns += ["flow, per frame", "reconstruction", "no flow"]
    columns += ["published supervised", "published weak"] if reference else []
    rows = []
    for name, kinds in evaluation["equivariance"].items():
        cells = [with_error(kinds["flow"]["seven_step_sum"])]
        cells += [with_error(kinds["flow"]["full_sum"])] if steps != 7 else []
        cells += [with_error(kinds[kind]["mean_per_frame"]) for kind in ("flow", "reconstruction", "copy")]
        cells += [number(reference[mode].get(name)) for mode in ("supervised", "weak")] if reference else []
        rows.append((name, *cells))
    meaning = [
        "L1 error of decoded against true frames, summed over channels and pixels of images in [0, 1], of a first "
        "image moved by the flow through a sequence with one transformation; lower is better, ± is the standard error.",
        "Reconstruction: each true frame encoded and decoded by itself; no flow: the decoded first image throughout.",
    ]
    if reference:
        meaning.append("Published: 7-step sums of Flow Factorized Representation Learning (poster, Table 1).")
    return Table("equivariance", "Equivariance error", columns, rows, meaning)


def _likelihood(evaluation: Mapping[str, Any]) -> Table:
    found = evaluation["likelihood"]
    paper = found.get("paper")
    columns = ["p(x | z)", "ELBO", f"IWAE, S = {evaluation['samples']}", "any model at most"]
    columns += ["paper bound" if paper["is_bound"] else "paper objective (no bound)"] if paper else []
    rows, notes = [], []
    for name, entry in found["likelihoods"].items():
        trained = " (trained with)" if name == found["trained_with"] else ""
        cells = [with_error(entry["elbo"]), with_error(entry["iwae"]), number(entry["upper_bound"])]
        rows.append((name + trained, *cells, *([with_error(entry["paper"])] if paper else [])))
        notes.append(f"{name}: {entry['note']}.")
    legacy = found["legacy_score"]
    meaning = [
        f"{found['quantity']} from below in nats per frame, on {found['sequences']} sequences: ELBO ≤ IWAE ≤ log p in "
        "expectation; higher is better.",
        *notes,
        *([f"Paper objective: {paper['note']}."] if paper else []),
        f"legacy_score {with_error(legacy)}: {legacy['formula']}; {legacy['note']}.",
    ]
    return Table("likelihood", "Likelihood", columns, rows, meaning)


def configuration_table(flat: Mapping[str, Any]) -> Table:
    """The configuration, one row per key.

    Args:
        flat: from :func:`ffrl.engine.config_io.flat`.

    Example:
        >>> configuration_table({"data.root": None, "deterministic": False}).rows
        [('data.root', 'not given'), ('deterministic', 'false')]
    """
    shown = {None: "not given", True: "true", False: "false"}
    rows = [
        (key, shown[value] if value is None or isinstance(value, bool) else str(value)) for key, value in flat.items()
    ]
    return Table("configuration", "Configuration", ("key", "value"), rows, ())
