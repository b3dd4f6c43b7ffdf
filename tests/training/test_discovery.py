"""The discovery within a run: resumed bit for bit wherever it was stopped, its entries, its checkpoints, damage."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import TinyData, real_config, real_model, run_tiny, timeless
from run_tools import assert_same_run
from safetensors.torch import load_file, save_file

from ffrl.config import StillConfig
from ffrl.core.errors import UserError
from ffrl.objective.elbo import elbo_terms
from ffrl.storage.names import METRICS
from ffrl.training import trainer
from ffrl.training.checkpoint import checkpoints, find_checkpoint, load_weights
from ffrl.training.log import read_metrics
from ffrl.training.phases import spans
from stf.config import DiscoveryConfig, RediscoveryConfig, RefineConfig
from stf.discovery.pairs import PairFit
from stf.discovery.progress import FORM, LONGER, PAIRS, POLISH, SETTLE, TRIAL
from stf.discovery.runner import CHANGED
from stf.discovery.search import Search

STATE, TENSORS = "training_state.json", "training_state.safetensors"
SHORT = dict(form=12, pairs=3, trial=3, longer=4, settle=5, polish=4)
"""Lengths of the stages of a short search."""


def config(mode: str = "unsupervised", **changes: Any) -> Any:
    """A run of 80 steps: 8 on still frames, 56 of discovery, 16 of joint training."""
    size = dict(fraction=0.7, sequences=32, held_out=16, batch_size=8, trial_batch_size=6, starts=2, hopeless=100.0)
    search = {name: changes.pop(name) for name in list(changes) if hasattr(DiscoveryConfig, name)}
    still, discovery = StillConfig(fraction=0.1), DiscoveryConfig(**SHORT | size | search)
    once = RediscoveryConfig()
    values = dict(
        steps=80,
        still=still,
        discovery=discovery,
        rediscovery=once,
        checkpoint_every=1000,
        validate_every=25,
        log_every=4,
    )
    run = real_config(mode, **values | changes)
    return replace(run, model=replace(run.model, num_fields=4))


def config_of_two(**changes: Any) -> Any:
    """A run of 80 steps with two searches: 8 on still frames, 28 + 4 joint + 24 of discovery, 16 joint again."""
    return config(fraction=0.35, rediscovery=RediscoveryConfig(fraction=0.3, after=0.05, starts=3), **changes)


def train(folder: Path, run: Any, resume: bool = False, seed: int = 0) -> Any:
    return run_tiny(folder, run, resume, model=real_model(run, seed), objective=elbo_terms)


@pytest.fixture
def after_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Arrange that something happens in the middle of the n-th step of the run that is started next."""

    def arrange(number: int, action: Callable[[], None]) -> None:
        add, count = trainer.Window.add, itertools.count(1)

        def adding(self, terms, finite):
            add(self, terms, finite)
            if next(count) == number:
                monkeypatch.setattr(trainer.Window, "add", add)
                action()

        monkeypatch.setattr(trainer.Window, "add", adding)

    return arrange


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def crash() -> None:
    raise ZeroDivisionError


@pytest.fixture(scope="module")
def stages() -> list[str]:
    """The stage of every step of the discovery of the reference."""
    return []


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory, stages: list[str]) -> Path:
    folder, step = tmp_path_factory.mktemp("references"), Search.step

    def noting(self):
        stages.append(self.progress.stage)
        return step(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Search, "step", noting)
        train(folder / "unsupervised", config())
    train(folder / "weak", config("weak"))
    return folder


def test_the_reference_goes_through_every_stage(references: Path, stages: list[str]) -> None:
    assert len(stages) == 56 and set(stages) == {FORM, PAIRS, TRIAL, LONGER, SETTLE, POLISH}
    assert [(span.first, span.last) for span in spans(config())] == [(0, 8), (8, 64), (64, 80)]


def inside(stages: list[str], stage: str) -> int:
    """How many steps of the run were taken when a stage has been going on for some steps."""
    return 8 + stages.index(stage) + 2


