"""Which field does which transformation: matching, spikes and speeds of inferred against true activity.

Every figure that is undefined (a transformation that never acts, the correlation of a constant) is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment, nnls

from ffrl.evaluation.protocol.measure import FIELDS, Measure, Metric, Pass, Results, Seen
from ffrl.evaluation.protocol.needs import Need
from ffrl.tables.table import Column, Number, Row, Table

SILENT = 0.01
"""Largest mean |g| over all steps of a silent field; every other field is alive."""
SHARE, F1, CORRELATION = 0.98, 0.97, 0.9
"""What the worst transformation is to reach."""
MATCHED = "*"
"""Marks what belongs to the field that is matched to a transformation."""


def strongest_part(speeds: ArrayLike, num_fields: int) -> NDArray[np.float64]:
    """One speed per field from one per control: of a field's two parts, the one with the larger |g| at each step.

    Args:
        speeds: ``(..., K)``, returned as it is, or ``(..., 2K)`` with the potential parts first (separate control).
        num_fields: K.

    Returns:
        ``(..., K)``.

    Example:
        >>> strongest_part([[0.5, 0.0, -2.0, 1.0]], num_fields=2)
        array([[-2.,  1.]])
    """
    return strongest(speeds, speeds, num_fields)


def strongest(speeds: ArrayLike, values: ArrayLike, num_fields: int) -> NDArray[np.float64]:
    """``values`` of the part of each field with the larger |g|: one per field from one per control.

    Args:
        speeds: g, as in :func:`strongest_part`.
        values: as large, of anything.
        num_fields: K.

    Returns:
        ``(..., K)``.

    Example:
        >>> strongest([[0.5, 0.0, -2.0, 1.0]], [[1, 2, 3, 4]], num_fields=2)
        array([[3., 4.]])
    """
    sizes, values = (np.asarray(one, dtype=np.float64) for one in (np.abs(speeds), values))
    sizes, values = (one.reshape(*one.shape[:-1], -1, num_fields) for one in (sizes, values))
    return np.take_along_axis(values, sizes.argmax(axis=-2, keepdims=True), axis=-2).squeeze(-2)


def activity_matrix(speeds: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    r"""A[j, k], mean |g^k| over the frames in which transformation j acts and no other.

    Where a transformation never acts alone, what it adds to |g^k| at its mean speed, by non-negative least squares over
    all frames:

    .. math:: |g^k| \approx \sum_j A_{jk} \, |s_j| / \overline{|s_j|}

    Args:
        speeds: inferred, ``(..., K)``.
        truth: true speeds, ``(..., J)``, 0 where off.

    Returns:
        ``(J, K)``; a row of nan for a transformation that never acts, or that nothing tells apart from others.

    Example:
        >>> activity_matrix([[1.0, 0.0], [0.0, 3.0]], [[0.5, 0.0], [0.0, 0.7]])
        array([[1., 0.],
               [0., 3.]])
        >>> activity_matrix([[1.0, 3.0], [0.0, 3.0]], [[0.5, 0.7], [0.0, 0.7]]).round(9)
        array([[1., 0.],
               [0., 3.]])
    """
    sizes, true = np.abs(_flat(speeds)), np.abs(_flat(truth))
    on = true != 0
    alone = (on & (on.sum(-1, keepdims=True) == 1)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        matrix = alone.T @ sizes / alone.sum(0)[:, None]
    acting = np.flatnonzero(on.any(0))
    design = true[:, acting] * on[:, acting].sum(0) / true[:, acting].sum(0)
    if not alone.any(0)[acting].all() and np.linalg.matrix_rank(design.T @ design) == len(acting):
        added = np.stack([nnls(design, column)[0] for column in sizes.T], axis=1)
        matrix[acting] = np.where(np.isnan(matrix[acting]), added, matrix[acting])
    return matrix


def match(matrix: ArrayLike) -> list[int | None]:
    """Field of each transformation: the one-to-one assignment with the largest sum of entries (Hungarian method).

    Args:
        matrix: A, ``(J, K)``, any J and K.

    Returns:
        A field or None for each of the J transformations: None without a row (nan), when there are fewer fields than
        transformations, or when all that is left to it is a field that does not respond (entry 0).

    Example:
        >>> match([[0.1, 0.9], [0.8, 0.0], [0.3, 0.0]])
        [1, 0, None]
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    fields: list[int | None] = [None] * len(matrix)
    known = np.flatnonzero(np.isfinite(matrix).all(axis=1))
    for row, field in zip(*linear_sum_assignment(matrix[known], maximize=True), strict=True):
        if matrix[known[row], field] > 0:
            fields[known[row]] = int(field)
    return fields


