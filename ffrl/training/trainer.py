"""The one trainer of all three modes: steps, logs, validation, checkpoints, interruption and exact resumption."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ffrl.config import RunConfig
from ffrl.core import terminal
from ffrl.core.device import deterministic, indexed, resolve_device
from ffrl.core.errors import UserError, fitting, require
from ffrl.core.files import Held, locked
from ffrl.core.signals import StopRequest
from ffrl.data.base import SequenceData
from ffrl.data.findings.finding import Finding
from ffrl.models.frame_kind import Changes
from ffrl.models.interface import Calibrated, Divisible, SequenceModel
from ffrl.objective.elbo import elbo_terms
from ffrl.storage.checksums import require_unchanged
from ffrl.storage.names import CONFIG, ENVIRONMENT, METRICS
from ffrl.training import run_folder
from ffrl.training.batch import Feed, training_size
from ffrl.training.callbacks import Callback, TensorBoard, summary_writer
from ffrl.training.checkpoint import (
    STATE,
    STATE_TENSORS,
    TrainingState,
    checkpoints,
    load_optimizer,
    load_training_state,
    load_weights,
    optimizer_tensors,
    save_checkpoint,
)
from ffrl.training.config_io import encode_config
from ffrl.training.log import Log, read_metrics
from ffrl.training.parallel import Ranks, join
from ffrl.training.phases import RunContext, Runner, frames_until, span_at, spans
from ffrl.training.precision import Precision, choose
from ffrl.training.step import Forward, Objective, TrainingStep, forget, rate_at
from ffrl.training.validation import Validation
from ffrl.training.window import Window

PHASE = "phase/"
"""Prefix of the tensors of the phase in progress in a checkpoint."""
PATIENCE = 10
"""Fewest consecutive non-finite steps that end a run."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run did: its steps, seconds, speed, skipped steps and newest metrics, and the signal that ended it.

    ``data_share`` is the share of the time since the start or resumption that was spent waiting for frames, or making
    them.
    """

    steps: int
    seconds: float
    frames_per_second: float
    skipped_steps: int
    data_share: float
    metrics: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    signal: int | None = None


def train(
    config: RunConfig,
    model: SequenceModel,
    data: SequenceData,
    run_dir: Path,
    resume: bool = False,
    console: Console | None = None,
    objective: Objective = elbo_terms,
    callbacks: Sequence[Callback] = (),
    findings: Sequence[Finding] = (),
) -> TrainingResult:
    """Train ``model`` on ``data`` and keep everything in ``run_dir``.

    The same seed on the same hardware, threads and versions gives the same run, and a resumed run continues bit for bit
    (on CUDA with ``config.deterministic``). SIGINT and SIGTERM end the run after the current step with a checkpoint.

    Under ``torchrun`` every process calls this alike and computes its part of every batch; process 0 alone writes,
    prints, validates and calls ``callbacks``, and a signal to one of them ends all after the same step.

    Args:
        config: Configuration of one of the modes.
        model: Freshly initialised; moved to the device of ``config``.
        data: Sequences on that device.
        run_dir: Run folder; new or empty unless ``resume``.
        resume: Go on from the newest checkpoint of ``run_dir``, from the start if it has none yet.
        console: Where to print (standard error).
        objective: Maps (outputs, frames, config.objective) to named loss terms, among them ``loss``.
        callbacks: Told of every entry of ``metrics.jsonl``.
        findings: What looked wrong before, kept in the run folder for the report.

    Raises:
        UserError: the folder, the configuration or a checkpoint cannot be used, or the loss stays non-finite.

    Example:
        >>> import tempfile
        >>> import ffrl.data
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> config = SupervisedConfig(steps=2, batch_size=4, device="cpu")
        >>> data = ffrl.data.load(config.data, torch.device("cpu"))
        >>> model = MODE.build(config, data.image_shape)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     train(config, model, data, Path(folder) / "run", console=Console(quiet=True)).steps
        2
    """
    console = console or terminal.Console(stderr=True)
    run_dir = Path(run_dir)
    device = resolve_device(config.device)
    require(indexed(data.device) == device, "device", config.device, f"{data.device}, that of the data")
    require(data.size("train") > 0, "data", "no training sequences", "at least one")
    if config.needs_transformations:
        names = data.transformations
        expected = f"{len(names)}, one per transformation ({', '.join(names)})"
        require(config.model.num_fields == len(names), "model.num-fields", config.model.num_fields, expected)
    if data.static is not None and isinstance(model.frame_kind, Changes):
        model.frame_kind.measured(data.static)
    if config.tensorboard:
        summary_writer()
    ranks = join()
    if ranks.size > 1:
        _divide(config, model, device, ranks)
    sizes = {"batch-size": config.batch_size, "T": data.num_steps, "D": config.model.latent_dim}
    sizes |= {"fields": config.model.num_fields, "width": config.model.width}
    with ExitStack() as stack:
        stack.enter_context(fitting("training (" + ", ".join(f"{key} {size}" for key, size in sizes.items()) + ")"))
        stack.enter_context(deterministic(config.deterministic))
        model.to(device)
        held: list[Held] = []
        made: list[_Run] = []

        def prepare() -> Precision:
            run_folder.open_folder(run_dir, resume)
            stack.enter_context(locked(run_dir))
            held.append(stack.enter_context(closing(Held(run_dir))))
            run_folder.prepare(run_dir, config, resume, run_folder.Description.of(data, model, findings))
            if not resume:  # what was there before is none of ours
                stack.enter_context(run_folder.withdrawn_unless_begun(run_dir, lambda: any(run.begun for run in made)))
            precision = choose(config, model, device, run_dir / ENVIRONMENT)
            run_folder.record_environment(run_dir, device, precision)
            return precision

        precision = ranks.shared(prepare)
        if not ranks.first:
            console, callbacks = Console(quiet=True, force_terminal=False), ()
        stop = stack.enter_context(StopRequest())
        feed = stack.enter_context(Feed(config, model, data, device, ranks))
        run = _Run(config, model, data, feed, run_dir, device, precision.dtype, objective)
        run.held = held[0] if held else None
        made.append(run)
        run.restore()
        run.join()
        if resume and run.step >= config.steps:
            console.print(f"{run_dir} is finished: {run.step} steps", markup=False, highlight=False, soft_wrap=True)
            return run.result(None)
        if config.tensorboard and ranks.first:
            callbacks = [*callbacks, stack.enter_context(TensorBoard(run_dir, run.step))]
        log = stack.enter_context(Log(run_dir if ranks.first else None, console, config.steps, run.step, callbacks))
        if precision.speedup is not None:
            log.say(f"precision: {precision}")
        if resume:
            log.say(f"resuming {run_dir} at step {run.step} of {config.steps}")
        number = run.loop(log, stop)
        ranks.wait()
        result = run.result(number if run.step < config.steps else None)
        log.summary(run.summary(result))
        return result


def _divide(config: RunConfig, model: SequenceModel, device: torch.device, ranks: Ranks) -> None:
    """Prepare a model to see a part of every batch, or raise a UserError if processes cannot share the work."""
    size, own = config.batch_size, device.type in ("cpu", "cuda") and ":" not in config.device
    require(size >= ranks.size, "batch-size", size, f"at least {ranks.size}, one sequence for each process")
    require(own, "device", config.device, "auto, cpu or cuda, of which each process takes its own")
    if not isinstance(model, Divisible):
        found = f"{config.mode!r} in {ranks.size} processes"
        raise UserError(f"mode: found {found}, expected one process: this mode learns from whole batches")
    model.see_parts(torch.compiler.disable(partial(ranks.pool, size)))
    if device.type == "cuda":
        torch.cuda.set_device(device)


@contextmanager
def _usable(checkpoint: Path) -> Iterator[None]:
    """Turn what a state that does not fit raises inside the context into a UserError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{checkpoint}: found no usable entry {error}, expected one in training_state.*") from None


