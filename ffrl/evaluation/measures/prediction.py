"""Prediction error: how far are later frames of real sequences from the first one moved by the activity?"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from ffrl.evaluation.measures.equivariance import l1_error, predicted_frames, summarise
from ffrl.evaluation.protocol.statistics import estimate
from ffrl.models.interface import SequenceModel

KINDS = ("flow", "reconstruction", "copy", "raw_copy")
"""The first frame moved; each frame encoded and decoded by itself; the decoded first frame; the first frame itself."""


class Prediction:
    """Errors of predicted frames, collected batch by batch.

    Standing still is measured twice: ``copy`` repeats the decoded first frame, what the model predicts without any
    activity, and ``raw_copy`` the first frame itself, which needs no model and is hard to beat where little moves.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> prediction = Prediction()
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> prediction.add(model, torch.rand(2, 9, 3, 28, 28), torch.ones(2, 8, 3))
        >>> sorted(prediction.summary())
        ['copy', 'flow', 'raw_copy', 'reconstruction']
    """

    def __init__(self) -> None:
        self._l1: dict[str, list[Tensor]] = defaultdict(list)
        self._squared: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, model: SequenceModel, frames: Tensor, g: Tensor) -> None:
        """Measure sequences ``(B, T+1, C, H, W)`` under their activity ``(B, T, C)``."""
        for kind, images in zip(KINDS, (*predicted_frames(model, frames, g), frames[:, :1]), strict=True):
            self._l1[kind].append(l1_error(images, frames))
            squared = (images - frames)[:, 1:].square()
            self._squared[kind].append(squared.mean((-4, -3, -2, -1), dtype=torch.float64))

    def summary(self) -> dict[str, Any]:
        """By kind what :func:`~ffrl.evaluation.measures.equivariance.summarise` says of its L1 errors, and ``psnr``."""
        return {kind: summarise(torch.cat(self._l1[kind])) | {"psnr": psnr(torch.cat(self._squared[kind]))}
                for kind in KINDS}  # fmt: skip


def psnr(squared: Tensor) -> dict[str, float | None]:
    r"""Peak signal-to-noise ratio in dB of values in [0, 1], :math:`-10 \log_{10} \overline{e}`.

    The mean is that of the squared errors and not of the decibels, which a single perfect frame would make infinite;
    the standard error is that of the mean, carried through the logarithm to first order.

    Args:
        squared: e, mean squared error of each sequence, ``(N,)``.

    Returns:
        ``mean`` and ``standard_error``; both infinite or undefined where every frame is exact.

    Example:
        >>> round(psnr(torch.tensor([0.005, 0.015]))["mean"], 3)
        20.0
    """
    found = estimate(squared)
    mean, error = found["mean"], found["standard_error"]
    value = math.inf if mean == 0 else -10 * math.log10(mean)
    return {"mean": value, "standard_error": None if error is None or mean == 0 else 10 / math.log(10) * error / mean}
