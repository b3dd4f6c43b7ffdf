"""How well factors can be read from codes by a linear map, on codes that the map was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RIDGE = 1e-3
"""lambda of the linear probe, for standardised codes."""


def r_squared(predicted: ArrayLike, truth: ArrayLike) -> float:
    r"""Explained share of variance, averaged over the columns of a target.

    .. math:: R^2 = \frac{1}{M} \sum_{m=1}^M 1 - \frac{\sum_i (y_{im} - \hat y_{im})^2}{\sum_i (y_{im} - \bar y_m)^2}

    Args:
        predicted: ``(N, M)`` or ``(N,)``.
        truth: of the same shape.

    Returns:
        At most 1; 0 for predicting the mean; below 0 for worse; nan if a column of ``truth`` is constant.

    Example:
        >>> round(r_squared([1.0, 2.0, 3.0], [1.0, 2.0, 6.0]), 9)
        0.357142857
    """
    predicted, truth = _columns(predicted), _columns(truth)
    residual = np.square(truth - predicted).sum(0)
    total = np.square(truth - truth.mean(0)).sum(0)
    shares = np.full(total.shape, np.nan)
    np.divide(residual, total, out=shares, where=total > 0)
    return float((1 - shares).mean())


def linear_probe(codes: ArrayLike, targets: Sequence[ArrayLike], held_out: ArrayLike) -> list[float]:
    r"""Held-out R^2 of ridge regression from codes, for every target.

    .. math:: W = (Z^T Z + \lambda N I)^{-1} Z^T Y, \quad \lambda = 10^{-3}

    with Z the codes, standardised by their mean and deviation on the N rows that are fitted, and Y the centred target.

    Args:
        codes: ``(N, D)``.
        targets: of each factor, what is predicted: ``(N,)``, or ``(N, M)`` with R^2 averaged over the M columns.
        held_out: which rows are not fitted but scored, bools ``(N,)``.

    Returns:
        R^2 of each factor, see :func:`r_squared`.

    Example:
        >>> codes = np.random.default_rng(0).normal(size=(200, 4))
        >>> found = linear_probe(codes, [codes @ [1.0, -2.0, 0.0, 3.0], codes[:, 0] ** 2], np.arange(200) >= 160)
        >>> found[0] > 0.999, found[1] < 0.3
        (True, True)
    """
    codes, held_out = np.asarray(codes, dtype=np.float64), np.asarray(held_out, dtype=bool)
    fitted = codes[~held_out]
    deviation = fitted.std(0)
    standard: NDArray[np.float64] = (codes - fitted.mean(0)) / np.where(deviation > 0, deviation, 1.0)
    fitted = standard[~held_out]
    gram = fitted.T @ fitted + RIDGE * len(fitted) * np.eye(standard.shape[1])
    scores = []
    for target in map(_columns, targets):
        mean = target[~held_out].mean(0)
        weight = np.linalg.solve(gram, fitted.T @ (target[~held_out] - mean))
        scores.append(r_squared(standard[held_out] @ weight + mean, target[held_out]))
    return scores


def _columns(values: ArrayLike) -> NDArray[np.float64]:
    """(N,) or (N, M) as (N, M)."""
    values = np.asarray(values, dtype=np.float64)
    return values.reshape(len(values), -1)
