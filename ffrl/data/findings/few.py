"""Too few sequences to learn from, or to measure on."""

from __future__ import annotations

from ffrl.core.errors import UserError
from ffrl.data.base import SequenceData
from ffrl.data.findings.finding import Finding

LEAST = 32
"""Clips below which what is learnt is those clips."""


def too_few(data: SequenceData, fields: int | None = None) -> list[Finding]:
    """Say whether there are very few training sequences, or fewer than fields.

    Args:
        data: the sequences.
        fields: K of a model that is to be trained on them; None for none.

    Example:
        >>> import numpy as np
        >>> from ffrl.data.arrays import arrays
        >>> [one.what for one in too_few(arrays(np.zeros((10, 6, 12, 20), np.uint8)), fields=9)]
        ['8 sequences to train on', '9 fields and 8 sequences to train on']
    """
    try:
        count = data.size("train")
    except UserError:
        return []
    findings = []
    if count < LEAST:
        do = "record more, or cut more clips (shorter ones, or a smaller hop): 1,000 are usual"
        findings.append(Finding("few sequences", data.title, f"{count:,} sequences to train on", do))
    if fields is not None and fields > count:
        what = f"{fields:,} fields and {count:,} sequences to train on"
        findings.append(Finding("many fields", "model.num-fields", what, "take fewer fields: 6 to 9 are usual"))
    return findings
