"""Configuration of the modes that infer activity; imports nothing heavy."""

from __future__ import annotations

from stf.config.discovery import DiscoveryConfig, DiscoveryPhase, RediscoveryConfig, RefineConfig, RefinePhase
from stf.config.joint import JointConfig
from stf.config.modes import SearchingConfig, UnsupervisedConfig, WeakConfig
from stf.config.sparsity import SparsityConfig
from stf.fields.config import SparseModelConfig

__all__ = [
    "DiscoveryConfig",
    "DiscoveryPhase",
    "JointConfig",
    "RediscoveryConfig",
    "RefineConfig",
    "RefinePhase",
    "SearchingConfig",
    "SparseModelConfig",
    "SparsityConfig",
    "UnsupervisedConfig",
    "WeakConfig",
]
