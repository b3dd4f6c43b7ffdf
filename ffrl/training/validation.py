"""Mean loss terms over fixed held-out batches, without any effect on training."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.config import RunConfig
from ffrl.core.device import wide
from ffrl.core.errors import UserError
from ffrl.core.seed import epoch_indices
from ffrl.data.base import SequenceData
from ffrl.models.interface import SequenceModel
from ffrl.training.batch import draw_batch
from ffrl.training.step import Forward

BATCHES = 4


class Validation:
    """Scores the same held-out sequences with the same noise each time, under the current phase of training.

    Its terms compare with the training terms. With relaxed activity they are a surrogate, not a likelihood bound.

    Args:
        config: Run configuration.
        model: The model in training.
        data: Sequence data on the device; without a validation split there is nothing to do.
        device: Where to compute.
        forward: The trainer's forward pass, of which the eager version is used.
    """

    def __init__(
        self, config: RunConfig, model: SequenceModel, data: SequenceData, device: torch.device, forward: Forward
    ) -> None:
        self.config, self.model, self.data, self.device, self.forward = config, model, data, device, forward
        try:
            self.size = data.size("validation")
        except UserError:
            self.size = 0

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, float]:
        """Return the mean terms after ``step`` steps. Waits for the device."""
        config = self.config
        phase = self.model.phase(config.progress(max(step - 1, 0)))
        size = min(config.batch_size, self.size)
        totals: dict[str, Tensor] = {}
        training = self.model.training
        self.model.eval()
        try:
            for index in range(BATCHES):
                indices = epoch_indices(self.size, size, index, config.seed, self.device, "validation-epoch")
                batch = draw_batch(config, self.model, self.data, "validation", indices, phase, index, "validation-")
                for name, value in self.forward.eager(batch.frames, batch.noise, phase, batch.activity).items():
                    totals[name] = totals.get(name, 0.0) + wide(value) / BATCHES
        finally:
            self.model.train(training)
        return dict(zip(totals, torch.stack(list(totals.values())).tolist(), strict=True)) if totals else {}
