"""How the codes of a model hold the factors of a frame: DCI, MIG and what a linear probe reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffrl.core.errors import UserError, require
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.core.seed import generator, hashed_seed
from ffrl.data.base import SequenceData, Split
from ffrl.data.synthesis.states import StateSequences, made_from_states
from ffrl.evaluation.codes.dci import LEAF, TREES, dci, import_forests
from ffrl.evaluation.codes.factors import draw_factors
from ffrl.evaluation.codes.mig import BINS, mutual_information_gaps
from ffrl.evaluation.codes.probe import RIDGE, linear_probe
from ffrl.evaluation.protocol.measure import CODES, Measure, Metric, Results, Task
from ffrl.evaluation.protocol.needs import Need
from ffrl.evaluation.protocol.sequences import batch_size
from ffrl.evaluation.protocol.statistics import leaves, plain
from ffrl.models.interface import SequenceModel
from ffrl.tables.table import Column, Row, Table

FRAMES = 2000
"""Frames that are encoded at least: of fewer images, each in several states."""
HELD_OUT = 0.2
"""Share of the images on which probes and forests are scored, not fitted."""
LEAST_IMAGES = round(1 / HELD_OUT)
"""Images that are needed, so that one of them is held out."""
METHOD = {
    "factors": "whole states, independent and uniform over what single-transformation sequences go through; a circle "
    "that is gone all round is predicted as cosine and sine, a category as its indicators; what else an image shows "
    "counts if the data name it (not the class of a digit)",
    "codes": "posterior means of single frames; every fifth image is kept for scoring, in all its states",
    "dci": f"Eastwood and Williams (2018), importances of random forests ({TREES} regression trees per factor, leaves "
    f"of at least {LEAF}); informativeness is the held-out R^2. Mixed codes of many dimensions can score high too",
    "mig": f"Chen et al. (2018), codes in {BINS} equal-width bins, gap in units of the entropy of the factor",
    "linear_probe": f"held-out R^2 of ridge regression on standardised codes, lambda = {RIDGE:g} N",
}
"""What is measured, one sentence each."""


def measure_codes(
    model: SequenceModel, data: SequenceData, split: Split, indices: Tensor, seed: int = 0
) -> dict[str, Any]:
    """Measure how codes hold factors, on images in random states; the same arguments give the same numbers.

    The codes are z = ``model.encode(frame)``, the factors are the states of the transformations and, on grids, what
    the transformations do not move. Nothing is trained but the probes, and the model is left as it was.

    Args:
        model: with ``encode``, on the device of ``data``.
        data: data whose frames are made from states.
        split: "train", "validation" or "test".
        indices: the images, ``(B,)``, at least :data:`LEAST_IMAGES`; each is shown in as many states as make
            :data:`FRAMES` frames.
        seed: of the states and the forests.

    Returns:
        ``dci`` (``disentanglement``, ``completeness``, ``informativeness`` of each factor), ``mig`` (``score``,
        ``per_factor``), ``linear_probe`` (R^2 of each factor, and ``mean``), ``factors``, ``images``, ``frames`` and
        ``method``: plain numbers, strings and None.

    Raises:
        UserError: scikit-learn is missing, the factors are not known, the split is not there, there are too few
            images, or codes are not finite.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> found = measure_codes(model, load(DataConfig()), "validation", torch.arange(500))
        >>> found["factors"], found["frames"], list(found["linear_probe"])
        (['scaling', 'rotation', 'hue'], 2000, ['scaling', 'rotation', 'hue', 'mean'])
    """
    import_forests()
    source = made_from_states(data, "the factors of a frame must be known")
    require(
        len(indices) >= LEAST_IMAGES,
        "sequences",
        len(indices),
        f"at least {LEAST_IMAGES} for the disentanglement of codes",
    )
    here = indices.to(source.device)
    count = math.ceil(FRAMES / len(here))
    factors, visited, values = draw_factors(source, split, here, count, generator("cpu", seed, "evaluation-codes"))
    codes = _encode(model, source, split, here, visited, data.device)
    numbers = values.flatten(0, 1).cpu().numpy()
    held_out = (np.arange(len(here)) % LEAST_IMAGES == LEAST_IMAGES - 1).repeat(count)
    targets = [factor.target(column) for factor, column in zip(factors, numbers.T, strict=True)]
    names = [factor.name for factor in factors]
    scores = dci(codes, targets, held_out, hashed_seed(seed, "evaluation-codes-forests") % 2**32)
    gaps = mutual_information_gaps(codes, numbers).tolist()
    probe = linear_probe(codes, targets, held_out)
    return plain(
        {
            "factors": names,
            "images": len(here),
            "frames": len(codes),
            "dci": {
                "disentanglement": scores.disentanglement,
                "completeness": scores.completeness,
                "informativeness": dict(zip(names, scores.informativeness, strict=True)),
            },
            "mig": {"score": float(np.mean(gaps)), "per_factor": dict(zip(names, gaps, strict=True))},
            "linear_probe": dict(zip(names, probe, strict=True)) | {"mean": float(np.mean(probe))},
            "method": METHOD,
        }
    )


def _encode(
    model: SequenceModel, data: StateSequences, split: Split, indices: Tensor, visited: Tensor, device: torch.device
) -> NDArray[np.float64]:
    """Codes of the images (B,) in their states (B, N, J), all states of an image together: (B N, D)."""
    images = max(1, batch_size(data) * (data.num_steps + 1) // visited.shape[1])
    codes = []
    with evaluation_mode(model):
        for part, states in zip(indices.split(images), visited.split(images), strict=True):
            frames = data.in_states(split, part, states).flatten(0, 1)
            codes.append(model.encode(frames.to(device)).cpu().double())
    found = torch.cat(codes)
    if not found.isfinite().all():
        raise UserError("codes: found numbers that are not finite, expected a model that has not diverged")
    return found.numpy()


class Codes(Measure):
    """How latent codes hold factors, see :func:`measure_codes`."""

    keys, needs, place = ("codes",), frozenset({Need.CODES}), 65

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        import_forests()  # raises before anything is measured

    def run(self, tick: Callable[[], None]) -> None:
        task = self.task
        self.found = measure_codes(task.model, task.data, task.split, task.indices, task.seed)

    def result(self, found: Results) -> dict[str, Any]:
        return {"codes": self.found}

    @classmethod
    def tables(cls, results: Results) -> list[Table]:
        found = results["codes"]
        dci, mig, probe = found["dci"], found["mig"], found["linear_probe"]
        rows = [
            Row(name, [mig["per_factor"][name], dci["informativeness"][name], probe[name]]) for name in found["factors"]
        ]
        rows.append(Row("all", [mig["score"], None, probe["mean"]]))
        columns = [Column(title, "high", digits=3) for title in ("MIG", "informativeness", "linear probe R²")]
        notes = [
            f"Disentanglement {_three(dci['disentanglement'])}, completeness {_three(dci['completeness'])}; "
            f"{found['frames']} frames of {found['images']} images.",
            *(f"{name.replace('_', ' ')}: {method}." for name, method in found["method"].items()),
        ]
        return [Table("codes", "Factors in the latent code", "factor", columns, rows, notes)]

    @classmethod
    def summary(cls, results: Results) -> str:
        found = results["codes"]
        return (
            f"MIG {_three(found['mig']['score'])}, disentanglement {_three(found['dci']['disentanglement'])}, "
            f"completeness {_three(found['dci']['completeness'])}, mean R² {_three(found['linear_probe']['mean'])}"
        )

    @classmethod
    def numbers(cls, results: Results) -> dict[str, Any]:
        return leaves(results["codes"], "codes")

    @classmethod
    def metrics(cls, numbers: Mapping[str, Any]) -> list[Metric]:
        about = (
            "Held-out frames in random states; the factors are the states of the transformations. DCI compares codes "
            "with as many dimensions: of more, one follows a factor more easily, even in a random mixture."
        )
        columns = {
            "codes/dci/disentanglement": Column("DCI disentanglement", digits=3),
            "codes/dci/completeness": Column("DCI completeness", digits=3),
            "codes/mig/score": Column("MIG", "high", digits=3),
            "codes/linear_probe/mean": Column("linear probe R²", "high", digits=3),
        }
        return [Metric(CODES, key, column, about) for key, column in columns.items()]


MEASURE = Codes


def _three(value: float | None) -> str:
    return Column("", digits=3).text(value)
