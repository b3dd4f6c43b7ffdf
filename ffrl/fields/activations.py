"""Smooth functions phi of the potentials, each with its first two derivatives."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class _Elementwise(Protocol):
    def __call__(self, x: Tensor, /) -> Tensor: ...


class Activation(NamedTuple):
    """A smooth function with its first and second derivative, all elementwise."""

    value: _Elementwise
    first: _Elementwise
    second: _Elementwise


def _modulus(x: Tensor) -> Tensor:
    return torch.where(x < 0, -x, x)  # |x| with slope 1 at 0, so that the smooth functions made of it stay smooth there


def _log_cosh(x: Tensor) -> Tensor:
    size = _modulus(x)
    return size + torch.log1p(torch.exp(-2 * size)) - math.log(2)


def _softplus(x: Tensor) -> Tensor:
    size = _modulus(x)
    return (x + size) / 2 + torch.log1p(torch.exp(-size))


def _sigmoid_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * torch.sigmoid(-x)


def _tanh_slope(x: Tensor) -> Tensor:
    return 4 * _sigmoid_slope(2 * x)


ACTIVATIONS = {
    "logcosh": Activation(_log_cosh, torch.tanh, _tanh_slope),
    "softplus": Activation(_softplus, torch.sigmoid, _sigmoid_slope),
    "sine": Activation(lambda x: -torch.cos(x), torch.sin, torch.cos),
}
"""phi by name: log cosh (slope tanh), softplus (slope sigmoid), -cos (slope sin)."""
