"""The penalty on the divergence of parts of fields that are not divergence-free by construction."""

from __future__ import annotations

from torch import Tensor

from ffrl.fields.protocol import FieldModule
from ffrl.models.penalties import Penalty
from stf.fields.config import SparseModelConfig
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.unconstrained import UnconstrainedFields


class DivergencePenalty(Penalty):
    """The squared divergence, see :meth:`stf.fields.unconstrained.UnconstrainedFields.penalty`.

    Args:
        weight: of it.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, fields: FieldModule, latents: Tensor, times: Tensor) -> dict[str, Tensor]:
        """``divergence``.

        Raises:
            ValueError: no part of the fields is :class:`~stf.fields.unconstrained.UnconstrainedFields`.
        """
        part = fields.rotational if isinstance(fields, HelmholtzFields) else None
        if not isinstance(part, UnconstrainedFields):
            raise ValueError(f"found {type(fields).__name__} without a part that has a divergence, expected one")
        return {"divergence": self.weight * part.penalty(latents[:, :-1], times)}


def divergence_penalty(size: SparseModelConfig, fields: FieldModule) -> list[DivergencePenalty]:
    """The penalty that a configuration asks for: none for fields whose second part has no divergence.

    Example:
        >>> from stf.fields.helmholtz import helmholtz
        >>> divergence_penalty(SparseModelConfig(), helmholtz(SparseModelConfig()))
        []
    """
    penalised = isinstance(fields, HelmholtzFields) and size.divergence == "penalised" and size.divergence_weight
    return [DivergencePenalty(size.divergence_weight)] if penalised else []
