"""Encoders and decoders: a residual MLP, a patch mixer, and the convolution nets of :mod:`ffrl.nn.conv`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ffrl.core.errors import UserError, require
from ffrl.nn.conv import conv_decoder, conv_encoder, patch_side


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
    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_unshuffle(x, self.side).flatten(2).mT


class _FromPatches(nn.Module):
    def __init__(self, image_shape: tuple[int, int, int], side: int) -> None:
        super().__init__()
        self.side = side
        self.grid = (image_shape[1] // side, image_shape[2] // side)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(x.mT.unflatten(2, self.grid), self.side)


def mlp_encoder(image_shape: tuple[int, ...], outputs: int, width: int, depth: int) -> nn.Sequential:
    """Frames of any shape to ``(N, outputs)``: all values to ``width`` units, then ``depth`` residual blocks."""
    blocks = [ResidualBlock(width) for _ in range(depth)]
    stem = nn.Linear(math.prod(image_shape), width)
    return nn.Sequential(nn.Flatten(), stem, *blocks, nn.LayerNorm(width), nn.Linear(width, outputs))


def mlp_decoder(image_shape: tuple[int, ...], inputs: int, width: int, depth: int) -> nn.Sequential:
    """Latents ``(N, inputs)`` to frames of any shape: :func:`mlp_encoder` backwards."""
    blocks = [ResidualBlock(width) for _ in range(depth)]
    head = nn.Linear(width, math.prod(image_shape))
    return nn.Sequential(nn.Linear(inputs, width), *blocks, nn.LayerNorm(width), head, nn.Unflatten(1, image_shape))


def mixer_encoder(image_shape: tuple[int, int, int], outputs: int, width: int, depth: int) -> nn.Sequential:
    """Images ``(N, C, H, W)`` to ``(N, outputs)``: patches as tokens of ``width`` units, ``depth`` mixer blocks."""
    side = patch_side(image_shape)
    tokens = image_shape[1] * image_shape[2] // side**2
    blocks = [MixerBlock(tokens, width) for _ in range(depth)]
    stem = nn.Linear(image_shape[0] * side**2, width)
    head = nn.Linear(tokens * width, outputs)
    return nn.Sequential(_ToPatches(side), stem, *blocks, nn.LayerNorm(width), nn.Flatten(), head)


def mixer_decoder(image_shape: tuple[int, int, int], inputs: int, width: int, depth: int) -> nn.Sequential:
    """Latents ``(N, inputs)`` to pixel logits ``(N, C, H, W)``: :func:`mixer_encoder` backwards."""
    side = patch_side(image_shape)
    tokens = image_shape[1] * image_shape[2] // side**2
    blocks = [MixerBlock(tokens, width) for _ in range(depth)]
    head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, image_shape[0] * side**2))
    stem = nn.Sequential(nn.Linear(inputs, tokens * width), nn.Unflatten(1, (tokens, width)))
    return nn.Sequential(stem, *blocks, head, _FromPatches(image_shape, side))


def _pictures(architecture: str, frame_shape: tuple[int, ...]) -> None:
    """Raise a UserError unless an architecture fits what a frame is."""
    fits = len(frame_shape) == 3 or architecture == "mlp"
    require(fits, "model.architecture", architecture, "mlp for vectors, which are no pictures")


ENCODERS: dict[str, Callable[..., nn.Sequential]] = {
    "mlp": mlp_encoder,
    "mixer": mixer_encoder,
    "conv": conv_encoder,
    "conv-coarse": partial(conv_encoder, coarse=True),
}
DECODERS: dict[str, Callable[..., nn.Sequential]] = {
    "mlp": mlp_decoder,
    "mixer": mixer_decoder,
    "conv": conv_decoder,
    "conv-coarse": partial(conv_decoder, coarse=True),
}


def build_encoder(
    architecture: str, image_shape: tuple[int, ...], outputs: int, width: int, depth: int
) -> nn.Sequential:
    """Network from images ``(N, C, H, W)``, or vectors ``(N, F)``, to ``(N, outputs)``; its last module is linear.

    Raises:
        UserError: for an unknown architecture, or one that does not fit the image's size.

    Example:
        >>> build_encoder("mixer", (3, 28, 28), outputs=8, width=16, depth=1)(torch.rand(2, 3, 28, 28)).shape
        torch.Size([2, 8])
    """
    build = _named(ENCODERS, architecture)
    _pictures(architecture, image_shape)
    return build(tuple(image_shape), outputs, width, depth)


def build_decoder(
    architecture: str, image_shape: tuple[int, ...], inputs: int, width: int, depth: int
) -> nn.Sequential:
    """Network from latents ``(N, inputs)`` to pixel logits ``(N, C, H, W)``, or vectors ``(N, F)``.

    Raises:
        UserError: for an unknown architecture, or one that does not fit the image's size.

    Example:
        >>> build_decoder("mlp", (3, 28, 28), inputs=8, width=16, depth=1)(torch.rand(2, 8)).shape
        torch.Size([2, 3, 28, 28])
    """
    build = _named(DECODERS, architecture)
    _pictures(architecture, image_shape)
    return build(tuple(image_shape), inputs, width, depth)


def output_shape(name: str, module: nn.Module, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """Try a module of one's own on one input of zeros, in evaluation mode, and leave it as it was.

    Args:
        name: what it is called in messages.
        module: ``(N, *inputs)`` -> ``(N, *outputs)``.

    Returns:
        ``(1, *outputs)``.

    Raises:
        UserError: it is no module, fails, or returns no tensor.

    Example:
        >>> output_shape("encoder", nn.Linear(4, 6), (4,))
        (1, 6)
    """
    require(isinstance(module, nn.Module), name, type(module).__name__, "a torch.nn.Module")
    training = module.training
    weight = next(module.parameters(), torch.zeros(()))
    try:
        with torch.no_grad():
            made = module.eval()(weight.new_zeros(2, *inputs))
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{name}: found that it fails on an input of shape {(2, *inputs)}: {reason}") from error
    finally:
        module.train(training)
    require(isinstance(made, Tensor), name, f"outputs of type {type(made).__name__}", "a tensor")
    if not made.is_floating_point() or made.device != weight.device:
        raise UserError(
            f"{name}: found outputs of {made.dtype} on {made.device}, expected real ones on {weight.device}"
        )
    if made.shape[:1] != (2,):
        raise UserError(f"{name}: found outputs of shape {tuple(made.shape)} for two inputs, expected (2, ...)")
    return (1, *made.shape[1:])


def require_output(name: str, module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    """Raise a UserError unless a module of one's own maps ``(N, *inputs)`` to ``(N, *outputs)``.

    Example:
        >>> require_output("decoder", nn.Linear(4, 5), (4,), (6,))
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: decoder: found outputs of shape (1, 5) for inputs (1, 4), expected (1, 6)
    """
    found = output_shape(name, module, inputs)
    expected = (1, *outputs)
    if found != expected:
        message = f"{name}: found outputs of shape {found} for inputs {(1, *inputs)}, expected {expected}"
        raise UserError(message)


def _named(builders: dict[str, Callable[..., nn.Sequential]], architecture: str) -> Callable[..., nn.Sequential]:
    require(architecture in builders, "model.architecture", architecture, " or ".join(builders))
    return builders[architecture]
