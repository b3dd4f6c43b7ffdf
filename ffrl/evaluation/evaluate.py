"""The whole evaluation of a model on held-out sequences, as one JSON-serialisable dict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from ffrl.core.errors import require
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.data.base import SequenceData, Split
from ffrl.evaluation.likelihood.pixels import trained_score
from ffrl.evaluation.protocol.measure import Measure, Pass, Seen, Task
from ffrl.evaluation.protocol.needs import Need, available
from ffrl.evaluation.protocol.sequences import batch_size, choose, mixed_batches, single_batches
from ffrl.evaluation.protocol.statistics import plain, storable
from ffrl.evaluation.registry import MEASURES, Guard, criteria_of
from ffrl.models.frame_kind import Changes, FeatureValues
from ffrl.models.interface import SequenceModel

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

    All measures that have what they need are taken (:data:`ffrl.evaluation.registry.MEASURES`). Every model gets its
    equivariance errors (single-transformation sequences, each chosen image under every one of them), its prediction
    errors on mixed sequences, and, if it is a probabilistic model, its likelihood bounds, on single-transformation
    sequences that cycle through the transformations or on mixed ones: what it is trained on. Weak models get the
    confusion of the inferred field besides, unsupervised ones the alignment of fields with transformations, and those
    with a posterior over activity its calibration: see :func:`ffrl.evaluation.matching.align` and
    :func:`ffrl.evaluation.measures.calibration.calibrate`.

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
        Nested dicts and lists of plain numbers, strings and None; ``failed``, one line by name, where a measure of an
        installed package failed.

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
    task = Task(model, data, split, seed, indices, samples, available(model, data, codes))
    guard = Guard()
    kinds = guard.kinds()
    head = {
        "split": split,
        "seed": seed,
        "sequences": len(indices),
        "samples": samples,
        "units": {name: unit for kind in kinds.values() for name, unit in kind.units.items()},
        "data": describe_data(data),
        "model": _describe_model(model),
    }
    found = measured(task, progress, guard=guard)
    reached = criteria_of(head | found, guard)
    criteria = {"criteria": reached} if reached else {}
    failed = {"failed": guard.failed} if guard.failed else {}
    return plain(head | found | criteria | failed)


def measured(
    task: Task, progress: Progress | None = None, names: Sequence[str] | None = None, guard: Guard | None = None
) -> dict[str, Any]:
    """Return the entries of the measures that have what they need, each kind of sequences being gone through once.

    Args:
        task: what is measured, and on what.
        progress: told how far it is.
        names: of the measures; all for None.
        guard: is told which measures of installed packages failed.

    Raises:
        UserError: there is no such measure, or one cannot be taken.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.models.supervised import MODE
        >>> model, data = MODE.build(SupervisedConfig(), (3, 28, 28)), load(DataConfig())
        >>> task = Task(model, data, "validation", 0, torch.arange(2), available=available(model, data))
        >>> list(measured(task, names=["equivariance"])["equivariance"])
        ['scaling', 'rotation', 'hue']
    """
    guard = guard or Guard()
    for name in names or ():
        MEASURES.require("measures", name)
    with evaluation_mode(task.model):
        measures = _wanted(task, names, guard)
        passes = list(dict.fromkeys(measure.sees for measure in measures.values() if measure.sees is not None))
        total = sum(guard(name, measure.work) or 0 for name, measure in measures.items())
        total += sum(_batches_in(task, kind) for kind in passes)
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, total)

        for name, measure in measures.items():
            guard(name, measure.run, tick)
        for kind in passes:
            watching = {name: measure for name, measure in measures.items() if measure.sees is kind}
            for seen in _batches(task, kind):
                for name, measure in watching.items():
                    guard(name, measure.see, seen)
                tick()
        found: dict[str, Any] = {}
        for name, measure in measures.items():
            found |= guard(name, _entries, measure, found) or {}
    return found


def _wanted(task: Task, names: Sequence[str] | None, guard: Guard) -> dict[str, Measure]:
    """The measures that are asked for and have what they need, about to measure."""
    kinds = guard.kinds()
    fit = {name: kind for name, kind in kinds.items() if _fits(kind, task) and (not names or name in names)}
    made = {name: guard(name, kind, task) for name, kind in fit.items()}
    return {name: measure for name, measure in made.items() if measure is not None}


def _fits(kind: type[Measure], task: Task) -> bool:
    asked = {Need.SINGLE} if kind.sees in (Pass.SINGLE, Pass.IN_TURN) else set()
    return kind.needs | asked <= task.available


def _entries(measure: Measure, found: dict[str, Any]) -> dict[str, Any]:
    """What a measure adds to the results, as plain numbers."""
    entries = storable(measure.result(found))
    require(set(entries) <= set(measure.keys), "result", sorted(entries), f"no keys but {', '.join(measure.keys)}")
    return entries


def _batches_in(task: Task, kind: Pass) -> int:
    batches = -(-len(task.indices) // batch_size(task.data))
    return batches * len(task.data.transformations) if kind is Pass.SINGLE else batches


def _batches(task: Task, kind: Pass) -> Iterator[Seen]:
    """The batches of a pass."""
    data, split, indices = task.data, task.split, task.indices
    if kind is Pass.SINGLE:
        for which in range(len(data.transformations)):
            for number, batch in enumerate(single_batches(data, split, indices, torch.full_like(indices, which))):
                yield Seen(task, batch, number, which)
        return
    if kind is Pass.IN_TURN:
        turns = torch.arange(len(indices), device=indices.device) % len(data.transformations)
        batches = single_batches(data, split, indices, turns)
    else:
        batches = mixed_batches(data, split, indices, task.seed)
    for number, batch in enumerate(batches):
        yield Seen(task, batch, number)


def _check(model: SequenceModel, data: SequenceData) -> None:
    found, expected = tuple(data.image_shape), tuple(model.image_shape)
    require(
        found == expected,
        "data",
        f"{'images' if len(found) == 3 else 'vectors'} of shape {found}",
        f"{expected}, the shape the model was trained on",
    )
    if data.features is not None and isinstance(model.frame_kind, FeatureValues):
        names, known = (", ".join(one.described) for one in (data.features, model.frame_kind.features))
        require(names == known, "data", f"features {names:.300}", f"{known:.300}, which the model was trained on")
    kinds = (data.static is not None, isinstance(model.frame_kind, Changes))
    found_as, as_trained = ("changes from a background" if one else "frames as they are" for one in kinds)
    known = f"{as_trained}, which the model was trained on (data.sequences.static)"
    require(found_as == as_trained, "data", found_as, known)
    count = len(data.transformations)
    if model.activity_kind.given:
        expected_fields = f"{count}, one for each transformation of the data"
        require(model.num_fields == count, "model.num-fields", model.num_fields, expected_fields)
    if model.timed:
        trained = f"{model.num_steps}, the length that the time-dependent fields were trained on"
        require(data.num_steps == model.num_steps, "data.num-steps", data.num_steps, trained)


def describe_data(data: SequenceData) -> dict[str, Any]:
    """Return what an evaluation says of the data that it is of."""
    return {
        "name": data.name,
        "title": data.title,
        **({"about": data.about} if data.about else {}),
        "protocol": data.protocol,
        "image_shape": list(data.image_shape),
        **({"features": list(data.features.names)} if data.features else {}),
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
        "likelihood": trained_score(model).name,
    }
