"""The whole evaluation of a model on held-out sequences, as one JSON-serialisable dict."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ffrl.core.errors import require
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.core.seed import generator
from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.data.states import prescribable
from ffrl.evaluation.likelihood.estimate import bounds, draw, legacy_score, log_weights
from ffrl.evaluation.likelihood.pixels import likelihoods, trained_likelihood
from ffrl.evaluation.measures.alignment import align, strongest_part
from ffrl.evaluation.measures.calibration import calibrate, field_posterior
from ffrl.evaluation.measures.composition import affordable, composition
from ffrl.evaluation.measures.confusion import confusion
from ffrl.evaluation.measures.equivariance import equivariance_errors
from ffrl.evaluation.measures.extrapolation import extrapolation
from ffrl.evaluation.measures.prediction import Prediction
from ffrl.evaluation.measures.usage import describe_fields, growth_without
from ffrl.evaluation.protocol.kind import activity_of, likeliest, with_posterior
from ffrl.evaluation.protocol.sequences import batch_size, choose, mixed_batches, single_batches
from ffrl.evaluation.protocol.statistics import estimate, plain
from ffrl.evaluation.report.criteria import criteria
from ffrl.models.interface import Probabilistic, SequenceModel
from ffrl.objective.paper_bound import NOTES as PAPER_NOTES

UNITS = {
    "equivariance": "L1 error on images in [0, 1], summed over channels and pixels of a frame",
    "extrapolation": "l1: as equivariance; mse: mean squared error of the channels and pixels of a frame",
    "composition": "as equivariance, also switching",
    "prediction": "as equivariance; psnr in dB, of the mean squared error of all frames t = 1 .. T",
    "likelihood": "nats per frame: the value of a sequence / (T + 1)",
    "speed": "unit steps per transition",
    "speed_rmse": "as speed: root mean square of inferred - true speed where both are on",
    "ece": "a probability in [0, 1]: mean |predicted - observed| of a field being on, weighted by the pairs of a bin",
    "coverage": "share of the steps with both on whose true speed is within 1 or 2 deviations of the inferred one",
    "alive": "fields whose mean |g| over all steps is above silent_threshold",
}
LEGACY = {
    "formula": "log p(x_0|z_0) + log q(z_0|x_0) - log p(z_0), one sample, unit-variance Gaussian",
    "note": "not a likelihood: the KL has the wrong sign, so that it can exceed what any model can reach",
}

Progress = Callable[[int, int], None]
"""Called with the number of batches done and the number of all batches."""


def evaluate(
    model: SequenceModel,
    data: SequenceData,
    split: Split = "validation",
    seed: int = 0,
    sequences: int | None = None,
    *,
    samples: int = 16,
    codes: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure ``model`` on held-out sequences; the same arguments give the same numbers.

    Every model gets its equivariance errors (single-transformation sequences, each chosen image under every one of
    them), its prediction errors on mixed sequences, and, if it is a probabilistic model, its likelihood bounds, on
    single-transformation sequences that cycle through the transformations or on mixed ones: what it is trained on. Weak
    models get the confusion of the inferred field besides, unsupervised ones the alignment of fields with
    transformations, and those with a posterior over activity its calibration: see
    :func:`ffrl.evaluation.measures.alignment.align` and :func:`ffrl.evaluation.measures.calibration.calibrate`.

    Where frames are made from states (not those of sprites), up to 250 of the images (fewer if there are more than
    three transformations) also give extrapolation to twice the trained length, and the errors of two transformations at
    once and in turn: see :func:`ffrl.evaluation.measures.extrapolation.extrapolation` and
    :func:`ffrl.evaluation.measures.composition.composition`.

    Where no transformation can be asked for, everything is measured on the sequences that there are: prediction errors
    and likelihood bounds, and where it is not known which transformations act, of every field how often it acts and
    how much it contributes to the prediction.

    Nothing is trained, no global random number is drawn, and the model is left as it was.

    Args:
        model: of any mode, with its ``config``, on the device of ``data``.
        data: held-out sequences.
        split: which of its splits.
        seed: of everything random: which images, the activity of mixed sequences, and the draws of the bounds.
        sequences: number of initial images, or clips; by default 1000, or all of a smaller split.
        samples: S, draws of the latents per sequence for the likelihood bounds.
        codes: also :func:`ffrl.evaluation.measures.codes.measure_codes`, which needs scikit-learn.
        progress: told how far the evaluation is.

    Returns:
        Nested dicts and lists of plain numbers, strings and None.

    Raises:
        UserError: if the split is missing or too small, or the model does not fit the data.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.models.supervised import MODE
        >>> result = evaluate(
        ...     MODE.build(SupervisedConfig(), (3, 28, 28)), load(DataConfig()), sequences=2, samples=2
        ... )
        >>> sorted(result)
        ['composition', 'data', 'equivariance', 'extrapolation', 'likelihood', 'model', 'prediction', 'samples', 'seed',
        'sequences', 'split', 'switching', 'units']
    """
    require(samples >= 1, "samples", samples, "an integer of at least 1")
    _check(model, data)
    indices = choose(data, split, sequences, seed)
    kinds = len(data.transformations) if data.prescribed else 0
    scored = _scored_on(model, data) if isinstance(model, Probabilistic) else None
    few = indices[: affordable(data) if prescribable(data) else 0]
    passes = kinds + (2 if scored == "single" else 1)
    total = passes * math.ceil(len(indices) / batch_size(data))
    if len(few):
        total += kinds + math.ceil(len(few) / batch_size(data)) * (kinds > 1)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

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
        measured_codes = {"codes": _codes(model, data, split, indices, seed)} if codes else {}
        if kinds:
            result |= _single(model, data, split, indices, tick)
        if len(few):
            result["extrapolation"] = extrapolation(model, data, split, few, tick)
        if len(few) and kinds > 1:
            result |= composition(model, data, split, few, tick)
        measured = _Mixed(model, data)
        mixed = measured.watched(mixed_batches(data, split, indices, seed))
        if scored in ("mixed", "real"):
            result |= _scored(model, data, mixed, scored, seed, samples, tick)
        elif scored == "single":
            which = torch.arange(len(indices), device=indices.device) % kinds
            single = single_batches(data, split, indices, which)
            result |= _scored(model, data, single, scored, seed, samples, tick)
        for _ in mixed:
            tick()
        result |= measured.summary()
    return plain(result | measured_codes)


