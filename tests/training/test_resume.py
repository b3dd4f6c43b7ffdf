"""A resumed run equals an uninterrupted one bit for bit, wherever and however it was stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
import torch
from engine_tiny import MODES, StopAt, TinyModel, real_config, real_model, run_tiny, tiny_config
from rich.console import Console
from run_tools import assert_same_run

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.objective.elbo import elbo_terms
from ffrl.storage.names import DESCRIPTION, METRICS
from ffrl.training import run_folder
from ffrl.training.checkpoint import checkpoints
from ffrl.training.log import read_metrics
from stf.config import SparseModelConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    for mode in MODES:
        run_tiny(folder / mode, tiny_config(mode))
    return folder


@pytest.mark.parametrize("how", ["signal", "crash"])
@pytest.mark.parametrize(("mode", "step"), [("unsupervised", n) for n in (1, 5, 6, 7, 12, 13, 30)] + [("weak", 8)])
def test_resumed_equals_uninterrupted(tmp_path, references, mode, step, how):
    run, config = tmp_path / "run", tiny_config(mode)
    if how == "crash":
        with pytest.raises(ZeroDivisionError):
            run_tiny(run, config, data=StopAt(step, how))
        assert max(checkpoints(run), default=0) == 6 * ((step - 1) // 6)
    else:
        result = run_tiny(run, config, data=StopAt(step, how))
        assert (result.steps, result.interrupted) == (step, step < 30)
        assert list(checkpoints(run))[-1] == step
    result = run_tiny(run, config, resume=True)
    assert (result.steps, result.interrupted) == (30, False)
    assert_same_run(references / mode, run)


def test_a_run_stopped_after_every_step_equals_an_uninterrupted_one(tmp_path, references):
    run, config = tmp_path / "run", tiny_config("supervised")
    for step in range(1, 31):
        result = run_tiny(run, config, resume=step > 1, data=StopAt(1, "signal"))
        assert result.steps == step
    assert_same_run(references / "supervised", run)


@pytest.mark.parametrize("mode", MODES)
def test_the_real_models_resume_bit_for_bit(tmp_path, mode):
    config = real_config(mode, deterministic=True, steps=16)
    run_tiny(tmp_path / "reference", config, model=real_model(config), objective=elbo_terms)
    run_tiny(tmp_path / "run", config, model=real_model(config), objective=elbo_terms, data=StopAt(5, "signal"))
    run_tiny(tmp_path / "run", config, model=real_model(config, 1), objective=elbo_terms, resume=True)
    assert_same_run(tmp_path / "reference", tmp_path / "run")


def test_skipped_steps_survive_a_resumption(tmp_path):
    class Poisoned(StopAt):
        def mixed(self, split, indices, generator):
            batch = super().mixed(split, indices, generator)
            return batch._replace(frames=batch.frames * float("nan")) if split == "train" and self.left == 1 else batch

    run_tiny(tmp_path / "run", tiny_config(), data=Poisoned(5, "signal"))
    result = run_tiny(tmp_path / "run", tiny_config(), resume=True)
    assert result.skipped_steps == 1
    entries = [entry for entry in read_metrics(tmp_path / "run" / METRICS) if "skipped_steps" in entry]
    assert [entry["skipped_steps"] for entry in entries] == [1] * 8
    assert run_tiny(tmp_path / "run", tiny_config(), resume=True).skipped_steps == 1


def test_resuming_a_finished_run_says_so_and_changes_nothing(tmp_path):
    run, config = tmp_path / "run", tiny_config()
    first = run_tiny(run, config)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    text = StringIO()
    again = run_tiny(run, config, resume=True, console=Console(file=text))
    assert text.getvalue() == f"{run} is finished: 30 steps\n"
    assert (again.steps, again.metrics, again.interrupted) == (30, first.metrics, False)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_resuming_nothing_is_one_line_and_creates_nothing(tmp_path):
    with pytest.raises(UserError, match="^.*run: found no folder, expected a run folder to resume$"):
        run_tiny(tmp_path / "run", tiny_config(), resume=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="^cannot read .*config.json: No such file or directory$"):
        run_tiny(tmp_path, tiny_config(), resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 40}, "found steps = 30, expected 40 to resume this run"),
        ({"seed": 1}, "found seed = 5, expected 1 to resume this run"),
        (
            {"model": SparseModelConfig(num_fields=4, integrator="rk4")},
            "found model.num-fields = 3, expected 4 to resume this run",
        ),
        ({"data": DataConfig(root=Path("x"))}, "found data.root = None, expected 'x' to resume this run"),
    ],
)
def test_resuming_with_another_configuration_is_one_line(tmp_path, changes, message):
    run_tiny(tmp_path / "run", tiny_config(), data=StopAt(7, "signal"))
    with pytest.raises(UserError) as error:
        run_tiny(tmp_path / "run", tiny_config(**changes), resume=True)
    assert str(error.value) == f"{tmp_path / 'run' / 'config.json'}: {message}"


def test_how_a_run_is_computed_and_logged_may_change(tmp_path, references):
    run = tmp_path / "run"
    run_tiny(run, tiny_config(out=run), data=StopAt(7, "signal"))
    config = tiny_config(device="auto" if not torch.cuda.is_available() else "cpu", keep_checkpoints=1)
    run_tiny(run, config, resume=True)
    assert list(checkpoints(run)) == [30]
    assert_same_run(references / "unsupervised", run)


def test_a_metrics_file_of_a_killed_writer_is_repaired(tmp_path, references):
    run = tmp_path / "run"
    with pytest.raises(ZeroDivisionError):
        run_tiny(run, tiny_config(), data=StopAt(11, "crash"))
    assert read_metrics(run / METRICS)[-1]["step"] == 10
    with open(run / METRICS, "ab") as file:
        file.write(b'{"step": 12, "train/lo')
    run_tiny(run, tiny_config(), resume=True)
    assert_same_run(references / "unsupervised", run)


def test_a_run_that_was_killed_before_it_described_its_data_does_so_when_it_goes_on(tmp_path, references, monkeypatch):
    run, write = tmp_path / "run", run_folder.write_atomically

    def killed(path: Path, data: bytes) -> None:
        if path.name == DESCRIPTION:
            raise KeyboardInterrupt
        write(path, data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_folder, "write_atomically", killed)
        run_tiny(run, tiny_config())
    assert (run / "config.json").exists() and not (run / "run.json").exists()
    run_tiny(run, tiny_config(), resume=True)
    assert (run / "run.json").read_bytes() == (references / "unsupervised" / "run.json").read_bytes()
    assert_same_run(references / "unsupervised", run)


def start(run: Path, pause: float, resume: bool = False) -> subprocess.Popen:
    arguments = {"folder": str(run), "config": {"mode": "unsupervised"}, "resume": resume, "pause": pause}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(ROOT / "tests" / "support" / "engine_tiny.py"), json.dumps(arguments)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE)


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_terminated_process_saves_and_a_second_one_finds_the_lock(tmp_path, references):
    run = tmp_path / "run"
    process = start(run, pause=0.05)
    wait_for(lambda: (run / METRICS).exists(), process)
    with pytest.raises(UserError, match="found another process at work in this folder"):
        run_tiny(run, tiny_config(), resume=True)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 143, errors
    assert "of 30 (stopped by SIGTERM)" in errors
    assert 0 <= list(checkpoints(run))[-1] < 30
    run_tiny(run, tiny_config(), resume=True)
    assert_same_run(references / "unsupervised", run)


def test_killed_at_random_moments(tmp_path, references):
    run, moments = tmp_path / "run", random.Random()
    for kill in range(2):
        newest = max(checkpoints(run), default=0)
        process = start(run, pause=0.02, resume=kill > 0)
        wait_for(lambda step=newest: max(checkpoints(run), default=0) > step, process)
        time.sleep(moments.uniform(0.0, 0.1))
        process.kill()
        process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL
    model = TinyModel()
    with torch.no_grad():
        model.velocities.zero_()
    run_tiny(run, tiny_config(), resume=True, model=model)
    assert_same_run(references / "unsupervised", run)
    assert not list(run.rglob(".tmp-*"))
