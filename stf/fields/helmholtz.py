"""Helmholtz fields: the sum of a curl-free and a divergence-free part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ffrl.fields.potential import Potentials, potentials
from ffrl.fields.protocol import RowFields, indices
from ffrl.fields.ridge import RidgeUnits
from stf.fields.config import SparseModelConfig
from stf.fields.rotational import RotationalFields
from stf.fields.unconstrained import UnconstrainedFields, comparable_width


class HelmholtzFields(RowFields):
    """K fields v^k = grad u^k + r^k, moved by one speed for both parts or by a speed for each.

    Args:
        potentials: the curl-free parts; of width 0 for divergence-free parts alone.
        rotational: the divergence-free parts, or those whose divergence is penalised; None for potentials alone.
        separate: activity of length 2K, potential parts first, instead of K.

    Raises:
        ValueError: if the parts differ in K, or ``separate`` is asked for without a rotational part.

    Example:
        >>> fields = HelmholtzFields(Potentials(3, dim=4), RotationalFields(3, dim=4))
        >>> fields.units().velocity(torch.zeros(5, 4), torch.ones(5, 3)).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        potentials: Potentials,
        rotational: RotationalFields | UnconstrainedFields | None,
        separate: bool = False,
    ) -> None:
        super().__init__()
        if rotational is not None and rotational.num_fields != potentials.num_fields:
            raise ValueError(f"found {potentials.num_fields} potentials and {rotational.num_fields} rotational fields")
        if separate and rotational is None:
            raise ValueError("separate control needs a rotational part")
        self.potentials = potentials
        self.rotational = rotational
        self.num_fields, self.timed = potentials.num_fields, potentials.timed
        self.num_controls = (2 if separate else 1) * potentials.num_fields

    def units(self) -> RidgeUnits:
        """Both parts as one set of ridge units: smooth units of both first, then the linear ones."""
        curl_free = self.potentials.units()
        if self.rotational is None:
            return curl_free
        return curl_free.cat(self.rotational.units(), separate=self.num_controls > self.num_fields)

    def rescale(self, factors: Tensor) -> None:
        """Multiply what every control moves by its factor, ``(C,)``: a field, or one part of it."""
        curl_free = factors[: self.num_fields]
        self.potentials.rescale(curl_free)
        if self.rotational is not None:
            self.rotational.rescale(factors[-self.num_fields :])

    def per_control(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """What every control does at unit speed, ``(..., D)`` -> ``(..., C, D)``: a field, or one part of it."""
        if self.num_controls > self.num_fields:
            return torch.cat(self.parts(z, t), dim=-2)
        return super().per_control(z, t)

    def of_controls(self, controls: Sequence[int], z: Tensor, t: Tensor | None = None) -> Tensor:
        """What some controls do at unit speed, ``(..., D)`` -> ``(..., c, D)``."""
        if self.num_controls > self.num_fields:
            return self.per_control(z, t).index_select(-2, indices(tuple(controls), z.device))
        return super().of_controls(controls, z, t)

    def parts(self, z: Tensor, t: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Curl-free and divergence-free part of every field at unit speed, ``(..., D)`` -> two ``(..., K, D)``."""
        gradient = self.potentials.gradient(z, t)
        if self.rotational is None:
            return gradient, torch.zeros_like(gradient)
        return gradient, self.rotational.units().per_control(z, t)

    def split(self) -> tuple[RidgeUnits, RidgeUnits | None]:
        """Both parts as units of K controls each."""
        return self.potentials.units(), None if self.rotational is None else self.rotational.units()

    def potential_part(self) -> Potentials | None:
        """The potentials; None where that part is left out."""
        return self.potentials if self.potentials.weight.shape[1] else None


def helmholtz(size: SparseModelConfig) -> HelmholtzFields:
    """Helmholtz fields of the sizes of a configuration: the second part has no divergence, or is free and pays for it.

    Example:
        >>> helmholtz(SparseModelConfig(num_fields=5, control="separate")).num_controls
        10
    """
    rotational: RotationalFields | UnconstrainedFields | None = None
    shared = size.activation, size.time_dependent
    if size.rotational_width and size.divergence == "penalised":
        given = size.rotational_width, size.rotational_terms, size.rotational_rank
        width = comparable_width(size.latent_dim, *given)
        rotational = UnconstrainedFields(size.num_fields, size.latent_dim, width, *shared)
    elif size.rotational_width:
        given = size.rotational_width, size.rotational_terms, size.rotational_rank
        rotational = RotationalFields(size.num_fields, size.latent_dim, *given, *shared)
    return HelmholtzFields(potentials(size), rotational, separate=size.control == "separate")
