"""How it is maximised, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ffrl.config.checks import at_least, non_negative, positive


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine decay."""

    learning_rate: float = 2e-3
    """Peak learning rate."""
    field_factor: float = 3.0
    """Learning rate of the fields in units of that of the encoder and the decoder."""
    final_learning_rate: float = 1e-5
    """Learning rate at the last step."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    gradient_clip: float = 100.0
    """Largest gradient norm; larger gradients are scaled down, non-finite ones skip the step."""

    def __post_init__(self) -> None:
        positive("optimizer.learning-rate", self.learning_rate)
        positive("optimizer.field-factor", self.field_factor)
        non_negative("optimizer.final-learning-rate", self.final_learning_rate)
        at_least("optimizer.warmup-steps", self.warmup_steps, 0)
        non_negative("optimizer.weight-decay", self.weight_decay)
        positive("optimizer.gradient-clip", self.gradient_clip)


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the learning rate of step ``step`` in 0 .. ``steps`` - 1: linear warm-up, then a cosine.

    With W warm-up steps, peak a and final rate b: a (step + 1) / W while step < W, then
    b + (a - b) (1 + cos(pi p)) / 2 with p = (step - W) / (steps - 1 - W), which is a at step W and b at the last step.

    Example:
        >>> learning_rate(OptimizerConfig(learning_rate=0.1, warmup_steps=10), 4, 100)
        0.05
    """
    peak, final, warmup = config.learning_rate, config.final_learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min((step - warmup) / max(steps - 1 - warmup, 1), 1.0)
    return final + (peak - final) * 0.5 * (1.0 + math.cos(math.pi * progress))
