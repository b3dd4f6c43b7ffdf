"""Which field was inferred for which transformation, when one acts throughout a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike

from ffrl.evaluation.matching import match
from ffrl.evaluation.measures.alignment import MATCHED, matched
from ffrl.evaluation.protocol.measure import FIELDS, Measure, Metric, Pass, Results, Seen
from ffrl.evaluation.protocol.needs import Need
from ffrl.tables.table import Column, Row, Table


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


class Confusion(Measure):
    """Inferred fields on single-transformation sequences, see :func:`confusion`."""

    keys, needs, sees = ("confusion",), frozenset({Need.SINGLE, Need.ONE_FIELD}), Pass.SINGLE
    place, finds = 70, True

    def see(self, seen: Seen) -> None:
        inferred = seen.activity[:, 0].argmax(-1)
        self.keep({"inferred": inferred, "true": torch.full_like(inferred, cast(int, seen.which))})

    def result(self, found: Results) -> dict[str, Any]:
        inferred, true = (self.kept(name).cpu().numpy() for name in ("inferred", "true"))
        task = self.task
        return {"confusion": confusion(inferred, true, task.model.num_fields, task.data.transformations)}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        found, fields = results["confusion"], range(results["model"]["num_fields"])
        rows = []
        for (name, one), counts in zip(found["fields"].items(), found["counts"], strict=True):
            cells = [matched(count, k == one["field"]) for k, count in zip(fields, counts, strict=True)]
            rows.append(Row(name, [*cells, one["accuracy"]]))
        columns = [*(Column(f"{k}", block="field", digits=0) for k in fields), Column("accuracy", "high", digits=4)]
        notes = [
            f"Counts: sequences of one transformation each for which the field was inferred; {MATCHED}: the field that "
            "is matched to the transformation.",
            f"Accuracy over all {found['sequences']} sequences: {found['accuracy']:.4f} (target: 1).",
        ]
        return [
            Table(
                "confusion", "Which field is inferred for which transformation", "transformation", columns, rows, notes
            )
        ]

    @classmethod
    def summary(cls, results: Results) -> str:
        found = results["confusion"]
        return f"the matched field is inferred for {found['accuracy']:.1%} of {found['sequences']} sequences"

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        return {"confusion_accuracy": results["confusion"]["accuracy"]}

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> list[Metric]:
        about = "Accuracy: sequences of one transformation whose field was inferred."
        return [Metric(FIELDS, "confusion_accuracy", Column("accuracy", "high", digits=4), about)]


MEASURE = Confusion
