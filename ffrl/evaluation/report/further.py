"""Tables of speeds and their calibration, of extrapolation, composition and switching, and of the codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from ffrl.evaluation.report.printing import note, number, share, table, with_error

MOST_ROWS = 6
"""Pairs that have a line each; of more, their mean and the worst are printed."""
ONCE = "Two transformations at once, L1 per frame"
TURN = "One transformation, then another, L1 per frame"
KINDS = {"additive": "added", "reconstruction": "recon.", "copy": "copy"}
"""Columns beside the flow's."""


def print_speeds(alignment: Mapping[str, Any], calibration: Mapping[str, Any] | None, console: Console) -> None:
    """Print how far inferred speeds are off, and whether a posterior is sure of them and of spikes as it should be."""
    columns = ("speed\nRMSE", *(("within\n1 dev.", "within\n2 dev.", "ECE of\nP(on)") if calibration else ()))
    made = table("Speeds on mixed sequences", "", *columns)

    def cells(found: Mapping[str, Any]) -> list[str]:
        within = (found["coverage"] or {}).get
        return [share(within("one_deviation")), share(within("two_deviations")), number(found["ece"], 4)]

    described = alignment["transformations"]
    for name, one in described.items():
        calibrated = cells(calibration["transformations"][name]) if calibration else []
        made.add_row(escape(name), number(one["speed_rmse"], 3), *calibrated)
    if calibration:
        made.add_row("all pooled", "", *cells(calibration["pooled"]))
        gaussian = calibration["expected_coverage"]
        expected = (share(gaussian["one_deviation"]), share(gaussian["two_deviations"]), number(0.0, 4))
        made.add_row("ideal", number(0.0, 3), *expected)
    console.print(made)
    note(console, "RMSE: root mean square of inferred - true speed in unit steps, where both are on")
    if calibration:
        note(console, "within: share of true speeds within 1 or 2 posterior deviations of inferred ones")
        note(console, f"ECE: mean |P(on) - frequency| over {calibration['bins']} bins, weighted by their pairs")
    for reason in unscored(alignment):
        note(console, reason)


def unscored(alignment: Mapping[str, Any]) -> list[str]:
    """Why there is no error of speeds, where there is none, from :func:`ffrl.evaluation.measures.alignment.align`.

    Example:
        >>> from ffrl.evaluation.measures.alignment import align
        >>> unscored(align([[1.0], [1.0]], [[1.0], [1.0]], ["hue"]))
        ['speeds n/a: every true speed is the same']
        >>> unscored(align([[0.0], [0.0]], [[1.0], [2.0]], ["hue"]))
        ['speeds n/a (hue): true and inferred speed are never on together, or all true ones are the same']
    """
    missing = [name for name, one in alignment["transformations"].items() if one["speed_rmse"] is None]
    if not alignment["graded"]:
        return ["speeds n/a: every true speed is the same"]
    names = ", ".join(missing)
    never = f"speeds n/a ({names}): true and inferred speed are never on together, or all true ones are the same"
    return [never] if missing else []


def print_extrapolation(result: dict[str, Any], console: Console) -> None:
    """Print the errors beyond the trained length: one line per transformation."""
    found, trained = result["extrapolation"], result["data"]["num_steps"]
    columns = ("frames", "flow", "recon.", "copy", "flow, MSE")
    made = table("Extrapolation beyond T, L1 per frame (lower is better)", "", *columns)
    for name, entry in found["transformations"].items():
        if entry is None:
            made.add_row(escape(name), *[number(None)] * len(columns))
            continue
        further = {kind: entry[kind]["l1"]["further_mean"] for kind in ("flow", "reconstruction", "copy")}
        others = (number(further[kind]["mean"]) for kind in ("reconstruction", "copy"))
        mse = number(entry["flow"]["mse"]["further_mean"]["mean"], 4)
        frames = f"{trained + 1} .. {entry['steps']}"
        made.add_row(escape(name), frames, with_error(further["flow"]), *others, mse)
    console.print(made)
    note(console, f"{found['sequences']} images; activity {found['activity']}")
    if "note" in found:
        note(console, found["note"])
    _print_missing(found["not_shown"], console)


def print_pairs(found: dict[str, Any], title: str, console: Console) -> None:
    """Print the errors of pairs of transformations: a line each, or of many their mean and the worst."""
    pairs = {name: entry for name, entry in found["pairs"].items() if entry is not None}
    if not pairs:
        console.print(f"{title}: none can be shown", highlight=False)
        _print_missing(found["not_shown"], console)
        return
    kinds = {kind: name for kind, name in KINDS.items() if kind in found["mean"]}
    made = table(title, "", "flow", *kinds.values())
    if len(found["pairs"]) <= MOST_ROWS:
        rows = dict(found["pairs"])
    else:
        worst = max(pairs, key=lambda name: pairs[name]["flow"]["full_sum"]["mean"] or 0.0)
        rows = {f"worst: {worst}": pairs[worst]}
    if len(pairs) > 1:
        rows = {f"mean of {len(pairs)}": found["mean"]} | rows
    for name, entry in rows.items():
        errors = {} if entry is None else {kind: entry[kind]["mean_per_frame"] for kind in ("flow", *kinds)}
        others = (number(errors[kind]["mean"] if errors else None) for kind in kinds)
        made.add_row(escape(name), with_error(errors.get("flow")), *others)
    console.print(made)
    half = f"; switched after {found['half']} steps" if "half" in found else ""
    note(console, f"{found['sequences']} images; activity {found['activity']}, of each transformation on its own{half}")
    if "additive" in kinds:
        note(console, "added: z_0 and the displacements that each of the two has on its own")
    _print_missing(found["not_shown"], console)


def print_codes(found: dict[str, Any], console: Console) -> None:
    """Print how codes hold the factors: one line per factor."""
    made = table("Factors in the latent code (higher is better)", "", "MIG", "informativeness", "linear probe R²")
    dci, mig, probe = found["dci"], found["mig"], found["linear_probe"]
    for name in found["factors"]:
        cells = (mig["per_factor"][name], dci["informativeness"][name], probe[name])
        made.add_row(escape(name), *(number(cell, 3) for cell in cells))
    console.print(made)
    console.print(
        f"MIG {number(mig['score'], 3)}, disentanglement {number(dci['disentanglement'], 3)}, completeness "
        f"{number(dci['completeness'], 3)}, mean R² of the probes {number(probe['mean'], 3)}",
        highlight=False,
    )
    note(console, f"{found['frames']} frames of {found['images']} images")
    for name, method in found["method"].items():
        note(console, f"{name.replace('_', ' ')}: {method}")


def _print_missing(missing: dict[str, str], console: Console) -> None:
    for reason in dict.fromkeys(missing.values()):
        names = [name for name, why in missing.items() if why == reason]
        few = ", ".join(names) if len(names) <= MOST_ROWS else f"{len(names)} of them"
        note(console, f"not shown ({few}): {reason}")
