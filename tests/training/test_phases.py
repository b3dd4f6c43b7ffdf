"""Phases of training: whose steps are whose, cycles of the learning rate, frames and time that are left."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_tiny import TinyData, TinyModel, run_tiny, tiny_config
from rich.console import Console

from ffrl.config import OptimizerConfig, RunConfig, StillConfig, SupervisedConfig, TrainingPhase
from ffrl.config.optimizer import learning_rate
from ffrl.core.errors import UserError
from ffrl.storage.names import METRICS
from ffrl.training.log import read_metrics
from ffrl.training.phases import GradientRunner, cycle, frames_until, span_at, spans
from ffrl.training.step import rate_at
from ffrl.training.trainer import _Run
from stf.config import DiscoveryConfig, RediscoveryConfig, RefineConfig, UnsupervisedConfig
from stf.models.sparse_flow import JointSettings


def config(
    steps: int, still: float = 0.25, discovery: float = 0.5, refine: float = 0.0, again: float = 0.0, **changes: Any
) -> UnsupervisedConfig:
    shares = dict(still=StillConfig(fraction=still), discovery=DiscoveryConfig(fraction=discovery))
    shares["rediscovery"] = RediscoveryConfig(fraction=again, after=0.05)
    return UnsupervisedConfig(steps=steps, refine=RefineConfig(fraction=refine), **shares, **changes)


def bounds(run: RunConfig) -> list[tuple[str, int, int]]:
    return [(span.phase.name, span.first, span.last) for span in spans(run)]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (config(100), [("still", 0, 25), ("discovery", 25, 75), ("joint", 75, 100)]),
        (config(100, still=0.0), [("discovery", 0, 50), ("joint", 50, 100)]),
        (
            config(100, refine=0.1),
            [("still", 0, 25), ("discovery", 25, 75), ("joint", 75, 90), ("refine", 90, 100)],
        ),
        (
            config(100, discovery=0.3, refine=0.1, again=0.2),
            [
                ("still", 0, 25),
                ("discovery", 25, 55),
                ("first-joint", 55, 60),
                ("rediscovery", 60, 80),
                ("joint", 80, 90),
                ("refine", 90, 100),
            ],
        ),
        (config(3, refine=0.2), [("still", 0, 1), ("discovery", 1, 3)]),
        (config(100, discovery=0.0), [("still", 0, 25), ("joint", 25, 100)]),
        (config(100, still=0.0, discovery=0.0), [("joint", 0, 100)]),
        (config(10, still=0.1, discovery=0.2), [("still", 0, 1), ("discovery", 1, 3), ("joint", 3, 10)]),
        (config(3), [("still", 0, 1), ("discovery", 1, 3)]),
        (config(2), [("still", 0, 1), ("discovery", 1, 2)]),
        (config(1), [("still", 0, 1)]),
        (config(1, still=0.0), [("discovery", 0, 1)]),
        (config(7, still=0.999, discovery=0.0), [("still", 0, 7)]),
        (SupervisedConfig(steps=4), [("still", 0, 1), ("joint", 1, 4)]),
    ],
)
def test_phases_follow_one_another_without_gaps(run: RunConfig, expected: list[tuple[str, int, int]]) -> None:
    assert bounds(run) == expected


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 99, 100, 3600])
@pytest.mark.parametrize(("still", "discovery"), [(0.25, 0.5), (0.0, 0.3), (0.07, 0.0), (1 / 3, 1 / 3), (0.1, 0.2)])
def test_every_step_is_of_one_phase(steps: int, still: float, discovery: float) -> None:
    run = config(steps, still, discovery)
    found = spans(run)
    assert [span.first for span in found] == [0, *(span.last for span in found[:-1])] and found[-1].last == steps
    assert all(span.steps == span.last - span.first > 0 for span in found)
    for step in range(steps):
        (own,) = (span for span in found if span.first <= step < span.last)
        assert span_at(run, step) == own
    assert span_at(run, steps) == found[-1]


def test_rounding_of_shares_gives_no_phase_a_step_of_another() -> None:
    run = replace(config(100), still=StillConfig(fraction=0.07))
    assert bounds(run)[0] == ("still", 0, 7)  # 0.07 * 100 is a little more than 7
    assert bounds(replace(run, still=StillConfig(fraction=0.071)))[0] == ("still", 0, 8)


def test_the_last_phase_goes_on_to_the_end() -> None:
    @dataclass(frozen=True)
    class Short(RunConfig):
        @property
        def schedule(self) -> tuple[TrainingPhase, ...]:
            return TrainingPhase("first", 0.5, None, ""), TrainingPhase("second", 0.1, None, "")

    assert bounds(Short(steps=10)) == [("first", 0, 5), ("second", 5, 10)]


def test_frames_are_those_that_a_step_of_each_phase_costs() -> None:
    run = config(100, still=0.1, discovery=0.3, batch_size=2)
    at = {0: 0, 5: 5 * 3, 10: 30, 11: 31, 40: 60, 41: 72, 100: 780}  # a sequence has nine, and three stand alone
    assert {step: frames_until(run, 8, step) for step in at} == {step: 2 * count for step, count in at.items()}
    assert frames_until(run, 1, 10) == 2 * 10 * 2  # of sequences with two frames there are no three
    assert frames_until(run, 1, 41) - frames_until(run, 1, 40) == 2 * (2 + 2)
    assert frames_until(replace(run, still=StillConfig(fraction=0.0, beside=0.0)), 8, 31) == 2 * (30 + 9)


def test_each_stretch_of_gradient_phases_is_a_cycle_of_the_learning_rate() -> None:
    run = config(100, still=0.1, discovery=0.3)
    assert {cycle(run, step) for step in range(10)} == {(0, 10)}
    assert {cycle(run, step) for step in range(40, 100)} == {(40, 60)}
    assert {cycle(config(100, still=0.1, discovery=0.3, refine=0.2), step) for step in range(40, 80)} == {(40, 40)}
    assert {cycle(config(100, discovery=0.0), step) for step in range(100)} == {(0, 100)}
    assert {cycle(config(100, still=0.0, discovery=0.3), step) for step in range(30, 100)} == {(30, 70)}
    assert {cycle(SupervisedConfig(steps=9), step) for step in range(9)} == {(0, 9)}


def test_the_learning_rate_warms_up_and_falls_before_and_after_the_discovery() -> None:
    optimizer = OptimizerConfig(learning_rate=0.2, final_learning_rate=0.02, warmup_steps=4)
    run = config(100, still=0.2, discovery=0.3, optimizer=optimizer)
    before, after = [rate_at(run, step) for step in range(20)], [rate_at(run, step) for step in range(50, 100)]
    for rates in (before, after):
        assert rates == [learning_rate(optimizer, step, len(rates)) for step in range(len(rates))]
        assert rates[0] == pytest.approx(0.05) and rates[-1] == pytest.approx(0.02) and max(rates) <= 0.2
    supervised = SupervisedConfig(steps=30, optimizer=optimizer)
    assert [rate_at(supervised, step) for step in range(30)] == [learning_rate(optimizer, s, 30) for s in range(30)]


def remaining(run: RunConfig, step: int, **seconds: float) -> float:
    """Seconds that are left by ``_Run.remaining`` after ``step`` steps that took these seconds in each phase."""
    stand_in = SimpleNamespace(config=run, step=step, phase_seconds=seconds)
    stand_in.frames = lambda step: frames_until(run, 8, step)
    return _Run.remaining(stand_in)


def test_time_left_is_known_from_steps_of_each_phase_and_guessed_from_frames() -> None:
    run = config(100, still=0.1, discovery=0.3)
    assert remaining(run, 0) == 0.0
    # a step of still frames: 3 frames in 0.3 s; so 1 frame in 0.1 s, and steps to come cost 1 and 12 frames
    assert remaining(run, 5, still=1.5) == pytest.approx(5 * 0.3 + 30 * 0.1 + 60 * 1.2)
    assert remaining(run, 10, still=3.0) == pytest.approx(30 * 0.1 + 60 * 1.2)
    assert remaining(run, 20, still=3.0, discovery=20.0) == pytest.approx(20 * 2.0 + 60 * 1.2)
    assert remaining(run, 70, still=3.0, discovery=60.0, joint=15.0) == pytest.approx(30 * 0.5)
    assert remaining(run, 100, still=3.0, discovery=60.0, joint=30.0) == 0.0
    alone = config(100, still=0.0, discovery=0.5)  # nothing is known of frames before there are any
    assert remaining(alone, 10, discovery=5.0) == pytest.approx(40 * 0.5)


class Counting:
    """A runner that counts its steps, and leaves the parameters alone."""

    def __init__(self, run: Any) -> None:
        self.run, self.count = run, torch.zeros((), dtype=torch.int64)
        run.model.entered = [*getattr(run.model, "entered", []), (run.span.first, run.span.last)]

    def __call__(self, step: int) -> None:
        self.count += 1
        self.run.add({"count": self.count}, torch.tensor(True))

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"count": self.count}

    def numbers(self) -> dict[str, Any]:
        return {"taken": int(self.count)}

    def load(self, tensors: dict[str, torch.Tensor], numbers: Any, checkpoint: Any) -> None:
        assert numbers == {"taken": int(tensors["count"])}
        self.count = tensors["count"]

    def events(self) -> list[dict[str, Any]]:
        return [{"search": {"ratio": float("nan"), "at": int(self.count)}, "text": f"count {int(self.count)}"}]


@dataclass(frozen=True)
class CountingPhase(TrainingPhase):
    by_gradient = False

    def runner(self, run: Any) -> Counting:
        return Counting(run)


@dataclass(frozen=True)
class CountingConfig(RunConfig):
    sequences = "labelled"
    mode: str = "supervised"

    @property
    def schedule(self) -> tuple[TrainingPhase, ...]:
        middle = CountingPhase("counting", 0.3, 1, "counting ends")
        return TrainingPhase("first", 0.2, None, ""), middle, TrainingPhase("second", 0.5, None, "")


def counting_config(**changes: Any) -> CountingConfig:
    base = tiny_config("supervised", steps=20, **changes)
    shared = {field.name: getattr(base, field.name) for field in fields(RunConfig)}
    return CountingConfig(**shared)


def test_the_trainer_runs_the_schedule(tmp_path) -> None:
    model, text = TinyModel(), StringIO()
    weights = []

    class Watching(TinyData):
        def single(self, split, indices, which, generator=None):
            if split == "train":
                weights.append(model.encoder.weight.detach().clone())
            return super().single(split, indices, which, generator)

    run_tiny(
        tmp_path / "run",
        counting_config(log_every=1, validate_every=2),
        model=model,
        data=Watching(),
        console=Console(file=text),
    )
    assert model.entered == [(4, 10)] and len(weights) == 14
    entries = read_metrics(tmp_path / "run" / METRICS)
    training = {entry["step"]: entry for entry in entries if "frames_per_second" in entry}
    assert list(training) == list(range(1, 21))
    for step, entry in training.items():
        assert ("train/count" in entry) == (4 < step <= 10)
        assert ("train/loss" in entry) == ("learning_rate" in entry) == (not 4 < step <= 10)
    assert [training[step]["train/count"] for step in range(5, 11)] == [1, 2, 3, 4, 5, 6]
    assert training[1]["learning_rate"] == training[11]["learning_rate"]  # both begin a cycle
    validated = [entry["step"] for entry in entries if "validation/loss" in entry]
    assert validated == [2, 4, 12, 14, 16, 18, 20]
    told = [entry for entry in entries if "search" in entry]
    assert told == [{"step": 4 + n, "search": {"ratio": None, "at": n}} for n in range(1, 7)]
    assert "step 5/20  count 1\n" in text.getvalue() and "velocities" in text.getvalue()


@pytest.mark.parametrize("step", [1, 3, 4, 5, 7, 9, 10, 11, 19])
def test_a_runner_goes_on_from_its_state(tmp_path, step, monkeypatch) -> None:
    reference, run, run_config = tmp_path / "reference", tmp_path / "run", counting_config(checkpoint_every=7)
    run_tiny(reference, run_config)
    from ffrl.training import trainer

    class Stopped:
        signal = None

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            return None

    stop, taken = Stopped(), []
    add = trainer.Window.add

    def adding(self, terms, finite):
        taken.append(1)
        stop.signal = 15 if len(taken) == step else None
        add(self, terms, finite)

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "StopRequest", lambda: stop)
        patched.setattr(trainer.Window, "add", adding)
        assert run_tiny(run, run_config).steps == step
    run_tiny(run, run_config, resume=True)
    for name in ("model.safetensors", "training_state.safetensors"):
        path = f"checkpoints/step-00000020/{name}"
        assert (reference / path).read_bytes() == (run / path).read_bytes()


def test_seconds_of_the_phases_are_those_of_the_run(tmp_path) -> None:
    import json

    result = run_tiny(tmp_path / "run", counting_config(log_every=3, checkpoint_every=6), data=TinyData(pause=0.01))
    state = json.loads((tmp_path / "run/checkpoints/step-00000020/training_state.json").read_text())
    assert set(state["phase_seconds"]) == {"first", "counting", "second"} and state["phase"] is None
    assert sum(state["phase_seconds"].values()) <= result.seconds + 0.05
    assert state["phase_seconds"]["first"] >= 0.04 and state["phase_seconds"]["second"] >= 0.1


def test_a_gradient_phase_keeps_nothing_of_its_own() -> None:
    taken: list[int] = []
    runner = GradientRunner(SimpleNamespace(take_step=taken.append))
    runner(3)
    assert taken == [3] and runner.tensors() == {} and runner.numbers() is None and runner.events() == []
    assert runner.load({}, None, None) is None


def test_a_discovery_that_leaves_no_time_is_one_line() -> None:
    expected = "^discovery.fraction: found 0.8, expected below 0.75, what the fractions of still, rediscovery"
    with pytest.raises(UserError, match=expected):
        config(100, discovery=0.8)
    with pytest.raises(UserError, match="^discovery.fraction: found 0.5, expected below 0.5, "):
        config(100, discovery=0.5, again=0.2)


def test_without_a_first_search_there_is_no_second() -> None:
    run = replace(UnsupervisedConfig(), discovery=DiscoveryConfig(fraction=0.0))
    assert run.rediscovery.fraction and [phase.name for phase in run.schedule if phase.fraction] == [
        "still", "joint", "refine",
    ]  # fmt: skip
    assert JointSettings.of(run).paused[1] == 0 and JointSettings.of(run).share == pytest.approx(0.4)


def test_steps_beyond_those_that_were_planned_end_as_training_did():
    before = UnsupervisedConfig(steps=1000)
    after = before.longer(1500)
    assert spans(after)[: len(spans(before))] == spans(before)
    assert [(one.phase.name, one.first, one.last) for one in spans(after)[len(spans(before)) :]] == [
        ("joint", 1000, 1470),
        ("refine", 1470, 1500),
    ]
    assert cycle(after, 700) == cycle(before, 700) and cycle(after, 1200) == (1000, 470)
    assert after.longer(1500) == after and after.longer(1600).planned_steps == 1000
    assert after.progress(999) == before.progress(999) and after.progress(1400) == 1.0
    plain = SupervisedConfig(steps=100).longer(150)
    assert cycle(plain, 99) == (0, 100) and cycle(plain, 100) == (100, 50)
