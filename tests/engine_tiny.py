"""A tiny model and tiny data for the tests of the training engine; run as a script it trains them in a process."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from ffrl.activity import Phase, warmup_phase
from ffrl.config import RunConfig, StillConfig, SupervisedConfig, WarmupConfig, WeakConfig
from ffrl.data.base import SequenceBatch, SequenceData
from ffrl.engine.log import TIMINGS
from ffrl.engine.seed import generator
from ffrl.engine.trainer import TrainingResult, train
from stf.config import CONFIGS, UnsupervisedConfig

MODES: dict[str, type[RunConfig]] = {
    "supervised": SupervisedConfig,
    "weak": WeakConfig,
    "unsupervised": UnsupervisedConfig,
}
STEPS = 4


def tiny_config(mode: str = "unsupervised", **changes: Any) -> Any:
    """A run of 30 steps whose log, validation and checkpoint steps do not coincide."""
    values: dict[str, Any] = dict(steps=30, batch_size=7, log_every=4, validate_every=10, checkpoint_every=6)
    values |= dict(keep_checkpoints=3, device="cpu", precision="float32", seed=5, still=StillConfig(fraction=0.0))
    config = CONFIGS[mode](**values)
    return replace(replace(config, model=replace(config.model, num_fields=3)), **changes)


class TinyData(SequenceData):
    """Sequences of 2 x 2 images whose logits move along one direction per transformation."""

    name, title, image_shape = "tiny", "tiny images", (1, 2, 2)
    transformations, unit_steps = ("scaling", "rotation", "hue"), ("one step",) * 3
    num_steps, device = STEPS, torch.device("cpu")

    def __init__(self, nan: bool = False, pause: float = 0.0) -> None:
        self.nan, self.pause = nan, pause
        self.sizes = {"train": 20, "validation": 9}
        self.logits = {
            split: torch.randn(size, 4, generator=generator("cpu", 0, split)) for split, size in self.sizes.items()
        }
        self.directions = torch.randn(3, 4, generator=generator("cpu", 0, "directions"))

    def size(self, split: str) -> int:
        return self.sizes[split]

    def images(self, split: str, indices: Tensor) -> Tensor:
        return self.logits[split][indices].sigmoid().view(-1, 1, 2, 2)

    def _batch(self, split: str, indices: Tensor, speeds: Tensor) -> SequenceBatch:
        time.sleep(self.pause)
        start = self.logits[split][indices][:, None]
        moves = (speeds @ self.directions).cumsum(1)
        frames = torch.cat([start, start + moves], 1).sigmoid().view(len(indices), STEPS + 1, 1, 2, 2)
        return SequenceBatch(frames * float("nan") if self.nan else frames, speeds)

    def single(
        self, split: str, indices: Tensor, which: Tensor, generator: torch.Generator | None = None
    ) -> SequenceBatch:
        speeds = torch.eye(3)[which][:, None].expand(-1, STEPS, -1)
        return self._batch(split, indices, speeds)

    def mixed(self, split: str, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        return self._batch(split, indices, torch.rand(len(indices), STEPS, 3, generator=generator).round(decimals=1))


@dataclass(frozen=True)
class TinyNoise:
    latent: Tensor


@dataclass(frozen=True)
class TinyOutputs:
    frames: Tensor
    chain: Tensor | None


class TinyModel(nn.Module):
    """Linear encoder, velocities and decoder; one weight is tied, one buffer is a transposed view."""

    num_controls = 3

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.encoder = nn.Linear(4, 5)
            self.decoder = nn.Linear(5, 4)
            self.velocities = nn.Parameter(torch.randn(3, 5))
            self.second_name = self.decoder.bias
            self.register_buffer("transposed", torch.arange(6.0).view(2, 3).T)

    def phase(self, progress: float) -> Phase:
        return warmup_phase(progress, WarmupConfig())

    def calibrate(self, data: SequenceData, images: int) -> None:
        self.calibrated_on = images

    def draw_noise(self, batch_size: int, num_steps: int, generator: Any, device: Any = "cpu") -> TinyNoise:
        return TinyNoise(torch.randn(batch_size, 5, generator=generator, device=device))

    def forward(self, frames: Tensor, noise: TinyNoise, phase: Phase, activity: Tensor | None = None) -> TinyOutputs:
        flat = frames.flatten(2)
        z = self.encoder(flat)
        chain = None
        if activity is None:
            activity = ((z[:, 1:] - z[:, :-1]) @ self.velocities.T / phase.temperature).softmax(-1)
            chain = phase.chain_weight * activity.square().mean() if phase.exclusive else None
        start = z[:, :1] + 0.01 * noise.latent[:, None]
        path = torch.cat([start, start + (activity @ self.velocities).cumsum(1)], 1)
        return TinyOutputs(self.decoder(path).sigmoid().view_as(frames), chain)


def tiny_objective(outputs: TinyOutputs, frames: Tensor, config: Any) -> dict[str, Tensor]:
    """Squared error, plus a term that exists during the warm-up only."""
    terms = {"error": (outputs.frames - frames).square().mean()}
    if outputs.chain is not None:
        terms["chain"] = 1e-3 * outputs.chain
    terms["loss"] = torch.stack(list(terms.values())).sum()
    return terms


def run_tiny(
    folder: Path,
    config: Any,
    resume: bool = False,
    data: SequenceData | None = None,
    model: nn.Module | None = None,
    console: Console | None = None,
    objective: Any = tiny_objective,
) -> TrainingResult:
    """Train the tiny model quietly."""
    console = console or Console(file=StringIO())
    return train(config, model or TinyModel(), data or TinyData(), folder, resume, console, objective)


def timeless(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of ``metrics.jsonl`` without what depends on the clock."""
    return [{key: value for key, value in entry.items() if key not in TIMINGS} for entry in entries]


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    result = run_tiny(
        Path(arguments["folder"]),
        tiny_config(**arguments["config"]),
        arguments["resume"],
        TinyData(pause=arguments["pause"]),
        console=Console(stderr=True),
    )
    sys.exit(128 + result.signal if result.signal else 0)
