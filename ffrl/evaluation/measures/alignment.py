"""The alignment of fields with transformations, on mixed sequences: its tables, its targets and its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffrl.evaluation.matching import SILENT, align, strongest_part
from ffrl.evaluation.protocol.measure import FIELDS, Measure, Metric, Pass, Results, Seen
from ffrl.evaluation.protocol.needs import Need
from ffrl.tables.table import Column, Number, Row, Table

SHARE, F1, CORRELATION = 0.98, 0.97, 0.9
"""What the worst transformation is to reach."""
MATCHED = "*"
"""Marks what belongs to the field that is matched to a transformation."""


def matched(value: float | None, is_match: bool) -> Number | None:
    """A number of a field and a transformation, marked if these are matched.

    Example:
        >>> matched(0.5, True).mark, matched(None, False)
        ('*', None)
    """
    return None if value is None else Number(value, best=is_match, mark=MATCHED if is_match else "")


def unscored(alignment: Mapping[str, Any]) -> list[str]:
    """Why there is no error of speeds, where there is none, from :func:`align`.

    Example:
        >>> unscored(align([[1.0], [1.0]], [[1.0], [1.0]], ["hue"]))
        ['Speeds n/a: every true speed is the same.']
        >>> unscored(align([[0.0], [0.0]], [[1.0], [2.0]], ["hue"]))
        ['Speeds n/a (hue): true and inferred speed are never on together, or all true ones are the same.']
    """
    missing = [name for name, one in alignment["transformations"].items() if one["speed_rmse"] is None]
    if not alignment.get("graded", True):
        return ["Speeds n/a: every true speed is the same."]
    names = ", ".join(missing)
    never = f"Speeds n/a ({names}): true and inferred speed are never on together, or all true ones are the same."
    return [never] if missing else []


class Alignment(Measure):
    """Inferred against true activity of mixed sequences, see :func:`align`."""

    keys, needs, sees, place, finds = ("alignment",), frozenset({Need.ALIGNMENT}), Pass.MIXED, 80, True
    units = {
        "speed": "unit steps per transition",
        "speed_rmse": "as speed: root mean square of inferred - true speed where both are on",
        "alive": "fields whose mean |g| over all steps is above silent_threshold",
    }

    def see(self, seen: Seen) -> None:
        self.keep({"speeds": seen.activity, "truth": seen.truth})

    def result(self, found: Results) -> dict[str, Any]:
        inferred, truth = (self.kept(name).cpu().numpy() for name in ("speeds", "truth"))
        speeds = strongest_part(inferred, self.task.model.num_fields)
        return {"alignment": align(speeds, truth, self.task.data.transformations)}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        return [_matrix(results["alignment"]), _scores(results["alignment"])]

    @classmethod
    def summary(cls, results: Results) -> str:
        found = results["alignment"]
        alive, spikes = found["alive"], Column("", digits=1, percent=True).text(found["spikes_right"])
        return f"{alive['fields']} fields alive for {alive['transformations']} transformations; spikes right: {spikes}"

    @classmethod
    def criteria(cls, results: Results) -> list[dict[str, Any]]:
        """The worst value over all transformations, or over all further fields, decides.

        What is undefined for one of them is not reached; no further fields are silent. Nothing is asked of the
        correlation of speeds where every true speed is the same. The number of fields alive is to be that of the
        transformations.

        Example:
            >>> import numpy as np
            >>> truth = np.diag([0.5, 0.7]).repeat(2, axis=0) * [[1.0], [2.0], [1.0], [2.0]]
            >>> found = align(truth, truth, ["scaling", "rotation"])
            >>> all(line["reached"] for line in Alignment.criteria({"alignment": found}))
            True
        """
        found = results["alignment"]
        means, alive = [field["mean"] for field in found["unmatched"]], found["alive"]
        lines = [
            _lowest(found, "share of the matched field", "share", SHARE),
            {
                "name": "mean activity of further fields",
                "worst": max(means, default=None),
                "at_most": SILENT,
                "reached": all(mean <= SILENT for mean in means),
            },
            _lowest(found, "spike F1", "f1", F1),
        ]
        if found["graded"]:
            lines.append(_lowest(found, "speed correlation", "speed_correlation", CORRELATION))
        fields, wanted = alive["fields"], alive["transformations"]
        return [*lines, {"name": "fields alive", "worst": fields, "exactly": wanted, "reached": fields == wanted}]

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        alignment = results["alignment"]
        found: dict[str, Any] = {"spikes_right": alignment["spikes_right"]}
        scores = {"share": "share", "f1": "f1", "speed_r": "speed_correlation", "speed_rmse": "speed_rmse"}
        for shown, key in scores.items():
            values = {name: one[key] for name, one in alignment["transformations"].items() if key in one}
            if values:
                worst = max if shown == "speed_rmse" else min
                found |= {f"{shown}/{name}": value for name, value in values.items()}
                found[f"{shown}/worst"] = None if None in values.values() else worst(values.values())
        found["further_field"] = max((one["mean"] for one in alignment["unmatched"]), default=None)
        return found | ({"fields_alive": alignment["alive"]["fields"]} if "alive" in alignment else {})

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> list[Metric]:
        about = (
            "Share: of the matched field in all activity while only its transformation acts; F1: of its spikes, r: "
            "correlation of its speed with the true one, both on mixed sequences; the worst transformation of each, 0 "
            "or without r where it has no field. Spikes right: pairs of step and transformation whose spike is right; "
            "without a field it is never on. Further field: largest mean activity of those that no transformation is "
            "matched to."
        )
        columns = {
            "share/worst": Column("worst share", "high", digits=3),
            "f1/worst": Column("worst F1", "high", digits=3),
            "spikes_right": Column("spikes right", "high", digits=4),
            "speed_r/worst": Column("worst speed r", "high", digits=3),
            "further_field": Column("further field", digits=4),
        }
        return [Metric(FIELDS, key, column, about) for key, column in columns.items()]


MEASURE = Alignment


def _lowest(found: Mapping[str, Any], name: str, key: str, required: float) -> dict[str, Any]:
    values = [one[key] for one in found["transformations"].values()]
    worst = None if None in values else min(values)
    return {"name": name, "worst": worst, "at_least": required, "reached": worst is not None and worst >= required}


def _matrix(found: Mapping[str, Any]) -> Table:
    fields = max((len(row) for row in found["matrix"] if row), default=0)
    rows = [
        Row(name, [matched(value, k == one["field"]) for k, value in enumerate(values or [None] * fields)])
        for (name, one), values in zip(found["transformations"].items(), found["matrix"], strict=True)
    ]
    columns = [Column(f"{k}", block="field", digits=3) for k in range(fields)]
    note = f"{MATCHED}: the field that is matched to the transformation."
    return Table("activity", "Mean |g| where only this transformation acts", "transformation", columns, rows, [note])


def _scores(found: Mapping[str, Any]) -> Table:
    titles = {"share": "share", "precision": "precision", "recall": "recall", "f1": "spike F1"}
    speeds = {"speed_correlation": "r", "speed_ratio": "ratio", "speed_rmse": "RMSE"}
    rows = [
        Row(name, ["none" if one["field"] is None else str(one["field"]), *(one[key] for key in (*titles, *speeds))])
        for name, one in found["transformations"].items()
    ]
    correlation = f"≥ {CORRELATION:g}" if found.get("graded", True) else ""
    rows.append(Row("target", ["", f"≥ {SHARE:g}", "", "", f"≥ {F1:g}", correlation, "1", "0"]))
    columns = [Column("field"), *(Column(title, digits=3) for title in titles.values())]
    columns += [Column(title, block="speed", digits=3) for title in speeds.values()]
    return Table(
        "alignment", "Which field does what, on mixed sequences", "transformation", columns, rows, _about(found)
    )


def _about(found: Mapping[str, Any]) -> list[str]:
    active, alive, threshold = found["active_fields"], found["alive"], f"{found['silent_threshold']:g}"
    further = [
        f"field {one['field']} {one['mean']:.4f}{'' if one['silent'] else ' (not silent)'}"
        for one in found["unmatched"]
    ]
    return [
        "Share: of all inferred activity while only this transformation acts, the part in the matched field.",
        "Precision, recall, F1: the steps at which the field is on against those at which the transformation is.",
        "Speed r: Pearson correlation of inferred and true speed where both are on; ratio: mean inferred by mean true; "
        "RMSE: root mean square of their difference in unit steps.",
        *unscored(found),
        f"Fields alive, with a mean |g| above {threshold}: {alive['fields']}; transformations: "
        f"{alive['transformations']}. Spikes right: {Column('', digits=4).text(found['spikes_right'])}. Fields that "
        f"act per step: {active['inferred']:.3f} inferred, {active['true']:.3f} true.",
        f"Mean |g| of further fields, at most {threshold} where they are silent: "
        f"{', '.join(further) or 'there are none'}.",
    ]
