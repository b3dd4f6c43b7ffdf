"""Residual convolution nets for encoder and decoder: ``conv`` for GPUs, and ``conv-coarse`` that CPUs can afford.

They differ in the patch that becomes one pixel of the first stage. Activations are kept in channels-last order, which
convolutions on tensor cores want. Every normalisation is over the channels of one pixel, so neither the rest of the
batch nor the state of training ever enters.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffrl.core.errors import require

PATCH = 4
"""Coarse patches have sides that are multiples of this."""
TOKENS = 64
"""Coarse patches per image that are aimed at."""
SMALLEST, LARGEST = 4, 10
"""Least side of the last grid, and the side of the largest square that it may be."""
WIDEST = 4
"""Channels are doubled from stage to stage up to this many times the width."""


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel, ``(N, C, H, W)``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> the same; nothing is copied while the memory is in channels-last order."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvBlock(nn.Module):
    """x + W_2 silu(W_1 * norm(x)): a 3x3 convolution, then a product across the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.across_pixels = nn.Conv2d(channels, channels, 3, padding=1)
        self.across_channels = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> the same."""
        return x + self.across_channels(F.silu(self.across_pixels(self.norm(x))))


class Pyramid(NamedTuple):
    """Sizes of a convolution net: side of the patches, grid ``(h, w)`` of each stage, and its channels."""

    patch: int
    grids: list[tuple[int, int]]
    channels: list[int]


def patch_side(image_shape: tuple[int, int, int], architecture: str = "mixer") -> int:
    """Return the side of coarse patches: of the multiples of 4 that divide both sides, the one nearest 64 patches.

    Near is meant as a ratio, and the smaller patch wins a tie. 28 and 32 pixels take patches of 4, 64 of 8, 96 of 12
    and 128 of 16, so what is done per patch does not cost more in a larger image.

    Raises:
        UserError: an image is not divisible into 4x4 patches.

    Example:
        >>> [patch_side((3, side, side)) for side in (28, 32, 64, 128)]
        [4, 4, 8, 16]
    """
    _, height, breadth = image_shape
    common = math.gcd(height, breadth)
    expected = f"mlp, since {height}x{breadth} is no multiple of {PATCH}x{PATCH}"
    require(common % PATCH == 0, "model.architecture", architecture, expected)
    sides = [side for side in range(PATCH, common + 1, PATCH) if common % side == 0]
    return min(sides, key=lambda side: abs(math.log(height * breadth / side**2 / TOKENS)))


def pyramid(image_shape: tuple[int, int, int], width: int, coarse: bool = False) -> Pyramid:
    """Return the stages of a convolution net for images ``(C, H, W)``.

    Patches are 2x2 pixels, and 4x4 from 64 pixels on; ``coarse`` takes those of :func:`patch_side`. From there each
    stage halves the grid and doubles the channels (up to four times ``width``) while both sides are even and at least
    4 remains.

    Raises:
        UserError: the sides are not divisible by the patch, or the last grid has more than 10x10 pixels.

    Example:
        >>> pyramid((3, 64, 64), 32)
        Pyramid(patch=4, grids=[(16, 16), (8, 8), (4, 4)], channels=[32, 64, 128])
        >>> pyramid((3, 64, 64), 32, coarse=True)
        Pyramid(patch=8, grids=[(8, 8), (4, 4)], channels=[32, 64])
    """
    _, height, breadth = image_shape
    name = "conv-coarse" if coarse else "conv"
    patch = patch_side(image_shape, name) if coarse else 4 if min(height, breadth) >= 64 else 2
    grids = [(height // patch, breadth // patch)]
    while all(side % 2 == 0 and side // 2 >= SMALLEST for side in grids[-1]):
        grids.append((grids[-1][0] // 2, grids[-1][1] // 2))
    fits = height % patch == 0 and breadth % patch == 0 and math.prod(grids[-1]) <= LARGEST**2
    expected = f"mlp, since {height}x{breadth} does not halve down to {LARGEST}x{LARGEST} or less"
    require(fits, "model.architecture", name, expected)
    return Pyramid(patch, grids, [width * min(2**stage, WIDEST) for stage in range(len(grids))])


class _ChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)


def conv_encoder(
    image_shape: tuple[int, int, int], outputs: int, width: int, depth: int, coarse: bool = False
) -> nn.Sequential:
    """Images ``(N, C, H, W)`` to ``(N, outputs)``: patches, then ``depth`` blocks per stage, then a linear head.

    Example:
        >>> conv_encoder((3, 28, 28), outputs=8, width=8, depth=1)(torch.rand(2, 3, 28, 28)).shape
        torch.Size([2, 8])
    """
    patch, grids, channels = pyramid(image_shape, width, coarse)
    layers: list[nn.Module] = [_ChannelsLast(), nn.Conv2d(image_shape[0], channels[0], patch, stride=patch)]
    for stage, size in enumerate(channels):
        if stage:
            layers.append(nn.Conv2d(channels[stage - 1], size, 2, stride=2))
        layers += [ConvBlock(size) for _ in range(depth)]
    features = channels[-1] * grids[-1][0] * grids[-1][1]
    return nn.Sequential(*layers, ChannelNorm(channels[-1]), nn.Flatten(), nn.Linear(features, outputs))


def conv_decoder(
    image_shape: tuple[int, int, int], inputs: int, width: int, depth: int, coarse: bool = False
) -> nn.Sequential:
    """Latents ``(N, inputs)`` to pixel logits ``(N, C, H, W)``: the encoder's stages in the opposite order.

    Grids grow by repeating pixels, before blocks whose 3x3 convolutions smooth them. The pixels of a patch start out
    equal (Aitken et al. 2017), so no checkerboard is built in.

    Example:
        >>> conv_decoder((3, 28, 28), inputs=8, width=8, depth=1)(torch.rand(2, 8)).shape
        torch.Size([2, 3, 28, 28])
    """
    patch, grids, channels = pyramid(image_shape, width, coarse)
    small = (channels[-1], *grids[-1])
    layers: list[nn.Module] = [
        nn.Linear(inputs, small[0] * small[1] * small[2]),
        nn.Unflatten(1, small),
        _ChannelsLast(),
    ]
    for stage in reversed(range(len(channels))):
        layers += [ConvBlock(channels[stage]) for _ in range(depth)]
        if stage:
            layers += [nn.Conv2d(channels[stage], channels[stage - 1], 1), nn.UpsamplingNearest2d(scale_factor=2)]
    head = nn.Conv2d(channels[0], image_shape[0] * patch**2, 1)
    with torch.no_grad():
        head.weight.copy_(head.weight[:: patch**2].repeat_interleave(patch**2, dim=0))
        head.get_parameter("bias").zero_()
    return nn.Sequential(*layers, ChannelNorm(channels[0]), head, nn.PixelShuffle(patch))
