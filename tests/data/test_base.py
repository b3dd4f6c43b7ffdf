"""Checks of frames that users hand over."""

from __future__ import annotations

import pytest
import torch

from ffrl.core.errors import UserError
from ffrl.data.base import check_frames


def frames() -> torch.Tensor:
    return torch.linspace(0, 1, 2 * 3 * 3 * 4 * 4).view(2, 3, 3, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_good_frames_pass(dtype: torch.dtype) -> None:
    check_frames(frames().to(dtype), "here")
    check_frames(frames().to(dtype), "here", image_shape=(3, 4, 4))


def changed(value: float) -> torch.Tensor:
    result = frames()
    result[1, 2, 0, 3, 1] = value
    return result


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (changed(float("nan")), "1 NaN among 288 values"),
        (changed(float("inf")), r"values in \[0, inf\]"),
        (changed(-0.25), r"values in \[-0.25, 1\]"),
        (changed(1.001), r"values in \[0, 1.001\]"),
        (frames() * 255, r"values in \[0, 255\]"),
        (frames()[0], r"frames of shape \(3, 3, 4, 4\), expected 5 dimensions"),
        (frames()[:0], r"frames of shape \(0, 3, 3, 4, 4\), expected at least one"),
        (frames().transpose(2, 4), r"images of shape \(4, 4, 3\), expected \(3, 4, 4\)"),
        (frames().byte(), "values of type torch.uint8"),
    ],
)
def test_bad_frames_are_refused(bad: torch.Tensor, found: str) -> None:
    with pytest.raises(UserError, match=f"^clip.npz: found {found}") as caught:
        check_frames(bad, "clip.npz", image_shape=(3, 4, 4))
    assert "\n" not in str(caught.value) and ", expected " in str(caught.value)
