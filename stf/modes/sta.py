"""STA as published."""

from __future__ import annotations

from ffrl.core.homes import deferred
from ffrl.models.mode import Mode
from stf.sta.config import StaConfig

MODE = Mode(StaConfig, deferred("stf.sta.model:sta"))
"""The model whose activity is inferred by a network, with its configuration."""
