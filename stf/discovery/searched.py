"""What a model offers to the search for its fields."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ffrl.fields.protocol import RowFields
from ffrl.models.activity import Phase
from ffrl.models.frame_kind import FrameKind
from stf.discovery.population import Setting
from stf.inference.activity import ExactActivity


class Searched(Protocol):
    """A model whose fields are learnt on encoded sequences, with exact activity."""

    field_model: RowFields
    activity_model: ExactActivity
    frame_kind: FrameKind

    @property
    def fields_alive(self) -> list[int]:
        """Which fields can act at all."""

    def phase(self, progress: float) -> Phase:
        """Where training stands at ``progress`` in [0, 1]."""

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), ``(..., C, H, W)`` -> two of ``(..., D)``."""

    def discovery_setting(self, unit: float) -> Setting:
        """What the search has to know of it; ``unit``: weight of what holds the unit of speed."""

    def adopt(self, places: list[int], variance: Tensor, misfit: Tensor) -> None:
        """Take over what has been found: which fields are alive, the encoder's noise, and their misfit."""
