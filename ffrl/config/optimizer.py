"""How it is maximised."""

from __future__ import annotations

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
