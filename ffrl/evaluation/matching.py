"""Which field does which transformation: matching, spikes and speeds of inferred against true activity.

Every figure that is undefined (a transformation that never acts, the correlation of a constant) is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment, nnls

SILENT = 0.01
"""Largest mean |g| over all steps of a silent field; every other field is alive."""


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
