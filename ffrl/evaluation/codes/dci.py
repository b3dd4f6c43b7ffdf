"""Disentanglement, completeness and informativeness of codes (Eastwood and Williams, 2018, ICLR)."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import entropy

from ffrl.core.errors import UserError
from ffrl.core.files import PACKAGE
from ffrl.evaluation.codes.probe import r_squared

TREES, LEAF = 50, 10
"""Trees of a forest, and samples that a leaf must have: smaller leaves split on noise, which blurs importances."""


class Dci(NamedTuple):
    """Disentanglement and completeness in [0, 1], held-out R^2 of every factor, and the importances ``(D, F)``."""

    disentanglement: float
    completeness: float
    informativeness: list[float]
    importance: NDArray[np.float64]


def disentanglement(importance: ArrayLike) -> float:
    r"""Whether each code dimension matters for one factor only (Eastwood and Williams, section 2).

    .. math:: \sum_i \rho_i \Big(1 + \sum_j P_{ij} \log_F P_{ij}\Big), \quad P_{ij} = \frac{R_{ij}}{\sum_k R_{ik}},
        \quad \rho_i = \frac{\sum_j R_{ij}}{\sum_{kj} R_{kj}}

    Args:
        importance: R, of each dimension for each factor, non-negative ``(D, F)``.

    Returns:
        In [0, 1]; 0 if nothing matters for anything; nan for a single factor.

    Example:
        >>> disentanglement([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), disentanglement(np.ones((3, 2)))
        (1.0, 0.0)
    """
    importance = np.asarray(importance, dtype=np.float64)
    weight = importance.sum(1)
    return float(_concentration(importance) @ (weight / max(weight.sum(), np.finfo(float).tiny)))


def completeness(importance: ArrayLike) -> float:
    r"""Whether each factor is coded in one dimension only (Eastwood and Williams, section 2), averaged over factors.

    .. math:: \frac{1}{F} \sum_j \Big(1 + \sum_i P_{ij} \log_D P_{ij}\Big), \quad P_{ij} = \frac{R_{ij}}{\sum_k R_{kj}}

    Args:
        importance: R, of each dimension for each factor, non-negative ``(D, F)``.

    Returns:
        In [0, 1]; a factor for which nothing matters counts 0; nan for a single dimension.

    Example:
        >>> completeness([[2.0, 0.0], [0.0, 3.0]]), completeness([[1.0, 1.0], [1.0, 0.0]])
        (1.0, 0.5)
    """
    return float(_concentration(np.asarray(importance, dtype=np.float64).T).mean())


def dci(codes: ArrayLike, targets: Sequence[ArrayLike], held_out: ArrayLike, seed: int = 0) -> Dci:
    """Disentanglement, completeness and informativeness by random forests, one for each factor.

    Importances are those of scikit-learn: the share of a dimension in the variance of the target that splits explain.
    Forests are of regressors; the variance of a target with one indicator column per category is its Gini impurity.

    With many more dimensions than factors, codes that are mixed at random can score high: some dimension happens to
    follow each factor. A score only says something beside that of other codes with as many dimensions.

    Args:
        codes: ``(N, D)``.
        targets: of each factor, what is predicted: ``(N,)``, or ``(N, M)`` with R^2 averaged over the M columns.
        held_out: which rows are not fitted but scored, bools ``(N,)``.
        seed: of the forests, in [0, 2**32).

    Raises:
        UserError: scikit-learn is not installed.

    Example:
        >>> factors = np.random.default_rng(0).integers(0, 5, (500, 2))
        >>> found = dci(factors[:, ::-1], list(factors.T), np.arange(500) >= 400)
        >>> found.disentanglement > 0.99, min(found.informativeness) > 0.99
        (True, True)
    """
    forests = import_forests()
    codes, held_out = np.asarray(codes, dtype=np.float64), np.asarray(held_out, dtype=bool)
    informativeness, importance = [], []
    for target in targets:
        target = np.squeeze(np.asarray(target, dtype=np.float64))
        forest = forests.RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=seed)
        forest.fit(codes[~held_out], target[~held_out])
        informativeness.append(r_squared(forest.predict(codes[held_out]), target[held_out]))
        importance.append(forest.feature_importances_)
    matrix = np.stack(importance, axis=1)
    return Dci(disentanglement(matrix), completeness(matrix), informativeness, matrix)


def import_forests() -> ModuleType:
    """Return ``sklearn.ensemble``.

    Raises:
        UserError: scikit-learn is not installed.

    Example:
        >>> import_forests().RandomForestRegressor.__name__
        'RandomForestRegressor'
    """
    try:
        import sklearn.ensemble
    except ImportError:
        expected = f"it for the disentanglement of codes: pip install '{PACKAGE}[metrics]'"
        raise UserError(f"codes: found no package 'scikit-learn', expected {expected}") from None
    return sklearn.ensemble


def _concentration(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - entropy / log M of every row (N, M): 1 for a single entry, 0 for equal ones or none; nan for M = 1."""
    count = rows.shape[1]
    if count == 1:
        return np.full(len(rows), np.nan)
    return 1 - entropy(np.where(rows.any(1, keepdims=True), rows, 1.0), base=count, axis=1)
