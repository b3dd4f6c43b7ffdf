"""Penalties on the fields of a model, at the latents of training: modules that a flow is composed with."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ffrl.config import RunConfig
from ffrl.core.errors import require
from ffrl.fields.hamilton_jacobi import Source, hamilton_jacobi_terms
from ffrl.fields.potential import Potentials
from ffrl.fields.protocol import FieldModule


class Penalty(nn.Module, ABC):
    """Named terms that the loss gains."""

    @abstractmethod
    def forward(self, fields: FieldModule, latents: Tensor, times: Tensor) -> dict[str, Tensor]:
        """Weighted terms ``(B,)`` by name.

        Args:
            fields: of the model.
            latents: z_0 .. z_T, ``(B, T+1, D)``.
            times: t / T, ``(T,)``.
        """


class HamiltonJacobiPenalty(Penalty):
    """The optimal-transport regulariser, see :func:`ffrl.fields.hamilton_jacobi.hamilton_jacobi_terms`.

    Args:
        residual, initial: weights of its terms.
        source: f, or None for f = 0.
    """

    def __init__(self, residual: float, initial: float, source: Source | None) -> None:
        super().__init__()
        self.weights = {"residual": residual, "initial": initial}
        self.source = source

    def forward(self, fields: FieldModule, latents: Tensor, times: Tensor) -> dict[str, Tensor]:
        """``hj_residual`` and ``hj_initial``."""
        terms = hamilton_jacobi_terms(potentials_of(fields), self.source, latents[:, :-1], times)
        return {f"hj_{name}": self.weights[name] * value for name, value in terms.items()}


def potentials_of(fields: FieldModule) -> Potentials:
    """The potentials of fields that have to have some.

    Raises:
        ValueError: they have none.

    Example:
        >>> potentials_of(Potentials(3, dim=4)).num_fields
        3
    """
    found = fields.potential_part()
    if found is None:
        raise ValueError(f"fields: found {type(fields).__name__}, without potentials, expected some")
    return found


def regularisers(config: RunConfig, fields: FieldModule) -> list[Penalty]:
    """The penalties that a configuration asks for in any mode: the Hamilton-Jacobi equation, if it has a weight.

    Raises:
        UserError: it is asked for, and the fields have no potentials that could obey it.
    """
    objective = config.objective
    if not (objective.hj_weight or objective.hj_initial_weight):
        return []
    expected = f"0 as {config.model.fields} fields have no potentials"
    weight = max(objective.hj_weight, objective.hj_initial_weight)
    require(fields.potential_part() is not None, "objective.hj-weight", weight, expected)
    source = Source(fields.num_fields, config.model.latent_dim) if objective.hj_source else None
    return [HamiltonJacobiPenalty(objective.hj_weight, objective.hj_initial_weight, source)]
