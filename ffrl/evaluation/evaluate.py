"""The whole evaluation of a model on held-out sequences, as one JSON-serialisable dict."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
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
from ffrl.evaluation.sequences import choose, mixed_batches, single_batches
from ffrl.evaluation.statistics import estimate, plain

UNITS = {
    "equivariance": "L1 error on images in [0, 1], summed over channels and pixels of a frame",
    "likelihood": "nats per frame (the value of a sequence of T + 1 frames / (T + 1))",
    "speeds": "unit steps per transition",
}
LEGACY_NOTE = "not a likelihood: the KL enters with the wrong sign, so that it can exceed what any model can reach"

Progress = Callable[[Iterable[Any]], Iterable[Any]]


def evaluate(
    model: Any,
    data: SequenceData,
    split: Split = "validation",
    seed: int = 0,
    sequences: int | None = None,
    *,
    samples: int = 16,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Measure ``model`` on held-out sequences; the same arguments give the same numbers.

    Equivariance errors for every model; likelihood bounds, on single-transformation sequences (supervised and weak) or
    mixed ones (unsupervised); the confusion of the inferred field (weak); the alignment of fields with transformations
    (unsupervised). No global random number is drawn, and the model is left as it was.

    Args:
        model: supervised, weak or unsupervised, with a ``config``, on the device of ``data``.
        data: held-out sequences under known transformations.
        split: which of its splits.
        seed: of everything random: which sequences, their activity, and the draws of the bounds.
        sequences: number of initial images (each under every transformation for the equivariance error, one each for
            the likelihood); all of the split by default.
        samples: S, draws of the latents per sequence for the likelihood bounds.
        progress: wraps the iterator over batches, for instance to show how far it is.

    Returns:
        Nested dicts and lists of plain numbers, strings and None, documented where each part is computed.

    Raises:
        UserError: if the split is not there or too small, or the model cannot be used with these data.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.model import FlowFactorizedVAE
        >>> model = FlowFactorizedVAE(SupervisedConfig(), (3, 28, 28))
        >>> result = evaluate(model, load(DataConfig()), sequences=2, samples=2)
        >>> sorted(result)
        ['data', 'equivariance', 'likelihood', 'model', 'sequences', 'split', 'seed', 'units']
    """
    require(samples >= 1, "samples", samples, "an integer of at least 1")
    _check(model, data)
    indices = choose(data, split, sequences, seed)
    mixed = model.config.mode == "unsupervised"
    result = {
        "split": split,
        "seed": seed,
        "sequences": len(indices),
        "units": UNITS,
        "data": _describe_data(data),
        "model": _describe_model(model),
    }
    with evaluation_mode(model):
        result |= _on_single_sequences(model, data, split, indices, progress)
        if mixed:
            batches = mixed_batches(data, split, indices, seed)
        else:
            which = torch.arange(len(indices), device=indices.device) % len(data.transformations)
            batches = single_batches(data, split, indices, which)
        result |= _on_scored_sequences(model, data, progress(batches), seed, samples)
    return plain(result)
