"""Features of vector sequences: their names, their units, and which of them are angles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from ffrl.core.errors import UserError, require
from ffrl.data.skeleton import Skeleton

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SCALE = 1e-12
"""A feature whose standard deviation is a smaller share of its largest value does not vary."""
CLOSE = 1e-6
"""Share of a scale by which rounding may change means and scales."""


@dataclass(frozen=True)
class Feature:
    """One number of every frame.

    Args:
        name: what it is called.
        mean: of the training data; 0 for a periodic one.
        scale: what one unit of the model is in its own: its standard deviation in the training data, or, of a periodic
            one, a radian.
        period: after which a periodic one begins anew, 360 of degrees; None for others.
    """

    name: str
    mean: float = 0.0
    scale: float = 1.0
    period: float | None = None


@dataclass(frozen=True)
class Features:
    """All features of vectors, in the order of their last axis.

    Args:
        each: the features.
        missing: whether some values of the training data are missing (NaN).
        skeleton: of poses, whose coordinates the features are; None for others.

    Example:
        >>> import torch
        >>> features = Features.of(torch.tensor([[0.0, 350.0], [2.0, 10.0]]), ("x", "heading"), {"heading": 360.0})
        >>> [(feature.name, feature.mean, round(feature.scale, 2)) for feature in features.each]
        [('x', 1.0, 1.0), ('heading', 0.0, 57.3)]
    """

    each: tuple[Feature, ...]
    missing: bool = False
    skeleton: Skeleton | None = None

    def __len__(self) -> int:
        return len(self.each)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(feature.name for feature in self.each)

    @property
    def described(self) -> tuple[str, ...]:
        """Their names, with the periods of those that are periodic.

        Example:
            >>> Features((Feature("x"), Feature("heading", period=360.0))).described
            ('x', 'heading (period 360)')
        """
        return tuple(
            feature.name if feature.period is None else f"{feature.name} (period {feature.period:g})"
            for feature in self.each
        )

    def is_like(self, other: Features) -> bool:
        """Whether these are the same features with the same means and scales, up to rounding.

        Example:
            >>> Features((Feature("x", 0.0, 2.0),)).is_like(Features((Feature("x", 1e-9, 2.0),)))
            True
        """
        return (self.described, self.missing) == (other.described, other.missing) and all(
            abs(one.mean - known.mean) <= CLOSE * known.scale and abs(one.scale - known.scale) <= CLOSE * known.scale
            for one, known in zip(self.each, other.each, strict=True)
        )

    @classmethod
    def of(cls, values: Tensor, names: Sequence[str] = (), periods: Mapping[str, float] | None = None) -> Features:
        """Those of training data.

        Args:
            values: ``(..., F)``, NaN where a value is missing.
            names: of the F features; ``feature 1``, ... for none.
            periods: of those that are periodic, by name.

        Raises:
            UserError: too few or equal names, an unknown periodic one, infinite values, or a feature that does not
                vary or is always missing.
        """
        values = values.reshape(-1, values.shape[-1]).double()
        count = values.shape[-1]
        words = tuple(names) or tuple(f"feature {place + 1}" for place in range(count))
        fits = all(isinstance(word, str) and word for word in words)
        require(fits and len(words) == len(set(words)) == count, "features", list(words), f"{count} different names")
        require(all(map(str.isprintable, words)), "features", list(words), "names of signs that can be printed")
        turns = _periods(periods, words)
        made = [_feature(column, name, turns.get(name)) for column, name in zip(values.unbind(1), words, strict=True)]
        return cls(tuple(made), bool(values.isnan().any()))

    def difference(self, found: Tensor, truth: Tensor) -> Tensor:
        """found - truth, ``(..., F)`` in the features' own units: angles the short way round, NaN where one is NaN.

        Example:
            >>> import torch
            >>> Features((Feature("a", period=360.0),)).difference(torch.tensor([350.0]), torch.tensor([10.0]))
            tensor([-20.])
        """
        return shortest(found, truth, self.periods().to(found))

    def periods(self) -> Tensor:
        """After which each begins anew, infinite for those that do not: ``(F,)``, float64."""
        import torch

        return torch.tensor([feature.period or math.inf for feature in self.each], dtype=torch.float64)

    def plain(self) -> dict[str, Any]:
        """JSON values; ``skeleton`` only of poses."""
        values = {"missing": self.missing, "each": [asdict(feature) for feature in self.each]}
        return values if self.skeleton is None else values | {"skeleton": self.skeleton.plain()}

    @classmethod
    def read(cls, values: Any, source: str) -> Features:
        """The inverse of :meth:`plain`.

        Raises:
            UserError: something is missing or of another type.
        """
        expected = "missing, and each with name, mean, scale and period"
        skeleton = None
        if isinstance(values, dict) and "skeleton" in values:
            skeleton = Skeleton.read(values["skeleton"], source)
            values = {key: value for key, value in values.items() if key != "skeleton"}
        each = values.get("each") if isinstance(values, dict) else None
        if not isinstance(each, list) or not each or type(values.get("missing")) is not bool or len(values) != 2:
            raise UserError(f"{source}: features: found {values!r:.200}, expected {expected}")
        for entry in each:
            if not _is_feature(entry):
                raise UserError(f"{source}: features: found {entry!r:.200}, expected {expected}")
        return cls(tuple(Feature(**entry) for entry in each), values["missing"], skeleton)


def _periods(periods: Any, names: Sequence[str]) -> dict[str, float]:
    """Periods by name, as floats."""
    if not isinstance(periods, Mapping | None):
        raise UserError(f"periodic: found {periods!r:.200}, expected periods by name")
    for name, period in (periods or {}).items():
        require(name in names, "periodic", name, f"one of {', '.join(names):.300}")
        fits = isinstance(period, Real) and 0 < float(period) < math.inf
        require(fits, f"periodic: {name}", period, "a positive period")
    return {name: float(period) for name, period in (periods or {}).items()}


def shortest(found: Tensor, truth: Tensor, period: Tensor) -> Tensor:
    """found - truth, ``(..., F)``, the short way round where the ``period (F,)`` is finite.

    Example:
        >>> import torch
        >>> shortest(torch.tensor([350.0, 3.0]), torch.tensor([10.0, 1.0]), torch.tensor([360.0, torch.inf]))
        tensor([-20.,   2.])
    """
    import torch

    apart = found - truth
    return torch.where(period.isinf(), apart, torch.remainder(apart + period / 2, period) - period / 2)


def interpolated(frames: Tensor, period: Tensor) -> Tensor:
    r"""Sequences whose missing values are on the line between the nearest known ones, ``(..., T+1, F)``.

    .. math:: x_t = x_a + \frac{t - a}{b - a} (x_b - x_a), \qquad a < t < b \text{ the nearest that are known},

    the short way round where the ``period (F,)`` is finite. Before the first and after the last known value it is that
    one; a feature of which nothing is known stays missing.

    Example:
        >>> import torch
        >>> values = torch.tensor([[torch.nan], [350.0], [torch.nan], [10.0]])
        >>> interpolated(values, torch.tensor([360.0])).squeeze(-1)
        tensor([350., 350., 360.,  10.])
    """
    import torch

    there, steps = ~frames.isnan(), frames.shape[-2]
    time = torch.arange(steps, device=frames.device).unsqueeze(-1).expand_as(frames)
    before = torch.where(there, time, -1).cummax(-2).values
    after = torch.where(there, time, steps).flip(-2).cummin(-2).values.flip(-2)
    first, last = frames.gather(-2, before.clamp_min(0)), frames.gather(-2, after.clamp_max(steps - 1))
    share = (time - before).to(frames.dtype) / (after - before).clamp_min(1)
    line = first + share * shortest(last, first, period)
    known = torch.where(before < 0, last, torch.where(after == steps, first, line))
    return torch.where(there, frames, known)


def _feature(column: Tensor, name: str, period: float | None) -> Feature:
    """Mean and scale of one feature, which are the same with any number of threads."""
    known = column[~column.isnan()].numpy(force=True)
    require(len(known) > 0, name, "no values in the training data", "some that are not missing")
    largest = float(abs(known).max())
    require(math.isfinite(largest), name, "infinite values", "numbers, or NaN for what is missing")
    if period is not None:
        return Feature(name, 0.0, period / (2 * math.pi), period)
    size = math.ldexp(1.0, math.frexp(largest)[1] - 1)  # with it neither sums nor squares overflow, or vanish
    mean, scale = float((known / size).mean()) * size, float((known / size).std()) * size
    found = f"{known[0]:g} throughout the training data"
    require(scale > LEAST_SCALE * largest, name, found, "values that vary: leave this feature out")
    return Feature(name, mean, scale)


def _is_feature(entry: Any) -> bool:
    numbers = {"mean": float, "scale": float}
    if not isinstance(entry, dict) or entry.keys() != {"name", "period", *numbers} or type(entry["name"]) is not str:
        return False
    period = entry["period"]
    return all(type(entry[key]) is float and math.isfinite(entry[key]) for key in numbers) and (
        entry["scale"] > 0 and (period is None or type(period) is float and 0 < period < math.inf)
    )
