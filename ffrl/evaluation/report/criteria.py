"""The criteria of a successful unsupervised run, applied to an alignment and the calibration of a posterior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffrl.evaluation.measures.alignment import SILENT

SHARE, F1, CORRELATION, ECE = 0.98, 0.97, 0.9, 0.03


def criteria(alignment: Mapping[str, Any], calibration: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """One line per criterion: the worst value over all transformations or fields, what is required, and the verdict.

    Args:
        alignment: from :func:`ffrl.evaluation.measures.alignment.align`.
        calibration: from :func:`ffrl.evaluation.measures.calibration.calibrate`, if the model has a posterior.

    Returns:
        Dicts with ``name``, ``worst`` (None if it is undefined for one of them, or if there are no further fields),
        ``at_least``, ``at_most`` or ``exactly``, and ``reached``. No further fields are silent; what is undefined is
        not reached. Nothing is asked of the correlation of speeds where every true speed is the same, nor of the
        calibration error, which is that of all transformations pooled, without a posterior. The number of fields alive
        is to be that of the transformations of the data.

    Example:
        >>> import numpy as np
        >>> from ffrl.evaluation.measures.alignment import align
        >>> truth = np.diag([0.5, 0.7]).repeat(2, axis=0) * [[1.0], [2.0], [1.0], [2.0]]
        >>> all(line["reached"] for line in criteria(align(truth, truth, ["scaling", "rotation"])))
        True
    """
    described = alignment["transformations"].values()

    def lowest(name: str, key: str, required: float) -> dict[str, Any]:
        values = [one[key] for one in described]
        worst = None if None in values else min(values)
        return {"name": name, "worst": worst, "at_least": required, "reached": worst is not None and worst >= required}

    means = [field["mean"] for field in alignment["unmatched"]]
    silent = {
        "name": "mean activity of further fields",
        "worst": max(means, default=None),
        "at_most": SILENT,
        "reached": all(mean <= SILENT for mean in means),
    }
    lines = [lowest("share of the matched field", "share", SHARE), silent, lowest("spike F1", "f1", F1)]
    if alignment["graded"]:
        lines.append(lowest("speed correlation", "speed_correlation", CORRELATION))
    fields, transformations = alignment["alive"]["fields"], alignment["alive"]["transformations"]
    reached = fields == transformations
    lines.append({"name": "fields alive", "worst": fields, "exactly": transformations, "reached": reached})
    if calibration is not None:
        error = calibration["pooled"]["ece"]
        reached = error is not None and error <= ECE
        lines.append({"name": "pooled calibration error", "worst": error, "at_most": ECE, "reached": reached})
    return lines


def in_words(line: Mapping[str, Any]) -> tuple[str, str, str]:
    """What is required, the worst value and the verdict of a line of :func:`criteria`, in words.

    Example:
        >>> in_words({"name": "spike F1", "worst": 0.5, "at_least": 0.97, "reached": False})
        ('at least 0.97', '0.5000', 'not reached')
        >>> in_words({"name": "fields alive", "worst": 3, "exactly": 3, "reached": True})
        ('exactly 3', '3', 'reached')
    """
    kind = next(kind for kind in ("at_least", "at_most", "exactly") if kind in line)
    worst, reached = line["worst"], line["reached"]
    if worst is None:
        found = "there are none" if reached else "undefined"
    else:
        found = f"{worst:g}" if kind == "exactly" else f"{worst:.4f}"
    return f"{kind.replace('_', ' ')} {line[kind]:g}", found, "reached" if reached else "not reached"
