"""Mutual information gap: how much more one code dimension knows of a factor than the next best (Chen et al., 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import entropy

BINS = 20
"""Bins of a code dimension, and of a factor with more values than that."""


def binned(values: ArrayLike, bins: int = BINS) -> NDArray[np.int64]:
    """Numbers of the equal-width bins between the least and the largest value of every column.

    Args:
        values: ``(N, D)``; all values of a constant column are in bin 0.
        bins: how many.

    Returns:
        ``(N, D)``, 0 to ``bins - 1``.

    Example:
        >>> binned([[0.0], [1.0], [3.9], [4.0]], bins=4).ravel().tolist()
        [0, 1, 3, 3]
    """
    values = np.asarray(values, dtype=np.float64)
    low = values.min(0)
    extent = values.max(0) - low
    place = (values - low) / np.where(extent > 0, extent, 1.0)
    return np.minimum((place * bins).astype(np.int64), bins - 1)


def mutual_information(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    r"""Mutual information of the empirical law of every pair of columns, in nats.

    .. math:: I(a; b) = \sum_{x, y} p(x, y) \log \frac{p(x, y)}{p(x) p(y)}

    Args:
        first: whole numbers from 0 on, ``(N, D)``.
        second: whole numbers from 0 on, ``(N, F)``.

    Returns:
        ``(D, F)``; of a column with itself its entropy.

    Example:
        >>> column = np.array([[0], [1], [2], [3]])
        >>> mutual_information(column, np.hstack([column, column // 2])) / np.log(2)
        array([[2., 1.]])
    """
    first, second = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    rows, columns = first.max() + 1, second.max() + 1
    pairs = [[np.bincount(a * columns + b, minlength=rows * columns) for b in second.T] for a in first.T]
    counts = np.reshape(pairs, (first.shape[1], second.shape[1], rows, columns))
    apart = entropy(counts.sum(-1), axis=-1) + entropy(counts.sum(-2), axis=-1)
    return np.maximum(apart - entropy(counts, axis=(-2, -1)), 0.0)


def mutual_information_gaps(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> NDArray[np.float64]:
    r"""The gap of every factor; their mean is the MIG (Chen et al., 2018, arXiv:1802.04942, equation 6).

    .. math:: \frac{I(z_{(1)}; v_j) - I(z_{(2)}; v_j)}{H(v_j)}

    with the two dimensions that know most of factor v_j. Codes are put into equal-width bins; a factor counts by
    value, and is put into bins too if it has more than ``bins`` values.

    Args:
        codes: ``(N, D)``.
        factors: ``(N, F)``.
        bins: how many.

    Returns:
        ``(F,)`` in [0, 1]; nan for a factor with one value.

    Example:
        >>> factors = np.random.default_rng(0).integers(0, 10, (2000, 2))
        >>> mutual_information_gaps(factors, factors) > 0.95
        array([ True,  True])
        >>> mutual_information_gaps(np.hstack([factors, factors]), factors)
        array([0., 0.])
    """
    factors = np.stack([_by_value(column, bins) for column in np.asarray(factors).T], axis=1)
    known = mutual_information(binned(codes, bins), factors)
    known = np.sort(np.vstack([np.zeros((2, known.shape[1])), known]), axis=0)
    entropies = np.array([entropy(np.bincount(column)) for column in factors.T])
    gaps = np.full(len(entropies), np.nan)
    return np.divide(known[-1] - known[-2], entropies, out=gaps, where=entropies > 0)


def _by_value(column: NDArray[Any], bins: int) -> NDArray[np.int64]:
    """Numbers of the values of a factor, or of their bins if there are many."""
    values, numbers = np.unique(column, return_inverse=True)
    return numbers if len(values) <= bins else binned(column[:, None], bins)[:, 0]
