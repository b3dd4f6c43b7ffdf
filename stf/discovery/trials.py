"""Trials: models with one field less that learn beside the unchanged one, what they cost, and which go together.

The first candidate of a population of trials is the unchanged model. Moves name places; where a place stands in the
population, ``places.index`` tells.
"""

from __future__ import annotations

from torch import Tensor

from stf.config import DiscoveryConfig
from stf.discovery.measures import changes, lacks, mean_probability
from stf.discovery.pairs import PairFit
from stf.discovery.population import Candidate, Population, rows_of
from stf.discovery.progress import Move
from stf.inference.encoded import Encoded

RECRUITED = 0.5
"""A field whose velocities change by more than this share of their energy during a trial has got another job."""

PLENTY = 9
"""Of more fields than so many, one merge and one deletion more are tried at once for every further field."""

AT_ONCE = 320
"""Fields that all models of a trial have together at most, as time and memory grow with them; more only if as many
merges and deletions as are configured need more."""

SUMS = 0.5
"""A move after which so large a share of the steps of its field takes another field more has lost all of it."""


def propose(
    base: Population, fit: PairFit, places: list[int], held: Encoded, misfit: Tensor, config: DiscoveryConfig
) -> tuple[list[Candidate], list[Move], list[float]]:
    """The best merges, and the deletions that cost least at first.

    Args:
        base: a single model.
        fit: one field to every pair of its fields.
        places: where its fields are.
        held: held-out sequences.
        misfit: at which moves are judged, ``()``.
        config: of the phase.

    Returns:
        The unchanged model and its trials; their moves; and what the lack of each field costs.
    """
    lost, share = lacks(base, held, misfit)
    room = (AT_ONCE // base.size - 1 - config.merges - config.deletions) // 2
    more = max(0, min(base.size - PLENTY, room))
    merges, deletions = (number and number + more for number in (config.merges, config.deletions))
    excess = fit.excess(held)
    fitted, rows, alive = rows_of(fit.fields), rows_of(base.fields), base.alive[0]
    candidates, moves = [(rows, alive)], []
    order: dict[tuple[int, int], int] = {}  # the better orientation of every pair
    for index in excess.argsort().tolist():
        if excess[index] < config.screen:
            order.setdefault(fit.pairs[index][:2], index)
    for (a, b), index in list(order.items())[:merges]:
        merged = {name: value.clone() for name, value in rows.items()}
        for name, value in merged.items():
            value[a] = fitted[name][index]
        candidates.append((merged, _without(alive, b)))
        moves.append(Move((places[a], places[b]), min(lost[a], lost[b]) * share[a][b]))
    for c in sorted(range(base.size), key=lost.__getitem__)[:deletions]:
        candidates.append((rows, _without(alive, c)))
        moves.append(Move((places[c],), lost[c] * min(share[c])))
    return candidates, moves, [value * min(shares) for value, shares in zip(lost, share, strict=True)]


def judge(
    population: Population, moves: list[Move], gone: list[float], places: list[int], held: Encoded, misfit: Tensor
) -> tuple[list[float], list[float]]:
    """What trials cost, nats per transition, and which share of their field is lost.

    That is the cost as a share of what is gone, or the share of its steps that take another field more
    (:func:`shared`) as a share of :data:`SUMS`, whichever is larger.

    Args:
        population: the unchanged model and its trials.
        moves: of the trials.
        gone: what the lack of each field costs.
        places: where the fields are.
        held: held-out sequences.
        misfit: at which to judge, ``()``.
    """
    evidence = population.held_out(held, misfit)
    costs = (evidence[0] - evidence[1:]).tolist()
    least = given_up(population, moves, gone, places, held, misfit)
    more = shared(population, moves, places, held, misfit)
    lost = [cost / max(value, 1e-6) for cost, value in zip(costs, least, strict=True)]
    return costs, [max(share, rise / SUMS) for share, rise in zip(lost, more, strict=True)]


def shared(population: Population, moves: list[Move], places: list[int], held: Encoded, misfit: Tensor) -> list[float]:
    """For every trial how many more fields are on than in the unchanged model, per step of the rarer field of its move.

    Three fields in a plane can do what four do that point in opposite directions, with two of them on where one was:
    then little evidence is lost, but a transformation has become a sum of others. Arguments as for :func:`judge`.
    """
    rates = mean_probability(population, held, misfit)
    rise = (rates[1:].sum(-1) - rates[0].sum()).tolist()
    first = rates[0].tolist()
    rarer = [min(first[places.index(place)] for place in move.places) for move in moves]
    return [more / max(rate, 1e-6) for more, rate in zip(rise, rarer, strict=True)]


def given_up(
    population: Population, moves: list[Move], gone: list[float], places: list[int], held: Encoded, misfit: Tensor
) -> list[float]:
    """For every trial the least that is gone of what it gave up: its field, or one that has another job now.

    A field that is deleted may come back in the place of a fainter one, whose lack costs less. Arguments as for
    :func:`judge`.
    """
    found = []
    for change, move in zip(changes(population, held, misfit)[1:], moves, strict=True):
        others = [k for k, place in enumerate(places) if place not in move.places]
        found.append(min([move.gone, *(gone[k] for k in others if change[k] > RECRUITED)]))
    return found


def together(
    population: Population,
    ratios: list[float],
    moves: list[Move],
    places: list[int],
    held: Encoded,
    misfit: Tensor,
    limit: float,
) -> tuple[list[int], Candidate]:
    """The best trial, with others that are clear and still are beside it.

    Args:
        population: the unchanged model and its trials.
        ratios: of the trials.
        moves: of the trials.
        places: where the fields are.
        held: held-out sequences.
        misfit: at which to judge, ``()``.
        limit: ratio below which another trial is clear.

    Returns:
        Which trials go together, the best one first, and the model that they make.
    """
    best, *others = sorted(range(len(ratios)), key=ratios.__getitem__)
    rows, alive = population.candidate(best + 1), population.alive[best + 1]
    taken, touched = [best], set(moves[best].places)
    for index in others:
        move = moves[index]
        if ratios[index] >= limit or touched & set(move.places) or alive.sum() <= 2:
            continue
        row = [places.index(place) for place in move.places]
        further, other = {name: value.clone() for name, value in rows.items()}, population.candidate(index + 1)
        if move.kind == "merge":
            for name, value in further.items():
                value[row[0]] = other[name][row[0]]
        lives = _without(alive, row[-1])
        before, after = population.like([(rows, alive), (further, lives)], misfit).held_out(held).tolist()
        if before - after >= limit * move.gone:  # what one move relies on, the other may have taken away
            continue
        rows, alive = further, lives
        touched |= set(move.places)
        taken.append(index)
    return taken, (rows, alive)


def _without(alive: Tensor, field: int) -> Tensor:
    alive = alive.clone()
    alive[field] = 0
    return alive
