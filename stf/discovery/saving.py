"""What learns in the discovery, as tensors by name and back."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ffrl.core.errors import UserError
from ffrl.fields.protocol import RowFields
from ffrl.storage.tensors import require_alike
from ffrl.training.checkpoint import load_optimizer, optimizer_tensors
from stf.discovery.pairs import PairFit
from stf.discovery.population import Population, Setting, rows_of, with_rows


def learner_tensors(prefix: str, learner: Population | PairFit) -> dict[str, Tensor]:
    """The fields of something with ``fields`` and ``optimizer``, and the state of that."""
    found = {f"{prefix}/rows/{name}": rows for name, rows in rows_of(learner.fields).items()}
    own = optimizer_tensors(learner.fields, learner.optimizer)
    return found | {f"{prefix}/{key}": value for key, value in own.items()}


def saved_rows(
    prefix: str, template: RowFields, count: int, tensors: dict[str, Tensor], source: Path
) -> dict[str, Tensor]:
    """The ``count`` fields of :func:`learner_tensors`, by name of the parameter.

    Raises:
        UserError: one is missing or of another shape; the message names ``source``.
    """
    found = {}
    for name, like in rows_of(template).items():
        key = f"{prefix}/rows/{name}"
        if key not in tensors:
            raise UserError(f"{source}: found no tensor {key!r} of the discovery, expected one")
        require_alike(source, key, tensors[key], like.new_empty(count, *like.shape[1:]))
        found[name] = tensors[key]
    return found


def restore_optimizer(prefix: str, learner: Population | PairFit, tensors: dict[str, Tensor], source: Path) -> None:
    """Put the state of the optimizer back; ``source`` is named in messages."""
    own = {key.removeprefix(f"{prefix}/"): value for key, value in tensors.items() if key.startswith(f"{prefix}/")}
    load_optimizer(source, own, learner.fields, learner.optimizer)


def restored(template: RowFields, tensors: dict[str, Tensor], setting: Setting, source: Path) -> Population:
    """The population of tensors under ``population/``, with ``alive`` and ``misfit``."""
    fields = with_rows(template, saved_rows("population", template, tensors["alive"].numel(), tensors, source))
    population = Population(fields, tensors["alive"], tensors["misfit"], setting)
    restore_optimizer("population", population, tensors, source)
    return population
