"""The batch of a step: its sequences, read ahead of the model if they come from files, and the model's noise."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

import torch
from torch import Tensor

from ffrl.config import RunConfig
from ffrl.core.errors import require
from ffrl.core.seed import epoch_indices, generator
from ffrl.data.base import SequenceData, Split
from ffrl.data.on_device import where_made
from ffrl.models.activity import Phase
from ffrl.models.interface import SequenceModel
from ffrl.models.outputs import SequenceNoise
from ffrl.training.phases import span_at

AHEAD = 2
"""Batches that are read ahead of the step in progress, within its phase: in others the data may be read otherwise."""


class Batch(NamedTuple):
    """What one forward pass sees: frames ``(B, T+1, C, H, W)``, noise, and speeds ``(B, T, J)`` or None."""

    frames: Tensor
    noise: SequenceNoise
    activity: Tensor | None


def draw_frames(
    config: RunConfig, data: SequenceData, split: Split, indices: Tensor, phase: Phase, step: int, streams: str = ""
) -> tuple[Tensor, Tensor | None]:
    """Return the frames of the sequences ``indices`` of ``split``, and their speeds if training is told them.

    While frames stand alone, every mode sees a few frames of mixed sequences, without activity. After that the mode's
    ``sequences`` decide: mixed ones; single ones, with one transformation per sequence, drawn uniformly; or labelled
    ones, the same with the speeds told (one-hot, slab 1). Where no transformation can be asked for, every mode sees the
    sequences that there are, labelled ones with the speeds that are known of them.

    Args:
        config: Run configuration.
        data: Sequence data.
        split: ``train`` or ``validation``.
        indices: Sequences ``(B,)``, on the device of the data.
        phase: Where training stands.
        step: Counter of the random streams.
        streams: Prefix of the names of the random streams.
    """
    device = indices.device
    size, count = indices.shape[0], len(data.transformations)

    def stream(name: str) -> torch.Generator:
        return generator(device, config.seed, streams + name, step)

    if phase.still:
        return data.stills(split, indices, config.still.frames, stream("data")), None
    if config.sequences == "mixed" or not data.prescribed:
        batch = data.mixed(split, indices, stream("data"))
        return batch.frames, batch.activity if config.sequences == "labelled" else None
    which = torch.randint(count, (size,), generator=stream("which"), device=device)
    frames = data.single(split, indices, which, stream("data")).frames
    if config.sequences != "labelled":
        return frames, None
    onehot = which[:, None] == torch.arange(count, device=device)
    return frames, onehot.to(frames.dtype)[:, None, :].expand(size, data.num_steps, count)


def draw_batch(
    config: RunConfig,
    model: SequenceModel,
    data: SequenceData,
    split: Split,
    indices: Tensor,
    phase: Phase,
    step: int,
    streams: str = "",
) -> Batch:
    """Return the sequences of :func:`draw_frames` and the model's noise for them, on the device of ``indices``."""
    drawn = draw_frames(config, data, split, indices, phase, step, streams)
    return with_noise(config, model, drawn, step, streams)


def with_noise(
    config: RunConfig, model: SequenceModel, drawn: tuple[Tensor, Tensor | None], step: int, streams: str = ""
) -> Batch:
    """Return a batch of drawn frames and speeds with the model's noise, on the device of the frames."""
    frames, activity = drawn
    source = generator(frames.device, config.seed, streams + "noise", step)
    return Batch(frames, model.draw_noise(len(frames), frames.shape[1] - 1, source, frames.device), activity)


def training_size(config: RunConfig, data: SequenceData) -> int:
    """Return how many images, or clips, of the training split are trained on.

    Raises:
        UserError: ``data.train_images`` asks for more than there are.

    Example:
        >>> from ffrl.config import DataConfig, RunConfig
        >>> from ffrl.data import load
        >>> training_size(RunConfig(data=DataConfig(train_images=1000)), load(DataConfig()))
        1000
    """
    size, asked = data.size("train"), config.data.train_images
    if asked is None:
        return size
    require(asked <= size, "data.train-images", asked, f"at most {size:,}, all that there are")
    return asked


class Feed:
    """The training batches, step after step; those from files are read by a thread while the model computes.

    The batch of a step does not depend on whether it is read ahead. Batches that are made on the device cost launching
    them there, and on a CPU the making itself.

    Args:
        config: Run configuration; ``data.workers`` = 0 reads nothing ahead.
        model: Knows the phase of a step and draws its own noise.
        data: Sequence data with batches on ``device``.
        device: Where to compute.

    Attributes:
        waited: seconds that were spent waiting for frames, or making them, until now.
    """

    def __init__(self, config: RunConfig, model: SequenceModel, data: SequenceData, device: torch.device) -> None:
        self.config, self.model, self.device = config, model, device
        self.data = where_made(data)
        self.size = training_size(config, data)
        self.waited = 0.0
        reads_ahead = self.data.streamed and config.data.workers > 0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="feed") if reads_ahead else None
        self._coming: deque[tuple[int, Future[tuple[Tensor, Tensor | None]]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> Batch:
        """Return the batch of optimisation step ``step``, counted from 0."""
        start = time.perf_counter()
        drawn = self._frames(step) if self._reader is None else self._read_ahead(step, self._reader)
        frames, activity = drawn[0].to(self.device, non_blocking=True), drawn[1]
        if activity is not None:
            activity = activity.to(self.device, non_blocking=True)
        self.waited += time.perf_counter() - start
        return with_noise(self.config, self.model, (frames, activity), step)

    def _frames(self, step: int) -> tuple[Tensor, Tensor | None]:
        config = self.config
        indices = epoch_indices(self.size, config.batch_size, step, config.seed, self.data.device)
        frames, activity = draw_frames(config, self.data, "train", indices, self.model.phase(step / config.steps), step)
        if self._reader is not None and self.device.type == "cuda":
            frames = frames.pin_memory()
        return frames, activity

    def _read_ahead(self, step: int, reader: ThreadPoolExecutor) -> tuple[Tensor, Tensor | None]:
        while self._coming and self._coming[0][0] != step:
            self._coming.popleft()[1].cancel()
        following = self._coming[-1][0] + 1 if self._coming else step
        for later in range(following, min(step + AHEAD + 1, span_at(self.config, step).last)):
            self._coming.append((later, reader.submit(self._frames, later)))
        return self._coming.popleft()[1].result()
