"""The criteria of a successful unsupervised run, applied to an alignment."""

from __future__ import annotations

from typing import Any

from ffrl.evaluation.alignment import SILENT

SHARE, F1, CORRELATION = 0.98, 0.97, 0.9


def criteria(alignment: dict[str, Any]) -> list[dict[str, Any]]:
    """One line per criterion: the worst value over all transformations or fields, what is required, and the verdict.

    Args:
        alignment: from :func:`ffrl.evaluation.alignment.align`.

    Returns:
        Dicts with ``name``, ``worst`` (None if it is undefined for one of them, or if there are no further fields),
        ``at_least`` or ``at_most``, and ``reached``. No further fields are silent; what is undefined is not reached.
        Nothing is asked of the correlation of speeds where every true speed is the same.

    Example:
        >>> import numpy as np
        >>> from ffrl.evaluation.alignment import align
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
    return [*lines, lowest("speed correlation", "speed_correlation", CORRELATION)] if alignment["graded"] else lines
