"""One field for two: halves of one field are told from fields of their own."""

from __future__ import annotations

import math

import pytest
import torch
from discovery_tools import DIM, STEPS, setting
from torch import Tensor, nn

from stf.discovery import pairs as module
from stf.discovery.pairs import PairFit, all_pairs, promising
from stf.discovery.population import Population, annealed, gather, rows_of
from stf.inference.encoded import Encoded


class Known(nn.Module):
    """Fields that are known functions, with rows that scale them; what a pair is fitted by is a matrix per field.

    Field k moves z by ``matrix_k z + offset_k``, gated by a logistic of ``side_k * z_0``.
    """

    def __init__(self, matrix: Tensor, offset: Tensor, side: Tensor) -> None:
        super().__init__()
        self.num_fields = len(matrix)
        self.matrix, self.offset = nn.Parameter(matrix), nn.Parameter(offset)
        self.side = nn.Parameter(side, requires_grad=False)

    def units(self) -> Known:
        return self

    def per_control(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        gate = torch.sigmoid(z[..., :1] * self.side)
        moved = torch.einsum("kij,...j->...ki", self.matrix, z) + self.offset
        return gate.unsqueeze(-1) * moved


SHARP = 1000.0


def known() -> Known:
    """Fields 0 and 1 are the two halves of a rotation, 2 and 3 constants of their own."""
    turn = torch.zeros(4, DIM, DIM)
    turn[:2, 1, 2], turn[:2, 2, 1] = -0.5, 0.5
    offset = torch.zeros(4, DIM)
    offset[2, 3] = offset[3, 4] = 0.5
    return Known(turn, offset, torch.tensor([SHARP, -SHARP, 0.0, 0.0]))


def trajectories(count: int, seed: int, noise: float = 0.02) -> Encoded:
    """Trajectories of the whole rotation and of the constants, one at a time; z_0 does not move."""
    source = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source)

    z = normal(count, DIM)
    z[:, 0] = z[:, 0].sign() * (0.3 + z[:, 0].abs())
    path = [z]
    which = torch.randint(3, (count,), generator=source)
    for _ in range(STEPS):
        which = torch.where(
            torch.rand(count, generator=source) < 0.3, torch.randint(3, (count,), generator=source), which
        )
        angle = 0.5 * (1 + 0.3 * normal(count)) * (which == 0)
        turned = z.clone()
        turned[:, 1] = angle.cos() * z[:, 1] - angle.sin() * z[:, 2]
        turned[:, 2] = angle.sin() * z[:, 1] + angle.cos() * z[:, 2]
        for number in (1, 2):
            turned[:, 2 + number] += 0.5 * (1 + 0.3 * normal(count)) * (which == number)
        z = turned
        path.append(z)
    means = torch.stack(path, 1)
    return Encoded(means + noise / math.sqrt(2) * normal(*means.shape), torch.full((DIM,), 1 / (math.sqrt(2) * noise)))


def base() -> Population:
    template = known()
    return gather([(rows_of(template), torch.ones(4))], template, torch.tensor(0.01), setting(most=2))


PAIRS = [(0, 1, 1), (0, 2, 1), (3, 1, 1), (2, 3, 1)]


def with_halves_in_common(fit: PairFit) -> PairFit:
    """The gate of what is fitted is open everywhere, as a network could make it."""
    with torch.no_grad():
        fit.fields.side.zero_()
        fit.fields.matrix.mul_(2)
        fit.fields.offset.mul_(2)
    return fit


def test_halves_of_one_field_are_one_and_fields_of_their_own_are_not():
    data, fit = trajectories(300, 1), with_halves_in_common(PairFit(base(), PAIRS))
    for step in range(150):
        batch = data[torch.randint(300, (48,), generator=torch.Generator().manual_seed(step))]
        fit.step(batch, annealed(step, 150, 0.02))
    excess = fit.excess(trajectories(150, 2)).tolist()
    assert abs(excess[0]) < 0.03
    assert min(excess[1:]) > 0.3


def test_with_signed_speeds_a_half_that_is_turned_is_the_same_field():
    """The second half of the rotation turns the other way, at negative speeds."""
    rows = {name: value.clone() for name, value in rows_of(known()).items()}
    rows["matrix"][1] *= -1
    prior = setting(slab="signed", most=2)
    found = gather([(rows, torch.ones(4))], known(), torch.tensor(0.01), prior)
    data, fit = trajectories(300, 1), with_halves_in_common(PairFit(found, [(0, 1, 1), (0, 1, -1), (0, 2, -1)]))
    for step in range(150):
        batch = data[torch.randint(300, (48,), generator=torch.Generator().manual_seed(step))]
        fit.step(batch, annealed(step, 150, 0.02))
    as_it_is, turned, other = fit.excess(trajectories(150, 2)).tolist()
    assert abs(turned) < 0.03
    assert min(as_it_is, other) > 0.3


