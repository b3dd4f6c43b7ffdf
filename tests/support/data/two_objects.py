"""Grey images of a bar and an ellipse, each of which is translated, rotated and dimmed: two of six transformations act.

As a script it writes them for ``--data.name sequences``: ``python tests/support/data/two_objects.py FOLDER [COUNT]``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SIDE, STEPS, PROCESSES = 32, 10, 2
TRANSFORMATIONS = (
    "translation of the bar",
    "rotation of the bar",
    "intensity of the bar",
    "translation of the ellipse",
    "rotation of the ellipse",
    "intensity of the ellipse",
)
UNIT = np.array([1.3, 0.2, -0.055])
"""What a unit step adds to the position in pixels, the angle in radians and the intensity of an object."""
STAYS, ONE_MORE, BEFORE, LONGEST = 0.85, 0.1, 0.5, 4.0
"""Probabilities that a transformation goes on, that one more acts, and that it has run before the first frame, for at
most so many unit steps."""
SIZES = np.array([[6.0, 2.2], [6.0, 3.5]])
"""Half-lengths of the bar and the ellipse, in pixels."""
ROWS, LEFT, SLOPE = np.array([-7.0, 7.0]), -9.0, 2.5
"""Where the objects are: their heights, to within a pixel, and their start; and how sharp their edges are."""


@dataclass(frozen=True)
class TwoObjects:
    """N sequences.

    Args:
        frames: intensities in [0, 1], ``(N, T+1, 32, 32)``.
        activity: speeds, zero where a transformation does not act, ``(N, T, 6)``.
        states: position, angle and intensity of both objects, ``(N, T+1, 2, 3)``.
        rows: their heights, ``(N, 2)``.
    """

    frames: Array
    activity: Array
    states: Array
    rows: Array


def switching(source: np.random.Generator, count: int, steps: int = STEPS) -> NDArray[np.bool_]:
    """Which transformations act, ``(N, T, 6)``: those of two processes, never the same, and at times one more.

    A process keeps its transformation with probability 0.85 per step; else it draws another one, which neither process
    has. With probability 0.1 one of the others acts for a step as well.
    """
    six = len(TRANSFORMATIONS)
    acting = np.argsort(source.random((count, six)), 1)[:, :PROCESSES]
    on = np.zeros((count, steps, six), bool)
    rows = np.arange(count)
    for step in range(steps):
        for process in range(PROCESSES if step else 0):
            chances = source.random((count, six))
            chances[rows[:, None], acting] = -1
            moves = source.random(count) >= STAYS
            acting[:, process] = np.where(moves, chances.argmax(1), acting[:, process])
        on[rows[:, None], step, acting] = True
        chances = np.where(on[:, step], -1, source.random((count, six)))
        more = source.random(count) < ONE_MORE
        on[rows[more], step, chances.argmax(1)[more]] = True
    return on


def draw(states: Array, rows: Array) -> Array:
    """Frames ``(N, T+1, 32, 32)`` of given states: a logistic of the distance to the edge of each object, added up.

    Args:
        states: position, angle and intensity, ``(N, T+1, 2, 3)``.
        rows: heights, ``(N, 2)``.
    """
    at = np.arange(SIDE) - (SIDE - 1) / 2
    y, x = at[:, None], at[None, :]
    frames = np.zeros((*states.shape[:2], SIDE, SIDE))
    for thing in range(2):
        position, angle, intensity = np.moveaxis(states[:, :, thing, :, None, None], 2, 0)
        across, down = x - position, y - rows[:, None, thing, None, None]
        u, v = np.cos(angle) * across + np.sin(angle) * down, np.cos(angle) * down - np.sin(angle) * across
        half, width = SIZES[thing]
        if thing == 0:
            inside = np.minimum(half - np.abs(u), width - np.abs(v))
        else:
            inside = width * (1 - np.hypot(u / half, v / width))
        frames += intensity / (1 + np.exp(np.clip(-SLOPE * inside, -60, 60)))
    return np.clip(frames, 0, 1)


def two_objects(count: int, seed: int = 0, steps: int = STEPS) -> TwoObjects:
    """Return ``count`` sequences, which depend on the seed alone."""
    source = np.random.default_rng(seed)
    activity = switching(source, count, steps) * source.uniform(0.3, 1.7, (count, steps, len(TRANSFORMATIONS)))
    before = (source.random((count, 2, 3)) < BEFORE) * source.uniform(0, LONGEST, (count, 2, 3))
    start = np.zeros((count, 2, 3))
    start[..., 0] = LEFT + source.uniform(-1, 1, (count, 2))
    start[..., 1] = source.uniform(0, 0.3, (count, 2))
    start[..., 2] = 1.0
    start += before * UNIT
    moves = activity.reshape(count, steps, 2, 3) * UNIT
    states = np.concatenate([start[:, None], start[:, None] + moves.cumsum(1)], 1)
    states[..., 2] = states[..., 2].clip(0)
    rows = ROWS + source.uniform(-1, 1, (count, 2))
    return TwoObjects(draw(states, rows), activity, states, rows)


def save_sequences(folder: Path, count: int, seed: int = 0) -> Path:
    """Write ``frames.npz`` into ``folder``, with uint8 frames ``(N, T+1, 32, 32, 1)`` and what is true of them.

    For ``stf --data.name sequences --data.root FOLDER --data.sequences.size 32 --data.num-steps 10``, which scores
    fields against the activity.

    Returns:
        Path of the file.
    """
    made = two_objects(count, seed)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "frames.npz"
    frames = np.rint(255 * made.frames).astype(np.uint8)[..., None]
    np.savez_compressed(path, frames=frames, activity=made.activity, transformations=np.array(TRANSFORMATIONS))
    return path


if __name__ == "__main__":
    print(save_sequences(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4000))
