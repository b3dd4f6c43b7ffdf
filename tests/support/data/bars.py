"""Grey images of 12 x 20 pixels under three transformations: a bar that moves, a background that brightens, a spot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAMES = ("translation", "brightness", "growth")
HEIGHT, WIDTH, STEPS = 12, 20, 5


def bars(count: int, seed: int = 0, steps: int = STEPS, at_a_time: int = 2) -> tuple[NDArray, NDArray]:
    """Frames ``(N, T+1, 12, 20)`` in [0, 1], and the speeds ``(N, T, 3)`` of what acts: some at a time, at random."""
    source = np.random.default_rng(seed)
    on = np.zeros((count, steps, 3))
    for step in range(steps):
        fresh = np.argsort(source.random((count, 3)), 1)[:, :at_a_time]
        now = np.zeros((count, 3))
        np.put_along_axis(now, fresh, 1.0, axis=1)
        keep = source.random((count, 1)) < 0.6
        on[:, step] = np.where(keep & (step > 0), on[:, step - 1], now)
    speeds = on * source.uniform(0.4, 1.6, on.shape)
    start = source.uniform(0, 2, (count, 1, 3))
    state = np.concatenate([start, start + speeds.cumsum(1)], 1)
    y, x = np.arange(HEIGHT)[:, None], np.arange(WIDTH)[None]
    shift, bright, growth = (state[..., j, None, None] for j in range(3))
    row = source.uniform(2, 4, (count, 1, 1, 1))
    bar = 1 / (1 + np.exp(-3 * (1.6 - np.abs(x - 2 - 1.6 * shift)))) * (np.abs(y - row) < 2.5)
    spot = 1 / (1 + np.exp(-2 * (0.6 + 0.35 * growth - np.hypot(x - 15, y - 9))))
    frames = 0.8 * bar + 0.8 * spot + 0.05 * bright * (y > 5) * (x < 10)
    return frames.clip(0, 1).astype(np.float32), speeds.astype(np.float32)
