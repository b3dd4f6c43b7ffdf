"""The numbers of an evaluation that tables show, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLISHED_SUM, FULL_SUM = "seven_step_sum", "full_sum"
GAUSSIAN = "gaussian-1"
"""The likelihood that every model is scored under: a Gaussian of unit variance."""
KINDS = {"error": "flow", "reconstruction": "reconstruction", "copy": "copy"}
"""What the kinds of prediction are called here, and in an evaluation."""


def summarise(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of an evaluation by name, each a number or ``{"mean", "standard_error"}``.

    Errors are sums over 7 steps where sequences are as long, else over all steps: ``error_steps`` says which. What an
    evaluation does not have is left out.

    Args:
        evaluation: from :func:`ffrl.evaluation.evaluate.evaluate`.

    Example:
        >>> one = {"seven_step_sum": {"mean": 3.0, "standard_error": 1.0}}
        >>> kinds = {"flow": one, "reconstruction": one, "copy": one}
        >>> found = summarise({"equivariance": {"hue": kinds}})
        >>> found["error/hue"], found["error/mean"], found["error_steps"]
        ({'mean': 3.0, 'standard_error': 1.0}, 3.0, 7)
    """
    found: dict[str, Any] = {}
    found |= _errors(evaluation.get("equivariance") or {}, (evaluation.get("data") or {}).get("num_steps"))
    found |= _likelihood(evaluation.get("likelihood") or {})
    found |= _alignment(evaluation.get("alignment") or {})
    if "calibration" in evaluation:
        found |= _calibration(evaluation["calibration"])
    found |= _further(evaluation)
    if "confusion" in evaluation:
        found["confusion_accuracy"] = evaluation["confusion"]["accuracy"]
    if "prediction" in evaluation:
        found["mixed_error_per_frame"] = evaluation["prediction"]["flow"]["mean_per_frame"]
    return found | leaves(evaluation.get("codes"), "codes")


def leaves(value: Any, name: str) -> dict[str, Any]:
    """Return the numbers and estimates inside nested dicts, their keys joined by ``/``; lists and texts are left out.

    Example:
        >>> leaves({"a": {"mean": 1.0, "standard_error": None, "note": "x"}, "b": 2, "c": [3]}, "top")
        {'top/a': {'mean': 1.0, 'standard_error': None}, 'top/b': 2}
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Mapping)):
        return {}
    if not isinstance(value, Mapping):
        return {name: value}
    if _is_estimate(value):
        return {name: {"mean": value["mean"], "standard_error": value["standard_error"]}}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= leaves(item, f"{name}/{key}")
    return found


def mean_of(value: Any) -> float | None:
    """The mean of an estimate, or a number as it is; None for anything else.

    Example:
        >>> mean_of({"mean": 1.5, "standard_error": 0.1}), mean_of(2.0), mean_of(None)
        (1.5, 2.0, None)
    """
    value = value.get("mean") if isinstance(value, Mapping) else value
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def frame_curves(evaluation: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Mean error of every frame x_0, x_1, ... moved by the flow, by transformation: as far as was measured.

    Example:
        >>> short = {"flow": {"per_frame": {"mean": [0.0, 1.0]}}}
        >>> long = {"flow": {"l1": {"per_frame": {"mean": [0.0, 1.0, 3.0]}}}}
        >>> frame_curves({"equivariance": {"hue": short}, "extrapolation": {"transformations": {"hue": long}}})
        {'hue': [0.0, 1.0, 3.0]}
    """
    further = inside(evaluation, "extrapolation", "transformations") or {}
    curves = {}
    for name, kinds in (evaluation.get("equivariance") or {}).items():
        longer = inside(further.get(name), "flow", "l1", "per_frame", "mean")
        curves[name] = longer or inside(kinds, "flow", "per_frame", "mean") or []
    return curves


