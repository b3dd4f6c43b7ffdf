"""The whole evaluation of a model on held-out sequences, as one JSON-serialisable dict."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ffrl.activity import CategoricalActivity
from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.engine.seed import generator
from ffrl.errors import require
from ffrl.evaluation.alignment import align, strongest_part
from ffrl.evaluation.confusion import confusion
from ffrl.evaluation.criteria import criteria
from ffrl.evaluation.equivariance import FrameErrors, frame_errors, summarise
from ffrl.evaluation.likelihood import bounds, draw, legacy_score, log_weights
from ffrl.evaluation.mode import evaluation_mode
from ffrl.evaluation.paper_bound import NOTES as PAPER_NOTES
from ffrl.evaluation.pixels import likelihoods, trained_likelihood
from ffrl.evaluation.prediction import Prediction
from ffrl.evaluation.sequences import batch_size, choose, mixed_batches, single_batches
from ffrl.evaluation.statistics import estimate, plain
from ffrl.evaluation.usage import describe_fields, growth_without

UNITS = {
    "equivariance": "L1 error on images in [0, 1], summed over channels and pixels of a frame",
    "prediction": "as equivariance; psnr in dB, of the mean squared error of all frames t = 1 .. T",
    "likelihood": "nats per frame: the value of a sequence / (T + 1)",
    "speed": "unit steps per transition",
}
LEGACY = {
    "formula": "log p(x_0|z_0) + log q(z_0|x_0) - log p(z_0), one sample, unit-variance Gaussian",
    "note": "not a likelihood: the KL has the wrong sign, so that it can exceed what any model can reach",
}

Progress = Callable[[int, int], None]
"""Called with the number of batches done and the number of all batches."""


def evaluate(
    model: Any,
    data: SequenceData,
    split: Split = "validation",
    seed: int = 0,
    sequences: int | None = None,
    *,
    samples: int = 16,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure ``model`` on held-out sequences; the same arguments give the same numbers.

    Every model gets its equivariance errors (single-transformation sequences, each chosen image under every one of
    them), its prediction errors on mixed sequences, and its likelihood bounds, on single-transformation sequences that
    cycle through the transformations (supervised and weak) or on mixed ones (unsupervised). Weak models get the
    confusion of the inferred field besides, unsupervised ones the alignment of fields with transformations.

    Where transformations are not known, everything is measured on the sequences that there are: prediction errors,
    likelihood bounds, and of every field how often it acts and how much it contributes to the prediction.

    Nothing is trained, no global random number is drawn, and the model is left as it was.

    Args:
        model: supervised, weak or unsupervised, with its ``config``, on the device of ``data``.
        data: held-out sequences.
        split: which of its splits.
        seed: of everything random: which images, the activity of mixed sequences, and the draws of the bounds.
        sequences: number of initial images, or clips; by default 1000, or all of a smaller split.
        samples: S, draws of the latents per sequence for the likelihood bounds.
        progress: told how far the evaluation is.

    Returns:
        Nested dicts and lists of plain numbers, strings and None.

    Raises:
        UserError: if the split is missing or too small, or the model does not fit the data.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.model import FlowFactorizedVAE
        >>> result = evaluate(
        ...     FlowFactorizedVAE(SupervisedConfig(), (3, 28, 28)), load(DataConfig()), sequences=2, samples=2
        ... )
        >>> sorted(result)
        ['data', 'equivariance', 'likelihood', 'model', 'prediction', 'samples', 'seed', 'sequences', 'split', 'units']
    """
    require(samples >= 1, "samples", samples, "an integer of at least 1")
    _check(model, data)
    indices = choose(data, split, sequences, seed)
    kinds = len(data.transformations)
    scores_mixed = _sparse(model) or not kinds
    passes = kinds + (1 if scores_mixed else 2)
    count = math.ceil(len(indices) / batch_size(data))
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, passes * count)

    result: dict[str, Any] = {
        "split": split,
        "seed": seed,
        "sequences": len(indices),
        "samples": samples,
        "units": UNITS,
        "data": _describe_data(data),
        "model": _describe_model(model),
    }
    with evaluation_mode(model):
        if kinds:
            result |= _single(model, data, split, indices, tick)
        moving = _Mixed(model, data)
        if scores_mixed:
            batches = moving.watched(mixed_batches(data, split, indices, seed))
            result |= _scored(model, data, batches, seed, samples, tick)
        else:
            which = torch.arange(len(indices), device=indices.device) % kinds
            result |= _scored(model, data, single_batches(data, split, indices, which), seed, samples, tick)
            for _ in moving.watched(mixed_batches(data, split, indices, seed)):
                tick()
        result |= moving.summary()
    return plain(result)


def _given(model: Any) -> bool:
    """Whether the activity is observed (supervised)."""
    return not model.activity_model.needs_all_frames


def _categorical(model: Any) -> bool:
    """Whether one unknown field acts throughout a sequence (weakly supervised)."""
    return isinstance(model.activity_model, CategoricalActivity)


def _sparse(model: Any) -> bool:
    """Whether any number of fields may act at each step (unsupervised)."""
    return not _given(model) and not _categorical(model)