@pytest.mark.parametrize("mode", ["unsupervised", "weak"])
def test_a_run_stopped_again_and_again_equals_an_uninterrupted_one(
    tmp_path, references, stages, after_steps, interruptible, mode
) -> None:
    """Before its first step, after it, in every stage and at their ends, before and after its last step."""
    run, done = tmp_path / "run", 0
    ends = [8 + place for place, (a, b) in enumerate(itertools.pairwise(stages), 1) if a != b]
    within = {inside(stages, stage) for stage in set(stages)}
    for number, stop in enumerate(sorted({7, 8, 9, 10, *ends, *within, 63, 64, 65})):
        after_steps(stop - done, interrupt)
        result = train(run, config(mode), resume=number > 0, seed=number)
        assert (result.steps, result.signal) == (stop, signal.SIGINT)
        done = stop
    assert train(run, config(mode), resume=True, seed=99).steps == 80
    assert_same_run(references / mode, run)


@pytest.mark.parametrize("stage", [FORM, PAIRS, TRIAL, LONGER, SETTLE, POLISH])
def test_a_run_that_died_goes_on_from_its_last_checkpoint(tmp_path, references, stages, after_steps, stage) -> None:
    run, stop = tmp_path / "run", inside(stages, stage)
    after_steps(stop + 1, crash)
    with pytest.raises(ZeroDivisionError):
        train(run, config(checkpoint_every=stop))
    assert max(checkpoints(run)) == stop
    train(run, config(), resume=True, seed=1)
    assert_same_run(references / "unsupervised", run)


def test_checkpoints_change_nothing(tmp_path, references) -> None:
    train(tmp_path / "run", config(checkpoint_every=3, keep_checkpoints=99))
    assert_same_run(references / "unsupervised", tmp_path / "run")


def test_the_model_of_a_checkpoint_has_the_fields_as_they_stand(tmp_path, references, stages) -> None:
    """Those that are not alive are the initial ones, also at the end."""
    run = tmp_path / "run"
    train(run, config(checkpoint_every=2, keep_checkpoints=99))
    fresh = real_model(config())
    initial = {name: value.clone() for name, value in fresh.field_model.named_parameters()}
    for step, path in checkpoints(run).items():
        model = real_model(config(), seed=step)
        load_weights(path, model)
        state, tensors = json.loads((path / STATE).read_text()), load_file(path / TENSORS)
        fields = dict(model.field_model.named_parameters())
        if state["phase"] is None:
            assert not 8 < step < 64 and not any(name.startswith("phase/") for name in tensors)
            if step <= 8:
                assert all(torch.equal(fields[name], value) for name, value in initial.items())
            continue
        assert 8 < step < 64
        places = state["phase"]["places"]
        assert model.fields_alive == sorted(places)
        for name, value in fields.items():
            assert torch.equal(value[places], tensors[f"phase/population/rows/{name}"][: len(places)])
            others = [place for place in range(4) if place not in places]
            assert torch.equal(value[others], initial[name][others])
    model = real_model(config(), seed=5)
    load_weights(find_checkpoint(run, 64), model)
    assert 0 < len(model.fields_alive) < 4
    dead = [place for place in range(4) if place not in model.fields_alive]
    for name, value in model.field_model.named_parameters():
        assert torch.equal(value[dead], initial[name][dead])


def test_a_second_search_begins_with_fresh_fields_and_resumes_bit_for_bit(tmp_path, after_steps, interruptible) -> None:
    run = config_of_two(checkpoint_every=1, keep_checkpoints=99)
    assert [(span.phase.name, span.last) for span in spans(run)] == [
        ("still", 8),
        ("discovery", 36),
        ("first-joint", 40),
        ("rediscovery", 64),
        ("joint", 80),
    ]
    train(tmp_path / "reference", run)
    entries = [entry for entry in read_metrics(tmp_path / "reference" / METRICS) if "search" in entry]
    assert [entry["step"] for entry in entries if entry["search"]["move"] == "start"] == [9, 41]
    chosen = [entry["step"] > 40 for entry in entries if entry["search"]["move"] == "choose"]
    assert chosen == [False, True]
    alive = [load_file(checkpoints(tmp_path / "reference")[step] / TENSORS)["phase/alive"] for step in (9, 41)]
    assert [len(one) for one in alive] == [2, 3]
    first, second = (load_file(checkpoints(tmp_path / "reference")[step] / TENSORS) for step in (9, 41))
    initial = [name for name in first if name.startswith("phase/initial/")]
    assert initial and not any(torch.equal(first[name], second[name]) for name in initial)
    done = 0
    for number, stop in enumerate((37, 40, 41, 50, 63, 64, 65)):
        after_steps(stop - done, interrupt)
        assert train(tmp_path / "run", run, resume=number > 0, seed=number).steps == stop
        done = stop
    train(tmp_path / "run", run, resume=True, seed=99)
    assert_same_run(tmp_path / "reference", tmp_path / "run")


