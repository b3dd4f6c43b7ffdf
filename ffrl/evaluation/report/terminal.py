"""The result of an evaluation as tables for a terminal of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from ffrl.evaluation.report.criteria import in_words
from ffrl.evaluation.report.further import ONCE, TURN, print_codes, print_extrapolation, print_pairs, print_speeds
from ffrl.evaluation.report.printing import MISSING, note, number, share, table, with_error
from ffrl.evaluation.report.published import published

PREDICTED = {
    "flow": "flow",
    "reconstruction": "reconstruction",
    "copy": "copy of decoded x_0",
    "raw_copy": "copy of x_0 itself",
}
"""What the kinds of prediction are called."""
MIXED = "mixed sequences: several transformations take turns in them, which this mode is not trained on"


def print_report(result: dict[str, Any], console: Console) -> None:
    """Print everything that :func:`ffrl.evaluation.evaluate.evaluate` found.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.evaluation.evaluate import evaluate
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> print_report(evaluate(model, load(DataConfig()), sequences=2, samples=2), Console(quiet=True))
    """
    model, data = result["model"], result["data"]
    console.print(
        f"{model['mode']} model, {model['num_fields']} fields, {model['parameters']:,} parameters, on "
        f"{escape(str(data.get('title', data['name'])))} {result['split']}: {result['sequences']} "
        f"{'images' if data.get('prescribed', data['transformations']) else 'clips'}, T = {data['num_steps']}, "
        f"seed {result['seed']}. ± is the standard error over sequences.",
        highlight=False,
    )
    if "about" in data:
        note(console, data["about"])
    if "prediction" in model:
        note(console, f"prediction of later frames: {model['prediction']}")
    if "equivariance" in result:
        _print_equivariance(result, console)
    if "extrapolation" in result:
        print_extrapolation(result, console)
    for key, title in (("composition", ONCE), ("switching", TURN)):
        if key in result:
            print_pairs(result[key], title, console)
    if "prediction" in result:
        _print_prediction(result, console)
    if "fields" in result:
        _print_fields(result, console)
    if "likelihood" in result:
        _print_likelihood(result, console)
    else:
        console.print(f"no likelihood: {model['mode']} is no probabilistic model", highlight=False)
    if "confusion" in result:
        _print_confusion(result, console)
    if "alignment" in result:
        _print_alignment(result, console)
        print_speeds(result["alignment"], result.get("calibration"), console)
        _print_criteria(result, console)
    if "codes" in result:
        print_codes(result["codes"], console)


def _print_equivariance(result: dict[str, Any], console: Console) -> None:
    steps, errors = result["data"]["num_steps"], result["equivariance"]
    reference = published(result["data"])
    sums = sums_shown(steps)
    columns = list(sums.values())
    if reference:
        columns += ["published\nsupervised*", "published\nweak*"]
    made = table("Equivariance error (lower is better)", "", *columns)
    for name, kinds in errors.items():
        cells = [with_error(kinds["flow"][key]) for key in sums]
        if reference:
            cells += [number(reference.sums[mode].get(name)) for mode in ("supervised", "weak")]
        made.add_row(escape(name), *cells)
    console.print(made)
    if reference:
        note(console, f"* published supervised / weak ({reference.where}), {reference.about}")
    made = table("Mean L1 error per frame, t = 1 .. T", "", "flow", "reconstruction", "copy of x_0")
    for name, kinds in errors.items():
        cells = [with_error(kinds[kind]["mean_per_frame"]) for kind in ("flow", "reconstruction", "copy")]
        made.add_row(escape(name), *cells)
    console.print(made)
    note(console, "reconstruction: each frame encoded and decoded by itself, what encoder and decoder leave")
    note(console, "copy: the decoded z_0 at every t, what no flow at all would give")


def _print_prediction(result: dict[str, Any], console: Console) -> None:
    found, known = result["prediction"], result["data"]["transformations"]
    title = f"Prediction of {'mixed' if known else 'real'} sequences from x_0, t = 1 .. T"
    made = table(title, "", "L1 per frame", f"{result['data']['num_steps']}-step sum", "PSNR [dB]")
    for kind, name in PREDICTED.items():
        one = found[kind]
        name = f"{name}, {found['activity']} activity" if kind == "flow" else name
        made.add_row(name, with_error(one["mean_per_frame"]), with_error(one["full_sum"]), with_error(one["psnr"]))
    console.print(made)
    if known and result["model"]["trained_on"] != "mixed":
        note(console, MIXED)


def _print_fields(result: dict[str, Any], console: Console) -> None:
    columns = ("on", "stays on", "mean |g|", "speed", "error grows\nwithout it")
    made = table("Fields on real sequences, the most useful first", "field", *columns)
    whole = result["prediction"]["flow"]["mean_per_frame"]["mean"]
    for one in by_growth(result["fields"]):
        cells = (share(one["on"]), share(one["persistence"]), number(one["mean"], 4), number(one["speed"]))
        made.add_row(str(one["field"]), *cells, with_error(one["growth"]))
    console.print(made)
    note(console, f"error: L1 per frame, {number(whole)} with all fields; a field that does not act changes nothing")
    silent = [str(one["field"]) for one in result["fields"] if one["silent"]]
    console.print(f"silent fields: {', '.join(silent) or 'none'}", highlight=False)


def sums_shown(steps: int) -> dict[str, str]:
    """The sums of errors that are printed for sequences of ``steps`` transitions, and what they are called.

    Example:
        >>> sums_shown(8)
        {'seven_step_sum': '7-step sum', 'full_sum': '8-step sum'}
    """
    full = {"full_sum": f"{steps}-step sum"}
    return {"seven_step_sum": "7-step sum"} | full if steps > 7 else full


def by_growth(fields: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The ``fields`` of an evaluation, those first without which the error grows most.

    Example:
        >>> fields = [{"field": k, "growth": {"mean": mean}} for k, mean in enumerate((0.0, 2.0, None))]
        >>> [one["field"] for one in by_growth(fields)]
        [1, 0, 2]
    """
    growth = [-math.inf if one["growth"]["mean"] is None else one["growth"]["mean"] for one in fields]
    return [fields[place] for place in sorted(range(len(fields)), key=lambda place: -growth[place])]


