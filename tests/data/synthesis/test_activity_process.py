"""Activity processes: their probabilities, ranges, exact zeros and states."""

from __future__ import annotations

import math

import pytest
import torch

from ffrl.data.synthesis.activity_process import (
    laplace_speeds,
    markov_spikes,
    single_activity,
    starts,
    states,
    switching_spikes,
    uniform_speeds,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within(found: float, expected: float, variance: float, count: int) -> bool:
    """Whether a mean of ``count`` draws lies within five standard errors."""
    return abs(found - expected) < 5 * math.sqrt(variance / count)


def test_single_activity_is_one_hot_throughout() -> None:
    which = torch.tensor([2, 0, 1, 1])
    activity = single_activity(which, num_steps=5, num_transformations=3)
    assert activity.shape == (4, 5, 3) and activity.dtype == torch.float32 and activity.is_contiguous()
    assert torch.equal(activity.argmax(-1), which[:, None].expand(-1, 5))
    assert torch.equal(activity.sum(-1), torch.ones(4, 5)) and torch.equal(activity**2, activity)
    with pytest.raises(IndexError):
        single_activity(torch.tensor([3]), num_steps=5, num_transformations=3)


@pytest.mark.parametrize(("on", "off"), [(0.1, 0.3), (0.5, 0.05), (0.9, 0.8)])
def test_chain_is_stationary_with_the_given_rates(on: float, off: float) -> None:
    spikes = markov_spikes((20000, 8, 3), on, off, seeded())
    assert spikes.shape == (20000, 8, 3) and spikes.dtype == torch.bool
    stationary = on / (on + off)
    for step in range(8):
        for transformation in range(3):
            share = spikes[:, step, transformation].double().mean().item()
            assert within(share, stationary, stationary * (1 - stationary), 20000)
    for step in range(7):
        before, after = spikes[:, step], spikes[:, step + 1]
        switched_on, switched_off = after[~before].double(), (~after)[before].double()
        assert within(switched_on.mean().item(), on, on * (1 - on), len(switched_on))
        assert within(switched_off.mean().item(), off, off * (1 - off), len(switched_off))


def test_chain_has_no_memory_beyond_one_step() -> None:
    spikes = markov_spikes((60000, 3, 1), 0.2, 0.4, seeded())[..., 0]
    for first in (False, True):
        chosen = spikes[(spikes[:, 0] == first) & ~spikes[:, 1], 2].double()
        assert within(chosen.mean().item(), 0.2, 0.16, len(chosen))


def test_chains_are_independent() -> None:
    spikes = markov_spikes((20000, 2, 3), 0.3, 0.3, seeded()).double()
    for time in range(2):
        correlation = torch.corrcoef(spikes[:, time].T)
        assert (correlation - torch.eye(3)).abs().max() < 5 / math.sqrt(20000)
    neighbours = torch.corrcoef(torch.stack((spikes[:-1, 0, 0], spikes[1:, 0, 0])))
    assert neighbours[0, 1].abs() < 5 / math.sqrt(20000)


@pytest.mark.parametrize("spread", [0.0, 0.5, 0.9])
def test_uniform_speeds(spread: float) -> None:
    speeds = uniform_speeds((5000, 8, 3), spread, seeded()).double()
    low, high = speeds.min().item(), speeds.max().item()
    assert 1 - spread - 1e-6 <= low <= 1 - 0.999 * spread and 1 + 0.999 * spread <= high <= 1 + spread + 1e-6
    assert abs(speeds.mean().item() - 1) < 5 * math.sqrt(spread**2 / 3 / speeds.numel()) + 1e-7
    assert speeds.var().item() == pytest.approx(spread**2 / 3, rel=0.02)


def test_laplace_speeds() -> None:
    speeds = laplace_speeds((50000, 4), seeded()).double().flatten()
    distance = (speeds - 1).abs()
    assert speeds.isfinite().all()
    assert within(speeds.mean().item(), 1, 0.02, len(speeds))
    assert within(distance.mean().item(), 0.1, 0.01, len(speeds))  # |s - 1| ~ Exponential of mean 0.1
    for threshold in (0.05, 0.2, 0.5):
        tail = math.exp(-threshold / 0.1)
        assert within((distance > threshold).double().mean().item(), tail, tail * (1 - tail), len(speeds))


def test_states_are_cumulative_sums_from_zero() -> None:
    activity = torch.rand(3, 6, 2, generator=seeded(), dtype=torch.float64)
    path = states(activity)
    assert path.shape == (3, 7, 2) and path[:, 0].abs().max() == 0
    torch.testing.assert_close(path.diff(dim=1), activity, atol=1e-14, rtol=0)


def test_switching_spikes_have_the_stated_rates() -> None:
    alone = switching_spikes((4000, 9, 3), 0.7, 0.0, torch.Generator().manual_seed(1))
    assert (alone.sum(-1) == 1).all()
    acting = alone.int().argmax(-1)
    kept = (acting[:, 1:] == acting[:, :-1]).double().mean().item()
    assert kept == pytest.approx(0.7 + 0.3 / 3, abs=5 * (0.16 / 32000) ** 0.5)
    share = alone.double().mean((0, 1))
    assert (share - 1 / 3).abs().max() < 0.02
    joined = switching_spikes((4000, 9, 3), 0.7, 0.3, torch.Generator().manual_seed(1))
    count = joined.sum(-1)
    assert set(count.unique().tolist()) == {1, 2}
    assert (count == 2).double().mean().item() == pytest.approx(0.3 * 2 / 3, abs=5 * (0.16 / 36000) ** 0.5)


def test_starts_leave_room_for_the_activity() -> None:
    g = torch.Generator().manual_seed(0)
    activity = torch.rand(4000, 8, 3, generator=g) * 1.4
    s = starts(activity, 0.5, g)
    room = (8 - activity.sum(1)).clamp(min=0)
    assert (s >= 0).all() and (s <= room).all()
    roomy = room > 0
    moved = (s > 0)[roomy].double().mean()
    assert abs(moved - 0.5) < 4 * (0.25 / roomy.sum()) ** 0.5
    share = (s / room)[roomy & (s > 0)]
    assert abs(share.mean() - 0.5) < 4 * (1 / 12 / len(share)) ** 0.5 and share.max() > 0.99
    assert torch.equal(starts(activity, 0.0, g), torch.zeros(4000, 3))


def test_states_go_on_from_their_start() -> None:
    activity = torch.rand(5, 8, 3)
    start = torch.rand(5, 3)
    assert torch.equal(states(activity, start), states(activity) + start[:, None])