def test_fields_that_a_search_has_found_begin_without_the_moments_of_those_before(tmp_path) -> None:
    run = config_of_two(keep_checkpoints=100, checkpoint_every=4)
    train(tmp_path, run)
    ends = {span.phase.name: span.last for span in spans(run) if span.phase.name in ("first-joint", "rediscovery")}
    moments = {}
    for name, step in ends.items():
        kept = {
            key.partition("/")[2] for key in load_file(checkpoints(tmp_path)[step] / TENSORS) if "optimizer/" in key
        }
        moments[name] = {key.partition("/")[2] for key in kept if key.startswith("exp_avg_sq/")}
    fields = {name for name in moments["first-joint"] if name.startswith("field_model.")}
    assert fields and moments["rediscovery"] == moments["first-joint"] - fields
    steps = load_file(checkpoints(tmp_path)[ends["rediscovery"] + 4] / TENSORS)
    assert {int(steps[f"optimizer/step/{name}"]) for name in fields} == {4}


@pytest.mark.parametrize("rate", [1e-5, 10.0])
def test_a_refinement_that_loses_what_was_found_is_taken_back(tmp_path, after_steps, interruptible, rate) -> None:
    changes = dict(refine=RefineConfig(fraction=0.1, learning_rate=rate), fraction=0.6, checkpoint_every=8)
    run = config(keep_checkpoints=100, **changes)
    assert [(span.phase.name, span.last) for span in spans(run)][-2:] == [("joint", 72), ("refine", 80)]
    train(tmp_path / "reference", run)
    before, after = (load_file(checkpoints(tmp_path / "reference")[step] / "model.safetensors") for step in (72, 80))
    same = [torch.equal(before[name], after[name]) for name in before if name.startswith("field_model.")]
    told = [entry for entry in read_metrics(tmp_path / "reference" / METRICS) if "refinement" in entry]
    assert all(same) == (rate > 1) == bool(told)
    for entry in told:
        found = entry["refinement"]
        assert entry["step"] == 80 and not found["accepted"] and found["changed"] > CHANGED
    after_steps(76, interrupt)
    assert train(tmp_path / "run", run).steps == 76
    train(tmp_path / "run", run, resume=True, seed=99)
    assert_same_run(tmp_path / "reference", tmp_path / "run")


def test_entries_of_the_search_are_among_the_metrics(references) -> None:
    entries = read_metrics(references / "unsupervised" / METRICS)
    moves = [entry for entry in entries if "search" in entry]
    assert moves[0] == {"step": 9, "search": moves[0]["search"]} and moves[0]["search"]["move"] == "start"
    assert moves[-1]["step"] == 64 and moves[-1]["search"]["move"] == "end"
    known = {"start", "choose", "silent", "merge", "delete", "keep", "refill", "undo", "end"}
    assert {entry["search"]["move"] for entry in moves} <= known
    assert {"choose", "refill"} <= {entry["search"]["move"] for entry in moves}
    for entry in moves:
        move = entry["search"]
        assert set(entry) == {"step", "search"} and 8 < entry["step"] <= 64
        assert {"move", "fields", "alive", "cost", "ratio", "evidence", "accepted", "allocated"} <= set(move)
        assert move["allocated"] == 4 and set(move["alive"]) <= set(range(4)) and move["alive"]
    assert [entry["step"] for entry in moves] == sorted(entry["step"] for entry in moves)
    training = {entry["step"]: entry for entry in entries if "frames_per_second" in entry}
    for step, entry in training.items():
        assert ("train/fields_alive" in entry) == (8 < step <= 64)
        assert ("train/loss" in entry) == ("learning_rate" in entry) == (not 8 < step <= 64)
    assert [entry["step"] for entry in entries if "validation/loss" in entry] == [75, 80]
    assert training[80]["skipped_steps"] == 0


def test_the_same_seed_finds_the_same_fields_and_another_seed_others(tmp_path, references) -> None:
    train(tmp_path / "again", config())
    assert_same_run(references / "unsupervised", tmp_path / "again")
    train(tmp_path / "other", config(seed=6))
    a, b = (timeless(read_metrics(run / METRICS)) for run in (references / "unsupervised", tmp_path / "other"))
    assert [entry for entry in a if "search" in entry] != [entry for entry in b if "search" in entry]


