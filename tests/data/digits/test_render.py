"""Rendering: exactness, directions, one resampling, colours and batching."""

from __future__ import annotations

import colorsys
import math

import pytest
import torch
from torch import Tensor

from ffrl.data.digits.render import Parameters, hue_to_rgb, pad, padded_size, parameters, render


def values(scale: float = 1.0, angle: float = 0.0, hue: float = 0.0) -> Parameters:
    return Parameters(*(torch.full((1, 1), number, dtype=torch.float64) for number in (scale, angle, hue)))


def picture(image: Tensor, **changes: float) -> Tensor:
    """Return the red channel of one transformed image ``(H, W)``."""
    return render(pad(image[None]), values(**changes), *image.shape)[0, 0, 0]


def blobs(transform=lambda x, y: (x, y), size: int = 28) -> Tensor:
    """Return a smooth picture without symmetries, seen through ``transform`` of the centred coordinates."""
    centred = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    x, y = transform(*torch.meshgrid(centred, centred, indexing="xy"))
    spots = ((3.0, -4.0, 0.6, 18.0), (-5.0, 1.0, 0.9, 12.0), (1.0, 5.0, 0.3, 15.0))
    return sum(
        height * torch.exp(-((x - right) ** 2 + (y - down) ** 2) / width) for right, down, height, width in spots
    )


def turned_and_zoomed(scale: float, angle: float):
    """Return the map from a pixel of the result to the point of the picture that it shows: A = R(angle) / scale."""
    cos, sin = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
    return lambda x, y: (cos * x - sin * y, sin * x + cos * y)


@pytest.mark.parametrize(("height", "width", "size"), [(28, 28, 32), (32, 32, 32), (64, 64, 64), (1, 33, 64)])
def test_padded_size(height: int, width: int, size: int) -> None:
    assert padded_size(height, width) == size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_zero_state_gives_the_pixels_in_red_exactly(dtype: torch.dtype, protocol: str) -> None:
    images = torch.randint(256, (50, 28, 28), generator=torch.Generator().manual_seed(0)).to(dtype) / 255
    frames = render(pad(images), parameters(torch.zeros(50, 2, 3, dtype=dtype), protocol), 28, 28)
    assert frames.shape == (50, 2, 3, 28, 28) and frames.dtype == dtype
    assert torch.equal(frames[:, :, 0], images[:, None].expand(-1, 2, -1, -1))
    assert frames[:, :, 1:].abs().max() == 0


