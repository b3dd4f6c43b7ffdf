"""Which field was inferred for which transformation, when one acts throughout a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ffrl.evaluation.measures.alignment import match


def confusion(inferred: ArrayLike, which: ArrayLike, num_fields: int, transformations: Sequence[str]) -> dict[str, Any]:
    """Counts of inferred field against true transformation, and the accuracy of the best one-to-one matching.

    Args:
        inferred: field of each sequence, ``(N,)``.
        which: true transformation of each sequence, ``(N,)``.
        num_fields: K.
        transformations: their J names.

    Returns:
        ``counts`` (J rows of K), ``fields`` (per name: matched ``field`` or None, ``accuracy`` over the sequences of
        that transformation, None without any) and ``accuracy`` over all sequences.

    Example:
        >>> confusion([1, 1, 0, 1], [0, 0, 1, 1], num_fields=2, transformations=["scaling", "hue"])["accuracy"]
        0.75
    """
    inferred, which = np.asarray(inferred), np.asarray(which)
    counts = np.zeros((len(transformations), num_fields), dtype=np.int64)
    np.add.at(counts, (which, inferred), 1)
    fields = match(counts)
    hits = [0 if field is None else int(counts[j, field]) for j, field in enumerate(fields)]
    totals = counts.sum(axis=1).tolist()
    return {
        "sequences": len(which),
        "counts": counts.tolist(),
        "fields": {
            name: {"field": field, "accuracy": hit / total if total else None}
            for name, field, hit, total in zip(transformations, fields, hits, totals, strict=True)
        },
        "accuracy": sum(hits) / len(which),
    }
