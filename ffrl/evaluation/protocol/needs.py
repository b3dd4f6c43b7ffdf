"""What measures can need, and what there is of it for a model and its data: the one place that asks both."""

from __future__ import annotations

from enum import Enum

from ffrl.data.base import SequenceData
from ffrl.data.synthesis.states import prescribable
from ffrl.evaluation.protocol.kind import with_posterior
from ffrl.models.interface import Probabilistic, SequenceModel


class Need(Enum):
    """Something that not every evaluation has."""

    SINGLE = "sequences of one transformation each, which can be asked for"
    STATES = "frames that are made from states, so that any path can be shown"
    PAIRS = "two transformations or more"
    ONE_FIELD = "one inferred field per sequence"
    ALIGNMENT = "known transformations, and any number of inferred fields per step"
    UNKNOWN = "inferred fields, and nothing known of what they should do"
    POSTERIOR = "a posterior over activity that says how sure it is"
    LIKELIHOOD = "a model that is a probabilistic one"
    FEATURES = "frames that are vectors"
    CODES = "the wish that latent codes are measured"


def available(model: SequenceModel, data: SequenceData, codes: bool = False) -> frozenset[Need]:
    """Return everything that measures can need and that is there.

    Args:
        model: of any mode.
        data: that it is measured on.
        codes: whether latent codes are to be measured.

    Example:
        >>> from ffrl.config import DataConfig, SupervisedConfig
        >>> from ffrl.data import load
        >>> from ffrl.models.supervised import MODE
        >>> found = available(MODE.build(SupervisedConfig(), (3, 28, 28)), load(DataConfig()))
        >>> sorted(need.name for need in found)
        ['LIKELIHOOD', 'PAIRS', 'SINGLE', 'STATES']
    """
    kind = model.activity_kind
    matched = bool(data.transformations) and kind.free
    found = {
        Need.SINGLE: data.prescribed,
        Need.STATES: prescribable(data),
        Need.PAIRS: len(data.transformations) > 1,
        Need.ONE_FIELD: kind.constant,
        Need.ALIGNMENT: matched,
        Need.UNKNOWN: kind.of_fields and not kind.given and not data.prescribed and not matched,
        Need.POSTERIOR: with_posterior(model),
        Need.LIKELIHOOD: isinstance(model, Probabilistic),
        Need.FEATURES: data.features is not None,
        Need.CODES: codes,
    }
    return frozenset(need for need, there in found.items() if there)
