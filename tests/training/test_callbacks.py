"""What is told of a training beside its own files."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from ffrl.core.errors import UserError
from ffrl.training.callbacks import TensorBoard, WeightsAndBiases


def test_weights_and_biases_gets_the_numbers(monkeypatch):
    logged: list = []
    run = SimpleNamespace(log=lambda values, step: logged.append((step, values)))
    options: list = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **given: options.append(given) or run))
    told = WeightsAndBiases(project="flows", mode="offline")
    told(20, {"train/loss": 1.5, "skipped_steps": 0})
    told(21, {"search": {"move": "merge"}})
    assert options == [{"project": "flows", "mode": "offline"}]
    assert logged == [(20, {"train/loss": 1.5, "skipped_steps": 0})], "moves are no numbers"


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="^wandb: found no package 'wandb', expected it to be installed$"):
        WeightsAndBiases()


def test_tensorboard_writes_through_no_link_out_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("ffrl.training.callbacks.summary_writer", lambda: pytest.fail)
    (tmp_path / "other").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="run/tensorboard: found a link out of the run to /.*other, expected a folder"):
        TensorBoard(tmp_path / "run")
