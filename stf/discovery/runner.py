"""The phases of training in which fields are learnt on encoded sequences: the search for them, and their refinement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffrl.config import RunConfig
from ffrl.core.errors import UserError
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.core.seed import generator, hashed_seed
from ffrl.data.base import SequenceData
from ffrl.fields.build import build_fields
from ffrl.fields.protocol import FieldModule, RowFields
from ffrl.storage.tensors import require_alike
from ffrl.training.batch import draw_frames, training_size
from ffrl.training.checkpoint import STATE_TENSORS
from ffrl.training.phases import RunContext
from stf.config import SearchingConfig
from stf.discovery.measures import acting
from stf.discovery.moves_text import describe_move
from stf.discovery.population import annealed, gather, rows_of
from stf.discovery.saving import learner_tensors, restored, saved_rows
from stf.discovery.search import Search, draw_encoded
from stf.discovery.searched import Searched
from stf.inference.encoded import Encoded, whitening

HELD_OUT = 10
"""One image in so many, the last ones, is for the held-out log evidence alone."""
CHANGED = 0.1
"""Share of the steps of held-out sequences in which other fields may act after the refinement than before it."""


@torch.no_grad()
def encode_sequences(
    config: RunConfig,
    model: Searched,
    data: SequenceData,
    images: range,
    count: int,
    stream: str,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Encode ``count`` sequences of the images of the training split; which ones depends on ``config.seed`` alone.

    Returns:
        Latent means ``(count, T+1, D)`` and the mean variance of q(z | x) over all frames, ``(D,)``.
    """
    means, variance = [], torch.zeros((), device=device)
    synthetic = data.prescribed
    count = count if synthetic else min(count, len(images))
    phase = model.phase(1.0)
    order = generator(data.device, config.seed, f"{stream}-order")
    if synthetic:
        chosen = torch.randint(len(images), (count,), generator=order, device=data.device)
    else:
        chosen = torch.randperm(len(images), generator=order, device=data.device)[:count]
    chosen = chosen + images.start
    with evaluation_mode(cast(nn.Module, model)):
        for number, indices in enumerate(chosen.split(config.batch_size)):
            frames, _ = draw_frames(config, data, "train", indices, phase, number, f"{stream}-")
            mean, log_variance = model.posterior(model.frame_kind.between(frames.to(device)))
            means.append(mean)
            variance = variance + log_variance.exp().mean(1).sum(0)
    return torch.cat(means), variance / count


def fresh_fields(config: RunConfig, stream: str) -> FieldModule:
    """Fields like those of the model, freshly initialised; a function of ``config.seed`` and ``stream``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hashed_seed(config.seed, stream))
        return build_fields(config.model)


class EncodedPhase:
    """A phase of training on sequences that are encoded once, with the encoder held.

    Args:
        run: the run; its model is a :class:`~stf.discovery.searched.Searched`.
        name: of the phase, part of the names of its random streams.
    """

    def __init__(self, run: RunContext, name: str) -> None:
        self.model, self.add, self.seed = cast(Searched, run.model), run.add, run.config.seed
        self.config = cast(SearchingConfig, run.config).discovery
        size = training_size(run.config, run.data)
        held = max(1, size // HELD_OUT)
        train, kept = (range(size - held), range(size - held, size)) if size > 1 else (range(1), range(1))
        given = run.config, self.model, run.data
        means, self.variance = encode_sequences(*given, train, self.config.sequences, f"{name}-train", run.device)
        others, _ = encode_sequences(*given, kept, self.config.held_out, f"{name}-held-out", run.device)
        unit = whitening(self.variance)
        self.sequences, self.held_out = Encoded(means, unit), Encoded(others, unit)

    def log(self, terms: dict[str, Tensor]) -> None:
        """Add the 0-dim terms of a step to the log."""
        self.add(terms, torch.isfinite(torch.stack(list(terms.values()))).all())

    def install(self, rows: dict[str, Tensor], places: list[int], misfit: Tensor) -> None:
        """Put fields ``(K, ...)`` into their places in the model, which are the ones alive from now on."""
        index = torch.tensor(places, device=misfit.device)
        with torch.no_grad():
            for name, parameter in self.model.field_model.named_parameters():
                parameter[index] = rows[name]
        self.model.adopt(places, self.variance, misfit)


class DiscoveryRunner(EncodedPhase):
    """Takes the steps of the search, and hands the fields it finds to the model.

    The first search begins with the fields of the model as they were initialised, a further one with fresh ones.

    Args:
        run: the run.
    """

    def __init__(self, run: RunContext) -> None:
        name = run.span.phase.name
        super().__init__(run, name)
        config, model = self.config, self.model
        fields = model.field_model
        if name != "discovery":
            config = replace(config, starts=cast(SearchingConfig, run.config).rediscovery.starts)
            fields = cast(RowFields, fresh_fields(run.config, name).to(run.device))
        self.initial = {name: value.clone() for name, value in rows_of(fields).items()}
        self.search = Search(
            config,
            fields,
            model.discovery_setting(config.unit),
            self.sequences,
            self.held_out,
            run.span.steps,
            self.seed,
        )

    def __call__(self, step: int) -> None:
        """Take step ``step`` of the run."""
        self.log(self.search.step())
        if self.search.progress.finished:
            self.hand_over()

    def hand_over(self) -> None:
        """Give the model the fields as they stand; the initial ones stay in the places of the others."""
        with torch.no_grad():
            for name, parameter in self.model.field_model.named_parameters():
                parameter.copy_(self.initial[name])
        self.install(*self.search.result())

    def tensors(self) -> dict[str, Tensor]:
        """The state of the search; the model gets the fields as they stand."""
        self.hand_over()
        return self.search.tensors() | {f"initial/{name}": value for name, value in self.initial.items()}

    def numbers(self) -> dict[str, Any]:
        """Where the search stands."""
        return self.search.numbers()

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any], checkpoint: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            UserError: its state is damaged.
        """
        path = checkpoint / STATE_TENSORS
        for name, value in self.initial.items():
            key = f"initial/{name}"
            if key not in tensors:
                raise UserError(f"{path}: found no tensor {key!r} of the discovery, expected one")
            require_alike(path, key, tensors[key], value)
            value.copy_(tensors[key])
        self.search.load(tensors, numbers, checkpoint)

    def events(self) -> list[dict[str, Any]]:
        """The moves since the last call."""
        found = [{"search": event, "text": describe_move(event, event["allocated"])} for event in self.search.events]
        self.search.events.clear()
        return found