@pytest.mark.parametrize("mode", ["unsupervised", "weak"])
def test_without_rounds_there_are_no_moves(tmp_path, mode) -> None:
    train(tmp_path / "run", config(mode, rounds=0))
    moves = [entry["search"]["move"] for entry in read_metrics(tmp_path / "run" / METRICS) if "search" in entry]
    assert set(moves) <= {"start", "choose", "silent", "end"} and moves[-1] == "end"


@pytest.mark.parametrize("fraction", [0.02, 0.05])
def test_a_discovery_of_a_step_or_few_ends_as_well(tmp_path, fraction) -> None:
    run = config(fraction=fraction, steps=50)
    (span,) = (span for span in spans(run) if span.phase.name == "discovery")
    assert span.steps == round(50 * fraction + 0.4)
    assert train(tmp_path / "run", run).steps == 50
    moves = [entry for entry in read_metrics(tmp_path / "run" / METRICS) if "search" in entry]
    assert moves[-1]["search"]["move"] == "end" and moves[-1]["step"] == span.last


def test_a_round_without_a_trial_ends(tmp_path, monkeypatch) -> None:
    """No merge passes the screen and nothing is deleted."""
    monkeypatch.setattr(PairFit, "excess", lambda self, sequences: torch.ones(len(self.pairs)))
    train(tmp_path / "run", config(deletions=0))
    moves = [entry["search"]["move"] for entry in read_metrics(tmp_path / "run" / METRICS) if "search" in entry]
    assert not {"merge", "delete"} & set(moves) and moves[-1] == "end"


@pytest.mark.parametrize("mode", ["unsupervised", "weak"])
def test_steps_that_are_not_finite_leave_the_activity_as_it_is(tmp_path, mode) -> None:
    class Poisoned(TinyData):
        calls = 0

        def _batch(self, split, indices, speeds):
            batch = super()._batch(split, indices, speeds)
            self.calls += split == "train"
            poisoned = split == "train" and self.calls in (
                first + 5,
                first + 7,
            )  # each step takes two, of sequences and of frames alone
            return batch._replace(frames=batch.frames * float("nan")) if poisoned else batch

    run = config(mode, checkpoint_every=1, keep_checkpoints=99, validate_every=80, log_every=1)
    first = 8 + 32 // 7 + 1 + 16 // 7 + 1  # still frames, then the encoding in batches of 7
    data = Poisoned()
    result = run_tiny(tmp_path / "run", run, data=data, model=real_model(run), objective=elbo_terms)
    assert result.skipped_steps == 2
    states = {step: load_file(path / "model.safetensors") for step, path in checkpoints(tmp_path / "run").items()}
    skipped = [entry["step"] for entry in read_metrics(tmp_path / "run" / METRICS) if "skipped_steps" in entry]
    assert skipped and all(value.isfinite().all() for state in states.values() for value in state.values())
    names = states[64].keys() - {"activity_model.excess"}  # that of the last batch, of none where it is not finite
    same = [step for step in range(66, 80) if all(torch.equal(states[step][k], states[step - 1][k]) for k in names)]
    assert same == [67, 68]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, references: Path, stages: list[str]) -> dict[str, Path]:
    """Runs that ended within a stage of the discovery."""
    folder, found = tmp_path_factory.mktemp("stopped"), {}
    for stage in (PAIRS, TRIAL):
        stop, found[stage] = inside(stages, stage), folder / stage
        add, count = trainer.Window.add, itertools.count(1)

        def adding(self, terms, finite, add=add, count=count, stop=stop):
            add(self, terms, finite)
            if next(count) == stop:
                interrupt(signal.SIGTERM)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(trainer.Window, "add", adding)
            assert train(found[stage], config()).steps == stop
    return found


Change = Callable[[dict[str, Any], dict[str, Any]], None]
"""Of the numbers and the tensors of a state."""


def message(
    tmp_path: Path, stopped: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]
) -> tuple[str, Path]:
    """What is said when a run with a changed state is resumed, and the folder of its checkpoint."""
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    checkpoint = find_checkpoint(run)
    numbers, tensors = json.loads((checkpoint / STATE).read_text()), load_file(checkpoint / TENSORS)
    change(numbers, tensors)
    (checkpoint / STATE).write_text(json.dumps(numbers))
    save_file(tensors, checkpoint / TENSORS)
    with pytest.raises(UserError) as error:
        train(run, config(), resume=True)
    assert "\n" not in str(error.value)
    return str(error.value), checkpoint


def put(name: str, value: Any) -> Change:
    return lambda numbers, tensors: numbers["phase"].__setitem__(name, value)


