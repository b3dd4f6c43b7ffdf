"""Configuration of data, model, objective, optimiser and run; imports nothing heavy, so ``--help`` is instant.

Every dataclass is frozen and checks its own values. The string under a field is its help text.
"""

from __future__ import annotations

from ffrl.config.data import ClipsConfig, DataConfig, PosesConfig, RenderedConfig, VectorsConfig
from ffrl.config.model import ModelConfig
from ffrl.config.objective import ObjectiveConfig
from ffrl.config.optimizer import OptimizerConfig
from ffrl.config.phases import StillConfig, TrainingPhase
from ffrl.config.run import RunConfig, SupervisedConfig

__all__ = [
    "ClipsConfig",
    "DataConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "PosesConfig",
    "RenderedConfig",
    "RunConfig",
    "StillConfig",
    "SupervisedConfig",
    "TrainingPhase",
    "VectorsConfig",
]
