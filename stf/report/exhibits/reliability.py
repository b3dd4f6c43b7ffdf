"""Whether a posterior over activity is as sure as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stf.plot.calibration import draw_reliability
from stf.plot.compute.numbers import percent
from stf.report.captions import SPEECHLESS, join
from stf.report.exhibit import WHICH, Exhibit
from stf.report.exhibits import Shown


def of_reliability(calibration: Mapping[str, Any], alignment: Mapping[str, Any]) -> str:
    """Say how far probabilities and deviations are from what happens, from the same sequences.

    Args:
        calibration: from :func:`ffrl.evaluation.measures.calibration.calibrate`.
        alignment: from :func:`ffrl.evaluation.matching.align`.

    Example:
        >>> import numpy as np
        >>> from ffrl.evaluation.matching import align
        >>> from ffrl.evaluation.measures.calibration import calibrate
        >>> truth = np.diag([1.0, 2.0]).repeat(2, axis=0) * [[1.0], [1.5], [1.0], [1.5]]
        >>> found = align(1.25 * truth, truth, ["scaling", "hue"])
        >>> made = calibrate(0.1 + 0.8 * (truth > 0), 1.25 * truth, 0.4 + 0 * truth, truth, found)
        >>> of_reliability(made, found)  # doctest: +ELLIPSIS
        'The probability that a field is on is off by 0.100 on average (scaling 0.100 and hue 0.100); inferred speeds...
    """
    pooled, described = calibration["pooled"], calibration["transformations"]
    if pooled["ece"] is None:
        return "No field matches a transformation yet, so that there is no activity whose probability can be judged."
    each = [f"{name} {one['ece']:.3f}" for name, one in described.items() if one["ece"] is not None]
    text = f"The probability that a field is on is off by {pooled['ece']:.3f} on average ({join(each)})"
    speeds = [
        f"{one['speed_rmse']:.2f} ({name})"
        for name, one in alignment["transformations"].items()
        if one["speed_rmse"] is not None
    ]
    if not speeds:
        return f"{text}; of speeds there is nothing to say: {SPEECHLESS}."
    shares = [percent(share) for share in pooled["coverage"].values()]
    expected = [percent(share) for share in calibration["expected_coverage"].values()]
    return (
        f"{text}; inferred speeds are off by {join(speeds)} unit steps, root mean square, and {shares[0]} of the true "
        f"ones lie within one deviation, {shares[1]} within two (a right Gaussian: {expected[0]} and {expected[1]})."
    )


def reliability(shown: Shown) -> Exhibit | None:
    """Draw how often activity is real over how probable it was called, and speeds with their deviations.

    There is nothing to draw for a model without a posterior, or where transformations are not known.
    """
    found = shown.found
    if found.calibration is None or found.alignment is None:
        return None
    alt = (
        "For each transformation how often its field's activity is real over how probable it was called, how many such "
        "pairs there are, and inferred against true speeds with bars of one deviation."
    )
    figure = draw_reliability(found.calibration, found.alignment, found.observed)
    caption = of_reliability(found.calibration, found.alignment)
    return Exhibit("reliability", WHICH, "Reliability", figure, caption, alt)


FIGURE = reliability
