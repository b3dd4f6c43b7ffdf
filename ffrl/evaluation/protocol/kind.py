"""The activity that moves the latent of a model: the true one where it is given, else the one that is inferred."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor

from ffrl.data.base import SequenceBatch
from ffrl.models.interface import SequenceModel, SpeedPosterior, WithPosterior


def with_posterior(model: SequenceModel) -> TypeGuard[WithPosterior]:
    """Whether any number of fields may act, and the model says how sure it is of that.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> with_posterior(MODE.build(SupervisedConfig(), (3, 28, 28)))
        False
    """
    return isinstance(model, WithPosterior) and model.activity_kind.free


def likeliest(posterior: SpeedPosterior) -> Tensor:
    """What ``model.infer`` makes of a posterior: the speed where on is likelier than off, exact zeros elsewhere.

    Args:
        posterior: from ``model.activity``.

    Returns:
        ``(B, T, C)``.

    Example:
        >>> from types import SimpleNamespace
        >>> likeliest(SimpleNamespace(probability=torch.tensor([0.2, 0.7]), speed=torch.tensor([1.0, 0.5])))
        tensor([0.0000, 0.5000])
    """
    return torch.where(posterior.probability > 0.5, posterior.speed, torch.zeros_like(posterior.speed))


def activity_of(model: SequenceModel, batch: SequenceBatch) -> Tensor:
    """The activity that moves the latent of a model: the true one where it is given, else the one that is inferred.

    Args:
        model: of any kind.
        batch: frames ``(B, T+1, C, H, W)`` and their true speeds ``(B, T, J)``.

    Returns:
        ``(B, T, C)``.
    """
    return batch.activity if model.activity_kind.given else model.infer(batch.frames)
