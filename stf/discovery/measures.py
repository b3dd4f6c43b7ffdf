"""What the search measures of its models on held-out sequences, beside their log evidence."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stf.discovery.companions import companions, least_missed
from stf.discovery.population import CHUNK, Population
from stf.inference.encoded import Encoded
from stf.inference.evidence import FLOOR
from stf.inference.posterior import ON

FAINT = 0.05
"""Gone counts as at least this share of the largest, and of what a field contributes on average, so that a ratio of
next to nothing means nothing; where all fields are duplicates of one another, every gone is next to nothing."""


def evidence_at_rest(sequences: Encoded, misfit: float) -> float:
    """Log evidence, nats per transition, if nothing ever moved."""
    energy = sequences.displacement.square().sum(-1)
    dim = sequences.means.shape[-1]
    noise = FLOOR + misfit * energy / dim
    return -0.5 * float((energy / noise + dim * torch.log(2 * math.pi * noise)).mean())


@torch.no_grad()
def changes(population: Population, sequences: Encoded, misfit: Tensor) -> list[list[float]]:
    """How far every field of every candidate is from that of the first one, where that is on, as a share of its energy.

    Returns:
        C lists of K.
    """
    moved = whole = population.alive.new_zeros(())
    for part in range(0, len(sequences), CHUNK):
        batch = sequences[part : part + CHUNK]
        velocities = population.velocities(batch)
        unchanged = velocities[:, :, :1]
        found = population.infer(batch, unchanged, population.alive[:1], misfit.view(1))
        on = found.probability.unsqueeze(2)
        moved = moved + (on * (velocities - unchanged).square().sum(-1)).sum((0, 1))
        whole = whole + (on * unchanged.square().sum(-1)).sum((0, 1))
    return (moved / whole.clamp_min(1e-6)).tolist()


@torch.no_grad()
def mean_probability(population: Population, sequences: Encoded, misfit: Tensor) -> Tensor:
    """Mean probability of each field of every candidate to be on, ``(C, K)``."""
    count, total = population.count, population.alive.new_zeros(())
    chunk = max(1, CHUNK // count)
    for part in range(0, len(sequences), chunk):
        batch = sequences[part : part + chunk]
        found = population.infer(batch, population.velocities(batch), population.alive, misfit.expand(count))
        total = total + found.probability.unflatten(0, (count, -1)).sum((1, 2))
    return total / (len(sequences) * (sequences.means.shape[1] - 1))


@torch.no_grad()
def on_rates(population: Population, sequences: Encoded, chunk: int = 64) -> Tensor:
    """Share of the transitions at which each field is on in the most probable path, ``(K,)``.

    Of fields that do the same one is on; a field that does nothing is off, though its probability is that of the prior.
    """
    return acting(population, sequences, chunk).to(population.alive.dtype).mean((0, 1))


@torch.no_grad()
def acting(population: Population, sequences: Encoded, chunk: int = 64) -> Tensor:
    """Which fields of a single model are on in the most probable path, ``(N, T, K)`` of bools."""
    found = []
    for part in range(0, len(sequences), chunk):
        batch = sequences[part : part + chunk]
        posterior = population.infer(batch, population.velocities(batch), population.alive, population.misfit)
        found.append(posterior.mode() != 0)
    return torch.cat(found)


@torch.no_grad()
def joint_rates(population: Population, sequences: Encoded, misfit: Tensor, chunk: int = 64) -> Tensor:
    """How often two fields of a single model are on at once, ``(K, K)``; on the diagonal, how often each one is."""
    total = population.alive.new_zeros(())
    for part in range(0, len(sequences), chunk):
        batch = sequences[part : part + chunk]
        on = population.infer(batch, population.velocities(batch), population.alive, misfit.view(1)).probability
        both = torch.einsum("btk,btl->kl", on, on)
        total = total + both - torch.diag(both.diagonal() - on.sum((0, 1)))
    return total / (len(sequences) * (sequences.means.shape[1] - 1))


def lacks(population: Population, sequences: Encoded, misfit: Tensor) -> tuple[list[float], list[list[float]]]:
    """What the lack of each field of a single model costs, nats per transition, or the least that counts.

    A field is left out with those that nothing tells it apart from.

    Args:
        population: of one candidate.
        sequences: held out.
        misfit: at which to judge, ``()``.

    Returns:
        K costs, and :func:`~stf.discovery.companions.least_missed` of all pairs, K lists of K.
    """
    joint = joint_rates(population, sequences, misfit)
    variants = torch.cat([population.alive, 1 - companions(joint)])
    evidence, *others = population.held_out(sequences, misfit, variants).tolist()
    lost = [evidence - other for other in others]
    floor = FAINT * max(*lost, (evidence - evidence_at_rest(sequences, float(misfit))) / population.size)
    return [max(value, floor) for value in lost], least_missed(joint).tolist()


@torch.no_grad()
def relative_residuals(population: Population, sequences: Encoded, chunk: int = 64) -> Tensor:
    """Of every field, how much it leaves of the steps on which it acts alone, as a share of their energy: ``(K,)``."""
    left = whole = population.alive.new_zeros(())
    for part in range(0, len(sequences), chunk):
        batch = sequences[part : part + chunk]
        found = population.infer(batch, population.velocities(batch), population.alive, population.misfit)
        residual = found.statistics().misfit(found.data)
        on = found.probability > ON
        alone = (on & (on.sum(-1, keepdim=True) == 1)).to(residual.dtype)
        left = left + (alone * residual.unsqueeze(-1)).sum((0, 1))
        whole = whole + (alone * batch.displacement.square().sum(-1, keepdim=True)).sum((0, 1))
    return left / whole.clamp_min(1e-6)
