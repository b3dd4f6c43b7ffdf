"""What learns in the discovery, as tensors by name and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ffrl.engine.checkpoint import load_optimizer, optimizer_tensors
from stf.discovery.population import Population, Setting, rows_of, with_rows


def learner_tensors(prefix: str, learner: Any) -> dict[str, Tensor]:
    """The fields of something with ``fields`` and ``optimizer``, and the state of that."""
    found = {f"{prefix}/rows/{name}": rows for name, rows in rows_of(learner.fields).items()}
    own = optimizer_tensors(learner.fields, learner.optimizer)
    return found | {f"{prefix}/{key}": value for key, value in own.items()}


def saved_rows(prefix: str, template: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fields of :func:`learner_tensors`, by name of the parameter."""
    return {name: tensors[f"{prefix}/rows/{name}"] for name in rows_of(template)}


def restore_optimizer(prefix: str, learner: Any, tensors: dict[str, Tensor], source: Path) -> None:
    """Put the state of the optimizer back; ``source`` is named in messages."""
    own = {key.removeprefix(f"{prefix}/"): value for key, value in tensors.items() if key.startswith(f"{prefix}/")}
    load_optimizer(source, own, learner.fields, learner.optimizer)


def restored(template: nn.Module, tensors: dict[str, Tensor], setting: Setting, source: Path) -> Population:
    """The population of tensors under ``population/``, with ``alive`` and ``misfit``."""
    fields = with_rows(template, saved_rows("population", template, tensors))
    population = Population(fields, tensors["alive"], tensors["misfit"], setting)
    restore_optimizer("population", population, tensors, source)
    return population
