"""The prior over activity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ffrl.config.checks import at_least, positive, probability


@dataclass(frozen=True)
class SparsityConfig:
    """The prior over activity: spikes are independent two-state chains, slabs are normal."""

    on_rate: float = 0.1
    """Probability per step that a silent field switches on."""
    off_rate: float = 0.3
    """Probability per step that an active field switches off."""
    learn_rates: bool = True
    """Estimate both rates, one pair per field, from expected transitions once the fields are found."""
    slab: Literal["positive", "signed", "unit"] = "positive"
    """Speeds: normal around 1, the same with a random sign, or exactly 1."""
    slab_spread: float = 0.3
    """Standard deviation of a speed around 1."""
    most: int = 3
    """How many fields may be on at once."""
    enumerated: int = 8
    """Beyond so many fields, only the best so many are enumerated in each sequence (expectation truncation)."""

    def __post_init__(self) -> None:
        probability("sparsity.on-rate", self.on_rate)
        probability("sparsity.off-rate", self.off_rate)
        positive("sparsity.slab-spread", self.slab_spread)
        at_least("sparsity.most", self.most, 1)
        at_least("sparsity.enumerated", self.enumerated, 1)
