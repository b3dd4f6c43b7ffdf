"""Where the time of training goes: every phase and every part of a step, beside what the machine can do.

Run ``python benchmarks/phases.py``; see README.md beside this file for what is measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measure import machine
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import ffrl.data
from ffrl.config import DataConfig
from ffrl.core.device import autocast, flush_denormals
from ffrl.core.files import to_json, write_atomically
from ffrl.objective.elbo import elbo_terms
from ffrl.training.batch import Feed
from ffrl.training.phases import RunContext, Span, frames_of, spans
from ffrl.training.step import Forward, TrainingStep
from ffrl.training.window import Window
from stf.registry import default_config
from stf.run import build_model

CPU = torch.device("cpu")
REPEATS = 20
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
console = Console(width=110)


def seconds(action: Callable[[], object], repeats: int, device: torch.device = CPU) -> float:
    """Median time of an action after one to warm up: of the processor, or on a GPU until the device has done it."""

    def now() -> float:
        if device.type == "cpu":
            return time.process_time()
        torch.accelerator.synchronize(device)
        return time.perf_counter()

    action()
    spent = []
    for _ in range(repeats):
        start = now()
        action()
        spent.append(now() - start)
    return statistics.median(spent)


def operations(action: Callable[[], object]) -> int:
    """Floating-point operations of the products and convolutions of an action."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()


def products(frames: int, pixels: int, width: int, repeats: int, device: torch.device = CPU) -> dict[str, float]:
    """Operations per second of the largest product of the networks, ``(frames, pixels) @ (pixels, width)``, by type."""
    found = {}
    for name, dtype in TYPES.items():
        left = torch.rand(frames, pixels, dtype=dtype, device=device)
        right = torch.rand(pixels, width, dtype=dtype, device=device)
        found[name] = 2 * frames * pixels * width / seconds(lambda a=left, b=right: a @ b, repeats, device)
    return found


