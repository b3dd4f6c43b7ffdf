"""Planted transformations in a known latent space, for the tests of the search for fields; no image, no encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ffrl.fields.potential import Potentials
from stf.config import DiscoveryConfig
from stf.discovery.population import Setting
from stf.discovery.search import Search
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.rotational import RotationalFields
from stf.inference.encoded import Encoded, whitening
from stf.inference.posterior import ON
from stf.inference.prior import ActivityPrior

Array = NDArray[np.float64]
Field = Callable[[Array], Array]
DIM, STEPS = 8, 6
NOISE = 0.03
"""Standard deviation of q(z | x); that of an encoded mean around its truth is this over the square root of 2."""


def in_plane(first: int, second: int, motion: Callable[[Array, Array], tuple[Array, Array]]) -> Field:
    """A field that moves two coordinates, as a function of them."""

    def field(z: Array) -> Array:
        moved = np.zeros_like(z)
        moved[..., first], moved[..., second] = motion(z[..., first], z[..., second])
        return moved

    return field


def rotation(first: int, second: int, rate: float = 0.5) -> Field:
    """A turn around the origin of a plane."""
    return in_plane(first, second, lambda x, y: (-rate * y, rate * x))


def line(direction: int, size: float = 0.5) -> Field:
    """The same displacement everywhere."""
    return in_plane(direction, (direction + 1) % DIM, lambda x, y: (size + 0 * x, 0 * y))


def bend(first: int, second: int, size: float = 0.5) -> Field:
    """A displacement whose direction turns along its way."""
    return in_plane(first, second, lambda x, y: (size * np.cos(0.8 * x), size * np.sin(0.8 * x)))


def spread(first: int, second: int, rate: float = 0.3) -> Field:
    """Growth away from the origin of a plane: linear in z."""
    return in_plane(first, second, lambda x, y: (rate * x, rate * y))


def scaled(field: Field, factor: float) -> Field:
    """The same field, faster, slower or backwards."""
    return lambda z: factor * field(z)


@dataclass(frozen=True)
class Sequences:
    """Encoded sequences and what is true of them.

    Args:
        encoded: noisy means.
        activity: speeds, zero where off, ``(N, T, F)``.
        fields: velocities of the true fields at the encoded midpoints, ``(N, T, F, D)``.
    """

    encoded: Encoded
    activity: Tensor
    fields: Tensor


def sticky(source: np.random.Generator, shape: tuple[int, int, int], at_a_time: int, keep: float = 0.85) -> Array:
    """Spikes of processes that each keep their transformation, or else draw another that is free: ``(N, T, F)``."""
    count, steps, fields = shape
    on = np.zeros(shape)
    for number in range(count):
        acting = list(source.choice(fields, at_a_time, replace=False))
        for step in range(steps):
            for place in range(at_a_time):
                free = [k for k in range(fields) if k not in acting]
                if step and free and source.random() > keep:
                    acting[place] = int(source.choice(free))
            on[number, step, acting] = 1
    return on


def chains(source: np.random.Generator, shape: tuple[int, int, int], on_rate: float = 0.1, off_rate: float = 0.3):
    """Spikes of independent two-state chains, ``(N, T, F)``."""
    on = np.zeros(shape)
    on[:, 0] = source.random((shape[0], shape[2])) < on_rate / (on_rate + off_rate)
    for step in range(1, shape[1]):
        stays = np.where(on[:, step - 1] > 0, 1 - off_rate, on_rate)
        on[:, step] = source.random(stays.shape) < stays
    return on


def planted(
    fields: Sequence[Field],
    count: int,
    seed: int,
    at_a_time: int = 1,
    signed: bool = False,
    constant: bool = False,
    independent: bool = False,
    noise: float = NOISE,
    steps: int = STEPS,
) -> Sequences:
    """Trajectories of planted fields from a ring in every plane of two coordinates, in rotated coordinates.

    Args:
        fields: the true ones.
        count: N.
        seed: of the trajectories; the rotation of the coordinates is always the same.
        at_a_time: how many fields act at once (``sticky``).
        signed: speeds have a random sign.
        constant: one field throughout, at unit speed.
        independent: spikes of independent chains instead.
        noise: standard deviation of q(z | x).
        steps: T.
    """
    source = np.random.default_rng(seed)
    shape = (count, steps, len(fields))
    if constant:
        on = np.zeros(shape)
        on[np.arange(count), :, source.integers(len(fields), size=count)] = 1
        speeds = on
    else:
        on = chains(source, shape) if independent else sticky(source, shape, min(at_a_time, len(fields)))
        speeds = on * source.normal(1, 0.3, shape)
    if signed:
        speeds = speeds * source.choice([-1.0, 1.0], (count, 1, len(fields)))
    angle = source.uniform(0, 2 * np.pi, (count, DIM // 2))
    radius = source.normal(1, 0.1, (count, DIM // 2))
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(count, DIM)
    path, substeps = [z], 4
    for step in range(steps):
        for _ in range(substeps):
            half = z + 0.5 / substeps * sum(speeds[:, step, k, None] * f(z) for k, f in enumerate(fields))
            z = z + 1 / substeps * sum(speeds[:, step, k, None] * f(half) for k, f in enumerate(fields))
        path.append(z)
    clean = np.stack(path, 1)
    observed = clean + noise / np.sqrt(2) * source.standard_normal(clean.shape)
    turn, _ = np.linalg.qr(np.random.default_rng(99).standard_normal((DIM, DIM)))
    middle = (observed[:, 1:] + observed[:, :-1]) / 2
    velocities = np.stack([f(middle) for f in fields], 2) @ turn if fields else np.zeros((*middle.shape[:2], 0, DIM))

    def tensor(values: Array) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)

    unit = whitening(torch.full((DIM,), noise**2))
    return Sequences(Encoded(tensor(observed @ turn), unit), tensor(speeds), tensor(velocities))


def helmholtz(count: int, seed: int = 0, width: int = 16, dim: int = DIM, timed: bool = False) -> HelmholtzFields:
    """Freshly initialised small fields."""
    torch.manual_seed(seed)
    turning = RotationalFields(count, dim, width, terms=1, rank=4, time_dependent=timed)
    return HelmholtzFields(Potentials(count, dim, width, time_dependent=timed), turning)


def setting(timed: bool = False, steps: int = STEPS, **prior: Any) -> Setting:
    """The default prior, with changes."""
    return Setting(ActivityPrior(**prior), 0.1, 0.3, steps, timed)


def short(**changes: Any) -> DiscoveryConfig:
    """Lengths of stages that are enough for a few fields in a few dimensions."""
    stages = dict(form=150, pairs=30, trial=40, longer=80, settle=60, polish=50)
    values = stages | dict(batch_size=32, trial_batch_size=16)
    return DiscoveryConfig(**(values | changes))


def run(search: Search) -> Search:
    """Take all steps that are left."""
    while not search.progress.finished:
        search.step()
    return search


@dataclass(frozen=True)
class Found:
    """What a search found of planted fields.

    Args:
        alive: how many fields.
        cosine: mean cosine between every true field, where it is on, and the found one that fits it best.
        f1: of their spikes.
        matched: which true field is whose, pairs of (true, found).
    """

    alive: int
    cosine: list[float]
    f1: list[float]
    matched: list[tuple[int, int]]


@torch.no_grad()
def compare(search: Search, truth: Sequences) -> Found:
    """Match the fields of a search with the true ones, one to one, by the direction of velocities."""
    population, encoded = search.population, truth.encoded
    velocities = population.velocities(encoded)
    found = population.infer(encoded, velocities, population.alive, population.misfit)
    ours = nn.functional.normalize(velocities.squeeze(2), dim=-1)
    theirs = nn.functional.normalize(truth.fields * encoded.unit, dim=-1)
    on = (truth.activity != 0).float()
    cosine = torch.einsum("ntkd,ntfd,ntf->fk", ours, theirs, on) / on.sum((0, 1)).unsqueeze(-1)
    true, fitted = linear_sum_assignment(-cosine.abs().numpy())
    guess = (found.probability > ON).float()
    f1 = []
    for k, f in zip(fitted, true, strict=True):
        both = (guess[..., k] * on[..., f]).sum()
        f1.append(float(2 * both / (guess[..., k].sum() + on[..., f].sum())))
    pairs = [(int(f), int(k)) for f, k in zip(true, fitted, strict=True)]
    return Found(population.size, [float(cosine[f, k]) for f, k in pairs], f1, pairs)


def searched(
    fields: Sequence[Field],
    places: int,
    seed: int,
    prior: Setting | None = None,
    steps: int = 620,
    count: int = 500,
    width: int = 16,
    config: DiscoveryConfig | None = None,
    **data: Any,
) -> tuple[Search, Sequences]:
    """Search for planted fields from scratch; the search at its end, and sequences that it has not seen."""
    train, held, fresh = (planted(fields, n, 10 * seed + part, **data) for part, n in enumerate((count, 100, 150)))
    template = helmholtz(places, seed, width)
    config = config or short()
    prior = setting(timed=False) if prior is None else prior
    search = Search(config, template, prior, train.encoded, held.encoded, steps, seed)
    return run(search), fresh