def _scored_on(model: SequenceModel, data: SequenceData) -> str:
    """Which sequences the likelihood is measured on: those that the model is trained on."""
    if not data.prescribed:
        return "real"
    return "mixed" if model.trained.sequences == "mixed" else "single"


def _codes(model: SequenceModel, data: SequenceData, split: Split, indices: Tensor, seed: int) -> dict[str, Any]:
    from ffrl.evaluation.measures.codes import measure_codes

    return measure_codes(model, data, split, indices, seed)


def _check(model: SequenceModel, data: SequenceData) -> None:
    found, expected = tuple(data.image_shape), tuple(model.image_shape)
    require(found == expected, "data", f"images of shape {found}", f"{expected}, the shape the model was trained on")
    count = len(data.transformations)
    if model.activity_kind.given:
        expected_fields = f"{count}, one for each transformation of the data"
        require(model.num_fields == count, "model.num-fields", model.num_fields, expected_fields)
    if model.timed:
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
        "prescribed": data.prescribed,
        "num_steps": data.num_steps,
    }


def _describe_model(model: SequenceModel) -> dict[str, Any]:
    return {
        "mode": model.trained.mode,
        "trained_on": model.trained.sequences,
        "prediction": model.prediction,
        "num_fields": model.num_fields,
        "num_controls": model.num_controls,
        "latent_dim": model.latent_dim,
        "num_steps": model.num_steps,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bound": model.trained.objective.bound,
        "likelihood": trained_likelihood(model.trained.objective).name,
    }


def _single(
    model: SequenceModel, data: SequenceData, split: Split, indices: Tensor, tick: Callable[[], None]
) -> dict[str, Any]:
    """Equivariance errors per transformation, and the confusion of a weak model, on single-transformation sequences."""
    inferred: list[int] = []
    true: list[int] = []

    def seen(which: int, activity: Tensor) -> None:
        if model.activity_kind.constant:
            inferred.extend(activity[:, 0].argmax(-1).tolist())
            true.extend([which] * len(activity))
        tick()

    result: dict[str, Any] = {"equivariance": equivariance_errors(model, data, split, indices, seen)}
    if model.activity_kind.constant:
        result["confusion"] = confusion(inferred, true, model.num_fields, data.transformations)
    return result


