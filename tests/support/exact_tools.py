"""Untrained models whose exact activity is meaningful: fields that explain how frames move, and buffers to match."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZE, MISFIT = 6.0, 0.1
"""Typical length of an encoded displacement in whitened units, and squared error of the fields relative to theirs."""


def turned_mean(first: Tensor, last: Tensor) -> Tensor:
    """Mean of vectors ``(..., D)`` that turn uniformly from ``first`` to ``last``, by the cosine of half the angle."""
    power = (first.square() + last.square()).sum(-1, keepdim=True) / 2
    cosine = ((first + last) / 2).norm(dim=-1, keepdim=True) / power.sqrt()
    half = torch.acos(cosine.clamp(0.5, 1 - 1e-12))
    return (first + last) / 2 * torch.tan(half) / half


def awaken(model: nn.Module, frames: Tensor, targets: Tensor | None = None, steps: int = 120) -> nn.Module:
    """Fit the fields of a model to displacements, so that its controls are on where frames move like that.

    Args:
        model: with exact activity; its encoder stays as it is.
        frames: ``(B, T+1, C, H, W)``.
        targets: what every control does to a latent, ``(C, D)``; for None, displacements of these frames.
        steps: of Adam.
    """
    with torch.no_grad():
        means = model.encode(frames)
        displacement = means.diff(dim=1).flatten(0, 1)
        rms = displacement.square().mean().sqrt().clamp_min(1e-6)
        if targets is None:
            order = displacement.square().sum(-1).argsort(descending=True)
            places = torch.linspace(0, len(order) // 2, model.num_controls).long()
            targets = displacement[order[places]]
    points, times = torch.cat([means[:, :-1], means[:, 1:]]).flatten(0, 1), None
    if model.timed:
        steps_of = torch.arange(1, means.shape[1], dtype=means.dtype) / model.num_steps
        times = steps_of.repeat(2 * len(frames))
    fields = [
        parameter for parameter in model.field_model.parameters() if parameter.requires_grad and parameter.numel()
    ]
    optimizer = torch.optim.Adam(fields, lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.enable_grad():
            error = (model.field_model.per_control(points, times) - targets).square().sum((-2, -1)).mean() / rms**2
        error.backward()
        optimizer.step()
    optimizer.zero_grad()
    activity, dim = model.activity_model, means.shape[-1]
    variance = torch.full((dim,), float(rms) ** 2 * dim / (2 * SIZE**2), dtype=means.dtype)
    activity.adopt(list(range(activity.num_controls)), variance, torch.tensor(MISFIT, dtype=means.dtype))
    return model


def silence(model: nn.Module) -> nn.Module:
    """The same model with an encoder so noisy that no field pays; STA with spikes that are off."""
    activity = model.activity_model
    if model.trained.mode == "sta":
        last = activity.posterior.net[-1]
        with torch.no_grad():
            last.weight[: model.num_controls] = 0
            last.bias[: model.num_controls] = -5
        return model
    activity.adopt(activity.places, torch.full_like(activity.variance, 1e6), activity.misfit)
    return model