class RefineRunner(EncodedPhase):
    """Fits the fields that are alive to the codes as joint training has left them, by EM steps without moves.

    Joint training moves codes and fields at once, and its gradients are those of pixels; here the fields catch up, and
    the unit of speed and the misfit are those of the final codes. A refinement after which others act in more than
    :data:`CHANGED` of the steps of held-out sequences is taken back.

    Args:
        run: the run.
    """

    def __init__(self, run: RunContext) -> None:
        super().__init__(run, "refine")
        model, refine, self.span = self.model, cast(SearchingConfig, run.config).refine, run.span
        self.places, self.rollout, self.learning_rate = model.fields_alive, refine.rollout, refine.learning_rate
        self.template, self.setting = model.field_model, model.discovery_setting(refine.unit)
        rows = {name: value[self.places] for name, value in rows_of(model.field_model).items()}
        alive = torch.ones(len(self.places), device=run.device)
        self.before = {name: value.clone() for name, value in rows.items()}
        self.misfit_before = model.activity_model.misfit.clone()
        self.population = gather([(rows, alive)], self.template, self.misfit_before, self.setting)
        self.told: list[dict[str, Any]] = []

    def __call__(self, step: int) -> None:
        """Take step ``step`` of the run."""
        done = step - self.span.first
        batch = draw_encoded(self.sequences, self.config.batch_size, self.seed, "refine-batch", done)
        rate = annealed(done, self.span.steps, self.learning_rate)
        found = self.population.step(batch, rate, rollout=self.rollout)
        self.log({name: value[0] for name, value in found.items()})
        if done + 1 == self.span.steps:
            self._weigh()
            self.install(self.population.candidate(0), self.places, self.population.misfit[0])

    def _weigh(self) -> None:
        """Go back to the fields of before, if others act now: the fields have changed their jobs."""
        alive = self.population.alive[0]
        before = gather([(self.before, alive)], self.template, self.misfit_before, self.setting)
        now, known = (acting(one, self.held_out) for one in (self.population, before))
        changed = float((now != known).any(-1).double().mean())
        if changed > CHANGED:
            self.population = before
            text = f"took the refinement back, after which other fields act in {changed:.0%} of the steps"
            self.told.append({"refinement": {"changed": changed, "accepted": False}, "text": text})

    def tensors(self) -> dict[str, Tensor]:
        """The fields, their optimizer, and what they were before; the model gets the fields as they stand."""
        self.install(self.population.candidate(0), self.places, self.population.misfit[0])
        found = {"alive": self.population.alive, "misfit": self.population.misfit, "before/misfit": self.misfit_before}
        found |= {f"before/rows/{name}": rows for name, rows in self.before.items()}
        return found | learner_tensors("population", self.population)

    def numbers(self) -> dict[str, Any]:
        """Nothing but that there is a state."""
        return {}

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any], checkpoint: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            UserError: its state is damaged.
        """
        path = checkpoint / STATE_TENSORS
        likes = {"alive": self.population.alive, "misfit": self.population.misfit, "before/misfit": self.misfit_before}
        for name, like in likes.items():
            if name not in tensors:
                raise UserError(f"{path}: found no tensor {name!r} of the refinement, expected one")
            require_alike(path, name, tensors[name], like)
        device = self.population.alive.device
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        self.population = restored(self.template, tensors, self.setting, path)
        self.misfit_before = tensors["before/misfit"]
        self.before = saved_rows("before", self.template, len(self.places), tensors, path)

    def events(self) -> list[dict[str, Any]]:
        """Whether the refinement was taken back."""
        found, self.told = self.told, []
        return found
