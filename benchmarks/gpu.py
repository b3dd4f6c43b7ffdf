"""What a machine with a GPU should measure before its numbers are believed; ``make gpu-check`` writes docs/gpu.md.

Equal results to the CPU, waits for the host, speed and memory of every phase, and whole trainings with what they find;
see README.md beside this file.
"""

from __future__ import annotations

import argparse
import copy
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import resident_bytes
from phases import REPEATS, TYPES, Profile, products
from rich.console import Console
from torch import Tensor

import ffrl.data
from ffrl.config import DataConfig, RunConfig
from ffrl.core.device import resolve_device
from ffrl.core.errors import UserError, require
from ffrl.core.files import write_atomically
from ffrl.evaluation.registry import numbers_of
from ffrl.models.interface import WithPosterior
from ffrl.objective.elbo import elbo_terms
from ffrl.training.batch import draw_batch
from ffrl.training.step import Forward
from stf.registry import default_config
from stf.run import Run, build_model, train

MODES = ("unsupervised", "supervised", "weak")
TOLERANCE = 1e-4
"""Largest relative difference of losses, gradients and activity between float32 on the device and float64 on the CPU.

Measured on CPUs: float32 is within 2e-6 of float64."""
WAITS = "called a synchronizing CUDA operation"
OUT = Path(__file__).parents[1] / "docs/gpu.md"
console = Console(width=110)


class Findings(NamedTuple):
    """Loss terms, gradients and P(on) of one batch."""

    terms: dict[str, float]
    gradients: dict[str, Tensor]
    probability: Tensor | None


def smaller(config: RunConfig) -> RunConfig:
    """A configuration of tiny sizes, to see that everything runs."""
    config = replace(config, steps=200, batch_size=4, model=replace(config.model, width=16))
    search = getattr(config, "discovery", None)
    if search is None:
        return config
    sizes = dict(sequences=20, held_out=8, batch_size=4, trial_batch_size=4)
    return replace(config, discovery=replace(search, **sizes))  # type: ignore[call-arg]


class Model:
    """A mode at its default sizes, with equal weights, frames and noise wherever it computes.

    Args:
        mode: of training.
        batch_size: sequences.
        seed: of weights, frames and noise.
    """

    def __init__(self, mode: str, batch_size: int, seed: int) -> None:
        config = default_config(mode, DataConfig(name="mnist"))
        self.config = replace(config, batch_size=batch_size, seed=seed)
        data = ffrl.data.load(config.data, torch.device("cpu"))
        torch.manual_seed(seed)
        self.model: Any = build_model(self.config, data.image_shape).train()
        self.phase = self.model.phase(0.9)
        self.batch = draw_batch(self.config, self.model, data, "train", torch.arange(batch_size), self.phase, step=0)

    def on(self, device: torch.device, dtype: torch.dtype) -> Findings:
        """Loss terms, gradients and P(on) on a device, in float32 or float64."""

        def moved(value: Any) -> Any:
            if isinstance(value, tuple):
                return type(value)(*map(moved, value))
            return (
                value.to(device, dtype if value.is_floating_point() else None) if isinstance(value, Tensor) else value
            )

        model = copy.deepcopy(self.model).to(device, dtype)  # its running estimates follow every batch
        batch = moved(self.batch)
        terms = Forward(self.config, model, torch.float32, elbo_terms)(batch, self.phase)
        terms["loss"].backward()
        found = {name: value.grad.double().cpu() for name, value in model.named_parameters() if value.grad is not None}
        inferred = model.eval().activity(batch.frames) if isinstance(model, WithPosterior) else None
        return Findings(
            {name: value.detach().item() for name, value in terms.items()},
            found,
            None if inferred is None else inferred.probability.detach().double().cpu(),
        )


def differences(found: Findings, reference: Findings) -> dict[str, float]:
    """The largest relative difference of loss terms, that of gradients as vectors, and the largest of P(on)."""
    terms = [
        abs(value - reference.terms[name]) / max(1.0, abs(reference.terms[name])) for name, value in found.terms.items()
    ]
    gap = torch.stack([(found.gradients[name] - g).square().sum() for name, g in reference.gradients.items()]).sum()
    size = torch.stack([g.square().sum() for g in reference.gradients.values()]).sum()
    result = {"terms": max(terms), "gradients": float((gap / size).sqrt())}
    if found.probability is not None and reference.probability is not None:
        result["probability"] = float((found.probability - reference.probability).abs().max())
    return result


@contextmanager
def waits(device: torch.device) -> Iterator[list[str]]:
    """Collect where the host waits for a GPU inside the context; elsewhere it stays empty."""
    found: list[str] = []
    if device.type != "cuda":
        yield found
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
        found += [f"{w.filename}:{w.lineno}" for w in caught if WAITS in str(w.message)]


