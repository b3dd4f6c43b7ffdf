"""The penalty on the divergence of parts of fields that are not divergence-free by construction."""

from __future__ import annotations

from torch import Tensor

from ffrl.fields.protocol import FieldModule
from ffrl.models.penalties import Penalty
from stf.fields.config import SparseModelConfig
from stf.fields.helmholtz import HelmholtzFields


class DivergencePenalty(Penalty):
    """The squared divergence, see :meth:`stf.fields.unconstrained.UnconstrainedFields.penalty`.

    Args:
        weight: of it.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, fields: FieldModule, latents: Tensor, times: Tensor) -> dict[str, Tensor]:
        """``divergence``."""
        return {"divergence": self.weight * fields.rotational.penalty(latents[:, :-1], times)}


def divergence_penalty(size: SparseModelConfig, fields: FieldModule) -> list[DivergencePenalty]:
    """The penalty that a configuration asks for: none for fields whose second part has no divergence.

    Example:
        >>> from stf.fields.helmholtz import helmholtz
        >>> divergence_penalty(SparseModelConfig(), helmholtz(SparseModelConfig()))
        []
    """
    penalised = isinstance(fields, HelmholtzFields) and size.divergence == "penalised" and size.divergence_weight
    return [DivergencePenalty(size.divergence_weight)] if penalised else []
