"""A whole run: what it leaves behind, what it refuses, what it skips, and what must not influence it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from io import StringIO

import pytest
import torch
from engine_tiny import MODES, TinyData, TinyModel, run_tiny, same, timeless, tiny_config, tiny_objective, weights
from rich.console import Console

from ffrl.config import DataConfig, ModelConfig, OptimizerConfig
from ffrl.config.optimizer import learning_rate
from ffrl.core.errors import UserError
from ffrl.core.signals import StopRequest
from ffrl.models.activity import Phase
from ffrl.objective.elbo import elbo_terms
from ffrl.storage.names import METRICS
from ffrl.training import log as log_module
from ffrl.training import trainer
from ffrl.training.batch import draw_batch
from ffrl.training.checkpoint import checkpoints, find_checkpoint
from ffrl.training.config_io import read_config
from ffrl.training.log import MetricsFile, read_metrics
from stf.config import SparseModelConfig
from stf.run import build_model


class Poisoned(TinyData):
    """Data whose training batches are NaN at the given optimisation steps."""

    def __init__(self, steps: set[int]) -> None:
        super().__init__()
        self.steps, self.calls = steps, 0

    def mixed(self, split, indices, generator):
        batch = super().mixed(split, indices, generator)
        if split == "train":
            self.calls += 1
            if self.calls - 1 in self.steps:
                return batch._replace(frames=batch.frames * float("nan"))
        return batch


@pytest.mark.parametrize("mode", MODES)
def test_a_run_leaves_the_documented_folder_and_learns(tmp_path, mode):
    config = tiny_config(mode, steps=60, optimizer=OptimizerConfig(learning_rate=0.02, warmup_steps=5), out=tmp_path)
    result = run_tiny(tmp_path / "run", config)
    run = tmp_path / "run"
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock",
        "checkpoints",
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "run.json",
    ]
    assert list(checkpoints(run)) == [48, 54, 60]
    assert read_config(run / "config.json", MODES) == config
    assert read_config(find_checkpoint(run) / "config.json", MODES) == config
    assert json.loads((run / "environment.json").read_text())["torch"] == torch.__version__
    entries = read_metrics(run / METRICS)
    training = [entry for entry in entries if "train/loss" in entry]
    assert [entry["step"] for entry in training] == list(range(4, 61, 4))
    assert [entry["step"] for entry in entries if "validation/loss" in entry] == list(range(10, 61, 10))
    assert training[-1]["train/loss"] < 0.8 * training[0]["train/loss"]
    assert training[0]["learning_rate"] == learning_rate(config.optimizer, 3, 60)
    assert ("train/spread" in training[0]) == (mode != "supervised")
    assert "train/spread" not in training[-1]
    newest = [entry["train/spread"] for entry in training if "train/spread" in entry][-1:]  # the result keeps it
    assert [result.metrics[name] for name in ("train/spread",) if name in result.metrics] == newest
    assert result.metrics["train/loss"] == training[-1]["train/loss"]
    assert result.metrics["validation/loss"] == entries[-1]["validation/loss"]
    assert (result.steps, result.skipped_steps, result.interrupted, result.signal) == (60, 0, False, None)
    assert result.seconds > 0
    assert result.frames_per_second == pytest.approx(60 * 7 * 5 / result.seconds)


def test_logged_terms_are_means_over_the_steps_since_the_last_log(tmp_path):
    frozen = OptimizerConfig(learning_rate=1e-30, final_learning_rate=0.0)
    config = tiny_config("supervised", steps=6, log_every=4, optimizer=frozen)
    run_tiny(tmp_path / "run", config)
    model, data, losses = TinyModel(), TinyData(), []
    from ffrl.core.seed import epoch_indices

    for step in range(6):
        indices = epoch_indices(20, 7, step, config.seed, "cpu")
        batch = draw_batch(config, model, data, "train", indices, Phase(), step)
        outputs = model(batch.frames, batch.noise, model.phase(step / 6), batch.activity)
        losses.append(tiny_objective(outputs, batch.frames, None)["loss"].item())
    logged = [e["train/loss"] for e in read_metrics(tmp_path / "run" / METRICS) if "train/loss" in e]
    assert logged == pytest.approx([sum(losses[:4]) / 4, sum(losses[4:]) / 2], rel=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path, mode):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        torch.manual_seed(len(name) + seed)
        torch.rand(3)
        run_tiny(tmp_path / name, tiny_config(mode, seed=seed, deterministic=True))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))
    a, b = (timeless(read_metrics(tmp_path / name / METRICS)) for name in "ab")
    assert a == b
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_validation_does_not_disturb_training(tmp_path, every):
    class Noisy(TinyModel):
        """Counts its calls in training mode, which validation must not look like."""

        calls = 0

        def forward(self, *arguments):
            self.calls += self.training
            assert self.training == torch.is_grad_enabled()
            return super().forward(*arguments)

    model = Noisy()
    run_tiny(tmp_path / "reference", tiny_config(validate_every=30))
    run_tiny(tmp_path / "run", tiny_config(validate_every=every), model=model)
    assert model.calls == 30 and model.training
    assert same(weights(tmp_path / "reference"), weights(tmp_path / "run"))

    def training(name):
        return [entry for entry in timeless(read_metrics(tmp_path / name / METRICS)) if "train/loss" in entry]

    assert training("reference") == training("run")
    count = sum("validation/loss" in entry for entry in read_metrics(tmp_path / "run" / METRICS))
    assert count == len({step for step in range(1, 31) if step % every == 0} | {30})


def test_validation_sees_the_same_held_out_batches_each_time(tmp_path):
    seen = []

    class Watched(TinyData):
        def mixed(self, split, indices, generator):
            batch = super().mixed(split, indices, generator)
            if split == "validation":
                seen.append((indices, batch.frames))
            return batch

    run_tiny(tmp_path / "run", tiny_config(), data=Watched())
    first, second = seen[:4], seen[4:8]
    assert len(seen) == 3 * 4
    for (i, frames), (j, again) in zip(first, second, strict=True):
        assert torch.equal(i, j) and torch.equal(frames, again)
    assert not torch.equal(first[0][1], first[1][1])
    assert all(int(i.max()) < 9 for i, _ in seen)


def test_data_without_a_validation_split_train_without_validation(tmp_path):
    class TrainOnly(TinyData):
        def size(self, split):
            if split != "train":
                raise UserError(f"tiny: found no {split} split")
            return super().size(split)

    result = run_tiny(tmp_path / "run", tiny_config(), data=TrainOnly())
    assert result.steps == 30
    assert not any(key.startswith("validation/") for key in result.metrics)


def test_a_single_poisoned_step_is_skipped_counted_and_said_once(tmp_path):
    text = StringIO()
    result = run_tiny(tmp_path / "run", tiny_config(), data=Poisoned({5, 17}), console=Console(file=text))
    assert result.skipped_steps == 2
    entries = [entry for entry in read_metrics(tmp_path / "run" / METRICS) if "skipped_steps" in entry]
    assert [entry["skipped_steps"] for entry in entries] == [0, 1, 1, 1, 2, 2, 2, 2]
    assert all(isinstance(entry["train/loss"], float) for entry in entries)
    assert text.getvalue().count("warning: skipped") == 1
    assert "warning: skipped 1 step(s) up to step 8: loss or gradient not finite" in text.getvalue()
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


def test_lasting_nan_ends_the_run_with_earlier_checkpoints_intact(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError) as error:
        run_tiny(run, tiny_config(), data=Poisoned(set(range(9, 100))))
    assert str(error.value) == (
        f"{run}: found a non-finite loss or gradient in 11 steps in a row up to step 20, expected finite numbers; "
        "earlier checkpoints are intact"
    )
    assert list(checkpoints(run)) == [6, 12, 18]
    assert all(tensor.isfinite().all() for tensor in weights(run).values())


@pytest.mark.parametrize(("log_every", "steps", "streak"), [(1, 30, 10), (15, 30, 15), (4, 3, 3), (100, 30, 30)])
def test_nan_from_the_start_ends_the_run(tmp_path, log_every, steps, streak):
    config = tiny_config(log_every=log_every, steps=steps, checkpoint_every=100)
    with pytest.raises(UserError, match=f"in {streak} steps in a row.*; there is no checkpoint yet$"):
        run_tiny(tmp_path / "run", config, data=TinyData(nan=True))
    assert checkpoints(tmp_path / "run") == {}


@pytest.mark.parametrize("steps", [0, 1])
def test_a_start_that_does_not_fit_into_memory_can_be_started_smaller(tmp_path, monkeypatch, steps):
    run, take = tmp_path / "run", trainer.TrainingStep.__call__

    def lacking(self, step):
        if step >= steps:
            raise MemoryError
        take(self, step)

    monkeypatch.setattr(trainer.TrainingStep, "__call__", lacking)
    with pytest.raises(UserError, match="found no memory"):
        run_tiny(run, tiny_config())
    monkeypatch.undo()
    if steps:  # nothing that was learnt is thrown away
        kept = {path.name for path in run.iterdir()}
        assert {"config.json", "run.json", METRICS} <= kept
        with pytest.raises(UserError, match="found files in it"):
            run_tiny(run, tiny_config())
        assert {path.name for path in run.iterdir()} == kept
    else:
        assert {path.name for path in run.iterdir()} <= {".lock"}
        assert run_tiny(run, tiny_config(steps=3)).steps == 3


def test_a_resumption_that_does_not_fit_into_memory_takes_nothing_back(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run_tiny(run, tiny_config(steps=3))
    shutil.rmtree(run / "checkpoints")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}

    def lacking(self, step):
        raise MemoryError

    monkeypatch.setattr(trainer.TrainingStep, "__call__", lacking)
    with pytest.raises(UserError, match="found no memory"):
        run_tiny(run, tiny_config(steps=3), resume=True)
    assert before.keys() == {path.name for path in run.iterdir() if path.is_file()}
    assert before["config.json"] == (run / "config.json").read_bytes()


def test_data_without_sequences_are_refused_before_anything_is_written(tmp_path):
    data = TinyData()
    data.sizes["train"] = 0
    with pytest.raises(UserError, match="^data: found 'no training sequences', expected at least one$"):
        run_tiny(tmp_path / "run", tiny_config(), data=data)
    assert not (tmp_path / "run").exists()


def test_fewer_sequences_than_a_batch_train_all_the_same(tmp_path):
    result = run_tiny(tmp_path / "run", tiny_config(batch_size=50))
    assert result.steps == 30 and result.metrics["train/loss"] < 1


def test_supervised_needs_one_field_per_transformation(tmp_path):
    with pytest.raises(UserError) as error:
        run_tiny(tmp_path / "run", tiny_config("supervised", model=ModelConfig(num_fields=5)))
    expected = "model.num-fields: found 5, expected 3, one per transformation (scaling, rotation, hue)"
    assert str(error.value) == expected
    assert not (tmp_path / "run").exists()


def test_data_elsewhere_are_refused(tmp_path):
    data = TinyData()
    data.device = torch.device("meta")
    with pytest.raises(UserError, match="^device: found 'cpu', expected meta, that of the data$"):
        run_tiny(tmp_path / "run", tiny_config(), data=data)


def test_a_non_empty_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError) as error:
        run_tiny(tmp_path, tiny_config())
    assert str(error.value).startswith(f"{tmp_path}: found files in it, expected a new or empty run folder")
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["notes.txt"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="^cannot write .*file: File exists$"):
        run_tiny(tmp_path / "file", tiny_config())
    with pytest.raises(UserError, match="^cannot write .*run: Not a directory$"):
        run_tiny(tmp_path / "file" / "run", tiny_config())


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=f"^cannot write {tmp_path}: Permission denied$"):
        run_tiny(tmp_path, tiny_config())


@pytest.mark.parametrize(("name", "writing"), [("metrics.jsonl", "ab"), ("config.json", "wb")])
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, name, writing):
    real = open

    def full(path, *arguments, **keywords):
        path = "/dev/full" if str(path).endswith(name) and arguments[0] == writing else path
        return real(path, *arguments, **keywords)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(UserError, match=f"^cannot write .*{name}: No space left on device$"):
        run_tiny(tmp_path / "run", tiny_config())


def test_missing_tensorboard_is_one_line_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="^tensorboard: found no package 'tensorboard', expected it to be installed$"):
        run_tiny(tmp_path / "run", tiny_config(tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_every_entry(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            self.folder, self.purge_step = folder, purge_step

        def add_scalar(self, key, value, step):
            written.append((step, key, value))

        def close(self):
            written.append("closed")

    monkeypatch.setattr("ffrl.training.callbacks.summary_writer", lambda: Writer)
    monkeypatch.setattr("ffrl.training.trainer.summary_writer", lambda: Writer)
    run_tiny(tmp_path / "run", tiny_config(tensorboard=True))
    entries = read_metrics(tmp_path / "run" / METRICS)
    expected = [(entry["step"], key, value) for entry in entries for key, value in entry.items() if key != "step"]
    assert written == [*expected, "closed"]


def test_plain_lines_appear_at_intervals_and_at_the_end(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 3))
    monkeypatch.setattr(log_module.time, "monotonic", lambda: next(clock))
    text = StringIO()
    run_tiny(tmp_path / "run", tiny_config(log_every=1), console=Console(file=text))
    lines = [line for line in text.getvalue().splitlines() if line.startswith("step ")]
    steps = [int(line.split()[1].partition("/")[0]) for line in lines]
    assert steps[0] == 1 and steps[-1] == 30
    assert 3 < len(steps) < 15
    assert "loss" in lines[0] and "frames/s" in lines[0] and "left" in lines[0]
    assert "validation/loss" in lines[-1] and "validation/loss" not in lines[0]
    assert "\x1b" not in text.getvalue()


def test_a_terminal_gets_a_progress_bar(tmp_path):
    text = StringIO()
    run_tiny(tmp_path / "run", tiny_config(), console=Console(file=text, force_terminal=True, width=200))
    assert "training" in text.getvalue() and "30/30" in text.getvalue() and "frames/s" in text.getvalue()


def test_interruption_saves_the_step_and_restores_the_handlers(tmp_path, interruptible):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    class Interrupting(TinyData):
        calls = 0

        def mixed(self, split, indices, generator):
            self.calls += split == "train"
            if self.calls == 9 and split == "train":
                os.kill(os.getpid(), signal.SIGINT)
            return super().mixed(split, indices, generator)

    text = StringIO()
    result = run_tiny(tmp_path / "run", tiny_config(), data=Interrupting(), console=Console(file=text))
    assert (result.interrupted, result.signal, result.steps) == (True, signal.SIGINT, 9)
    assert list(checkpoints(tmp_path / "run")) == [6, 9]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert "9 of 30 (stopped by SIGINT)" in text.getvalue()
    assert read_metrics(tmp_path / "run" / METRICS)[-1]["step"] == 8


def test_an_ignored_signal_stays_ignored(interruptible):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal is None
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_second_interruption_raises(interruptible):
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_return_after_an_error_and_threads_have_none():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
        _ = 1 / 0
    assert signal.getsignal(signal.SIGTERM) == before

    def body():
        with StopRequest() as stop:
            seen.append((stop.signal, signal.getsignal(signal.SIGTERM)))

    seen: list = []
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [(None, before)]


def test_metrics_are_valid_json_lines_and_unfinished_ones_are_dropped(tmp_path):
    path = tmp_path / METRICS
    log = MetricsFile(path, 0)
    log.append({"step": 1, "loss": float("nan"), "l1": 2.0})
    log.append({"step": 2, "loss": 1.0})
    log.append({"step": 3, "loss": 1.0})
    log.close()
    with open(path, "ab") as file:
        file.write(b'{"step": 4, "lo')
    assert [entry["step"] for entry in read_metrics(path)] == [1, 2, 3]
    assert read_metrics(path)[0] == {"step": 1, "loss": None, "l1": 2.0}
    MetricsFile(path, 2).close()
    assert path.read_bytes().count(b"\n") == 2 and path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    "line",
    [
        *(b"{", b"3", b"[]", b'{"loss": 1}', b'{"step": "x"}', b"", b"[" * 10**5),
        *(
            b'{"step": 1, "train/loss": %s}' % value
            for value in (b'"x"', b"{}", b"-1e308", b"Infinity", b"NaN", b"true")
        ),
        b'{"step": 1, "seconds": []}',
    ],
    ids=lambda line: line[:40].decode(),
)
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / METRICS
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(UserError) as error:
        read_metrics(path)
    assert str(error.value).startswith(f"{path}: line 2: ")


def test_autocast_runs_and_gives_other_numbers(tmp_path):
    for precision in ("float32", "bfloat16"):
        run_tiny(tmp_path / precision, tiny_config(precision=precision))
    assert not same(weights(tmp_path / "float32"), weights(tmp_path / "bfloat16"))
    assert all(tensor.dtype == torch.float32 for tensor in weights(tmp_path / "bfloat16").values())


def test_the_real_model_and_objective_train(tmp_path):

    size = SparseModelConfig(latent_dim=6, num_fields=3, width=16, potential_width=8)
    config = tiny_config(steps=8, model=size, data=replace(DataConfig(), num_steps=TinyData.num_steps))
    torch.manual_seed(0)
    model = build_model(config, TinyData.image_shape)
    result = run_tiny(tmp_path / "run", config, model=model, objective=elbo_terms)
    assert "train/kl_latent" in result.metrics