class Profile:
    """A model at the defaults for a data set, and what is timed of it.

    Args:
        data: name of the data set.
        precision: ``float32`` or ``bfloat16``.
        alive: fields that count as alive in joint training.
        repeats: how often everything is timed.
        seed: of weights and data.
        device: where it computes.
    """

    def __init__(
        self, data: str, precision: str, alive: int, repeats: int, seed: int, device: torch.device = CPU
    ) -> None:
        config = default_config("unsupervised", DataConfig(name=data))
        self.config = config = replace(config, device=str(device), seed=seed)
        self.repeats, self.dtype, self.device = repeats, TYPES[precision], device
        self.data = ffrl.data.load(config.data, device)
        torch.manual_seed(seed)
        self.model: Any = build_model(config, self.data.image_shape).to(device).train()
        self.alive = list(range(min(alive, config.model.num_fields)))
        self.feed = Feed(config, self.model, self.data, device)
        self.window = Window(device)
        forward = Forward(config, self.model, self.dtype, elbo_terms)
        self.take_step = TrainingStep(config, self.model, self.feed, forward, self.window)
        self.spans = {span.phase.name: span for span in spans(config)}

    def seconds(self, action: Callable[[], object]) -> float:
        """What :func:`seconds` finds on the device of the model."""
        return seconds(action, self.repeats, self.device)

    def adopt(self) -> None:
        """Let as many fields be alive as there are transformations, as after the search."""
        like = self.model.activity_model
        self.model.adopt(self.alive, torch.full_like(like.variance, 1e-2), torch.full_like(like.misfit, 0.1))

    def phases(self) -> list[dict[str, Any]]:
        """Every phase: time and operations of a step, and frames of it."""
        rows = []
        for name, span in self.spans.items():
            if name.endswith("joint"):
                self.adopt()
            step = self.stepper(span)
            frames = frames_of(self.config, span.phase, self.data.num_steps)
            row = {"phase": name, "steps": span.steps, "frames": frames, "seconds": self.seconds(step)}
            rows.append(row | {"operations": operations(step)})
        return rows

    def stepper(self, span: Span) -> Callable[[], None]:
        """Takes the steps of a phase, from its middle on if it is one of the bound, else from its first."""
        context = RunContext(self.config, self.model, self.data, self.device, span, self.take_step, self.window.add)
        runner = span.phase.runner(context)
        steps = iter(range(span.first + (span.steps // 2 if span.phase.by_gradient else 0), span.last))
        return lambda: runner(next(steps))

    def parts(self) -> dict[str, float]:
        """Time of the pieces of a joint step, each forward and backward on its own."""
        self.adopt()
        model, step = self.model, self.spans["joint"].last - 1
        batch, phase = self.feed(step), self.model.phase(step / self.config.steps)
        parameters = list(model.parameters())

        def back(value: Tensor) -> None:
            torch.autograd.grad(value.sum(), parameters, allow_unused=True)

        def encoded() -> tuple[Tensor, Tensor]:
            with autocast(self.device, self.dtype):
                return model.posterior(batch.frames)

        def decoded(latents: Tensor) -> Tensor:
            with autocast(self.device, self.dtype):
                return model.decode_logits(latents)

        means, log_variances = (value.detach() for value in encoded())

        def inferred() -> Any:
            return model.sample_activity(means, log_variances, means, batch.noise.activity, phase)

        units, speeds = model._moving(inferred().g)
        latents = model._rollout(units, means[:, 0], speeds)[0].detach()
        with autocast(self.device, self.dtype):
            outputs = model(batch.frames, batch.noise, phase, None)
        logits = outputs.logits.detach().requires_grad_()
        bound = replace(outputs, logits=logits)
        actions: dict[str, Callable[[], object]] = {
            "sequences and noise": lambda: self.feed(step),
            "encoder": lambda: back(torch.cat(encoded())),
            "activity": lambda: back(inferred().penalties["agreement"]),
            "flow": lambda: back(model._rollout(model._moving(inferred().g)[0], means[:, 0], speeds)[0]),
            "decoder": lambda: back(decoded(latents)),
            "bound": lambda: torch.autograd.grad(
                elbo_terms(bound, batch.frames, self.config.objective)["loss"], logits, retain_graph=True
            ),
            "optimiser": self.take_step.optimizer.step,
        }
        found = {name: self.seconds(action) for name, action in actions.items()}
        found["flow"] -= self.seconds(inferred)
        return found


def show_phases(rows: list[dict[str, Any]], precision: str, machine_rate: float) -> None:
    """A table of the phases."""
    table = Table(title=f"Phases, {precision}", caption="processor time; share of the machine: of its own products")
    for column in ("phase", "steps", "ms per step", "s in all", "frames/s", "GFLOP per step", "GFLOP/s", "of machine"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    for row in rows:
        spent, work = row["seconds"], row["operations"]
        table.add_row(
            row["phase"],
            f"{row['steps']}",
            f"{1e3 * spent:.1f}",
            f"{row['steps'] * spent:.0f}",
            f"{row['frames'] / spent:,.0f}",
            f"{work / 1e9:.2f}",
            f"{work / spent / 1e9:.0f}",
            f"{100 * work / spent / machine_rate:.0f} %",
        )
    console.print(table)


def show_parts(parts: dict[str, float], whole: float, precision: str) -> None:
    """A table of the parts of a joint step."""
    table = Table(title=f"Parts of a joint step, {precision}", caption="each forward and backward on its own")
    table.add_column("part")
    for column in ("ms", "share"):
        table.add_column(column, justify="right")
    for name, spent in (parts | {"frames alone, clipping and the rest": whole - sum(parts.values())}).items():
        table.add_row(name, f"{1e3 * spent:.1f}", f"{100 * spent / whole:.0f} %")
    console.print(table)


def main() -> None:
    """Time everything and print it; write it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist", help="data set (default mnist)")
    parser.add_argument("--alive", type=int, default=3, help="fields alive in joint training (default 3)")
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help=f"how often everything is timed (default {REPEATS})"
    )
    parser.add_argument("--threads", type=int, default=1, help="computing threads (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number to FILE")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    flush_denormals()
    about = machine(flags.threads)
    console.print(f"{about['cpu']}, {about['cores']} cores, {flags.threads} thread(s), torch {about['torch']}")
    report: dict[str, Any] = {"machine": about, "seed": flags.seed, "data": flags.data, "precisions": {}}
    for precision in TYPES:
        profile = Profile(flags.data, precision, flags.alive, flags.repeats, flags.seed)
        frames, channels = profile.config.batch_size * (profile.data.num_steps + 1), profile.data.image_shape
        rates = products(frames, torch.Size(channels).numel(), profile.config.model.width, flags.repeats)
        console.print(f"its largest product in {precision}: {rates[precision] / 1e9:.0f} GFLOP/s")
        rows, parts = profile.phases(), profile.parts()
        whole = next(row["seconds"] for row in rows if row["phase"] == "joint")
        show_phases(rows, precision, rates[precision])
        show_parts(parts, whole, precision)
        report["precisions"][precision] = {"products": rates[precision], "phases": rows, "joint parts": parts}
    if flags.json:
        write_atomically(flags.json, to_json(report))


if __name__ == "__main__":
    main()