class _Run:
    """The state of a run in progress."""

    def __init__(
        self,
        config: RunConfig,
        model: SequenceModel,
        data: SequenceData,
        feed: Feed,
        run_dir: Path,
        device: torch.device,
        precision: torch.dtype,
        objective: Objective,
    ) -> None:
        self.config, self.model, self.data, self.feed, self.run_dir = config, model, data, feed, run_dir
        self.ranks = feed.ranks
        self.window = Window(device)
        forward = Forward(config, model, precision, objective)
        self.take_step = TrainingStep(config, model, feed, forward, self.window)
        self.validate = Validation(config, model, data, device, forward)
        self.step = 0
        self.seconds, self.earlier_seconds = 0.0, 0.0
        self.skipped = 0
        self.saved: int | None = None
        self.device = device
        self.held: Held | None = None
        self.runner: Runner | None = None
        self.phase: str | None = None
        self.phase_seconds: dict[str, float] = {}
        self.encoded_config = encode_config(config)

    @property
    def begun(self) -> bool:
        """Whether there is anything to go on from."""
        return self.step > 0 or self.saved is not None

    def restore(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        found = checkpoints(self.run_dir)
        if not found:
            return
        path = found[max(found)]
        run_folder.require_same(path / CONFIG, self.config, longer=True)
        state = load_training_state(path)
        load_weights(path, self.model)
        load_optimizer(path / STATE_TENSORS, state.tensors, self.model, self.take_step.optimizer)
        with _usable(path):
            self.window.load(state.tensors)
            self.step, self.seconds = int(state.numbers["step"]), float(state.numbers["seconds"])
            self.phase_seconds = {name: float(value) for name, value in state.numbers["phase_seconds"].items()}
            phase = state.numbers["phase"]
        span = span_at(self.config, self.step)
        if not span.phase.by_gradient and span.first < self.step < span.last:
            name = span.phase.name
            require(isinstance(phase, dict), f"{path / STATE}: phase", phase, f"the state of the {name} at this step")
            runner = self.enter()
            own = {k.removeprefix(PHASE): v for k, v in state.tensors.items() if k.startswith(PHASE)}
            with _usable(path):
                runner.load(own, phase, path)
        for name in (STATE, STATE_TENSORS):
            require_unchanged(path, name)
        self.saved, self.earlier_seconds = self.step, self.seconds
        self.skipped = self.window.counts()[0]

    def join(self) -> None:
        """Begin where process 0 begins.

        Raises:
            UserError: this process does not see the checkpoint that process 0 goes on from.
        """
        first = self.ranks.shared(lambda: self.step)
        found, expected = f"step {self.step} in process {self.ranks.rank}", f"step {first}, as in process 0"
        require(self.step == first, str(self.run_dir), found, expected)
        self.ranks.broadcast(self.model)

    def follow(self, log: Log) -> None:
        """Check that the run folder is where it was; where it is elsewhere, what was learnt is saved there.

        Raises:
            UserError: it has been moved, or removed.
        """
        if self.held is None or self.held.there:
            return
        now = self.held.now()
        if now is None:
            found = f"{self.run_dir}: found that the run folder has gone at step {self.step}"
            raise UserError(f"{found}, expected it to stay while training writes into it")
        before, self.run_dir, self.held = self.run_dir, now, None
        self.save(log)
        command = f"stf train --resume {shlex.quote(str(now))}"
        raise UserError(f"{before}: found it moved to {now}, expected it to stay; step {self.step} is saved: {command}")

    def save(self, log: Log) -> None:
        """Write a checkpoint unless this step has one; the metrics up to it reach the disk first."""
        self.follow(log)
        if self.saved == self.step or not self.ranks.first:
            return
        log.metrics.sync()
        tensors = {**optimizer_tensors(self.model, self.take_step.optimizer), **self.window.tensors()}
        numbers = {"step": self.step, "seconds": self.seconds, "phase_seconds": self.phase_seconds, "phase": None}
        if self.runner is not None and self.step < span_at(self.config, self.step - 1).last:
            tensors |= {f"{PHASE}{name}": tensor for name, tensor in self.runner.tensors().items()}
            numbers["phase"] = self.runner.numbers()
        state = TrainingState(tensors, numbers)
        save_checkpoint(self.run_dir, self.model, self.encoded_config, state, self.config.keep_checkpoints)
        self.saved = self.step

    def enter(self) -> Runner:
        """Begin the phase of the next step, unless it goes on; what takes its steps."""
        span = span_at(self.config, self.step)
        if self.runner is not None and span.phase.name == self.phase:
            return self.runner
        self.phase = span.phase.name
        context = RunContext(
            self.config, self.model, self.feed.data, self.device, span, self.take_step, self.window.add
        )
        runner: Runner = span.phase.runner(context)
        self.runner = runner
        return runner

    def remaining(self) -> float:
        """Return the seconds that are left, by the time of a step in each phase, or of its frames in one to come."""
        frames = 0.0
        left: list[tuple[str, int, int]] = []
        for span in spans(self.config):
            done = min(max(self.step - span.first, 0), span.steps)
            cost = self.frames(span.last) - self.frames(span.first)
            left.append((span.phase.name, done, span.steps))
            if span.phase.by_gradient:
                frames += cost * done / span.steps
        gradient = {span.phase.name for span in spans(self.config) if span.phase.by_gradient}
        per_frame = sum(self.phase_seconds.get(name, 0.0) for name in gradient) / frames if frames else 0.0
        total = 0.0
        taken: dict[str, int] = {}
        for name, done, _ in left:
            taken[name] = taken.get(name, 0) + done
        for span, (name, done, steps) in zip(spans(self.config), left, strict=True):
            per_step = (self.frames(span.last) - self.frames(span.first)) / steps * per_frame
            if taken[name] and self.phase_seconds.get(name):
                per_step = self.phase_seconds[name] / taken[name]
            total += (steps - done) * per_step
        return total

    def loop(self, log: Log, stop: StopRequest) -> int | None:
        """Take the remaining steps, or as many as there are until a signal to any process, and return that signal.

        Where a callback fails all processes end in the same way, and then its error is raised.
        """
        config = self.config
        self.model.train()
        clock, clocked, waited = time.perf_counter(), self.step, self.feed.waited
        phase_clock = clock

        def asked() -> int | None:
            return stop.signal if log.failure is None else signal.SIGINT

        while (number := self.ranks.agree(asked())) is None and self.step < config.steps:
            runner = self.enter()
            span = span_at(config, self.step)
            runner(self.step)
            self.step += 1
            log.advance(self.step)
            for event in runner.events():
                log.tell(self.step, event)
            last = self.step == config.steps
            ends = self.step == span.last
            if ends and not span.phase.by_gradient:
                self.ranks.broadcast(self.model)
                forget(self.take_step.optimizer, self.model.field_parameters())
            logs = last or self.step % config.log_every == 0
            validates = self.validate.size > 0 and (last or self.step % config.validate_every == 0)
            validates = validates and (span.phase.by_gradient or last) and self.ranks.first
            saves = last or self.step % config.checkpoint_every == 0
            if logs or validates or saves or ends:
                now = time.perf_counter()
                spent = self.phase_seconds.get(span.phase.name, 0.0) + now - phase_clock
                self.phase_seconds[span.phase.name] = spent
                phase_clock = now
            if logs:
                entry = self.read_window(log)
                elapsed = time.perf_counter() - clock
                entry["seconds"] = self.seconds + elapsed
                entry["frames_per_second"] = (self.frames(self.step) - self.frames(clocked)) / max(elapsed, 1e-9)
                entry["data_share"] = (self.feed.waited - waited) / max(elapsed, 1e-9)
                log.record(self.step, entry)
                log.show(self.step, entry, self.remaining(), span.phase.name)
            if last:  # after the entry, whose seconds are those of steps alone
                if isinstance(self.model, Calibrated):
                    self.model.calibrate(self.feed.data, training_size(config, self.data))
            if validates:
                terms = self.validate(self.step)
                log.record(self.step, {f"validation/{name}": value for name, value in terms.items()})
            if logs or validates or saves:
                self.seconds += time.perf_counter() - clock
                if saves:
                    self.save(log)
                elif logs:
                    self.follow(log)
                clock, clocked, waited = time.perf_counter(), self.step, self.feed.waited
                phase_clock = clock
        now = time.perf_counter()
        self.seconds += now - clock
        if self.phase is not None:
            self.phase_seconds[self.phase] = self.phase_seconds.get(self.phase, 0.0) + now - phase_clock
        self.save(log)
        if log.failure is not None:
            raise log.failure
        return number

    def read_window(self, log: Log) -> dict[str, Any]:
        """Return the log entry of the steps since the last one, or end the run when none of many was finite."""
        means = self.window.means()
        self.skipped, streak = self.window.counts()
        if streak >= max(PATIENCE, self.config.log_every) or streak == self.config.steps:
            saved = "there is no checkpoint yet" if self.saved is None else "earlier checkpoints are intact"
            raise UserError(
                f"{self.run_dir}: found a non-finite loss or gradient in {streak} steps in a row "
                f"up to step {self.step}, expected finite numbers; {saved}"
            )
        if self.skipped:
            log.warn("skipped", f"skipped {self.skipped} step(s) up to step {self.step}: loss or gradient not finite")
        terms = {f"train/{name}": value for name, value in means.items()}
        span = span_at(self.config, self.step - 1)
        rate = {"learning_rate": rate_at(self.config, self.step - 1)} if span.phase.by_gradient else {}
        return {**terms, **rate, "skipped_steps": self.skipped}

    def frames(self, step: int) -> int:
        """Return how many frames the steps before ``step`` train on."""
        return frames_until(self.config, self.data.num_steps, step)

    def result(self, number: int | None) -> TrainingResult:
        """Return what was done until now; ``number`` is the signal that ended it."""
        frames = self.frames(self.step)
        newest: dict[str, dict[str, Any]] = {}
        for entry in read_metrics(self.run_dir / METRICS):
            for kind in ("train/", "validation/"):
                newest.setdefault(kind, {}).update({key: entry[key] for key in entry if key.startswith(kind)})
        metrics = {key: value for terms in newest.values() for key, value in terms.items()}
        speed = frames / self.seconds if self.seconds > 0 else 0.0
        share = self.feed.waited / max(self.seconds - self.earlier_seconds, 1e-9)
        return TrainingResult(self.step, self.seconds, speed, self.skipped, share, metrics, number is not None, number)

    def summary(self, result: TrainingResult) -> dict[str, str]:
        """Return the rows of the table printed at the end."""
        stopped = "" if result.signal is None else f" (stopped by {signal.Signals(result.signal).name})"
        return {
            "run": str(self.run_dir),
            "steps": f"{result.steps} of {self.config.steps}{stopped}",
            "time": f"{result.seconds:.1f} s",
            "speed": f"{result.frames_per_second:,.0f} frames/s",
            "time for data": f"{result.data_share:.1%}",
            "skipped steps": str(result.skipped_steps),
            **self.model.summary(),
            **{name: f"{value:.6g}" for name, value in result.metrics.items() if value is not None},
        }
