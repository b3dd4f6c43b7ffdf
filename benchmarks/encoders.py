"""Which encoder and decoder draw the best picture per minute: size, speed, memory and error after a fixed time.

Run ``python benchmarks/encoders.py`` (20 minutes on one thread; ``--budget 60 120`` for an hour). An autoencoder with
D = 32 is trained on images drawn from a seed with the loss of the first phase of training (Laplace likelihood with
b = 0.3, cross-entropy, a growing KL), 64 images a step, until a budget of processor time is spent. Every case runs in a
process of its own. The error is that of 256 images not trained on, decoded from their posterior means.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import machine, repeat, resident_bytes
from rich.console import Console
from rich.table import Table

TIMED, TRAINED, HELD_OUT = 256, 6144, 256
"""Images of the timed batch, of the training pool, and held out."""
LATENT_DIM, BATCH, WARMUP, CLIP = 32, 64, 50, 100.0
SIZES = {
    64: ("mlp:256:2", "mixer:64:2", "conv:16:1", "conv-coarse:32:1"),
    128: ("mlp:256:2", "mixer:64:2", "conv:16:1", "conv-coarse:32:1", "conv-coarse:64:1"),
}
"""What is compared per side of the image, as architecture:width:depth."""
console = Console(width=None if os.isatty(1) else 110)


@dataclass(frozen=True)
class Case:
    """One autoencoder to train.

    Args:
        side: of the images, in pixels.
        architecture, width, depth: of encoder and decoder.
        learning_rate: peak; linear warm-up over 50 steps, then a cosine over the budget.
        budget: processor seconds of training.
        scenes: which images, a name that :func:`scenes.scenes` knows.
        seed: of images, weights and noise.
    """

    side: int
    architecture: str
    width: int
    depth: int
    learning_rate: float = 1e-3
    budget: float = 60.0
    scenes: str = "rooms"
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What a case gave.

    Args:
        parameters: numbers in encoder and decoder.
        seconds: processor seconds of a forward and backward pass of 256 images, loss included.
        added_bytes: what those passes added to the resident memory, the images left out.
        steps: steps of 64 images within the budget.
        error: absolute error summed over the pixels and channels of a frame, mean of 256 held-out images.
        constant_error: that of the mean training image, for comparison.
    """

    parameters: int
    seconds: float
    added_bytes: int
    steps: int
    error: float
    constant_error: float


