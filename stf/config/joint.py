"""The phase in which encoder, decoder and fields are trained together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ffrl.config.checks import non_negative
from ffrl.core.errors import require


@dataclass(frozen=True)
class JointConfig:
    """Third phase of training: encoder, decoder and fields together, on the bound with the exact posterior."""

    activity: Literal["mean", "draw"] = "mean"
    """What moves the latents in training: the speeds of what is more probably on than off, or a draw."""
    agreement: float = 4.0
    """Weight of the expected squared difference, in units of the encoder's noise, between the flow and the encoder's
    own codes, which keeps activity inferable from them."""
    anneal: float = 0.5
    """Share of this phase over which the weight of the KL of z_0 falls from that of still frames, T + 1, to 1."""

    def __post_init__(self) -> None:
        non_negative("joint.agreement", self.agreement)
        require(0.0 <= self.anneal <= 1.0, "joint.anneal", self.anneal, "a number in [0, 1]")