def _check(model: Any, data: SequenceData) -> None:
    found, expected = tuple(data.image_shape), tuple(model.image_shape)
    require(found == expected, "data", f"images of shape {found}", f"{expected}, the shape the model was trained on")
    count = len(data.transformations)
    if _given(model):
        expected_fields = f"{count}, one for each transformation of the data"
        require(model.num_fields == count, "model.num-fields", model.num_fields, expected_fields)
    if model.config.model.time_dependent:
        trained = f"{model.num_steps}, the length that the time-dependent fields were trained on"
        require(data.num_steps == model.num_steps, "data.num-steps", data.num_steps, trained)


def _describe_data(data: SequenceData) -> dict[str, Any]:
    return {
        "name": data.name,
        "title": data.title,
        **({"about": data.about} if data.about else {}),
        "protocol": data.protocol,
        "image_shape": list(data.image_shape),
        "transformations": list(data.transformations),
        "num_steps": data.num_steps,
    }


def _describe_model(model: Any) -> dict[str, Any]:
    return {
        "mode": model.config.mode,
        "num_fields": model.num_fields,
        "num_controls": model.num_controls,
        "latent_dim": model.latent_dim,
        "num_steps": model.num_steps,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bound": model.config.objective.bound,
        "likelihood": trained_likelihood(model.config.objective).name,
    }


def _single(model: Any, data: SequenceData, split: Split, indices: Tensor, tick: Callable[[], None]) -> dict[str, Any]:
    """Equivariance errors per transformation, and the confusion of a weak model, on single-transformation sequences."""
    described, inferred, true = {}, [], []
    for j, name in enumerate(data.transformations):
        errors: list[FrameErrors] = []
        for batch in single_batches(data, split, indices, torch.full_like(indices, j)):
            g = batch.activity if _given(model) else model.infer(batch.frames)
            errors.append(frame_errors(model, batch.frames, g))
            if _categorical(model):
                inferred += g[:, 0].argmax(-1).tolist()
                true += [j] * len(g)
            tick()
        pooled = (torch.cat(parts) for parts in zip(*errors, strict=True))
        described[name] = dict(zip(FrameErrors._fields, map(summarise, pooled), strict=True))
    result = {"equivariance": described}
    if _categorical(model):
        result["confusion"] = confusion(inferred, true, model.num_fields, data.transformations)
    return result


class _Mixed:
    """What is measured on mixed sequences besides the likelihood: prediction, and what the activity of fields tells."""

    def __init__(self, model: Any, data: SequenceData) -> None:
        self.model, self.data, self.prediction = model, data, Prediction()
        self.speeds: list[Tensor] = []
        self.truth: list[Tensor] = []
        self.growth: list[Tensor] = []

    def watched(self, batches: Iterable[SequenceBatch]) -> Iterator[SequenceBatch]:
        """Pass batches on, measured."""
        for batch in batches:
            g = batch.activity if _given(self.model) else self.model.infer(batch.frames)
            self.prediction.add(self.model, batch.frames, g)
            self.speeds.append(g)
            self.truth.append(batch.activity)
            if not self.data.transformations:
                self.growth.append(growth_without(self.model, batch.frames, g))
            yield batch

    def summary(self) -> dict[str, Any]:
        """Prediction errors; then the fields where transformations are unknown, else an unsupervised alignment."""
        activity = {"activity": "given" if _given(self.model) else "inferred"}
        result: dict[str, Any] = {"prediction": activity | self.prediction.summary()}
        speeds = strongest_part(torch.cat(self.speeds).cpu().numpy(), self.model.num_fields)
        if self.growth:
            result["fields"] = describe_fields(speeds, torch.cat(self.growth))
        elif _sparse(self.model):
            result["alignment"] = align(speeds, torch.cat(self.truth).cpu().numpy(), self.data.transformations)
            result["criteria"] = criteria(result["alignment"])
        return result


def _scored(
    model: Any, data: SequenceData, batches: Any, seed: int, samples: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Likelihood bounds, on the sequences that the model was made for."""
    objective = model.config.objective
    scores = likelihoods(objective)
    paper = model.density is not None
    values: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    legacy = []
    for number, (frames, activity) in enumerate(batches):
        given = activity if _given(model) else None
        draws = draw(model, frames, samples, generator(frames.device, seed, "evaluation-draws", number), given)
        weights = log_weights(model, frames, draws, {score.name: score for score in scores}, paper)
        for name, found in bounds(weights, frames.shape[1]).items():
            for bound, value in found.items():
                values[name, bound].append(value)
        legacy.append(legacy_score(model, frames, draws))
        tick()

    def entry(score: Any) -> dict[str, Any]:
        names = ("elbo", "iwae", "paper") if paper else ("elbo", "iwae")
        estimates = {bound: estimate(torch.cat(values[score.name, bound])) for bound in names}
        return estimates | {"upper_bound": score.upper_bound(math.prod(data.image_shape)), "note": score.note}

    likelihood = {
        "quantity": "log p(frames | transformation)" if _given(model) else "log p(frames)",
        "sequences": "real" if not data.transformations else "mixed" if _sparse(model) else "single",
        "trained_with": trained_likelihood(objective).name,
        "likelihoods": {score.name: entry(score) for score in scores},
        "legacy_score": {**estimate(torch.cat(legacy)), **LEGACY},
    }
    if paper:
        density = objective.density
        is_bound = density == "exact"
        likelihood["paper"] = {"density": density, "is_bound": is_bound, "note": PAPER_NOTES[density]}
    return {"likelihood": likelihood}
