"""Frames that a model predicts from the first one, beside those that it makes of every frame by itself."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ffrl.models.interface import SequenceModel


class PredictedFrames(NamedTuple):
    """Images in place of the frames x_0 .. x_T.

    Args:
        flow: decode(z_t), with z_0 the posterior mean of x_0 moved by the activity, ``(B, T+1, C, H, W)``.
        reconstruction: decode(encode(x_t)), ``(B, T+1, C, H, W)``.
        copy: decode(z_0), what no flow at all would give, ``(B, 1, C, H, W)``.
    """

    flow: Tensor
    reconstruction: Tensor
    copy: Tensor


def predicted_frames(model: SequenceModel, frames: Tensor, g: Tensor) -> PredictedFrames:
    r"""Frames of the rollout, of plain reconstruction and of standing still.

    .. math:: decode(z_t), \quad z_0 = E_{q(z|x_0)}[z], \quad z_t = flow(z_{t-1}, g_t)

    Args:
        model: with ``encode``, ``flow`` and ``decode``.
        frames: ``(B, T+1, C, H, W)``.
        g: given or inferred activity, ``(B, T, C)``.

    Example:
        >>> import torch
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> predicted_frames(model, torch.rand(2, 9, 3, 28, 28), torch.ones(2, 8, 3)).copy.shape
        torch.Size([2, 1, 3, 28, 28])
    """
    means = model.encode(frames)
    latents = model.flow(means[:, 0], g)
    return PredictedFrames(model.decode(latents), model.decode(means), model.decode(latents[:, :1]))
