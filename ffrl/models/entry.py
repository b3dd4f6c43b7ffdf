"""Frames where they enter a trained model: what can be used becomes a tensor, anything else is one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ffrl.core.errors import UserError
from ffrl.data.base import check_frames

if TYPE_CHECKING:
    from ffrl.models.interface import SequenceModel

CHECKED = {"encode": None, "infer": 2, "activity": 2}
"""Methods that take frames, and how many dimensions these have before those of a frame; None for any number."""


def entering(model: SequenceModel, frames: Any, dimensions: int | None) -> Tensor:
    """Return frames as a tensor of the model's type and device, with values in [0, 1].

    Args:
        model: whose ``image_shape`` they must have.
        frames: tensor or array; bytes, or floating-point numbers in [0, 1]; of vectors any numbers.
        dimensions: how many there must be before those of a frame; None for any number.

    Raises:
        UserError: of another shape or type, with NaN or with values outside [0, 1].
    """
    try:
        found = torch.as_tensor(frames)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"frames: found {type(frames).__name__}, expected a tensor or an array") from None
    shape, expected = tuple(found.shape), model.image_shape
    if dimensions is not None and len(shape) != dimensions + len(expected):
        raise UserError(f"frames: found shape {shape}, expected (B, T+1, {', '.join(map(str, expected))})")
    if dimensions == 2 and shape[1] < 2:
        raise UserError(f"frames: found sequences of {shape[1]} frames, expected at least 2")
    rank = len(expected)
    if shape[-rank:] != expected:
        words = "images of shape {}, expected {} (C, H, W)" if rank == 3 else "vectors of shape {}, expected {}"
        raise UserError(f"frames: found {words.format(shape[-rank:], expected)}")
    parameter = next(iter(model.parameters()), None)
    kind = torch.float32 if parameter is None else parameter.dtype
    device = found.device if parameter is None else parameter.device
    found = found.to(device)
    if rank == 1:
        return _numbers(found)
    numbers = found.to(kind).div(255) if found.dtype == torch.uint8 else found
    if not numbers.numel():
        return numbers.to(kind)
    channels, height, width = expected
    images = check_frames(numbers.reshape(1, -1, *expected), "frames", (channels, height, width))
    return images.reshape(shape).to(kind)


def _numbers(vectors: Tensor) -> Tensor:
    """Vectors in float64, NaN where a value is missing."""
    if vectors.dtype == torch.bool or vectors.is_complex():
        raise UserError(f"frames: found values of type {vectors.dtype}, expected numbers")
    if bool(vectors.isinf().any()):
        raise UserError("frames: found infinite values, expected numbers, or NaN for what is missing")
    return vectors.double()


def checked(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of a model that takes frames, with :func:`entering` before it.

    In training, where frames are those of the data, and in programs that are being compiled nothing is looked at.
    """

    @wraps(method)
    def with_checks(self: SequenceModel, frames: Any, *rest: Any, **options: Any) -> Any:
        if not self.training and not torch.compiler.is_compiling():
            frames = entering(self, frames, CHECKED[name])
        return method(self, frames, *rest, **options)

    return with_checks