@pytest.mark.parametrize("quarter", [1, 2, 3, -1])
def test_rotation_is_counter_clockwise_like_rot90(quarter: int) -> None:
    image = torch.rand(28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = picture(image, angle=90.0 * quarter)
    torch.testing.assert_close(turned, torch.rot90(image, quarter), atol=1e-12, rtol=0)
    assert not torch.allclose(turned, image, atol=0.1)


def test_a_small_angle_moves_what_is_right_of_the_centre_up() -> None:
    image = torch.zeros(28, 28, dtype=torch.float64)
    image[13:15, 22] = 1
    turned = picture(image, angle=20.0)
    assert turned[:13].sum() > 5 * turned[15:].sum()


def test_scale_zooms_in_about_the_centre() -> None:
    image = torch.zeros(28, 28, dtype=torch.float64)
    image[9:19, 9:19] = 1
    square = picture(image, scale=2.0)
    torch.testing.assert_close(square, square.flip(0), atol=1e-12, rtol=0)
    torch.testing.assert_close(square, square.flip(1), atol=1e-12, rtol=0)
    assert square[5:23, 5:23].min() == 1 and square[:3].max() == 0 and square[25:].max() == 0
    assert square.sum().item() == pytest.approx(400, rel=1e-12)


@pytest.mark.parametrize("size", [28, 32])
def test_what_lies_outside_the_image_is_black(size: int) -> None:
    small = picture(torch.ones(size, size, dtype=torch.float64), scale=0.5)
    quarter = size // 4
    assert small[quarter + 1 : -quarter - 1, quarter + 1 : -quarter - 1].min() == 1
    small[quarter - 1 : 1 - quarter, quarter - 1 : 1 - quarter] = 0
    assert small.max() == 0


@pytest.mark.parametrize(("scale", "angle"), [(1.0, 37.0), (1.5, 0.0), (1.3, 25.0), (0.8, -70.0), (1.8, 160.0)])
def test_one_affine_map_against_the_formula(scale: float, angle: float) -> None:
    expected = blobs(turned_and_zoomed(scale, angle))
    error = (picture(blobs(), scale=scale, angle=angle) - expected).abs().max().item()
    # bilinear interpolation errs by at most (|f_xx| + |f_yy|) / 8, whose largest value here is 2 * 2 * 0.9 / 12 / 8
    assert error < 0.0375
    wrong_way = (picture(blobs(), scale=scale, angle=angle + 10) - expected).abs().max().item()
    assert wrong_way > 2 * error


def test_the_composed_map_resamples_once() -> None:
    twice = picture(picture(blobs(), angle=25.0), scale=1.3)
    once = picture(blobs(), scale=1.3, angle=25.0)
    expected = blobs(turned_and_zoomed(1.3, 25.0))
    assert (once - expected).abs().mean() < 0.7 * (twice - expected).abs().mean()


def test_bilinear_weights() -> None:
    image = torch.zeros(28, 28, dtype=torch.float64)
    image[10, 20] = 1
    scale, angle = 1.4, 33.0
    centred = torch.arange(28, dtype=torch.float64) - 13.5
    x, y = turned_and_zoomed(scale, angle)(*torch.meshgrid(centred, centred, indexing="xy"))
    expected = (1 - (x - 6.5).abs()).clamp(min=0) * (1 - (y + 3.5).abs()).clamp(min=0)
    torch.testing.assert_close(picture(image, scale=scale, angle=angle), expected, atol=1e-12, rtol=0)
    assert expected.sum() > 1


def test_hue_against_colorsys() -> None:
    hues = torch.linspace(-720, 720, 2881, dtype=torch.float64)
    expected = torch.tensor([colorsys.hsv_to_rgb(hue / 360 % 1, 1, 1) for hue in hues.tolist()], dtype=torch.float64)
    torch.testing.assert_close(hue_to_rgb(hues), expected, atol=1e-12, rtol=0)
    steps = hue_to_rgb(hues).diff(dim=0).abs()
    assert steps.max() <= 0.5 / 60 + 1e-12  # continuous, also where the circle closes
    assert torch.equal(hue_to_rgb(torch.tensor(0.0)), torch.tensor([1.0, 0.0, 0.0]))


def test_hue_multiplies_the_grey_value() -> None:
    image = torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    coloured = render(pad(image), values(hue=80.0), 28, 28)[0, 0]
    expected = torch.tensor(colorsys.hsv_to_rgb(80 / 360, 1, 1), dtype=torch.float64)[:, None, None] * image
    torch.testing.assert_close(coloured, expected, atol=1e-12, rtol=0)


def test_a_batch_equals_its_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 28, 28, generator=generator)
    state = 8 * torch.rand(5, 4, 3, generator=generator)
    together = render(pad(images), parameters(state, "ffrl"), 28, 28)
    for sample in range(5):
        for time in range(4):
            value = parameters(state[sample : sample + 1, time : time + 1], "ffrl")
            alone = render(pad(images[sample : sample + 1]), value, 28, 28)[0, 0]
            torch.testing.assert_close(together[sample, time], alone, atol=1e-6, rtol=0)
    assert (together[:, 0] - together[:, 1]).abs().amax(dim=(1, 2, 3)).min() > 0.1


def test_frames_stay_within_zero_and_one() -> None:
    generator = torch.Generator().manual_seed(0)
    state = 20 * torch.rand(8, 5, 3, generator=generator)
    frames = render(pad(torch.ones(8, 28, 28)), parameters(state, "ffrl"), 28, 28)
    assert frames.min() == 0 and frames.max() == 1


@pytest.mark.parametrize("steps", [0.0, 1.0, 2.5, 8.0])
def test_protocols(steps: float) -> None:
    state = torch.full((3,), steps, dtype=torch.float64)
    expected = {"ffrl": (1 + 0.1 * steps, 10 * steps, 20 * steps), "sta": (1.1**steps, 20 * steps, 20 * steps)}
    for protocol, numbers in expected.items():
        assert [value.item() for value in parameters(state, protocol)] == pytest.approx(numbers, rel=1e-14)


def test_each_state_moves_its_own_parameter() -> None:
    assert [value.tolist() for value in parameters(torch.eye(3, dtype=torch.float64), "ffrl")] == [
        [1.1, 1.0, 1.0],
        [0.0, 10.0, 0.0],
        [0.0, 0.0, 20.0],
    ]
