"""Whether the posterior of an activity can be believed: reliability of P(on), and coverage of speeds by deviations.

Everything is measured on pairs of a transformation and the field matched to it
(:mod:`ffrl.evaluation.measures.alignment`); a transformation without a field has no pairs. Whatever is
undefined is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffrl.evaluation.matching import speed_agreement, strongest, strongest_part, varies
from ffrl.evaluation.protocol.measure import Measure, Pass, Results, Seen
from ffrl.evaluation.protocol.needs import Need
from ffrl.tables.table import Column, Row, Table

BINS = 10
"""Of equal width, as in Guo et al. (2017), who take 15, and Naeini et al. (2015), who take 10."""
ECE = 0.03
"""What the pooled calibration error is to stay below."""
DEVIATIONS = {"one_deviation": 1, "two_deviations": 2}
"""How many deviations coverage is counted within, by name."""
GAUSSIAN = {name: math.erf(count / math.sqrt(2)) for name, count in DEVIATIONS.items()}
"""Coverage that is expected if the posterior is a Gaussian and right: 0.683 and 0.954."""


def reliability(probability: ArrayLike, truth: ArrayLike, bins: int = BINS) -> dict[str, list[Any]]:
    r"""Predicted probabilities against observed frequencies, in bins of equal width of the probability.

    Bin b = 0 .. M-1 holds the pairs with b / M <= p < (b + 1) / M, the last one also those with p = 1. With B_b the
    pairs in it,

    .. math:: n_b = |B_b|, \quad \bar p_b = \frac{1}{n_b} \sum_{i \in B_b} p_i,
        \quad f_b = \frac{1}{n_b} \sum_{i \in B_b} y_i

    The diagram of f_b over the mean p_b is the reliability diagram: on its diagonal probabilities are right (DeGroot
    and Fienberg, "The Comparison and Evaluation of Forecasters", 1983; Guo et al., "On Calibration of Modern Neural
    Networks", ICML 2017, section 2).

    Args:
        probability: P(y = 1), ``(...)``, in [0, 1]; what is not a number is in no bin.
        truth: y, whether it was, ``(...)``.
        bins: M.

    Returns:
        ``count``, ``probability`` (mean) and ``frequency`` of every bin, M each; the latter two None in an empty one.

    Example:
        >>> reliability([0.25, 0.25, 1.0], [False, True, True], bins=3)
        {'count': [2, 0, 1], 'probability': [0.25, None, 1.0], 'frequency': [0.5, None, 1.0]}
    """
    p, y = _pairs(probability, truth)
    known = np.isfinite(p)
    p, y = p[known], y[known]
    place = np.clip(np.floor(p * bins), 0, bins - 1).astype(np.int64)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, values, bins) for values in (p, y)]
    means = [[float(one / n) if n else None for one, n in zip(total, count, strict=True)] for total in sums]
    return {"count": count.tolist(), "probability": means[0], "frequency": means[1]}


def expected_calibration_error(probability: ArrayLike, truth: ArrayLike, bins: int = BINS) -> float | None:
    r"""How far probabilities are from frequencies on average, as a probability: 0 is right, 1 as wrong as can be.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} \left| \bar p_b - f_b \right|

    With n_b, the mean p_b and f_b of :func:`reliability` and n the number of pairs (Naeini et al., "Obtaining Well
    Calibrated Probabilities Using Bayesian Binning", AAAI 2015; Guo et al., ICML 2017, equation 3; there of the
    probability of the predicted class, here of P(y = 1)). Of finitely many draws even right probabilities have an error
    of about the sum over bins of :math:`\sqrt{2 n_b \bar p_b (1 - \bar p_b) / \pi} / n`.

    Args:
        probability: P(y = 1), ``(...)``.
        truth: y, ``(...)``.
        bins: M.

    Returns:
        None without any pair, or if a probability is not a number.

    Example:
        >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9], [True, False, True, False]), 6)
        0.4
    """
    p, _ = _pairs(probability, truth)
    if not len(p) or not np.isfinite(p).all():
        return None
    found = reliability(probability, truth, bins)
    rows = zip(found["count"], found["probability"], found["frequency"], strict=True)
    return float(sum(n * abs(mean - frequency) for n, mean, frequency in rows if n) / len(p))


def coverage(speeds: ArrayLike, deviations: ArrayLike, truth: ArrayLike) -> dict[str, float | None]:
    r"""Share of the steps whose true speed lies within one and within two deviations of the inferred one.

    .. math:: \mathrm{coverage}_c = \frac{1}{|S|} \sum_{t \in S} [\, |s_t - \hat s_t| \le c \, \sigma_t \,],
        \quad c = 1, 2

    S are the steps at which both are on, as for :func:`ffrl.evaluation.matching.speed_agreement`, and a field
    that runs backwards on the whole is turned around as it is there. A right Gaussian posterior has :data:`GAUSSIAN`;
    more means that the deviations are too wide, less that they are too narrow.

    Args:
        speeds: inferred, of the matched field, ``(...)``, exactly 0 where off [unit steps].
        deviations: of the posterior of its speed where on, ``(...)`` [unit steps].
        truth: of its transformation, ``(...)``, exactly 0 where off [unit steps].

    Returns:
        ``one_deviation`` and ``two_deviations``, shares in [0, 1]; None if both are never on together or if the true
        speeds do not vary.

    Example:
        >>> coverage([1.0, 1.0, 0.0], [0.2, 0.2, 0.2], [1.1, 0.7, 1.0])
        {'one_deviation': 0.5, 'two_deviations': 1.0}
    """
    return _within(*_distances(speeds, deviations, truth))


def field_posterior(
    probability: ArrayLike, speeds: ArrayLike, deviations: ArrayLike, num_fields: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P(on) and deviation of the speed of every field from those of every control.

    Under separate control a field has two parts. As a field is inferred to be on if one of them is, its P(on) is that
    of the likelier part, which is above 1/2 exactly then (and no more than the P(on) of either); its deviation is that
    of the part whose speed is scored, :func:`ffrl.evaluation.matching.strongest_part`.

    Args:
        probability: P(on), ``(..., K)``, or ``(..., 2K)`` with the potential parts first (separate control).
        speeds: inferred, as large, exactly 0 where off.
        deviations: as large.
        num_fields: K.

    Returns:
        P(on) and deviation, ``(..., K)`` each.

    Example:
        >>> field_posterior([[0.2, 0.9]], [[0.0, 1.5]], [[0.3, 0.1]], num_fields=1)
        (array([[0.9]]), array([[0.1]]))
    """
    probability = np.asarray(probability, dtype=np.float64)
    likeliest = probability.reshape(*probability.shape[:-1], -1, num_fields).max(axis=-2)
    return likeliest, strongest(speeds, deviations, num_fields)


