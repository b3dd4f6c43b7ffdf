"""Stand-ins for MuJoCo: images that show the numbers of their scene."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ffrl.data.rendered.frames import CHUNK, Renderer


class Painted:
    """What renders in its place: row f of an image is the f-th number, as a level of 0 to 200.

    Attributes:
        count: images that were rendered.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0

        def images(renderer: Renderer, numbers: NDArray[np.float64]) -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(numbers), CHUNK):
                part = numbers[start : start + CHUNK]
                self.count += len(part)
                pictures = np.zeros((len(part), 3, renderer.size, renderer.size), np.uint8)
                pictures[:, :, : part.shape[1]] = (200 * part).round().astype(np.uint8)[:, None, :, None]
                yield pictures

        monkeypatch.setattr(Renderer, "images", images)


def painted_numbers(frames: torch.Tensor, count: int) -> torch.Tensor:
    """The first ``count`` numbers ``(..., count)`` that painted frames ``(..., C, H, W)`` show, to 1/200."""
    return frames[..., 0, :count, 0] * 255 / 200
