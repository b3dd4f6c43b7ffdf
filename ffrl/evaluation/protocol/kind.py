"""What kind of model is measured: where its activity comes from, and what can be said of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ffrl.data.base import SequenceBatch


def given(model: Any) -> bool:
    """Whether the activity is observed, as in the supervised mode: every transformation has a field of its own.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.flow_vae import FlowFactorizedVAE
        >>> given(FlowFactorizedVAE(SupervisedConfig(), (3, 28, 28)))
        True
    """
    return not model.activity_model.needs_all_frames


def categorical(model: Any) -> bool:
    """Whether one unknown field acts throughout a sequence, as in the weakly supervised mode."""
    return model.activity_model.constant


def of_fields(model: Any) -> bool:
    """Whether the activity says how much each field acts, and is not of another kind, such as a matrix."""
    return model.activity_model.aligned


def aligned(model: Any) -> bool:
    """Whether any number of fields may act at each step, as in the unsupervised mode, to be matched with what does."""
    return not given(model) and not categorical(model) and of_fields(model)


def with_posterior(model: Any) -> bool:
    """Whether the activity is inferred with ``model.activity``, a posterior that says how sure it is.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.flow_vae import FlowFactorizedVAE
        >>> with_posterior(FlowFactorizedVAE(SupervisedConfig(), (3, 28, 28)))
        False
    """
    return model.has_activity_posterior and not given(model) and not categorical(model)


def likeliest(posterior: Any) -> Tensor:
    """What ``model.infer`` makes of a posterior: the speed where on is likelier than off, exact zeros elsewhere.

    Args:
        posterior: from ``model.activity``, with ``probability`` and ``speed``, ``(B, T, C)`` each.

    Returns:
        ``(B, T, C)``.

    Example:
        >>> from types import SimpleNamespace
        >>> likeliest(SimpleNamespace(probability=torch.tensor([0.2, 0.7]), speed=torch.tensor([1.0, 0.5])))
        tensor([0.0000, 0.5000])
    """
    return torch.where(posterior.probability > 0.5, posterior.speed, torch.zeros_like(posterior.speed))


def activity_of(model: Any, batch: SequenceBatch) -> Tensor:
    """The activity that moves the latent of a model: the true one where it is given, else the one that is inferred.

    Args:
        model: with ``infer``.
        batch: frames ``(B, T+1, C, H, W)`` and their true speeds ``(B, T, J)``.

    Returns:
        ``(B, T, C)``.
    """
    return batch.activity if given(model) else model.infer(batch.frames)