def peak_bytes(device: torch.device, action: Callable[[], object]) -> int:
    """Memory of the device at its highest while an action runs; on a CPU that of the process until now."""
    if device.type != "cuda":
        action()
        return resident_bytes(highest=True)
    torch.cuda.reset_peak_memory_stats(device)
    action()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A section of the page with a table."""
    lines = [f"## {title}", "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def machine(device: torch.device) -> str:
    """What the numbers were taken on, in a sentence."""
    if device.type != "cuda":
        return f"{device.type} ({platform.machine()}), torch {torch.__version__}, Python {platform.python_version()}"
    about = torch.cuda.get_device_properties(device)
    return (
        f"{about.name} ({about.total_memory / 2**30:.0f} GiB, compute capability {about.major}.{about.minor}), "
        f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}"
    )


def correctness(device: torch.device, batch_size: int, seed: int) -> tuple[str, bool]:
    """Every mode on the device against float64 on the CPU, and whether all differences are within the tolerance."""
    rows, good = [], True
    for mode in MODES:
        model = Model(mode, batch_size, seed)
        reference = model.on(torch.device("cpu"), torch.float64)
        for place in (torch.device("cpu"), device):
            gaps = differences(model.on(place, torch.float32), reference)
            good &= max(gaps.values()) <= TOLERANCE
            shown = [f"{gaps[key]:.1e}" if key in gaps else "" for key in ("terms", "gradients", "probability")]
            rows.append([mode, place.type, *shown])
    title = "Equal to the CPU"
    head = ("mode", "float32 on", "loss terms", "gradient", "P(on)")
    text = (
        f"\nDifferences from float64 on the CPU with equal weights, frames and noise, {batch_size} sequences: largest "
        f"relative one of a loss term, relative norm of that of the gradient, largest of P(on). All are to be at most "
        f"{TOLERANCE:.0e}: {'they are' if good else 'they are NOT'}.\n"
    )
    return table(title, head, rows) + text, good


def speed(device: torch.device, repeats: int, seed: int) -> str:
    """Every phase at the defaults for MNIST, by precision."""
    rows, places = [], set[str]()
    for precision in TYPES:
        profile = Profile("mnist", precision, 3, repeats, seed, device)
        frames, pixels = profile.config.batch_size * (profile.data.num_steps + 1), profile.data.image_shape
        rate = products(frames, torch.Size(pixels).numel(), profile.config.model.width, repeats, device)[precision]
        for row in profile.phases():
            rows.append(
                [
                    precision,
                    row["phase"],
                    f"{1e3 * row['seconds']:.2f}",
                    f"{row['frames'] / row['seconds']:,.0f}",
                    f"{100 * row['operations'] / row['seconds'] / rate:.0f} %",
                ]
            )
        step = profile.stepper(profile.spans["joint"])
        memory = peak_bytes(device, step)
        with waits(device) as found:
            step()
        places |= set(found)
        rows.append([precision, "memory, joint", f"{memory / 2**20:,.0f} MiB", "", ""])
    said = f"The host waited {len(places)} times: {', '.join(sorted(places))}." if places else "The host never waited."
    said = said if device.type == "cuda" else "Whether the host waits is known on a GPU alone."
    head = ("precision", "phase", "ms per step", "frames per second", "share of its own largest product")
    return table("Speed and memory of every phase", head, rows) + f"\nIn a joint step: {said}\n"


def alignment(device: torch.device, seeds: Sequence[int], quick: bool) -> str:
    """Whole trainings at the defaults, and what they find."""
    rows = []
    for seed in seeds:
        config = default_config("unsupervised", DataConfig(name="mnist"))
        config = replace(smaller(config) if quick else config, seed=seed, device=str(device))
        with tempfile.TemporaryDirectory() as folder:
            train(config, Path(folder) / "run")
            run = Run.open(Path(folder) / "run", device=str(device))
            numbers = numbers_of(run.evaluate(sequences=16 if quick else 500, seed=seed))
            seconds = {entry["step"]: entry["seconds"] for entry in run.metrics if "seconds" in entry}
            searched = [entry["step"] for entry in run.metrics if "search" in entry]
        found = next((value for step, value in sorted(seconds.items()) if searched and step >= searched[-1]), None)
        errors = [numbers[f"error/{name}"]["mean"] for name in run.data.transformations]
        rows.append(
            [
                f"{seed}",
                "" if found is None else f"{found:.0f}",
                f"{max(seconds.values()):.0f}",
                f"{numbers['fields_alive']}",
                f"{numbers['share/worst']:.3f}",
                f"{numbers['f1/worst']:.3f}",
                " / ".join(f"{error:.0f}" for error in errors),
            ]
        )
    head = ("seed", "s until fields are found", "s in all", "fields alive", "least share", "least F1", "7-step errors")
    return table("Whole trainings on MNIST, unsupervised", head, rows)


def _seeds(text: str) -> list[int]:
    parts = text.split(",")
    require(all(part.isdecimal() for part in parts), "seeds", text, "whole numbers separated by commas")
    return [int(part) for part in parts]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything, write the page, and return 1 if a result differs from the CPU's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the script (default cuda)")
    parser.add_argument("--seeds", default="0,1,2", help="of the whole trainings (default 0,1,2)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="the page (default docs/gpu.md)")
    flags = parser.parse_args(arguments)
    try:
        device, seeds = resolve_device(flags.device), _seeds(flags.seeds)
    except UserError as error:
        print(f"gpu-check: error: {error}", file=sys.stderr)
        return 2
    console.print(f"Comparing with the CPU: {machine(device)}")
    equal, good = correctness(device, 4 if flags.quick else 64, 0)
    console.print("Timing every phase")
    timed = speed(device, 1 if flags.quick else REPEATS, 0)
    console.print(f"Training with seeds {flags.seeds}")
    found = alignment(device, seeds, flags.quick)
    head = "# On a GPU\n\nWritten by `make gpu-check` on " + f"{date.today().isoformat()}: {machine(device)}.\n\n"
    write_atomically(flags.out, (head + "\n".join([equal, timed, found])).encode())
    console.print(f"Written: {flags.out}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
