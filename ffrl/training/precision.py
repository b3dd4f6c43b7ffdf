"""In which type the networks compute: the faster one, by a measurement, unless one is asked for."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from ffrl.config import RunConfig
from ffrl.core.device import autocast
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.core.reading import read_json_object
from ffrl.models.interface import SequenceModel

WORTH = 1.25
"""How many times as fast as float32 bfloat16 has to be to be taken."""
SECONDS, REPEATS = 0.3, 2
"""How long each type is timed, and least number of passes."""
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Precision:
    """The type that the networks of a run compute in.

    Args:
        dtype: float32, or bfloat16 for autocast to it.
        speedup: how many times as fast as float32 bfloat16 was found to be; None where that was not measured.
    """

    dtype: torch.dtype = torch.float32
    speedup: float | None = None

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return name if self.speedup is None else f"{name} (here bfloat16 is {self.speedup:.2g} times as fast)"


def choose(config: RunConfig, model: SequenceModel, device: torch.device, recorded: Path) -> Precision:
    """The type that is asked for; for ``auto`` that of the run so far, or else the faster one.

    Args:
        config: of the run.
        model: on ``device``.
        device: where to compute.
        recorded: ``environment.json`` of the run; one that goes on on such a device goes on in its own type.

    Example:
        >>> from ffrl.models.supervised import MODE
        >>> config = MODE.config(precision="bfloat16")
        >>> print(choose(config, MODE.build(config, (3, 28, 28)), torch.device("cpu"), Path("environment.json")))
        bfloat16
    """
    if config.precision != "auto":
        return Precision(TYPES[config.precision])
    before = read_json_object(recorded) if recorded.exists() else {}
    known = before.get("precision")
    if before.get("device_type") == device.type and isinstance(known, str) and known in TYPES:
        return Precision(TYPES[known])
    if not _computes_bfloat16(device):
        return Precision()
    speedup = measured(model, config.batch_size * config.still.frames, device)
    return Precision(torch.bfloat16 if speedup >= WORTH else torch.float32, speedup)


def _computes_bfloat16(device: torch.device) -> bool:
    """Whether it is worth a measurement: autocast of other devices was never tried."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu"


def measured(model: SequenceModel, images: int, device: torch.device) -> float:
    """How many times as fast as float32 bfloat16 is for encoding and decoding ``images``, forward and backward.

    Both are timed in turn, and the fastest pass of each counts; on the CPU that is the processor time of one thread, so
    that other work on the machine disturbs little. Neither the model nor any random stream changes.
    """
    frames = torch.zeros(images, *model.image_shape, device=device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    best = dict.fromkeys(TYPES, float("inf"))
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        stack.enter_context(evaluation_mode(model))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.callback(torch.set_num_threads, threads)
        torch.set_num_threads(1)
        for repeat in range(1_000):
            for name, dtype in TYPES.items():
                start = _now(device)
                with autocast(device, dtype):
                    logits = model.decode_logits(model.encode(frames))
                torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
                if repeat:  # the first one prepares
                    best[name] = min(best[name], _now(device) - start)
            if repeat >= REPEATS and repeat * sum(best.values()) > 2 * SECONDS:
                break
    return best["float32"] / best["bfloat16"]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.thread_time()