NUMBERS: dict[str, tuple[str, Change]] = {
    **{f"without {key}": (TRIAL, lambda n, t, key=key: n["phase"].pop(key)) for key in ("taken", "moves", "pairs")},
    "taken is text": (TRIAL, put("taken", "3")),
    "taken is too many": (TRIAL, put("taken", 56)),
    "taken is negative": (TRIAL, put("taken", -1)),
    "an unknown stage": (TRIAL, put("stage", "rest")),
    "another stage": (TRIAL, put("stage", POLISH)),
    "a stage that is over": (TRIAL, put("done", 3)),
    "done is a fraction": (TRIAL, put("done", 1.5)),
    "a round that is none": (TRIAL, put("round", None)),
    "no places": (TRIAL, put("places", [])),
    "a place twice": (TRIAL, put("places", [0, 0])),
    "a place of no field": (TRIAL, put("places", [0, 4])),
    "places of fields that are not there": (
        TRIAL,
        lambda n, t: n["phase"].update(places=[0], moves=[{"places": [0], "gone": 1.0}]),
    ),
    "places are a number": (TRIAL, put("places", 2)),
    "no moves": (TRIAL, put("moves", [])),
    "moves without places": (TRIAL, put("moves", [{"gone": 1.0}])),
    "a move of another field": (TRIAL, put("moves", [{"places": [9], "gone": 1.0}])),
    "gone is a list": (TRIAL, put("moves", [{"places": [0], "gone": []}])),
    "no pairs": (PAIRS, put("pairs", [])),
    "pairs of one": (PAIRS, put("pairs", [[0]])),
    "pairs of other fields": (PAIRS, put("pairs", [[0, 7, 1]])),
    "pairs turned by two": (PAIRS, put("pairs", [[0, 1, 2]])),
    "finished": (TRIAL, put("finished", True)),
    "an unknown entry": (TRIAL, put("colour", "red")),
    "no state": (TRIAL, lambda n, t: n.__setitem__("phase", None)),
    "a list": (TRIAL, lambda n, t: n.__setitem__("phase", [1])),
}


@pytest.mark.parametrize("damage", NUMBERS)
def test_a_damaged_state_is_one_line_that_names_the_file(tmp_path, stopped, damage) -> None:
    stage, change = NUMBERS[damage]
    said, checkpoint = message(tmp_path, stopped[stage], change)
    by_tensors = damage in ("another stage", "places of fields that are not there")  # which they do not fit
    assert said.startswith(f"{checkpoint / (TENSORS if by_tensors else STATE)}: "), said
    assert "expected" in said


def reshaped(name: str) -> Change:
    return lambda numbers, tensors: tensors.__setitem__(name, tensors[name][:-1].clone())


def dropped(name: str) -> Change:
    return lambda numbers, tensors: tensors.pop(name)


WEIGHT = "potentials.weight"
DAMAGED = ["phase/alive", "phase/misfit", f"phase/population/rows/{WEIGHT}", f"phase/initial/{WEIGHT}"]


@pytest.mark.parametrize("change", [reshaped, dropped])
@pytest.mark.parametrize("name", [*DAMAGED, f"phase/pairs/rows/{WEIGHT}"])
def test_damaged_tensors_are_one_line_that_names_the_file(tmp_path, stopped, name, change) -> None:
    stage = PAIRS if "pairs" in name else TRIAL
    said, checkpoint = message(tmp_path, stopped[stage], change(name))
    assert said.startswith(f"{checkpoint / TENSORS}: found ") and name.removeprefix("phase/") in said


@pytest.mark.parametrize("change", [reshaped, dropped])
def test_a_damaged_optimiser_of_a_phase_is_one_line_that_names_the_file(tmp_path, stopped, change) -> None:
    said, checkpoint = message(tmp_path, stopped[TRIAL], change(f"phase/population/optimizer/exp_avg/{WEIGHT}"))
    assert said.startswith(f"{checkpoint / TENSORS}: found ") and WEIGHT in said


@pytest.mark.parametrize("names", [("phase",), ("phase", "phase_seconds")])
def test_a_checkpoint_from_before_there_were_phases_is_one_line(tmp_path, stopped, names) -> None:
    def older(numbers: dict[str, Any], tensors: dict[str, Any]) -> None:
        for name in names:
            del numbers[name]

    said, checkpoint = message(tmp_path, stopped[TRIAL], older)
    assert said == f"{checkpoint}: found no usable entry {names[-1]!r}, expected one in training_state.*"
