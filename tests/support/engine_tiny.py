"""A tiny model and tiny data for the tests of the training engine; run as a script it trains them in a process."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from ffrl.config import DataConfig, ModelConfig, RunConfig, StillConfig, SupervisedConfig
from ffrl.core.seed import generator
from ffrl.data.base import SequenceBatch, SequenceData
from ffrl.models.activity import Phase
from ffrl.storage.tensors import read_tensors
from ffrl.training.checkpoint import find_checkpoint
from ffrl.training.log import TIMINGS
from ffrl.training.trainer import TrainingResult, train
from stf.config import DiscoveryConfig, RefineConfig, SparseModelConfig, UnsupervisedConfig, WeakConfig
from stf.registry import CONFIGS
from stf.registry import MODES as EVERY_MODE

MODES: dict[str, type[RunConfig]] = {
    "supervised": SupervisedConfig,
    "weak": WeakConfig,
    "unsupervised": UnsupervisedConfig,
}
STEPS = 4


def tiny_config(mode: str = "unsupervised", **changes: Any) -> Any:
    """A run of 30 steps whose log, validation and checkpoint steps do not coincide, all of them by gradient."""
    values: dict[str, Any] = dict(steps=30, batch_size=7, log_every=4, validate_every=10, checkpoint_every=6)
    values |= dict(
        keep_checkpoints=3, device="cpu", precision="float32", seed=5, still=StillConfig(fraction=0.0, beside=0.0)
    )
    if mode in ("weak", "unsupervised"):
        values["discovery"] = DiscoveryConfig(fraction=0.0)
        values["refine"] = RefineConfig(fraction=0.0)
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
class TinyPhase(Phase):
    """A number that changes with every step, and a switch."""

    temperature: float | Tensor = 1.0
    early: bool = False


@dataclass(frozen=True)
class TinyOutputs:
    frames: Tensor
    spread: Tensor | None


class StopAt(TinyData):
    """Stops the run at a step: by a signal after it, or by an exception in the middle of it."""

    def __init__(self, step: int, how: str) -> None:
        super().__init__()
        self.left, self.how = step, how

    def _batch(self, split, indices, speeds):
        if split == "train":
            self.left -= 1
            if self.left == 0:
                if self.how == "crash":
                    raise ZeroDivisionError
                os.kill(os.getpid(), signal.SIGTERM)
        return super()._batch(split, indices, speeds)


class TinyModel(nn.Module):
    """Linear encoder, velocities and decoder; one weight is tied, one buffer is a transposed view."""

    num_controls, own_modules = 3, {}

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.encoder = nn.Linear(4, 5)
            self.decoder = nn.Linear(5, 4)
            self.velocities = nn.Parameter(torch.randn(3, 5))
            self.second_name = self.decoder.bias
            self.register_buffer("transposed", torch.arange(6.0).view(2, 3).T)

    def phase(self, progress: float) -> TinyPhase:
        return TinyPhase(temperature=0.5**progress, early=progress < 0.5)

    def summary(self) -> dict[str, str]:
        return {"velocities": f"{len(self.velocities)} of them"}

    def after_step(self) -> None:
        pass

    def field_parameters(self) -> tuple[nn.Parameter, ...]:
        return ()

    def see_parts(self, pool: Any) -> None:
        pass

    def calibrate(self, data: SequenceData, images: int) -> None:
        self.calibrated_on = images

    def draw_noise(self, batch_size: int, num_steps: int, generator: Any, device: Any = "cpu") -> TinyNoise:
        return TinyNoise(torch.randn(batch_size, 5, generator=generator, device=device))

    def forward(
        self, frames: Tensor, noise: TinyNoise, phase: TinyPhase, activity: Tensor | None = None
    ) -> TinyOutputs:
        flat = frames.flatten(2)
        z = self.encoder(flat)
        spread = None
        if activity is None:
            activity = ((z[:, 1:] - z[:, :-1]) @ self.velocities.T / phase.temperature).softmax(-1)
            spread = activity.square().mean() if phase.early else None
        start = z[:, :1] + 0.01 * noise.latent[:, None]
        path = torch.cat([start, start + (activity @ self.velocities).cumsum(1)], 1)
        return TinyOutputs(self.decoder(path).sigmoid().view_as(frames), spread)


def tiny_objective(outputs: TinyOutputs, frames: Tensor, config: Any) -> dict[str, Tensor]:
    """Squared error, plus a term that exists in the first half of training only."""
    terms = {"error": (outputs.frames - frames).square().mean()}
    if outputs.spread is not None:
        terms["spread"] = 1e-3 * outputs.spread
    terms["loss"] = torch.stack(list(terms.values())).sum()
    return terms


def real_config(mode: str, **changes: Any) -> Any:
    """The same run for a small model of the mode."""
    cls = ModelConfig if mode == "supervised" else SparseModelConfig
    size = cls(latent_dim=6, num_fields=3, width=16, potential_width=8)
    return tiny_config(mode, **{"model": size, "data": DataConfig(num_steps=STEPS)} | changes)


def real_model(config: Any, seed: int = 0) -> nn.Module:
    """The model of :func:`real_config`, untrained."""
    torch.manual_seed(seed)
    return EVERY_MODE[config.mode].build(config, TinyData.image_shape)


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


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(find_checkpoint(run) / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


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
