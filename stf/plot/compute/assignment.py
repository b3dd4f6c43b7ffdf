"""Which field does which transformation on held-out sequences: what all figures of a model start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ffrl.data.base import SequenceData, Split
from ffrl.evaluation.matching import align
from ffrl.evaluation.measures.calibration import calibrate
from ffrl.evaluation.measures.confusion import confusion
from ffrl.evaluation.measures.usage import usage
from ffrl.evaluation.protocol.sequences import choose, mixed_batches, single_batches
from ffrl.models.interface import SequenceModel
from stf.plot.compute.observed import Observed, observe
from stf.plot.compute.roles import FieldRole, aligned_roles, confused_roles, given_roles, used_roles

SEQUENCES = 400
"""Sequences that activity is inferred on."""


@dataclass(frozen=True)
class Assignment:
    """Held-out sequences with their activity, and what each field does in them.

    Args:
        indices: the held-out images, ``(M,)``.
        observed: the sequences; real or mixed ones where transformations are not known or for an unsupervised model,
            else with one transformation each.
        roles: of all fields.
        usage: of all fields, from :func:`ffrl.evaluation.measures.usage.usage`, where transformations are not known.
        alignment: of an unsupervised model, from :func:`ffrl.evaluation.matching.align`.
        calibration: of one with a posterior over activity, from :func:`ffrl.evaluation.measures.calibration.calibrate`.
        confusion: of a weak model, from :func:`ffrl.evaluation.measures.confusion.confusion`.
    """

    indices: Tensor
    observed: Observed
    roles: list[FieldRole]
    usage: list[dict[str, Any]] | None = None
    alignment: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    confusion: dict[str, Any] | None = None


@torch.no_grad()
def assign(model: SequenceModel, data: SequenceData, split: Split = "validation", seed: int = 0) -> Assignment:
    """Find the roles of all fields: as given (supervised), from inferred against true activity, or from their usage.

    Args:
        model: with its ``config``, on the device of ``data``.
        data: the sequences.
        split: which of them.
        seed: chooses the sequences.

    Raises:
        UserError: the split is not there.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.models.supervised import MODE
        >>> found = assign(MODE.build(SupervisedConfig(), (3, 28, 28)), load(DataConfig()))
        >>> [role.transformation for role in found.roles]
        ['scaling', 'rotation', 'hue']
    """
    names = data.transformations
    indices = choose(data, split, min(SEQUENCES, data.size(split)), seed)
    if not names or (model.activity_kind.constant and not data.prescribed):
        observed = observe(model, mixed_batches(data, split, indices, seed))
        found = usage(observed.inferred)
        return Assignment(indices, observed, used_roles(found), usage=found)
    if model.activity_kind.free:
        observed = observe(model, mixed_batches(data, split, indices, seed))
        alignment = align(observed.inferred, observed.truth, names)
        sure, calibration = observed.certainty, None
        if sure is not None:
            calibration = calibrate(sure.probability, observed.inferred, sure.deviation, observed.truth, alignment)
        roles = aligned_roles(alignment, model.num_fields)
        return Assignment(indices, observed, roles, alignment=alignment, calibration=calibration)
    if data.prescribed:
        which = torch.arange(len(indices), device=indices.device) % len(names)
        observed = observe(model, single_batches(data, split, indices, which))
    else:
        observed = observe(model, mixed_batches(data, split, indices, seed))
    if model.activity_kind.given:
        return Assignment(indices, observed, given_roles(names))
    found, true = observed.inferred[:, 0].argmax(-1), observed.truth[:, 0].argmax(-1)
    confused = confusion(found, true, model.num_fields, names)
    return Assignment(indices, observed, confused_roles(confused, model.num_fields), confusion=confused)