class _Mixed:
    """What is measured on mixed sequences besides the likelihood: prediction, and what the activity of fields tells."""

    def __init__(self, model: SequenceModel, data: SequenceData) -> None:
        self.model, self.prediction = model, Prediction()
        self.names = data.transformations
        self.aligned = bool(self.names) and model.activity_kind.free
        self.used = (
            model.activity_kind.of_fields and not model.activity_kind.given and not (data.prescribed or self.aligned)
        )
        self.posterior = with_posterior(model)
        self.probability: list[Tensor] = []
        self.deviation: list[Tensor] = []
        self.speeds: list[Tensor] = []
        self.truth: list[Tensor] = []
        self.growth: list[Tensor] = []

    def watched(self, batches: Iterable[SequenceBatch]) -> Iterator[SequenceBatch]:
        """Pass batches on, measured."""
        for batch in batches:
            g = self._infer(batch)
            self.prediction.add(self.model, batch.frames, g)
            self.speeds.append(g)
            self.truth.append(batch.activity)
            if self.used:
                self.growth.append(growth_without(self.model, batch.frames, g))
            yield batch

    def _infer(self, batch: SequenceBatch) -> Tensor:
        """The activity, and of a posterior the rest too: frames are encoded once."""
        if not self.posterior:
            return activity_of(self.model, batch)
        found = self.model.activity(batch.frames)
        self.probability.append(found.probability)
        self.deviation.append(found.deviation)
        return likeliest(found)

    def summary(self) -> dict[str, Any]:
        """Prediction errors; then the fields where transformations are unknown, else an unsupervised alignment."""
        activity = {"activity": "given" if self.model.activity_kind.given else "inferred"}
        result: dict[str, Any] = {"prediction": activity | self.prediction.summary()}
        if not self.used and not self.aligned:
            return result
        inferred, fields = torch.cat(self.speeds).cpu().numpy(), self.model.num_fields
        speeds = strongest_part(inferred, fields)
        if self.used:
            result["fields"] = describe_fields(speeds, torch.cat(self.growth))
            return result
        truth = torch.cat(self.truth).cpu().numpy()
        result["alignment"] = align(speeds, truth, self.names)
        if self.posterior:
            likely, spread = (torch.cat(values).cpu().numpy() for values in (self.probability, self.deviation))
            probability, deviation = field_posterior(likely, inferred, spread, fields)
            result["calibration"] = calibrate(probability, speeds, deviation, truth, result["alignment"])
        result["criteria"] = criteria(result["alignment"], result.get("calibration"))
        return result


def _scored(
    model: SequenceModel,
    data: SequenceData,
    batches: Iterable[SequenceBatch],
    kind: str,
    seed: int,
    samples: int,
    tick: Callable[[], None],
) -> dict[str, Any]:
    """Likelihood bounds, on the ``kind`` of sequences that :func:`_scored_on` names."""
    objective = model.trained.objective
    scores = likelihoods(objective)
    paper = model.density is not None
    values: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    legacy = []
    for number, (frames, activity) in enumerate(batches):
        source = generator(frames.device, seed, "evaluation-draws", number)
        draws = draw(model, frames, samples, source, activity if model.activity_kind.given else None)
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

    told = "activity" if kind == "mixed" else "transformation"
    likelihood = {
        "quantity": f"log p(frames | {told})" if model.conditional() else "log p(frames)",
        "sequences": kind,
        "trained_with": trained_likelihood(objective).name,
        "likelihoods": {score.name: entry(score) for score in scores},
        "legacy_score": {**estimate(torch.cat(legacy)), **LEGACY},
    }
    if paper:
        density = objective.density
        is_bound = density == "exact"
        likelihood["paper"] = {"density": density, "is_bound": is_bound, "note": PAPER_NOTES[density]}
    return {"likelihood": likelihood}
