"""Checkpoints appear complete or not at all, and every damage of one is one line."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from engine_tiny import TinyData, TinyModel, run_tiny, tiny_config
from run_tools import assert_same_run
from safetensors.torch import load_file, save_file
from torch import nn

from ffrl.core.errors import UserError
from ffrl.core.files import locked, write_atomically
from ffrl.training import checkpoint as module
from ffrl.training.checkpoint import (
    MODEL,
    STATE,
    STATE_TENSORS,
    TrainingState,
    checkpoints,
    find_checkpoint,
    load_training_state,
    load_weights,
    read_tensors,
    save_checkpoint,
)


def save(run: Path, step: int, model: nn.Module | None = None, keep: int = 10) -> Path:
    state = TrainingState({"x": torch.arange(3)}, {"step": step})
    return save_checkpoint(run, model or TinyModel(), b"{}", state, keep)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_tied_and_strided_tensors_come_back(tmp_path):
    model = TinyModel()
    path = save(tmp_path, 1, model)
    own = ["config.json", "model.safetensors", "training_state.json", "training_state.safetensors"]
    assert names(path) == ["checksums.json", *own]
    stored = load_file(path / MODEL)
    assert stored.keys() == model.state_dict().keys()
    other = TinyModel()
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    load_weights(path, other)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    assert other.second_name is other.decoder.bias
    tensors, numbers = load_training_state(path)
    assert torch.equal(tensors["x"], torch.arange(3)) and numbers["step"] == 1


def test_overlapping_views_and_empty_tensors_come_back(tmp_path):
    base = torch.arange(6.0)
    views = {"all": base, "tail": base[2:], "again": base[2:], "none": base[:0], "nothing": base[6:]}
    path = save_checkpoint(tmp_path, TinyModel(), b"{}", TrainingState(views, {"step": 1}), 1)
    loaded = load_training_state(path).tensors
    assert set(loaded) == set(views)
    assert all(torch.equal(loaded[name], view) for name, view in views.items())


def test_the_newest_are_kept_and_the_newest_is_found(tmp_path):
    for step in (5, 100, 20, 123456789):
        save(tmp_path, step, keep=3)
    assert list(checkpoints(tmp_path)) == [20, 100, 123456789]
    assert find_checkpoint(tmp_path).name == "step-123456789"
    assert find_checkpoint(tmp_path, 20).name == "step-00000020"
    with pytest.raises(UserError, match="found no checkpoint of step 5, expected one of 20, 100, 123456789$"):
        find_checkpoint(tmp_path, 5)


def test_a_step_saved_again_replaces_its_checkpoint(tmp_path):
    save(tmp_path, 5)
    model = TinyModel()
    nn.init.zeros_(model.velocities)
    path = save(tmp_path, 5, model)
    assert not read_tensors(path / MODEL)["velocities"].any()
    assert names(tmp_path / "checkpoints") == ["step-00000005"]


@pytest.mark.parametrize("prepare", ["nothing", "run", "leftovers"])
def test_no_checkpoint_is_one_line(tmp_path, prepare):
    run = tmp_path / "run"
    if prepare != "nothing":
        run.mkdir()
    if prepare == "leftovers":
        (run / "checkpoints" / ".tmp-step-00000003-1").mkdir(parents=True)
        (run / "checkpoints" / "step-3").mkdir()
        (run / "checkpoints" / "step-00000004").write_text("a file")
    assert checkpoints(run) == {}
    with pytest.raises(UserError) as error:
        find_checkpoint(run)
    expected = "found no folder, expected a run folder" if prepare == "nothing" else "found no checkpoint, expected"
    assert str(run) in str(error.value) and expected in str(error.value)


def failing(real, after: int, code: int):
    calls = {"left": after}

    def call(*args, **kwargs):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    return call


@pytest.mark.parametrize(
    ("what", "after", "code"),
    [("write_durably", n, errno.ENOSPC) for n in range(4)] + [("move", 0, errno.EROFS), ("fsync_folder", 0, 5)],
)
def test_a_failing_disk_leaves_earlier_checkpoints_alone(tmp_path, monkeypatch, what, after, code):
    save(tmp_path, 1)
    before = {path: path.read_bytes() for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()}
    with monkeypatch.context() as patch, pytest.raises(UserError) as error:
        patch.setattr(module, what, failing(getattr(module, what), after, code))
        save(tmp_path, 2, keep=1)
    target = tmp_path / "checkpoints" / "step-00000002"
    assert str(error.value) == f"cannot write {target}: {os.strerror(code)}"
    assert names(tmp_path / "checkpoints") == ["step-00000001"]
    assert before == {path: path.read_bytes() for path in before}
    save(tmp_path, 2, keep=1)
    assert names(tmp_path / "checkpoints") == ["step-00000002"]


def test_a_disk_that_is_really_full_is_one_line(tmp_path, monkeypatch):
    real = open
    monkeypatch.setattr("builtins.open", lambda path, *args: real("/dev/full" if MODEL in str(path) else path, *args))
    with pytest.raises(UserError, match="^cannot write .*step-00000001: No space left on device$"):
        save(tmp_path, 1)
    assert names(tmp_path / "checkpoints") == []


def test_a_checkpoint_in_the_making_has_another_name(tmp_path, monkeypatch):
    seen = []

    def spy(path, data):
        seen.append((list(checkpoints(tmp_path)), path.parent.name))
        path.write_bytes(data)

    monkeypatch.setattr(module, "write_durably", spy)
    save(tmp_path, 7)
    assert len(seen) == 5
    assert all(found == [] and name.startswith(".tmp-") for found, name in seen)


def test_writing_below_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="^cannot write .*file.*: (Not a directory|File exists)$"):
        save(tmp_path / "file", 1)
    with pytest.raises(UserError, match="^cannot write .*: Not a directory$"):
        write_atomically(tmp_path / "file" / "config.json", b"")


def test_an_atomic_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", failing(os.replace, 0, errno.ENOSPC))
    with pytest.raises(UserError, match="^cannot write .*a.json: No space left on device$"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.json"]


class Sized(nn.Module):
    def __init__(self, **sizes: int) -> None:
        super().__init__()
        for name, size in sizes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(size)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Sized(a=2, b=3, c=1), "found no tensor 'c', expected the one of this model"),
        (Sized(a=2), "found tensor 'b', which this model does not have"),
        (Sized(a=2, b=4), "found 'b' of shape (3,) float32, expected (4,) float32"),
        (Sized(a=2, b=3).double(), "found 'a' of shape (2,) float32, expected (2,) float64"),
    ],
)
def test_weights_of_another_model_are_one_line(tmp_path, model, message):
    path = save(tmp_path, 1, Sized(a=2, b=3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(path, model)
    assert str(error.value) == f"{path / MODEL}: {message}"
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("size", [0, 7, 8, 50, -1])
def test_a_truncated_file_is_one_line(tmp_path, size):
    path = save(tmp_path, 1) / MODEL
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError) as error:
        read_tensors(path)
    assert str(error.value).startswith(f"{path}: found a damaged file (") and "\n" not in str(error.value)


def test_a_safetensors_file_of_somebody_else_is_read(tmp_path):
    save_file({"z": torch.ones(1)}, tmp_path / MODEL)
    assert torch.equal(read_tensors(tmp_path / MODEL)["z"], torch.ones(1))
    with pytest.raises(UserError, match="^cannot read .*: No such file or directory$"):
        read_tensors(tmp_path / "absent")


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def swap_tensors(path: Path, edit) -> None:
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def other_step(path: Path) -> None:
    path.rename(path.with_name("step-00000040"))


DAMAGES = {
    "no weights": (lambda c: (c / MODEL).unlink(), "cannot read {c}/model.safetensors: No such file"),
    "no state": (lambda c: (c / STATE).unlink(), "cannot read {c}/training_state.json: No such file"),
    "no state tensors": (lambda c: (c / STATE_TENSORS).unlink(), "cannot read {c}/training_state.safetensors: No such"),
    "no config": (lambda c: (c / "config.json").unlink(), "cannot read {c}/config.json: No such file"),
    "config version": (
        lambda c: edit_json(c / "config.json", format_version=7),
        "{c}/config.json: found format_version 7, expected 1",
    ),
    "config value": (
        lambda c: edit_json(c / "config.json", batch_size=3),
        "{c}/config.json: found batch-size = 3, expected 7 to resume this run",
    ),
    "state version": (
        lambda c: edit_json(c / STATE, format_version=9),
        "{c}/training_state.json: found format_version 9, expected 1",
    ),
    "state truncated": (
        lambda c: (c / STATE).write_text('{"step": 1'),
        "{c}/training_state.json: found no valid JSON",
    ),
    "state key": (lambda c: edit_json(c / STATE, seconds=None), "{c}: found no usable entry"),
    "state tensors truncated": (
        lambda c: os.truncate(c / STATE_TENSORS, 99),
        "{c}/training_state.safetensors: found a damaged file",
    ),
    "weights for state": (lambda c: shutil.copy(c / MODEL, c / STATE_TENSORS), "{c}: found no usable entry 'skipped'"),
    "moment shape": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: t.update({"optimizer/exp_avg/velocities": torch.ones(2)})),
        "{c}/training_state.safetensors: found 'optimizer/exp_avg/velocities' of shape (2,) float32, expected (3, 5)",
    ),
    "moment missing": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: t.pop("optimizer/exp_avg/velocities")),
        "{c}/training_state.safetensors: found no tensor 'optimizer/exp_avg/velocities', expected one",
    ),
    "moment of another": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: t.update({"optimizer/exp_avg/alien": torch.ones(2)})),
        "{c}/training_state.safetensors: found 'optimizer/exp_avg/alien', of a parameter which this model does not",
    ),
    "moments of one kind missing": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: [t.pop(key) for key in list(t) if "/exp_avg_sq/" in key]),
        "{c}/training_state.safetensors: found no tensor 'optimizer/exp_avg_sq/",
    ),
    "moment without a parameter": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: t.update({"optimizer/foo": torch.ones(2)})),
        "{c}/training_state.safetensors: found 'optimizer/foo', of a parameter which this model does not",
    ),
    "moment not finite": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: t["optimizer/exp_avg/velocities"].fill_(torch.nan)),
        "{c}/training_state.safetensors: found 15 numbers in 'optimizer/exp_avg/velocities' that are not finite",
    ),
    "window of another shape": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: t.update({"window/loss": torch.ones(3, 2)})),
        "{c}: found no usable entry 'window/loss' of shape (3, 2)",
    ),
    "streak of another shape": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: t.update({"streak": torch.ones(3)})),
        "{c}: found no usable entry 'streak' of shape (3,)",
    ),
    "moment of other numbers": (
        lambda c: swap_tensors(c / STATE_TENSORS, lambda t: t["optimizer/exp_avg/velocities"].add_(1)),
        "{c}/training_state.safetensors: found that it has other contents than were written, expected what checksums",
    ),
    "weights of other numbers": (
        lambda c: swap_tensors(c / MODEL, lambda t: t["velocities"].add_(1)),
        "{c}/model.safetensors: found that it has other contents than were written, expected what checksums.json says",
    ),
    "weights not finite": (
        lambda c: swap_tensors(c / MODEL, lambda t: t["velocities"][0].fill_(torch.inf)),
        "{c}/model.safetensors: found 5 numbers in 'velocities' that are not finite, expected none",
    ),
    "deep state": (
        lambda c: (c / STATE).write_text("[" * 100_000),
        "{c}/training_state.json: line 1: found more than 32 levels of nesting",
    ),
    "weight missing": (
        lambda c: swap_tensors(c / MODEL, lambda t: t.pop("velocities")),
        "{c}/model.safetensors: found no tensor 'velocities'",
    ),
    "renamed": (other_step, "training_state.json: found step 30, expected that of step-00000040"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    run_tiny(run, tiny_config())
    return run


@pytest.mark.parametrize("damage", DAMAGES)
def test_resuming_from_a_damaged_checkpoint_is_one_line_and_takes_no_older_one(tmp_path, finished, damage):
    edit, message = DAMAGES[damage]
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    newest = find_checkpoint(run)
    edit(newest)
    with pytest.raises(UserError) as error:
        run_tiny(run, tiny_config(), resume=True)
    assert message.format(c=newest) in str(error.value) and "\n" not in str(error.value)
    assert 24 in checkpoints(run)


def test_leftovers_of_killed_writers_are_removed_on_resumption(tmp_path, finished):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "checkpoints" / ".tmp-step-00000003-1").mkdir()
    (run / "checkpoints" / ".tmp-step-00000003-1" / MODEL).write_text("half")
    (run / ".tmp-99-config.json").write_text("half")
    run_tiny(run, tiny_config(), resume=True)
    assert not [path for path in run.rglob(".tmp-*")]
    assert names(run / "checkpoints") == ["step-00000018", "step-00000024", "step-00000030"]


def test_a_folder_has_one_lock(tmp_path):
    with locked(tmp_path):
        with pytest.raises(UserError) as error, locked(tmp_path):
            pass
        assert str(error.value) == f"{tmp_path}: found another process at work in this folder, expected none"
    with locked(tmp_path):
        pass


def test_a_file_system_without_locks_goes_unlocked(tmp_path, monkeypatch):
    def fails(number: int) -> None:
        def acquire(self) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("filelock.FileLock.acquire", acquire)

    fails(errno.ENOLCK)
    with locked(tmp_path):
        pass
    fails(errno.EROFS)
    with pytest.raises(UserError) as error, locked(tmp_path):
        pass
    assert str(error.value) == f"cannot write {tmp_path}: Read-only file system"


def test_a_second_run_in_the_same_folder_is_one_line(tmp_path):
    with locked(tmp_path):
        for resume in (False, True):
            with pytest.raises(UserError, match="found another process at work in this folder"):
                run_tiny(tmp_path, tiny_config(), resume)
    assert names(tmp_path) == [".lock"]


def test_what_links_lead_to_is_left_alone(tmp_path, finished):
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(finished, run)
    shutil.copytree(finished / "checkpoints", other)
    (other / ".tmp-theirs").mkdir()
    before = names(other)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(other)
    with pytest.raises(UserError, match=r"checkpoints: found a link to .*other, expected no"):
        run_tiny(run, tiny_config(), resume=True)
    with pytest.raises(UserError, match="checkpoints: found a link"):
        save(run, 99)
    assert names(other) == before
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(tmp_path / "new")
    with pytest.raises(UserError, match=r"\.lock: found a link"), locked(run):
        pass
    assert not (tmp_path / "new").exists()


class Moving(TinyData):
    """Moves or removes the run folder in the middle of training."""

    def __init__(self, run: Path, to: Path | None) -> None:
        super().__init__()
        self.run, self.to, self.left = run, to, 15

    def _batch(self, split, indices, speeds):
        self.left -= split == "train"
        if self.left == 0 and self.run.exists():
            shutil.rmtree(self.run) if self.to is None else self.run.rename(self.to)
        return super()._batch(split, indices, speeds)


def test_a_run_folder_that_is_moved_keeps_everything_and_is_not_made_anew(tmp_path, finished):
    run, moved = tmp_path / "run", tmp_path / "moved"
    with pytest.raises(UserError) as error:
        run_tiny(run, tiny_config(), data=Moving(run, moved))
    assert str(error.value).startswith(f"{run}: found it moved to {moved}, expected it to stay; step 16 is saved: ")
    assert not run.exists() and max(checkpoints(moved)) == 16
    run_tiny(moved, tiny_config(), resume=True)
    assert_same_run(finished, moved)


def test_a_run_folder_that_is_removed_is_not_made_anew(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError) as error:
        run_tiny(run, tiny_config(), data=Moving(run, None))
    assert str(error.value).startswith(f"{run}: found that the run folder has gone at step 16")
    assert not run.exists()


def test_a_checkpoint_is_not_written_where_there_is_no_run(tmp_path):
    with pytest.raises(UserError, match="^cannot write .*: No such file or directory$"):
        save(tmp_path / "gone", 1)
    assert names(tmp_path) == []
