"""How sure a model is of its activity, where it has a posterior of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ffrl.evaluation.measures.calibration import field_posterior
from ffrl.models.interface import SequenceModel, SpeedPosterior, WithPosterior


@dataclass(frozen=True)
class Certainty:
    """Probabilities and deviations of inferred activity.

    Args:
        probability: that a field is on, ``(..., K)``.
        deviation: standard deviation of its speed if it is on, in the unit of speeds, ``(..., K)``.
    """

    probability: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def __getitem__(self, index: int | slice | NDArray[Any]) -> Certainty:
        """Return those of some sequences or steps."""
        return Certainty(self.probability[index], self.deviation[index])


def has_posterior(model: SequenceModel) -> TypeGuard[WithPosterior]:
    """Return whether a model has a posterior of its activity.

    Example:
        >>> has_posterior(object())
        False
    """
    return isinstance(model, WithPosterior)


def certainty(model: SequenceModel, frames: Tensor) -> Certainty | None:
    """Return how sure a model is of the activity it infers from frames, None if it has no posterior of it.

    Args:
        model: with ``activity`` if it has a posterior.
        frames: ``(B, T+1, C, H, W)``.

    Returns:
        Of ``(B, T, K)``.

    Example:
        >>> import torch
        >>> certainty(object(), torch.zeros(1, 2, 3, 8, 8)) is None
        True
    """
    return certainty_of(model.activity(frames)) if has_posterior(model) else None


def certainty_of(posterior: SpeedPosterior) -> Certainty:
    """Return the probabilities and deviations of a posterior over activity, ``(B, T, K)`` each."""
    return Certainty(*(one.detach().cpu().double().numpy() for one in (posterior.probability, posterior.deviation)))


def per_field(certainty: Certainty, speeds: ArrayLike, num_fields: int) -> Certainty:
    """Return those of each field; see :func:`ffrl.evaluation.measures.calibration.field_posterior`.

    Args:
        certainty: of ``(..., K)``, or of ``(..., 2K)``, the potential parts first (separate control).
        speeds: of the same shape.
        num_fields: K.

    Example:
        >>> both = np.array([[0.9, 0.6]])
        >>> per_field(Certainty(both, both), [[0.5, -1.0]], num_fields=1).deviation
        array([[0.6]])
    """
    return Certainty(*field_posterior(certainty.probability, speeds, certainty.deviation, num_fields))


def joined(parts: list[Certainty | None]) -> Certainty | None:
    """Return one of sequences after each other, None if it is unknown of any.

    Example:
        >>> one = Certainty(np.ones((2, 3, 1)), np.ones((2, 3, 1)))
        >>> joined([one, one]).deviation.shape, joined([one, None])
        ((4, 3, 1), None)
    """
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    return Certainty(
        *(np.concatenate([getattr(part, name) for part in known]) for name in ("probability", "deviation"))
    )