def train(case: Case) -> Result:
    """Build, time and train the autoencoder of ``case`` in this process."""
    import torch
    from scenes import scenes
    from torch import Tensor, nn

    from ffrl.core.device import flush_denormals
    from ffrl.distributions.pixels import log_likelihood, pixel_error
    from ffrl.distributions.priors import gaussian_kl
    from ffrl.models.flow_vae import INITIAL_LOG_VARIANCE
    from ffrl.nn.networks import build_decoder, build_encoder
    from ffrl.training.step import update

    flush_denormals()
    torch.manual_seed(case.seed)
    shape = (3, case.side, case.side)
    encoder = build_encoder(case.architecture, shape, 2 * LATENT_DIM, case.width, case.depth)
    decoder = build_decoder(case.architecture, shape, LATENT_DIM, case.width, case.depth)
    with torch.no_grad():
        encoder[-1].bias[LATENT_DIM:] = INITIAL_LOG_VARIANCE
    model = nn.ModuleList([encoder, decoder])
    optimizer = torch.optim.AdamW(model.parameters(), lr=case.learning_rate, weight_decay=0.0, fused=True)
    generator = torch.Generator().manual_seed(case.seed)

    def loss(x: Tensor, latent_weight: float) -> Tensor:
        """That of the first phase of training: Laplace likelihood, cross-entropy, and a KL whose weight grows."""
        mean, log_variance = encoder(x).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, generator=generator)
        logits = decoder(z)
        log_prob = log_likelihood(logits, x, "laplace", 0.3, pixel_error(logits, x))
        log_prob = log_prob + log_likelihood(logits, x, "bernoulli")
        return (latent_weight * gaussian_kl(mean, log_variance) - log_prob).mean()

    batch = scenes(case.scenes, TIMED, case.side, case.seed)
    resting = resident_bytes(highest=False)
    seconds = statistics.median(repeat(lambda: loss(batch, 1.0).backward(), budget=6.0, most=5)[1])
    added = resident_bytes(highest=True) - resting

    images = (255 * scenes(case.scenes, HELD_OUT + TRAINED, case.side, case.seed)).round().to(torch.uint8)
    held_out, pool = images[:HELD_OUT].float() / 255, images[HELD_OUT:]
    steps, started = 0, time.process_time()
    while (progress := (time.process_time() - started) / case.budget) < 1:
        rate = case.learning_rate * min(1.0, (steps + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = torch.randint(len(pool), (BATCH,), generator=generator)
        update(model, optimizer, loss(pool[chosen].float() / 255, progress), CLIP)
        steps += 1

    with torch.no_grad():
        decoded = decoder(encoder(held_out)[:, :LATENT_DIM]).sigmoid()
        constant = pool.float().mean(0) / 255
    errors = [(x - held_out).abs().sum((1, 2, 3)).mean().item() for x in (decoded, constant)]
    return Result(sum(p.numel() for p in model.parameters()), seconds, added, steps, *errors)


def in_own_process(case: Case, threads: int) -> Result:
    """Train ``case`` in a fresh interpreter, so that no other case leaves traces in its memory.

    Raises:
        RuntimeError: with the child's last words if it failed.
    """
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, __file__, "--one", json.dumps(dataclasses.asdict(case)), "--threads", str(threads)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"{case} exited with {child.returncode}: {child.stderr.strip()[-2000:]}")
    return Result(**json.loads(child.stdout.splitlines()[-1]))


def compare(side: int, specs: list[str], flags: argparse.Namespace) -> list[dict[str, Any]]:
    """Train every architecture with every budget and learning rate on images of one size, and print the table."""
    settings = [(budget, rate) for budget in flags.budget for rate in flags.learning_rate]
    table = Table(caption="L1 per frame (per pixel and channel), held out; ms and MiB of 256 images, both passes")
    for column in ("network", "parameters", "ms", "MiB", *(f"{budget:g} s, {rate:g}" for budget, rate in settings)):
        table.add_column(column, justify="left" if column == "network" else "right")
    rows: list[dict[str, Any]] = []
    for spec in specs:
        architecture, width, depth = spec.split(":")
        results = []
        for budget, rate in settings:
            case = Case(side, architecture, int(width), int(depth), rate, budget, flags.scenes, flags.seed)
            with console.status(f"{side}x{side}, {spec}, {budget:g} s at {rate:g}"):
                results.append(in_own_process(case, flags.threads))
            outcome = f"L1 {results[-1].error:.0f} after {results[-1].steps} steps"
            console.print(f"{side}x{side}, {spec}, {budget:g} s at {rate:g}: {outcome}")
            rows.append({"case": dataclasses.asdict(case), "result": dataclasses.asdict(results[-1])})
        first, values = results[0], 3 * side**2
        errors = [f"{result.error:.0f} ({result.error / values:.3f})" for result in results]
        speed, memory = f"{1000 * first.seconds:.0f}", f"{first.added_bytes / 2**20:.0f}"
        table.add_row(spec, f"{first.parameters / 1e6:.2f} M", speed, memory, *errors)
    table.title = f"{side}x{side}, {flags.scenes}; the mean image has {first.constant_error:.0f}"
    console.print(table)
    return rows


def main() -> None:
    """Compare the architectures and print a table per image size; write all numbers as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, nargs="+", default=[64, 128], help="image sizes (default 64 128)")
    parser.add_argument("--network", nargs="+", metavar="NAME:WIDTH:DEPTH", help="instead of the default choice")
    parser.add_argument("--budget", type=float, nargs="+", default=[60.0], help="processor seconds (default 60)")
    parser.add_argument("--learning-rate", type=float, nargs="+", default=[1e-3, 2e-3], help="default 1e-3 2e-3")
    parser.add_argument("--scenes", choices=("rooms", "shapes3d"), default="rooms", help="images (default rooms)")
    parser.add_argument("--threads", type=int, default=1, help="computing threads (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of images, weights and noise (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number to FILE")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        import torch

        torch.set_num_threads(flags.threads)
        print(json.dumps(dataclasses.asdict(train(Case(**json.loads(flags.one))))))
        return
    about = machine(flags.threads)
    console.print(f"{about['cpu']}, {flags.threads} thread(s), {about['precision']}, torch {about['torch']}")
    rows = []
    for side in flags.side:
        rows += compare(side, flags.network or list(SIZES.get(side, SIZES[64])), flags)
    if flags.json:
        partial = flags.json.with_name(flags.json.name + ".partial")
        partial.write_text(json.dumps({"machine": about, "rows": rows}, indent=2) + "\n")
        partial.replace(flags.json)


if __name__ == "__main__":
    main()
