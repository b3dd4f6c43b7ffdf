"""Encoders and decoders: a residual MLP and a patch mixer, both made of matrix products only."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ffrl.errors import require

PATCH = 4


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or wider where it is: what networks under autocast hand to the closed-form parts."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class ResidualBlock(nn.Module):
    """x + W_2 silu(W_1 norm(x)) over the last axis, with ``expansion`` times as many hidden units."""

    def __init__(self, width: int, expansion: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` -> ``(..., width)``."""
        return x + self.down(nn.functional.silu(self.up(self.norm(x))))


class TokenBlock(nn.Module):
    """x + W_2 silu(W_1 norm(x) + b_1) + b_2 over the tokens, as products from the left: nothing is transposed."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Parameter(torch.randn(tokens, tokens) / tokens**0.5)
        self.up_bias = nn.Parameter(torch.zeros(tokens, 1))
        self.down = nn.Parameter(torch.randn(tokens, tokens) / tokens**0.5)
        self.down_bias = nn.Parameter(torch.zeros(tokens, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, tokens, width)`` -> the same."""
        hidden = nn.functional.silu(self.up @ self.norm(x) + self.up_bias)
        return x + self.down @ hidden + self.down_bias


class MixerBlock(nn.Module):
    """A residual block across tokens, then one across channels (Tolstikhin et al. 2021, MLP-Mixer)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.across_tokens = TokenBlock(tokens, width)
        self.across_channels = ResidualBlock(width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, tokens, width)`` -> the same."""
        return self.across_channels(self.across_tokens(x))


class _ToPatches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_unshuffle(x, PATCH).flatten(2).mT


class _FromPatches(nn.Module):
    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.grid = (image_shape[1] // PATCH, image_shape[2] // PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(x.mT.unflatten(2, self.grid), PATCH)


def build_encoder(
    architecture: str, image_shape: tuple[int, int, int], outputs: int, width: int, depth: int
) -> nn.Module:
    """Network from images ``(N, C, H, W)`` to ``(N, outputs)``.

    Raises:
        UserError: if a mixer's image is not divisible into 4x4 patches.

    Example:
        >>> build_encoder("mixer", (3, 28, 28), outputs=8, width=16, depth=1)(torch.rand(2, 3, 28, 28)).shape
        torch.Size([2, 8])
    """
    channels, height, breadth = image_shape
    if architecture == "mlp":
        blocks = [ResidualBlock(width) for _ in range(depth)]
        stem = nn.Linear(math.prod(image_shape), width)
        return nn.Sequential(nn.Flatten(), stem, *blocks, nn.LayerNorm(width), nn.Linear(width, outputs))
    tokens = _tokens(image_shape)
    blocks = [MixerBlock(tokens, width) for _ in range(depth)]
    stem = nn.Linear(channels * PATCH**2, width)
    head = nn.Linear(tokens * width, outputs)
    return nn.Sequential(_ToPatches(), stem, *blocks, nn.LayerNorm(width), nn.Flatten(), head)


def build_decoder(
    architecture: str, image_shape: tuple[int, int, int], inputs: int, width: int, depth: int
) -> nn.Module:
    """Network from latents ``(N, inputs)`` to pixel logits ``(N, C, H, W)``.

    Raises:
        UserError: if a mixer's image is not divisible into 4x4 patches.

    Example:
        >>> build_decoder("mlp", (3, 28, 28), inputs=8, width=16, depth=1)(torch.rand(2, 8)).shape
        torch.Size([2, 3, 28, 28])
    """
    if architecture == "mlp":
        blocks = [ResidualBlock(width) for _ in range(depth)]
        head = nn.Linear(width, math.prod(image_shape))
        return nn.Sequential(nn.Linear(inputs, width), *blocks, nn.LayerNorm(width), head, nn.Unflatten(1, image_shape))
    tokens = _tokens(image_shape)
    blocks = [MixerBlock(tokens, width) for _ in range(depth)]
    head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, image_shape[0] * PATCH**2))
    stem = nn.Sequential(nn.Linear(inputs, tokens * width), nn.Unflatten(1, (tokens, width)))
    return nn.Sequential(stem, *blocks, head, _FromPatches(image_shape))


def _tokens(image_shape: tuple[int, int, int]) -> int:
    _, height, breadth = image_shape
    divisible = height % PATCH == 0 and breadth % PATCH == 0
    expected = f"mlp, since {height}x{breadth} is no multiple of {PATCH}x{PATCH}"
    require(divisible, "model.architecture", "mixer", expected)
    return (height // PATCH) * (breadth // PATCH)
