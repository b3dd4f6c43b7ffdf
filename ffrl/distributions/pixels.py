"""Pixel likelihoods p(x | z), summed over the pixels of a frame."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

LIKELIHOODS = ("bernoulli", "gaussian", "laplace")


def pixel_error(logits: Tensor, frames: Tensor) -> Tensor:
    """sigmoid(logits) - frames, the decoder's image minus the true one, elementwise."""
    return logits.sigmoid() - frames


def log_likelihood(
    logits: Tensor, frames: Tensor, kind: str, scale: float = 1.0, error: Tensor | None = None
) -> Tensor:
    r"""log p(x | z) per frame, the decoder's image being m = sigmoid(logits).

    ``gaussian``: N(x; m, scale^2); ``laplace``: Laplace(x; m, scale); ``bernoulli``: x log m + (1 - x) log(1 - m),
    which for grey pixels is the expected log-likelihood under stochastic binarisation and not comparable with the
    other two.

    Args:
        logits: ``(..., C, H, W)``.
        frames: images in [0, 1], of the same shape.
        kind: one of :data:`LIKELIHOODS`.
        scale: standard deviation (gaussian) or b (laplace); ignored by bernoulli.
        error: from :func:`pixel_error`, if it is there already.

    Returns:
        ``(...)`` nats per frame.

    Raises:
        ValueError: for an unknown kind.

    Example:
        >>> import torch
        >>> log_likelihood(torch.zeros(2, 1, 1, 1), torch.full((2, 1, 1, 1), 0.5), "gaussian")
        tensor([-0.9189, -0.9189])
    """
    if kind == "bernoulli":
        return -F.binary_cross_entropy_with_logits(logits, frames, reduction="none").sum((-3, -2, -1))
    pixels = math.prod(frames.shape[-3:])
    error = pixel_error(logits, frames) if error is None else error
    if kind == "gaussian":
        normaliser = pixels * (math.log(scale) + 0.5 * math.log(2 * math.pi))
        return -error.square().sum((-3, -2, -1)) / (2 * scale**2) - normaliser
    if kind == "laplace":
        return -error.abs().sum((-3, -2, -1)) / scale - pixels * math.log(2 * scale)
    raise ValueError(f"likelihood: found {kind!r}, expected one of {', '.join(LIKELIHOODS)}")


def gaussian_upper_bound(pixels: int, scale: float = 1.0) -> float:
    """Largest log N(x; m, scale^2 I) of any model per frame, in nats: -pixels (log scale + log(2 pi) / 2)."""
    return -pixels * (math.log(scale) + 0.5 * math.log(2 * math.pi))
