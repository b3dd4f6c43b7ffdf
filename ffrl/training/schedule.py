"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from ffrl.config import OptimizerConfig


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
