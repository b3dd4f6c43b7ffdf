"""Counter-based randomness, the learning rate, and device resolution."""

from __future__ import annotations

import math
import os

import pytest
import torch

from ffrl.config import OptimizerConfig
from ffrl.config.optimizer import learning_rate
from ffrl.core.device import deterministic, environment, resolve_device
from ffrl.core.errors import UserError
from ffrl.core.seed import epoch_indices, generator, hashed_seed


def test_generators_depend_on_seed_stream_and_step_only():
    def draw(*key):
        return torch.rand(64, generator=generator("cpu", *key))

    reference = draw(0, "noise", 1)
    torch.manual_seed(9)
    torch.rand(5)
    assert torch.equal(reference, draw(0, "noise", 1))
    for other in ((1, "noise", 1), (0, "data", 1), (0, "noise", 2), (0, "noise"), (1, "noise", 0)):
        assert not torch.equal(reference, draw(*other))


def test_generators_leave_the_global_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    torch.rand(3, generator=generator("cpu", 0, "noise", 1))
    epoch_indices(10, 3, 0, 0, "cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_hashed_seeds_fit_63_bits_and_do_not_collide():
    seeds = {hashed_seed(seed, stream, step) for seed in range(5) for stream in "ab" for step in range(500)}
    assert len(seeds) == 5000
    assert 0 <= min(seeds) and max(seeds) < 2**63
    assert max(seeds) > 2**62


def test_generators_of_neighbouring_steps_are_uncorrelated():
    draws = torch.stack([torch.randn(4000, generator=generator("cpu", 0, "noise", step)) for step in range(20)])
    off_diagonal = torch.corrcoef(draws) - torch.eye(20)
    assert off_diagonal.abs().max() < 5 / math.sqrt(4000)


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (10, 3), (7, 7), (5, 4)])
def test_every_epoch_covers_each_sequence_exactly_once(size, batch_size):
    steps = 3 * size
    batches = [epoch_indices(size, batch_size, step, 0, "cpu") for step in range(steps)]
    assert all(batch.shape == (batch_size,) and batch.dtype == torch.int64 for batch in batches)
    epochs = torch.cat(batches).view(-1, size)
    assert epochs.shape[0] == 3 * batch_size
    assert torch.equal(epochs.sort(1).values, torch.arange(size).expand(len(epochs), size))
    if size >= 10:
        assert not torch.equal(epochs[0], epochs[1])
        assert not torch.equal(epochs[0], torch.arange(size))


def test_epoch_indices_are_stateless():
    late = epoch_indices(100, 30, 77, 4, "cpu")
    for step in (3, 500, 77):
        again = epoch_indices(100, 30, step, 4, "cpu")
    assert torch.equal(late, again)
    assert not torch.equal(late, epoch_indices(100, 30, 77, 5, "cpu"))
    assert not torch.equal(late, epoch_indices(100, 30, 77, 4, "cpu", "validation-epoch"))


def test_batches_may_be_larger_than_what_there_is():
    drawn = torch.cat([epoch_indices(5, 12, step, 0, "cpu") for step in range(5)])
    assert all(sorted(epoch.tolist()) == list(range(5)) for epoch in drawn.split(5))
    assert len({tuple(epoch.tolist()) for epoch in drawn.split(5)}) > 6


def test_no_sequences_is_one_line():
    with pytest.raises(UserError, match="^data: found 'no sequences', expected at least one$"):
        epoch_indices(0, 9, 0, 0, "cpu")


def test_learning_rate_warms_up_linearly_and_falls_along_a_cosine():
    config = OptimizerConfig(learning_rate=0.2, final_learning_rate=0.02, warmup_steps=4)
    rates = [learning_rate(config, step, 25) for step in range(25)]
    assert rates[:4] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    assert rates[4] == pytest.approx(0.2)
    assert rates[14] == pytest.approx(0.11)  # half-way between steps 4 and 24
    assert rates[24] == pytest.approx(0.02)
    assert all(a > b for a, b in zip(rates[4:], rates[5:], strict=False))


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (1, 1), (1, 2), (100, 3), (0, 2)])
def test_learning_rate_of_short_runs_is_finite_and_within_bounds(warmup, steps):
    config = OptimizerConfig(learning_rate=0.2, final_learning_rate=0.02, warmup_steps=warmup)
    for step in range(steps):
        assert 0 < learning_rate(config, step, steps) <= 0.2


def test_absent_cuda_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="^device: found 'cuda', expected 'cpu' or 'auto'"):
        resolve_device("cuda")


@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_deterministic_restores_what_was_set_before(monkeypatch, workspace):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with pytest.raises(ZeroDivisionError), deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (workspace or ":4096:8")
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        _ = 1 / 0
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace
    assert not torch.backends.cudnn.deterministic and torch.backends.cudnn.benchmark
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_environment_names_versions_and_hardware():
    record = environment(torch.device("cpu"))
    assert record["torch"] == torch.__version__
    assert record["threads"] == torch.get_num_threads()
    assert record["device"]