def inside(value: Any, *keys: str) -> Any:
    """What is under ``keys`` in nested dicts, None where something is missing on the way.

    Example:
        >>> inside({"a": {"b": 1}}, "a", "b"), inside({"a": None}, "a", "b")
        (1, None)
    """
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _is_estimate(value: Mapping[str, Any]) -> bool:
    numbers = (value.get(key) for key in ("mean", "standard_error"))
    return {"mean", "standard_error"} <= value.keys() and not any(isinstance(one, (list, Mapping)) for one in numbers)


def _errors(equivariance: Mapping[str, Any], steps: int | None) -> dict[str, Any]:
    if not equivariance:
        return {}
    has_seven = all(kinds["flow"].get(PUBLISHED_SUM) for kinds in equivariance.values())
    key = PUBLISHED_SUM if has_seven else FULL_SUM
    found: dict[str, Any] = {"error_steps": 7 if has_seven else steps}
    measured = set.intersection(*(set(kinds) for kinds in equivariance.values()))
    for shown, kind in KINDS.items():
        if kind not in measured:
            continue
        values = {name: kinds[kind][key] for name, kinds in equivariance.items()}
        found |= {f"{shown}/{name}": value for name, value in values.items()}
        found[f"{shown}/mean"] = _mean(mean_of(value) for value in values.values())
    return found


def _likelihood(likelihood: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, entry in likelihood.get("likelihoods", {}).items():
        found |= {f"{bound}/{name}": entry[bound] for bound in ("elbo", "iwae", "paper") if bound in entry}
        found[f"upper_bound/{name}"] = entry.get("upper_bound")
    if likelihood:
        found["likelihood_of"] = f"{likelihood['quantity']}, {likelihood['sequences']} sequences"
    if "legacy_score" in likelihood:
        found |= leaves(likelihood["legacy_score"], "legacy_score")
    return found


def _alignment(alignment: Mapping[str, Any]) -> dict[str, Any]:
    if not alignment:
        return {}
    found: dict[str, Any] = {"spikes_right": alignment["spikes_right"]}
    for shown, key in (("share", "share"), ("f1", "f1"), ("speed_r", "speed_correlation")):
        values = {name: one[key] for name, one in alignment["transformations"].items()}
        found |= {f"{shown}/{name}": value for name, value in values.items()}
        found[f"{shown}/worst"] = None if None in values.values() else min(values.values(), default=None)
    speeds = {name: one["speed_rmse"] for name, one in alignment["transformations"].items() if "speed_rmse" in one}
    if speeds:
        found |= {f"speed_rmse/{name}": value for name, value in speeds.items()}
        found["speed_rmse/worst"] = None if None in speeds.values() else max(speeds.values())
    found["further_field"] = max((one["mean"] for one in alignment["unmatched"]), default=None)
    if "alive" in alignment:
        found["fields_alive"] = alignment["alive"]["fields"]
    return found


def _calibration(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Calibration errors of P(on), and the share of true speeds within one and two deviations, pooled and each."""
    pooled, described = calibration["pooled"], calibration["transformations"]
    found = {"ece": pooled["ece"], **{f"ece/{name}": one["ece"] for name, one in described.items()}}
    return found | {f"coverage/{within}": share for within, share in pooled["coverage"].items()}


def _further(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Errors per frame beyond the trained length, of two transformations at once, and of one after the other."""
    found: dict[str, Any] = {}
    for name, entry in (inside(evaluation, "extrapolation", "transformations") or {}).items():
        if entry is not None:
            found[f"extrapolation/{name}"] = inside(entry, "flow", "l1", "further_mean")
            found[f"extrapolation_mse/{name}"] = inside(entry, "flow", "mse", "further_mean")
    for part in ("extrapolation", "extrapolation_mse"):
        values = [mean_of(value) for key, value in found.items() if key.startswith(part + "/")]
        if values:
            found[f"{part}/mean"] = _mean(values)
    for part in ("composition", "switching"):
        error = inside(evaluation, part, "mean", "flow", "mean_per_frame")
        if error is not None:
            found[part] = error
    return found


def _mean(values: Any) -> float | None:
    values = list(values)
    return None if None in values or not values else sum(values) / len(values)