def calibrate(
    probability: ArrayLike,
    speeds: ArrayLike,
    deviations: ArrayLike,
    truth: ArrayLike,
    alignment: Mapping[str, Any],
    bins: int = BINS,
) -> dict[str, Any]:
    """Reliability and coverage of every matched field, and of all pairs of a step and a matched field pooled.

    Args:
        probability: P(on) of every field, ``(N, T, K)``.
        speeds: inferred, ``(N, T, K)``, exactly 0 where off [unit steps].
        deviations: of the posterior of the speed where on, ``(N, T, K)`` [unit steps].
        truth: true speeds, ``(N, T, J)``, exactly 0 where off [unit steps].
        alignment: of ``speeds``, from :func:`ffrl.evaluation.matching.align`.
        bins: M.

    Returns:
        ``transformations`` (per name: ``field`` or None, ``pairs``, :func:`reliability`, ``ece``, :func:`coverage`, the
        last four None without a field), ``pooled`` (the same of all of them together), ``bins`` and
        ``expected_coverage``.

    Example:
        >>> from ffrl.evaluation.matching import align
        >>> truth = np.eye(2)[None] * [1.0, 2.0]
        >>> found = calibrate(0.1 + 0.8 * (truth > 0), truth, truth, truth, align(truth, truth, ["scaling", "hue"]))
        >>> round(found["pooled"]["ece"], 6), found["transformations"]["hue"]["pairs"]
        (0.1, 2)
    """
    probability, speeds, deviations, truth = (
        np.asarray(values, dtype=np.float64).reshape(-1, np.shape(values)[-1])
        for values in (probability, speeds, deviations, truth)
    )
    described, columns, distances = {}, [], []
    for j, (name, entry) in enumerate(alignment["transformations"].items()):
        field = entry["field"]
        if field is None:
            described[name] = {"field": None, "pairs": None, "reliability": None, "ece": None, "coverage": None}
            continue
        columns.append((probability[:, field], truth[:, j] != 0))
        distances.append(_distances(speeds[:, field], deviations[:, field], truth[:, j]))
        described[name] = {"field": field, **_described(*columns[-1], *distances[-1], bins)}
    gathered = [
        np.concatenate([[], *values]) for values in (*zip(*columns, strict=True), *zip(*distances, strict=True))
    ]
    p, y, far, certain = gathered or [np.zeros(0)] * 4
    return {
        "transformations": described,
        "pooled": _described(p, y, far, certain, bins),
        "bins": bins,
        "expected_coverage": GAUSSIAN,
    }