def _print_likelihood(result: dict[str, Any], console: Console) -> None:
    likelihood = result["likelihood"]
    title = f"{escape(likelihood['quantity'])} from below, nats per frame, {likelihood['sequences']} sequences"
    made = table(title, "p(x|z)", "ELBO", f"IWAE, S = {result['samples']}", "any model at most")
    for name, entry in likelihood["likelihoods"].items():
        trained = " †" if name == likelihood["trained_with"] else ""
        bounds = (with_error(entry[bound]) for bound in ("elbo", "iwae"))
        made.add_row(escape(name) + trained, *bounds, number(entry["upper_bound"]))
    console.print(made)
    note(console, "† the likelihood of training")
    for name, entry in likelihood["likelihoods"].items():
        note(console, f"{name}: {entry['note']}")
    paper = likelihood.get("paper")
    if paper:
        heading = "paper bound" if paper["is_bound"] else "paper objective (no bound)"
        made = table("The objective of training in expectation, nats per frame", "p(x|z)", heading)
        for name, entry in likelihood["likelihoods"].items():
            made.add_row(escape(name), with_error(entry["paper"]))
        console.print(made)
        note(console, paper["note"])
    legacy = likelihood["legacy_score"]
    console.print(f"legacy_score {with_error(legacy)}", highlight=False)
    note(console, f"{legacy['formula']}; {legacy['note']}")


def _print_confusion(result: dict[str, Any], console: Console) -> None:
    found = result["confusion"]
    names = list(found["fields"])
    matched = [found["fields"][name]["field"] for name in names]
    rows = [[str(count) for count in row] for row in found["counts"]]
    _print_matrix("Inferred field per transformation, sequences", names, rows, matched, console)
    accuracies = ", ".join(f"{name} {number(one['accuracy'], 4)}" for name, one in found["fields"].items())
    console.print(escape(f"accuracy {number(found['accuracy'], 4)} ({accuracies})"), highlight=False)


def _print_alignment(result: dict[str, Any], console: Console) -> None:
    found = result["alignment"]
    names = list(found["transformations"])
    matched = [one["field"] for one in found["transformations"].values()]
    count = result["model"]["num_fields"]
    rows = [[number(value, 3) for value in row] if row else [MISSING] * count for row in found["matrix"]]
    _print_matrix("Mean |g| where only this transformation acts", names, rows, matched, console)
    columns = ("field", "share", "prec.", "recall", "F1", "speed\nr", "speed\nratio")
    made = table("Matched fields on mixed sequences", "", *columns)
    keys = ("share", "precision", "recall", "f1", "speed_correlation", "speed_ratio")
    for name, one in found["transformations"].items():
        field = "none" if one["field"] is None else str(one["field"])
        made.add_row(escape(name), field, *(number(one[key], 3) for key in keys))
    console.print(made)
    further = [
        f"{one['field']} ({one['mean']:.4f}{'' if one['silent'] else ', not silent'})" for one in found["unmatched"]
    ]
    console.print(f"further fields (mean |g|): {', '.join(further) or 'none'}", highlight=False)
    if not found["graded"]:
        note(console, "speed r: every true speed is the same, so that there is nothing to correlate with")
    alive, active = found["alive"], found["active_fields"]
    console.print(
        f"fields alive: {alive['fields']} of {count} (mean |g| above {found['silent_threshold']:g}); "
        f"transformations: {alive['transformations']}",
        highlight=False,
    )
    console.print(
        f"spikes right {number(found['spikes_right'], 4)}; active fields per transition "
        f"{number(active['inferred'], 3)} inferred, {number(active['true'], 3)} true",
        highlight=False,
    )


def _print_matrix(
    title: str, names: list[str], rows: list[list[str]], matched: list[int | None], console: Console
) -> None:
    """A matrix transformation x field, its matched cells bold and in brackets; as many fields per table as fit."""
    width = max(len(cell) for row in rows for cell in row) + 2
    fit = max(1, (console.width - max(map(len, names)) - 4) // (width + 3))
    count = len(rows[0])
    for start in range(0, count, fit):
        fields = range(start, min(start + fit, count))
        made = table(title if start == 0 else "", "", *(str(field) for field in fields))
        for name, row, match in zip(names, rows, matched, strict=True):
            cells = [f"[bold]\\[{row[k]}][/bold]" if k == match else f"{row[k]} " for k in fields]
            made.add_row(escape(name), *cells)
        console.print(made)


def _print_criteria(result: dict[str, Any], console: Console) -> None:
    console.print("Criteria", style="bold")
    for line in result["criteria"]:
        wanted, worst, verdict = in_words(line)
        kind = "found" if "exactly" in line else "worst"
        console.print(f"  {line['name']} {wanted}: {verdict} ({kind}: {worst})", highlight=False)
