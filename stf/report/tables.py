"""The evaluation and the configuration of a run as tables for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ffrl.evaluation.report.criteria import CORRELATION, ECE, F1, SHARE, in_words
from ffrl.evaluation.report.further import unscored
from ffrl.evaluation.report.published import published
from ffrl.evaluation.report.terminal import MIXED, PREDICTED, by_growth, number, share, sums_shown, with_error
from stf.plot.drawing.style import field_name

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


BEYOND = {"extrapolation": "longer", "composition": "at once", "switching": "in turn"}
"""What is measured beyond the trained sequences, and what the report calls it."""


def evaluation_tables(evaluation: Mapping[str, Any]) -> list[Table]:
    """Tables of everything that :func:`ffrl.evaluation.evaluate.evaluate` found, with targets and published values."""
    tables = []
    if "criteria" in evaluation:
        tables.append(_criteria(evaluation["criteria"]))
    if "alignment" in evaluation:
        tables.append(_alignment(evaluation["alignment"]))
    if "calibration" in evaluation:
        tables.append(_calibration(evaluation["calibration"]))
    if "confusion" in evaluation:
        tables.append(_confusion(evaluation["confusion"], evaluation["model"]["num_fields"]))
    if "fields" in evaluation:
        tables.append(_fields(evaluation))
    if "equivariance" in evaluation:
        tables.append(_equivariance(evaluation))
    if "prediction" in evaluation:
        tables.append(_prediction(evaluation))
    if any(kind in evaluation for kind in BEYOND):
        tables.append(_beyond(evaluation))
    return [*tables, _likelihood(evaluation)] if "likelihood" in evaluation else tables


def _beyond(evaluation: Mapping[str, Any]) -> Table:
    columns = ("", "flow", "reconstruction", "no flow")
    rows = []
    for name, entry in evaluation.get("extrapolation", {}).get("transformations", {}).items():
        if entry is not None:
            further = (entry[kind]["l1"]["further_mean"] for kind in ("flow", "reconstruction", "copy"))
            frames = f"frames {evaluation['data']['num_steps'] + 1} to {entry['steps']}"
            rows.append((f"{name}, {frames}", *map(with_error, further)))
    for kind in ("composition", "switching"):
        for name, entry in evaluation.get(kind, {}).get("pairs", {}).items():
            if entry is not None:
                errors = (entry[part]["mean_per_frame"] for part in ("flow", "reconstruction", "copy"))
                rows.append((f"{BEYOND[kind]}: {name}", *map(with_error, errors)))
    meaning = (
        "L1 error per frame, as for single sequences. Beyond the trained length the activity of the trained steps goes "
        "on; of two transformations each has the activity that it has alone, given or inferred.",
    )
    return Table("beyond", "Beyond what was trained: longer, two at once, one after the other", columns, rows, meaning)


def _fields(evaluation: Mapping[str, Any]) -> Table:
    columns = ("field", "on", "stays on", "mean |g|", "speed while on", "error grows without it")
    rows = [
        (
            field_name(one["field"]) + (" (silent)" if one["silent"] else ""),
            share(one["on"]),
            share(one["persistence"]),
            number(one["mean"], 4),
            number(one["speed"]),
            with_error(one["growth"]),
        )
        for one in by_growth(evaluation["fields"])
    ]
    whole = number(evaluation["prediction"]["flow"]["mean_per_frame"]["mean"])
    meaning = (
        "On, stays on: share of the steps at which the field acts, and of these at which it goes on acting.",
        f"Error: L1 per frame of a first frame moved by the inferred activity, {whole} with all fields, and by "
        "how much it grows when this field alone is switched off. What really acts in these sequences is not known.",
    )
    return Table("fields", "What each field does, the most useful first", columns, rows, meaning)


def _prediction(evaluation: Mapping[str, Any]) -> Table:
    found, known = evaluation["prediction"], evaluation["data"]["transformations"]
    rows = [
        (
            f"{name}, {found['activity']} activity" if kind == "flow" else name,
            with_error(found[kind]["mean_per_frame"]),
            with_error(found[kind]["full_sum"]),
            with_error(found[kind]["psnr"]),
        )
        for kind, name in PREDICTED.items()
    ]
    columns = ("", "L1 per frame", f"{evaluation['data']['num_steps']}-step sum", "PSNR [dB]")
    meaning = [
        "Frames t = 1 .. T from the first one alone: moved by the activity, and standing still. Reconstruction: each "
        "frame encoded and decoded by itself, what encoder and decoder leave. PSNR: of the mean squared error.",
    ]
    mode = evaluation["model"]["mode"]
    trained = evaluation["model"].get("trained_on", "mixed" if mode == "unsupervised" else "single")
    if known and trained != "mixed":
        meaning.append(f"{MIXED[:1].upper()}{MIXED[1:]}.")
    title = f"Prediction of {'mixed' if known else 'real'} sequences"
    return Table("prediction", title, columns, rows, meaning)


def _criteria(criteria: Sequence[Mapping[str, Any]]) -> Table:
    rows = [(line["name"], *in_words(line)) for line in criteria]
    meaning = (
        "The worst value over all transformations or fields decides; the calibration error is that of all together.",
    )
    return Table(
        "criteria", "Targets of unsupervised learning", ("criterion", "target", "worst", "verdict"), rows, meaning
    )


def _alignment(found: Mapping[str, Any]) -> Table:
    keys = ("share", "precision", "recall", "f1", "speed_correlation", "speed_ratio", "speed_rmse")
    rows = [
        (name, "none" if one["field"] is None else str(one["field"]), *(number(one[key], 3) for key in keys))
        for name, one in found["transformations"].items()
    ]
    graded = found.get("graded", True)
    correlation = f"≥ {CORRELATION:g}" if graded else ""
    rows.append(("target", "", f"≥ {SHARE:g}", "", "", f"≥ {F1:g}", correlation, "1", ""))
    further = [
        f"{field_name(one['field'])} {one['mean']:.4f}{'' if one['silent'] else ' (not silent)'}"
        for one in found["unmatched"]
    ]
    active, alive = found["active_fields"], found["alive"]
    meaning = (
        "Share: of all inferred activity while only this transformation acts, the part in the matched field.",
        "Precision, recall, F1: the steps at which the field is on against those at which the transformation is.",
        "Speed r: Pearson correlation of inferred and true speed where both are on; ratio: mean inferred by mean true; "
        "RMSE: root mean square of their difference in unit steps.",
        *(f"{reason[:1].upper()}{reason[1:]}." for reason in unscored(found)),
        f"Fields alive, with a mean |g| above {found['silent_threshold']:g}: {alive['fields']}; transformations: "
        f"{alive['transformations']}.",
        f"Spikes right: {number(found['spikes_right'], 4)}. Fields that act per step: {number(active['inferred'], 3)} "
        f"inferred, {number(active['true'], 3)} true. Mean activity of further fields, at most "
        f"{found['silent_threshold']:g} where they are silent: {', '.join(further) or 'there are none'}.",
    )
    columns = ("transformation", "field", "share", "precision", "recall", "spike F1", "speed r", "speed ratio", "RMSE")
    return Table("alignment", "Which field does what, on mixed sequences", columns, rows, meaning)


def _calibration(found: Mapping[str, Any]) -> Table:
    def cells(one: Mapping[str, Any]) -> tuple[str, ...]:
        within = (one["coverage"] or {}).get
        pairs = "none" if not one["pairs"] else f"{one['pairs']:,}"
        return number(one["ece"], 4), pairs, share(within("one_deviation")), share(within("two_deviations"))

    rows = [(name, *cells(one)) for name, one in found["transformations"].items()]
    rows.append(("all pooled", *cells(found["pooled"])))
    rows.append(("target", f"≤ {ECE:g} pooled", "", *map(share, found["expected_coverage"].values())))
    meaning = (
        f"Expected calibration error: mean difference of the inferred P(on) and the frequency over {found['bins']} "
        "bins of P(on), weighted by their pairs of a step and a transformation with its matched field.",
        "Within 1 or 2 deviations: share of the true speeds that are as close to the inferred ones, by the deviations "
        "of the posterior, where both are on; the target is that of a Gaussian. It is undefined (n/a) where true "
        "speeds do not vary or are never on together with inferred ones.",
    )
    columns = ("transformation", "calibration error", "pairs", "within 1 deviation", "within 2 deviations")
    return Table("calibration", "Is the model as sure as it should be, on mixed sequences", columns, rows, meaning)


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
    sums = sums_shown(steps)
    columns = ["transformation", *sums.values()]
    columns += ["flow, per frame", "reconstruction", "no flow"]
    columns += ["published supervised", "published weak"] if reference else []
    rows = []
    for name, kinds in evaluation["equivariance"].items():
        cells = [with_error(kinds["flow"][key]) for key in sums]
        cells += [with_error(kinds[kind]["mean_per_frame"]) for kind in ("flow", "reconstruction", "copy")]
        cells += [number(reference.sums[mode].get(name)) for mode in ("supervised", "weak")] if reference else []
        rows.append((name, *cells))
    meaning = [
        "L1 error of decoded against true frames, summed over channels and pixels of images in [0, 1], of a first "
        "image moved by the flow through a sequence with one transformation; lower is better, ± is the standard error.",
        "Reconstruction: each true frame encoded and decoded by itself; no flow: the decoded first image throughout.",
    ]
    if reference:
        source = f"Flow Factorized Representation Learning ({reference.where})"
        meaning.append(f"Published: errors of {source}, {reference.about}.")
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
        flat: from :func:`ffrl.training.config_io.flat`.

    Example:
        >>> configuration_table({"data.root": None, "deterministic": False}).rows
        [('data.root', 'not given'), ('deterministic', 'false')]
    """
    shown = {None: "not given", True: "true", False: "false"}
    rows = [
        (key, shown[value] if value is None or isinstance(value, bool) else str(value)) for key, value in flat.items()
    ]
    return Table("configuration", "Configuration", ("key", "value"), rows, ())
