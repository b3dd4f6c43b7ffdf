"""The transformations of the digits: state -> scale, angle and hue -> frames, all samples and times in one call."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

TRANSFORMATIONS = ("scaling", "rotation", "hue")


class Parameters(NamedTuple):
    """Scale factor, angle in degrees (counter-clockwise as seen on the screen) and hue in degrees, of equal shapes."""

    scale: Tensor
    angle: Tensor
    hue: Tensor


def parameters(state: Tensor, protocol: Literal["ffrl", "sta"]) -> Parameters:
    """Return what state s = (s_scaling, s_rotation, s_hue), counted in unit steps, means for a picture.

    ``ffrl``: scale 1 + 0.1 s, angle 10 s, hue 20 s (FFRL, MNIST). ``sta``: scale 1.1^s, angle 20 s, hue 20 s.

    Args:
        state: ``(..., 3)``, zero for the original image.
        protocol: "ffrl" or "sta".

    Example:
        >>> parameters(torch.tensor([8.0, 8.0, 8.0]), "ffrl")
        Parameters(scale=tensor(1.8000), angle=tensor(80.), hue=tensor(160.))
    """
    scaling, rotation, hue = state.unbind(-1)
    if protocol == "ffrl":
        return Parameters(1 + 0.1 * scaling, 10 * rotation, 20 * hue)
    return Parameters(1.1**scaling, 20 * rotation, 20 * hue)


def hue_to_rgb(hue: Tensor) -> Tensor:
    """Return the RGB of ``hue`` (degrees) at full saturation and value: continuous, period 360, 0 is red.

    c_n = clamp(|((hue / 60 + n) mod 6) - 3| - 1, 0, 1) with n = 0, 4, 2 for red, green and blue.

    Args:
        hue: ``(...)`` in degrees, any real number.

    Returns:
        ``(..., 3)`` in [0, 1].

    Example:
        >>> hue_to_rgb(torch.tensor([0.0, 60.0, 240.0])).tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    sextant = torch.stack((hue / 60, hue / 60 + 4, hue / 60 + 2), dim=-1).remainder(6)
    return ((sextant - 3).abs() - 1).clamp(0, 1)


def padded_size(height: int, width: int) -> int:
    """Return the smallest power of two that holds both sizes.

    Pictures padded to it are sampled at exactly representable coordinates, so the zero state returns them unchanged.

    Example:
        >>> padded_size(28, 28)
        32
    """
    return 1 << (max(height, width) - 1).bit_length()


def pad(images: Tensor) -> Tensor:
    """Return grey images ``(N, H, W)`` with zeros around them, centred in ``(N, S, S)``, S = ``padded_size(H, W)``.

    Example:
        >>> pad(torch.ones(2, 28, 28)).shape
        torch.Size([2, 32, 32])
    """
    height, width = images.shape[-2:]
    size = padded_size(height, width)
    top, left = (size - height) // 2, (size - width) // 2
    return F.pad(images, (left, size - width - left, top, size - height - top))


def render(padded: Tensor, values: Parameters, height: int, width: int) -> Tensor:
    """Return each image zoomed, rotated and coloured as ``values`` say, by one bilinear resampling.

    Rotation and zoom about the centre are one affine map. With x to the right and y downwards from the centre, the
    pixel p of the result shows the point A p of the image, A = R / scale, R = [[cos, -sin], [sin, cos]] of the angle,
    which turns the picture counter-clockwise as seen on the screen (as ``torch.rot90`` does). What lies outside the
    image is black. The grey value then multiplies the RGB of the hue; the zero state gives the image in red, exactly.

    Args:
        padded: grey images in [0, 1], ``(B, S, S)`` from :func:`pad`, with equal margins.
        values: scale, angle (degrees) and hue (degrees), each ``(B, N)``: N pictures of every image.
        height: H of the images before padding.
        width: W of the images before padding.

    Returns:
        Frames ``(B, N, 3, H, W)`` in [0, 1].

    Example:
        >>> still = Parameters(torch.ones(1, 1), torch.zeros(1, 1), torch.zeros(1, 1))
        >>> image = torch.rand(1, 28, 28)
        >>> torch.equal(render(pad(image), still, 28, 28)[:, 0, 0], image)
        True
    """
    batch, count = values.scale.shape
    half = padded.shape[-1] / 2
    x = _centred(width, padded) / half
    y = _centred(height, padded)[:, None] / half
    angle = torch.deg2rad(values.angle)[..., None, None]
    scale = values.scale[..., None, None]
    cos, sin = angle.cos() / scale, angle.sin() / scale
    # Each coordinate of A p is a row (..., 1, W) plus a column (..., H, 1): one broadcast addition written in place
    grid = padded.new_empty(batch, count, height, width, 2)
    torch.sub(cos * x, sin * y, out=grid[..., 0])
    torch.add(sin * x, cos * y, out=grid[..., 1])
    grey = F.grid_sample(
        padded[:, None],
        grid.view(batch, count * height, width, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    grey = grey.view(batch, count, 1, height, width).clamp_(0, 1)
    return grey * hue_to_rgb(values.hue)[..., None, None]


def _centred(size: int, like: Tensor) -> Tensor:
    """Return the distances of ``size`` pixels from their centre."""
    return torch.arange(size, device=like.device, dtype=like.dtype) - (size - 1) / 2