def test_the_base_stays_as_it_is():
    found, data = base(), trajectories(40, 3)
    before = {name: value.clone() for name, value in rows_of(found.fields).items()}
    fit = PairFit(found, PAIRS)
    for _ in range(3):
        fit.step(data, 0.05)
    fit.excess(data)
    assert all(torch.equal(value, before[name]) for name, value in rows_of(found.fields).items())
    assert all(parameter.grad is None for parameter in found.fields.parameters())
    assert found.misfit.tolist() == pytest.approx([0.01])
    moved = rows_of(fit.fields)["offset"]
    assert (moved != before["offset"][[0, 0, 3, 2]]).any()


def test_pairs_start_from_the_busier_field_or_from_what_was_fitted():
    found = base()
    start = PairFit(found, PAIRS)
    assert all(
        torch.equal(value, rows_of(found.fields)[name][[0, 0, 3, 2]]) for name, value in rows_of(start.fields).items()
    )
    start.step(trajectories(30, 4), 0.05)
    again = PairFit(found, PAIRS, rows_of(start.fields))
    data = trajectories(30, 5)
    assert torch.equal(again.excess(data), start.excess(data))


def test_pairs_do_not_disturb_one_another():
    data = trajectories(40, 6)
    together = PairFit(base(), PAIRS)
    alone = [PairFit(base(), [pair]) for pair in PAIRS]
    for _ in range(4):
        for fit in (together, *alone):
            fit.step(data, 0.02)
    for index, fit in enumerate(alone):
        for name, value in rows_of(together.fields).items():
            assert torch.allclose(value[index : index + 1], rows_of(fit.fields)[name], atol=2e-5)
    separate = torch.cat([fit.excess(data) for fit in alone])
    assert torch.allclose(together.excess(data), separate, atol=1e-4)


def test_excess_does_not_depend_on_chunks():
    data, fit = trajectories(50, 7), PairFit(base(), PAIRS)
    assert torch.allclose(fit.excess(data, chunk=7), fit.excess(data, chunk=50), rtol=1e-3)


def test_excess_is_what_one_field_leaves_of_what_two_explain():
    """A field that does nothing leaves all of it."""
    data, fit = trajectories(60, 8), PairFit(base(), PAIRS)
    with torch.no_grad():
        fit.fields.matrix.zero_()
        fit.fields.offset.zero_()
    assert torch.allclose(fit.excess(data), torch.ones(4), atol=1e-3)


def test_all_pairs_are_busier_first():
    pairs = all_pairs([0.2, 0.5, 0.2, 0.1])
    assert pairs == [(1, 0, 1), (0, 2, 1), (0, 3, 1), (1, 2, 1), (1, 3, 1), (2, 3, 1)]
    assert all_pairs([0.2, 0.5], signed=True) == [(1, 0, 1), (1, 0, -1)]


def test_the_most_promising_pairs_are_kept_in_their_order(monkeypatch):
    found, data = base(), trajectories(80, 9)
    pairs = all_pairs([0.2, 0.19, 0.3, 0.31])
    assert promising(found, pairs, data) == pairs
    excess = PairFit(found, pairs).excess(data)
    monkeypatch.setattr(module, "MOST", 4)
    kept = promising(found, pairs, data)
    best = set(excess.argsort()[:4].tolist())
    assert kept == [pair for index, pair in enumerate(pairs) if index in best]
    assert len(kept) == 4


def test_of_many_fields_the_duplicates_are_kept():
    """Eleven fields, 55 pairs: two copies of every field that acts, and three that never do."""
    source = rows_of(known())
    rows = {name: value[[0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 2]].clone() for name, value in source.items()}
    for number in (8, 9, 10):
        rows["offset"][number] = 0
        rows["offset"][number, number - 3] = 0.5
    found = gather([(rows, torch.ones(11))], known(), torch.tensor(0.01), setting(most=1, enumerated=11))
    kept = promising(found, all_pairs([1 / (k + 2) for k in range(11)]), trajectories(60, 10))
    assert len(kept) == module.MOST == 40
    assert {(0, 1, 1), (2, 3, 1), (4, 5, 1), (6, 7, 1)} <= set(kept)