def _described(p: ArrayLike, y: ArrayLike, distances: ArrayLike, deviations: ArrayLike, bins: int) -> dict[str, Any]:
    return {
        "pairs": len(np.asarray(p)),
        "reliability": reliability(p, y, bins),
        "ece": expected_calibration_error(p, y, bins),
        "coverage": _within(distances, deviations),
    }


def _pairs(probability: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p, y = np.asarray(probability, dtype=np.float64).ravel(), np.asarray(truth, dtype=bool).ravel()
    return p, y.astype(np.float64)


def _distances(
    speeds: ArrayLike, deviations: ArrayLike, truth: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far true speeds are from inferred ones, and the deviations of these, where both are on: ``(S,)`` each."""
    speeds, deviations, truth = (np.ravel(np.asarray(one, dtype=np.float64)) for one in (speeds, deviations, truth))
    both = (speeds != 0) & (truth != 0)
    direction = speed_agreement(speeds, truth)["direction"] if both.any() and varies(truth) else None
    if direction is None:
        return np.zeros(0), np.zeros(0)
    return np.abs(truth - direction * speeds)[both], deviations[both]


def _within(distances: ArrayLike, deviations: ArrayLike) -> dict[str, float | None]:
    distances, deviations = np.asarray(distances), np.asarray(deviations)
    return {
        name: float((distances <= count * deviations).mean()) if len(distances) else None
        for name, count in DEVIATIONS.items()
    }


class Calibration(Measure):
    """Whether the posterior of the activity of mixed sequences can be believed, see :func:`calibrate`."""

    keys, sees, place, finds = ("calibration",), Pass.MIXED, 90, True
    needs = frozenset({Need.ALIGNMENT, Need.POSTERIOR})
    units = {
        "ece": "a probability in [0, 1]: mean |predicted - observed| of a field being on, weighted by the pairs of a "
        "bin",
        "coverage": "share of the steps with both on whose true speed is within 1 or 2 deviations of the inferred one",
    }

    def see(self, seen: Seen) -> None:
        likely, spread = seen.posterior.probability, seen.posterior.deviation
        self.keep({"likely": likely, "speeds": seen.activity, "spread": spread, "truth": seen.truth})

    def result(self, found: Results) -> dict[str, Any]:
        names, fields = ("likely", "speeds", "spread", "truth"), self.task.model.num_fields
        likely, inferred, spread, truth = (self.kept(name).cpu().numpy() for name in names)
        probability, deviation = field_posterior(likely, inferred, spread, fields)
        speeds = strongest_part(inferred, fields)
        return {"calibration": calibrate(probability, speeds, deviation, truth, found["alignment"])}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        found = results["calibration"]
        rows = [Row(name, _cells(one)) for name, one in found["transformations"].items()]
        rows.append(Row("all pooled", _cells(found["pooled"])))
        rows.append(Row("target", [f"≤ {ECE:g} pooled", "", *found["expected_coverage"].values()]))
        columns = [Column("calibration error", digits=4), Column("pairs", digits=0)]
        columns += [Column(f"within {name}", digits=1, percent=True) for name in ("1 deviation", "2 deviations")]
        notes = [
            f"Expected calibration error: mean difference of the inferred P(on) and the frequency over {found['bins']} "
            "bins of P(on), weighted by their pairs of a step and a transformation with its matched field.",
            "Within 1 or 2 deviations: share of the true speeds that are as close to the inferred ones, by the "
            "deviations of the posterior, where both are on; the target is that of a Gaussian. It is undefined where "
            "true speeds do not vary or are never on together with inferred ones.",
        ]
        title = "Is the model as sure as it should be, on mixed sequences"
        return [Table("calibration", title, "transformation", columns, rows, notes)]

    @classmethod
    def summary(cls, results: Results) -> str:
        return f"P(on) is off by {Column('', digits=4).text(results['calibration']['pooled']['ece'])} on average"

    @classmethod
    def criteria(cls, results: Results) -> list[dict[str, Any]]:
        error = results["calibration"]["pooled"]["ece"]
        reached = error is not None and error <= ECE
        return [{"name": "pooled calibration error", "worst": error, "at_most": ECE, "reached": reached}]

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        pooled, described = results["calibration"]["pooled"], results["calibration"]["transformations"]
        found = {"ece": pooled["ece"], **{f"ece/{name}": one["ece"] for name, one in described.items()}}
        return found | {f"coverage/{within}": share for within, share in pooled["coverage"].items()}


MEASURE = Calibration


def _cells(one: Mapping[str, Any]) -> list[float | None]:
    within = (one["coverage"] or {}).get
    return [one["ece"], one["pairs"] or 0, *map(within, DEVIATIONS)]
