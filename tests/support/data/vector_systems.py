"""Generated vector sequences with known truth: rotations in 20 dimensions, a planar arm, and two chaotic systems.

As a script it writes them for ``--data.name vectors``: ``python tests/support/data/vector_systems.py NAME FILE.npz
[COUNT] [SEED]``, with their activity, and ``--without`` without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS, SUBSTEPS = 8, 10
STAYS = 0.8
"""Probability per step that what acts goes on acting."""
SLOWEST, FASTEST = 0.5, 1.5
TURN = 0.35
"""Radians of a unit step of every rotation."""
BURN_IN = 60
"""Steps in which all run until they are on their attractors."""


@dataclass(frozen=True)
class System:
    """N sequences.

    Args:
        values: ``(N, T+1, F)``.
        activity: speeds in unit steps, zero where a transformation does not act, ``(N, T, J)``.
        transformations: names of the J.
        features: names of the F.
    """

    values: Array
    activity: Array
    transformations: tuple[str, ...]
    features: tuple[str, ...]


def switching(source: np.random.Generator, count: int, kinds: int, steps: int, least: int = 2) -> Array:
    """Speeds ``(N, T, J)``: ``least`` or one more act at a time, for five steps on average, at speeds drawn anew."""
    on = np.zeros((count, steps, kinds), bool)
    for step in range(steps):
        many = least + (source.random(count) < 0.5)
        drawn = np.argsort(np.argsort(source.random((count, kinds)), 1), 1) < many[:, None]
        stays = (source.random(count) < STAYS)[:, None] & (step > 0)
        on[:, step] = np.where(stays, on[:, max(step - 1, 0)], drawn)
    return on * source.uniform(SLOWEST, FASTEST, (count, steps, kinds))


def rotations(count: int, seed: int = 0, steps: int = STEPS, planes: int = 4, dimensions: int = 20) -> System:
    """Rotations in ``planes`` planes of a space that a random isometry puts into ``dimensions`` features."""
    source = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(20).normal(size=(dimensions, dimensions)))[0][: 2 * planes]
    activity = switching(source, count, planes, steps)
    angles = _added_up(source.uniform(0, 2 * np.pi, (count, planes)), TURN * activity)
    radius = source.uniform(0.7, 1.3, (count, 1, planes))
    states = np.stack([radius * np.cos(angles), radius * np.sin(angles)], -1)
    names = tuple(f"rotation {plane + 1}" for plane in range(planes))
    values = states.reshape(count, steps + 1, -1) @ basis
    return System(values, activity, names, tuple(f"x{place + 1}" for place in range(dimensions)))


def arm(count: int, seed: int = 0, steps: int = STEPS) -> System:
    """A planar arm of four joints, each turned by a muscle: coordinates of the ends of its links."""
    source = np.random.default_rng(seed)
    lengths = np.array([1.0, 0.9, 0.8, 0.7])
    activity = switching(source, count, 4, steps)
    angles = _added_up(source.uniform(0, 2 * np.pi, (count, 4)), TURN * activity).cumsum(-1)
    links = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    ends = links.cumsum(2).reshape(count, steps + 1, -1)
    joints = ("shoulder", "elbow", "wrist", "finger")
    features = tuple(f"{axis} of link {link + 1}" for link in range(4) for axis in "xy")
    return System(ends, activity, joints, features)


def chaotic(count: int, seed: int = 0, steps: int = STEPS) -> System:
    """A Lorenz system, a Roessler system and a rotation, each with a clock of its own, in twelve curved features.

    One or two act at a time: of three, of which two always do, each pair could be a transformation as well.
    """
    source = np.random.default_rng(seed)

    def drift(state: Array, speeds: Array) -> Array:
        x, y, z, u, v, w, p, q = state.T
        lorenz = 0.06 * np.stack([10 * (y - x), 28 * x - y - x * z, x * y - 8 / 3 * z])
        roessler = 0.35 * np.stack([-v - w, u + 0.2 * v, 0.2 + w * (u - 5.7)])
        turning = TURN * np.stack([-q, p])
        return np.concatenate([speeds[:, 0] * lorenz, speeds[:, 1] * roessler, speeds[:, 2] * turning]).T

    angle, radius = source.uniform(0, 2 * np.pi, count), source.uniform(0.7, 1.3, count)
    around = source.normal(size=(count, 6)) + [0, 0, 25, 3, 0, 0]
    state = np.column_stack([around, radius * np.cos(angle), radius * np.sin(angle)])
    for _ in range(BURN_IN):
        state = _flow(drift, state, source.uniform(0, 2, (count, 3)))
    activity, path = switching(source, count, 3, steps, least=1), [state]
    for step in range(steps):
        path.append(_flow(drift, path[-1], activity[:, step]))
    states = (np.stack(path, 1) - [0, 0, 24, 0, 0, 1, 0, 0]) / [8, 9, 9, 5, 5, 3, 0.7, 0.7]
    fixed = np.random.default_rng(12)
    straight, curved = (fixed.normal(size=(8, 12)) / 8**0.5 for _ in range(2))
    names = ("Lorenz", "Roessler", "rotation")
    values = states @ straight + 0.5 * np.tanh(states @ curved)
    return System(values, activity, names, tuple(f"x{place + 1}" for place in range(12)))


SYSTEMS: dict[str, Callable[..., System]] = {"rotations": rotations, "arm": arm, "chaotic": chaotic}


def save(name: str, path: Path, count: int = 4000, seed: int = 0, known: bool = True) -> Path:
    """Write a system to an ``.npz`` file, and return its path."""
    made = SYSTEMS[name](count, seed)
    truth = {"activity": made.activity, "transformations": np.array(made.transformations)} if known else {}
    np.savez(path, values=made.values, features=np.array(made.features), **truth)
    return path


def _added_up(start: Array, moves: Array) -> Array:
    """Start ``(N, J)`` and what follows from moves ``(N, T, J)``: ``(N, T+1, J)``."""
    return np.concatenate([start[:, None], start[:, None] + moves.cumsum(1)], 1)


def _flow(drift: Callable[[Array, Array], Array], state: Array, speeds: Array) -> Array:
    """A unit of time by Runge and Kutta's fourth order."""
    h = 1 / SUBSTEPS
    for _ in range(SUBSTEPS):
        a = drift(state, speeds)
        b = drift(state + h / 2 * a, speeds)
        c = drift(state + h / 2 * b, speeds)
        d = drift(state + h * c, speeds)
        state = state + h / 6 * (a + 2 * b + 2 * c + d)
    return state


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--without"]
    print(save(words[0], Path(words[1]), *map(int, words[2:4]), known="--without" not in sys.argv))