def spike_scores(spikes: ArrayLike, truth: ArrayLike) -> dict[str, float | None]:
    """Precision, recall and their harmonic mean F1 = 2 TP / (2 TP + FP + FN) of inferred spikes.

    Returns:
        None for precision if nothing was inferred, and for all three if the truth is never on.

    Example:
        >>> spike_scores([True, True, False], [True, False, False])
        {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666}
    """
    spikes, truth = np.asarray(spikes, dtype=bool), np.asarray(truth, dtype=bool)
    hits, found, there = int((spikes & truth).sum()), int(spikes.sum()), int(truth.sum())
    if not there:
        return {"precision": None, "recall": None, "f1": None}
    return {"precision": hits / found if found else None, "recall": hits / there, "f1": 2 * hits / (found + there)}


def speed_agreement(speeds: ArrayLike, truth: ArrayLike) -> dict[str, float | None]:
    r"""Correlation, ratio and root mean square difference of inferred and true speed, over frames where both are on.

    The direction of a field is arbitrary, so a field that runs backwards on the whole is turned around first, d = -1.

    .. math:: \mathrm{RMSE} = \sqrt{\frac{1}{|S|} \sum_{t \in S} (d \, g_t - s_t)^2}

    The inferred speeds are compared as they are: a field that does two unit steps at g = 1 has an error, though its
    speeds may correlate perfectly; ``speed_ratio`` tells.

    Args:
        speeds: g of the matched field, ``(...)``, 0 where off.
        truth: s of its transformation, ``(...)``, 0 where off [unit steps].

    Returns:
        ``speed_correlation`` (Pearson), None if either speed is constant; ``speed_ratio``, mean inferred / mean true;
        ``speed_rmse`` [unit steps], None if the true speed is the same wherever it is on (:func:`varies`);
        ``direction``, 1.0 or -1.0; all None if they are never on together.

    Example:
        >>> speed_agreement([-1.0, 0.0, -1.0], [1.0, 2.0, 3.0])
        {'speed_correlation': None, 'speed_ratio': 0.5, 'speed_rmse': 1.4142135623730951, 'direction': -1.0}
    """
    speeds, truth = np.asarray(speeds, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    both = (speeds != 0) & (truth != 0)
    if not both.any():
        return {"speed_correlation": None, "speed_ratio": None, "speed_rmse": None, "direction": None}
    inferred, true = speeds[both], truth[both]
    direction = -1.0 if inferred.mean() * true.mean() < 0 else 1.0
    ratio = direction * inferred.mean() / true.mean() if true.mean() != 0 else None
    vary = all(x.std() > 1e-6 * np.abs(x).max() for x in (inferred, true))
    correlation = float(np.corrcoef(direction * inferred, true)[0, 1]) if vary else None
    return {
        "speed_correlation": correlation,
        "speed_ratio": None if ratio is None else float(ratio),
        "speed_rmse": float(np.sqrt(np.mean((direction * inferred - true) ** 2))) if varies(truth) else None,
        "direction": direction,
    }


def varies(truth: ArrayLike) -> bool:
    r"""Whether true speeds, 0 where off, differ in size where they are on: else there is no speed to be inferred.

    Example:
        >>> varies([1.0, 0.0, 1.0]), varies([1.0, 0.0, 2.0])
        (False, True)
    """
    sizes = np.abs(np.asarray(truth, dtype=np.float64))
    sizes = sizes[sizes != 0]
    return bool(len(sizes) and np.ptp(sizes) > 1e-6 * sizes.max())


def alive_fields(speeds: ArrayLike) -> list[int]:
    r"""The fields that are alive: those whose mean \|g\| over all steps is above :data:`SILENT`.

    Every field is alive or silent, whether or not a transformation is matched to it, and this is the one definition for
    both. A field that is on at 1 % of the steps at unit speed is just silent.

    Args:
        speeds: inferred, ``(..., K)``, 0 where off.

    Example:
        >>> alive_fields([[1.0, 0.002, 0.0], [0.0, 0.0, -0.5]])
        [0, 2]
    """
    return np.flatnonzero(np.abs(_flat(speeds)).mean(axis=0) > SILENT).tolist()


def unmatched_fields(speeds: ArrayLike, fields: Sequence[int | None]) -> list[dict[str, Any]]:
    """The fields that no transformation was matched to, their mean |g| over all frames, and whether they are silent.

    Example:
        >>> unmatched_fields([[1.0, 0.002], [0.0, 0.0]], fields=[0])
        [{'field': 1, 'mean': 0.001, 'silent': True}]
    """
    means = np.abs(_flat(speeds)).mean(axis=0)
    return [
        {"field": k, "mean": float(mean), "silent": bool(mean <= SILENT)}
        for k, mean in enumerate(means)
        if k not in fields
    ]


def align(speeds: ArrayLike, truth: ArrayLike, transformations: Sequence[str]) -> dict[str, Any]:
    """Everything about inferred against true activity (STA's setting; the measures are this project's).

    Args:
        speeds: inferred, ``(N, T, K)``, exactly 0 where off.
        truth: true speeds, ``(N, T, J)``, exactly 0 where off.
        transformations: their J names.

    Returns:
        ``matrix`` (J rows of K, None for one that cannot be told apart), ``transformations`` (per name: ``field``,
        ``share`` = matched entry / row sum, spike scores, speed agreement), ``unmatched`` fields, ``spikes_right`` (the
        share of all (frame, transformation) pairs whose spike is right, one without a field being taken as never on;
        transformations without a row do not count), ``alive`` (how many ``fields`` are, :func:`alive_fields`,
        and how many ``transformations`` there are), ``active_fields`` per frame, inferred and true, and ``graded``,
        whether true speeds vary (:func:`varies`), so that inferred ones can correlate with them.

    Example:
        >>> truth = np.eye(2)[None]
        >>> align(truth[..., ::-1], truth, ["scaling", "rotation"])["transformations"]["scaling"]["field"]
        1
    """
    speeds, truth = _flat(speeds), _flat(truth)
    matrix = activity_matrix(speeds, truth)
    fields = match(matrix)
    described, right = {}, []
    for j, (name, field) in enumerate(zip(transformations, fields, strict=True)):
        there = truth[:, j] != 0
        matched = np.zeros_like(truth[:, j]) if field is None else speeds[:, field]
        known = not np.isnan(matrix[j]).any()
        if known:
            right.append(((matched != 0) == there).mean())
        described[name] = {
            "field": field,
            "share": _share(matrix[j], field) if known else None,
            **spike_scores(matched != 0 if known else [], there if known else []),
            **speed_agreement(matched, truth[:, j]),
        }
    return {
        "frames": len(truth),
        "graded": varies(truth),
        "matrix": [None if np.isnan(row).any() else row.tolist() for row in matrix],
        "transformations": described,
        "unmatched": unmatched_fields(speeds, fields),
        "silent_threshold": SILENT,
        "alive": {"fields": len(alive_fields(speeds)), "transformations": len(transformations)},
        "spikes_right": float(np.mean(right)) if right else None,
        "active_fields": {
            "inferred": float((speeds != 0).sum(-1).mean()),
            "true": float((truth != 0).sum(-1).mean()),
        },
    }


def _flat(activity: ArrayLike) -> NDArray[np.float64]:
    activity = np.asarray(activity, dtype=np.float64)
    return activity.reshape(-1, activity.shape[-1])


def _share(row: NDArray[np.float64], field: int | None) -> float:
    return 0.0 if field is None else float(row[field] / row.sum())


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
