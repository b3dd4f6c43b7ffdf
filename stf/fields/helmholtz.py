"""Helmholtz fields: the sum of a curl-free and a divergence-free part."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ffrl.fields.potential import Potentials
from ffrl.fields.ridge import RidgeUnits
from stf.fields.rotational import RotationalFields
from stf.fields.unconstrained import UnconstrainedFields


class HelmholtzFields(nn.Module):
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
        self.num_fields = potentials.num_fields
        self.num_controls = (2 if separate else 1) * potentials.num_fields

    def units(self) -> RidgeUnits:
        """Both parts as one set of ridge units: smooth units of both first, then the linear ones."""
        curl_free = self.potentials.units()
        if self.rotational is None:
            return curl_free
        rotational = self.rotational.units()
        separate = self.num_controls > self.num_fields
        owner = torch.block_diag if separate else lambda *both: torch.cat(both, dim=1)

        def join(first: Tensor, second: Tensor) -> Tensor:
            return torch.cat([first, second])

        time_weight = None
        if curl_free.time_weight is not None and rotational.time_weight is not None:
            time_weight = join(curl_free.time_weight, rotational.time_weight)
        blocks = None
        if not separate and curl_free.blocks is not None and rotational.blocks is not None:
            blocks = (*curl_free.blocks, *rotational.blocks)
        return replace(
            curl_free,
            weight=join(curl_free.weight, rotational.weight),
            output=join(curl_free.output, rotational.output),
            bias=join(curl_free.bias, rotational.bias),
            scale=join(curl_free.scale, rotational.scale),
            trace=join(curl_free.trace, rotational.trace),
            owner=owner(curl_free.owner, rotational.owner),
            smooth=curl_free.smooth + rotational.smooth,
            time_weight=time_weight,
            blocks=blocks,
        )

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
        return self.units().per_control(z, t)

    def parts(self, z: Tensor, t: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Curl-free and divergence-free part of every field at unit speed, ``(..., D)`` -> two ``(..., K, D)``."""
        gradient = self.potentials.gradient(z, t)
        if self.rotational is None:
            return gradient, torch.zeros_like(gradient)
        return gradient, self.rotational.units().per_control(z, t)
