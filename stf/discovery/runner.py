"""The phase of training in which the fields are searched for: sequences are encoded once, and the search is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffrl.data.base import SequenceData
from ffrl.engine.batch import draw_frames, training_size
from ffrl.engine.phases import RunContext
from ffrl.engine.seed import generator
from ffrl.evaluation.mode import evaluation_mode
from stf.discovery.moves_text import describe_move
from stf.discovery.search import Search
from stf.inference.encoded import Encoded, whitening

HELD_OUT = 10
"""One image in so many, the last ones, is for the held-out log evidence alone."""


@torch.no_grad()
def encode_sequences(
    config: Any, model: Any, data: SequenceData, images: range, count: int, stream: str, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Encode ``count`` sequences of the images of the training split; which ones depends on ``config.seed`` alone.

    Returns:
        Latent means ``(count, T+1, D)`` and the mean variance of q(z | x) over all frames, ``(D,)``.
    """
    means, variance = [], 0.0
    synthetic = len(data.transformations) > 0
    count = count if synthetic else min(count, len(images))
    phase = model.phase(1.0)
    order = generator(data.device, config.seed, f"{stream}-order")
    if synthetic:
        chosen = torch.randint(len(images), (count,), generator=order, device=data.device)
    else:
        chosen = torch.randperm(len(images), generator=order, device=data.device)[:count]
    chosen = chosen + images.start
    with evaluation_mode(model):
        for number, indices in enumerate(chosen.split(config.batch_size)):
            frames, _ = draw_frames(config, data, "train", indices, phase, number, f"{stream}-")
            mean, log_variance = model.posterior(frames.to(device))
            means.append(mean)
            variance = variance + log_variance.exp().mean(1).sum(0)
    return torch.cat(means), variance / count


class DiscoveryRunner:
    """Takes the steps of the discovery, and hands the fields it finds to the model.

    Args:
        run: the run; its model has an ``activity_model`` with ``adopt``, and fields.
    """

    def __init__(self, run: RunContext) -> None:
        config, model = run.config, run.model
        discovery, size = config.discovery, training_size(config, run.data)
        held = max(1, size // HELD_OUT)
        train, kept = (range(size - held), range(size - held, size)) if size > 1 else (range(1), range(1))
        means, variance = encode_sequences(
            config, model, run.data, train, discovery.sequences, "discovery-train", run.device
        )
        others, _ = encode_sequences(
            config, model, run.data, kept, discovery.held_out, "discovery-held-out", run.device
        )
        unit = whitening(variance)
        self.model, self.variance, self.add = model, variance, run.add
        self.search = Search(
            discovery,
            model.field_model,
            model.discovery_setting(),
            Encoded(means, unit),
            Encoded(others, unit),
            run.span.steps,
            config.seed,
        )

    def __call__(self, step: int) -> None:
        """Take step ``step`` of the run."""
        terms = self.search.step()
        values = torch.stack(list(terms.values()))
        self.add(terms, torch.isfinite(values).all())
        if self.search.progress.finished:
            self._install()

    def _install(self) -> None:
        """Put the fields that are alive into their places in the model."""
        rows, places, misfit = self.search.result()
        index = torch.tensor(places, device=misfit.device)
        with torch.no_grad():
            for name, parameter in self.model.field_model.named_parameters():
                parameter[index] = rows[name]
        self.model.adopt(places, self.variance, misfit)

    def tensors(self) -> dict[str, Tensor]:
        """The state of the search; the model gets the fields as they stand."""
        return self.search.tensors()

    def numbers(self) -> dict[str, Any]:
        """Where the search stands."""
        return self.search.numbers()

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.search.load(tensors, numbers, Path("training_state.safetensors"))

    def events(self) -> list[dict[str, Any]]:
        """The moves since the last call."""
        found = [{"search": event, "text": describe_move(event, event["allocated"])} for event in self.search.events]
        self.search.events.clear()
        return found
