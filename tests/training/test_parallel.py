"""Training in several processes: equal to that in one up to rounding, written once, ended and resumed together."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_tools import TINY, only_line
from engine_tiny import MODES, StopAt, TinyModel, run_tiny, tiny_config, weights
from parallel_tools import POISONED, outcomes, processes, run_small, small_config, small_runs

from ffrl.core.errors import UserError
from ffrl.models.interface import Divisible
from ffrl.storage.names import METRICS
from ffrl.training import trainer
from ffrl.training.checkpoint import checkpoints
from ffrl.training.log import TIMINGS, read_metrics
from ffrl.training.parallel import Ranks
from ffrl.training.phases import spans
from stf.registry import CONFIGS
from stf.run import build_model

TOLERANCE = 1e-4
STOPPED = 3
"""The step after which a signal to the second process ends a run."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the three modes in one process."""
    folder = tmp_path_factory.mktemp("alone")
    for mode in MODES:
        run_small(folder / mode, mode)
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs in two processes, whose models begin with different weights, and one that a signal ends."""
    folder = tmp_path_factory.mktemp("together")
    assert small_runs(folder, *MODES, f"unsupervised:stop={STOPPED}") == [(143, "", "")] * 2
    return folder


def numbers(entry: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in entry.items() if isinstance(value, int | float) and key not in TIMINGS}


def assert_equal_up_to_rounding(reference: Path, run: Path) -> None:
    """Same entries with the same numbers, and the same weights and running estimates at the end."""
    expected, found = (read_metrics(folder / METRICS) for folder in (reference, run))
    assert [entry.keys() for entry in expected] == [entry.keys() for entry in found]
    for wanted, entry in zip(expected, found, strict=True):
        assert numbers(entry) == pytest.approx(numbers(wanted), rel=TOLERANCE, abs=1e-6)
    assert list(checkpoints(run))[-1] == list(checkpoints(reference))[-1]
    ours = weights(run)
    for name, value in weights(reference).items():
        assert (ours[name] - value).norm() <= TOLERANCE * value.norm(), name


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_equal_one(alone, together, mode):
    assert_equal_up_to_rounding(alone / mode, together / mode)


def test_the_runs_have_all_phases_and_log_what_they_train_on(together):
    assert [span.phase.name for span in spans(small_config("unsupervised"))] == [
        "still", "discovery", "joint", "refine",
    ]  # fmt: skip
    entries = read_metrics(together / "unsupervised" / METRICS)
    assert {"train/loss", "train/alone", "train/log_evidence", "validation/loss"} <= {k for e in entries for k in e}
    assert any("search" in entry for entry in entries)


def test_a_step_that_one_process_cannot_take_is_taken_by_none(together):
    skipped = {
        e["step"]: e["skipped_steps"] for e in read_metrics(together / "supervised" / METRICS) if "skipped_steps" in e
    }
    assert {step for step, count in skipped.items() if count} == set(range(POISONED + 1, 61, 2))
    assert skipped[60] == 1


def test_a_run_goes_on_with_another_number_of_processes(alone, together):
    run = together / "unsupervised-stopped"
    assert list(checkpoints(run)) == [STOPPED]
    assert run_small(run, "unsupervised", resume=True, data=StopAt(30, "signal")).interrupted
    joint = next(span for span in spans(small_config("unsupervised")) if span.phase.name == "joint")
    assert joint.first < list(checkpoints(run))[-1] < joint.last
    assert small_runs(together, "unsupervised-stopped:resume") == [(0, "", "")] * 2
    assert_equal_up_to_rounding(alone / "unsupervised", run)


def test_a_process_that_is_killed_ends_the_other_with_one_line(tmp_path):
    flags = [*TINY, "--mode=supervised", "--steps=100000", "--log-every=1"]
    started = processes(2, [sys.executable, "-m", "cli.main", "train", *flags], tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(f"runs/*/{METRICS}")) and time.monotonic() < deadline:
        assert [process.poll() for process in started] == [None, None]
        time.sleep(0.02)
    started[1].kill()
    (code, out, errors), (killed, *nothing) = outcomes(started)
    assert (code, out, killed, nothing) == (2, "", -signal.SIGKILL, ["", ""])
    message = only_line(errors.splitlines(keepends=True)[-1])
    assert message.startswith("process 0 of 2: found no answer of another process, which has probably ended (")
    assert "Traceback" not in errors
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_parts_cover_a_batch_and_differ_by_one_sequence():
    for size in range(1, 9):
        parts = [Ranks(rank, size).part(8) for rank in range(size)]
        assert [place for part in parts for place in range(8)[part]] == list(range(8))
        lengths = {part.stop - part.start for part in parts}
        assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 2}, "batch-size: found 2, expected at least 3, one sequence for each process"),
        (
            {"device": "cuda:1"},
            "device: found 'cuda:1', expected auto, cpu or cuda, of which each process takes its own",
        ),
    ],
)
def test_work_that_cannot_be_divided_is_one_line(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(trainer, "join", lambda: Ranks(1, 3))
    monkeypatch.setattr(trainer, "resolve_device", lambda name: torch.device("cpu"))
    with pytest.raises(UserError) as error:
        run_tiny(tmp_path / "run", tiny_config(**changes))
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_learns_from_whole_batches_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "join", lambda: Ranks(0, 2))
    model = TinyModel()
    monkeypatch.delattr(TinyModel, "see_parts")
    with pytest.raises(UserError, match="^mode: found 'unsupervised' in 2 processes, expected one process: "):
        run_tiny(tmp_path / "run", tiny_config(), model=model)


def test_which_models_can_see_parts():
    found = {mode for mode in CONFIGS if isinstance(build_model(CONFIGS[mode](), (3, 28, 28)), Divisible)}
    assert found == {"unsupervised", "supervised", "weak", "sta", "poflow"}
