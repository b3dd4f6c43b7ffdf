"""The batch of a step: its sequences, read ahead of the model if they come from files, and the model's noise."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
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
from ffrl.training.parallel import Ranks
from ffrl.training.phases import span_at

ALONE = "alone-"
"""Prefix of the random streams of frames alone beside sequences."""
AHEAD = 2
"""Batches that are read ahead of the step in progress, within its phase: in others the data may be read otherwise."""


class Drawn(NamedTuple):
    """The data of a step: frames ``(B, T+1, C, H, W)``, speeds ``(B, T, J)`` or None, and frames alone or None."""

    frames: Tensor
    activity: Tensor | None
    alone: Tensor | None

    def at(self, place: Callable[[Tensor], Tensor]) -> Drawn:
        """The same, with every tensor put where ``place`` puts it."""
        return Drawn(place(self.frames), *(None if value is None else place(value) for value in self[1:]))


class Batch(NamedTuple):
    """What one forward pass sees: frames ``(B, T+1, C, H, W)``, noise, and speeds ``(B, T, J)`` or None.

    ``alone``: frames that stand alone beside them, ``(B, n, C, H, W)``, with their noise.
    """

    frames: Tensor
    noise: SequenceNoise
    activity: Tensor | None
    alone: Batch | None = None

    def part(self, places: slice) -> Batch:
        """Some of its sequences, and of the frames alone."""
        noise = {field.name: getattr(self.noise, field.name)[places] for field in fields(self.noise)}
        return Batch(
            self.frames[places],
            replace(self.noise, **noise),
            None if self.activity is None else self.activity[places],
            None if self.alone is None else self.alone.part(places),
        )


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
        ranks: This process among others, each of which gets its part of every batch.

    Attributes:
        waited: seconds that were spent waiting for frames, or making them, until now.
    """

    def __init__(
        self,
        config: RunConfig,
        model: SequenceModel,
        data: SequenceData,
        device: torch.device,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.model, self.device = config, model, device
        self.ranks = Ranks() if ranks is None else ranks
        self.data = where_made(data)
        self.size = training_size(config, data)
        self.waited = 0.0
        reads_ahead = self.data.streamed and config.data.workers > 0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="feed") if reads_ahead else None
        self._coming: deque[tuple[int, Future[Drawn]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> Batch:
        """Return the batch of optimisation step ``step``, counted from 0, or this process's part of it."""
        start, config, model = time.perf_counter(), self.config, self.model
        drawn = self._drawn(step) if self._reader is None else self._read_ahead(step, self._reader)
        frames, activity, alone = drawn.at(lambda value: value.to(self.device, non_blocking=True))
        self.waited += time.perf_counter() - start
        batch = with_noise(config, model, (frames, activity), step)
        if alone is not None:
            batch = batch._replace(alone=with_noise(config, model, (alone, None), step, ALONE))
        return batch if self.ranks.size == 1 else batch.part(self.ranks.part(config.batch_size))

    def _drawn(self, step: int) -> Drawn:
        """Sequences, and frames alone beside them: of other images, those of a step after the last one."""
        config = self.config
        phase = self.model.phase(config.progress(step))
        frames, activity = draw_frames(config, self.data, "train", self._indices(step), phase, step)
        alone = None
        if config.still.beside and not phase.still:
            indices, source = self._indices(config.steps + step), generator(self.data.device, config.seed, ALONE, step)
            alone = self.data.stills("train", indices, config.still.frames, source)
        drawn = Drawn(frames, activity, alone)
        return drawn.at(Tensor.pin_memory) if self._reader is not None and self.device.type == "cuda" else drawn

    def _indices(self, step: int) -> Tensor:
        return epoch_indices(self.size, self.config.batch_size, step, self.config.seed, self.data.device)

    def _read_ahead(self, step: int, reader: ThreadPoolExecutor) -> Drawn:
        while self._coming and self._coming[0][0] != step:
            self._coming.popleft()[1].cancel()
        following = self._coming[-1][0] + 1 if self._coming else step
        for later in range(following, min(step + AHEAD + 1, span_at(self.config, step).last)):
            self._coming.append((later, reader.submit(self._drawn, later)))
        return self._coming.popleft()[1].result()
