"""What a field is: anything that has a velocity, its derivatives, and the fields one by one.

Shapes: latents ``z (..., D)``, activity ``g (..., C)`` of C controls, times ``t`` in [0, 1] broadcastable to ``(...)``
or None for fields without time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ffrl.fields.potential import Potentials


@runtime_checkable
class Fields(Protocol):
    """Vector fields in latent space and their weighted sum; all that integrators, densities and searches ask for."""

    @property
    def num_controls(self) -> int:
        """C, the length of the activity vector."""

    def velocity(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Sum of the fields weighted by activity, ``(..., D)``."""

    def per_control(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Every field on its own at unit activity, ``(..., C, D)``."""

    def jacobian(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Jacobian of :meth:`velocity`, ``(..., D, D)``, row = component of v, column = component of z."""

    def divergence(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Divergence of :meth:`velocity`, ``(...)``."""


@runtime_checkable
class Selectable(Protocol):
    """Fields of which some can be had at the cost of these alone."""

    def select(self, controls: Sequence[int]) -> Fields:
        """What some controls drive, as fields of as many controls, in their order."""


@lru_cache(maxsize=256)
def indices(controls: tuple[int, ...], device: torch.device) -> Tensor:
    """Return controls as an index on a device, made once: copying it there again would wait for the device.

    Example:
        >>> indices((2, 0), torch.device("cpu"))
        tensor([2, 0])
    """
    with torch.inference_mode(False):  # whoever asks first, training may use it later
        return torch.tensor(controls, dtype=torch.int64, device=device)


@dataclass(frozen=True)
class SomeFields:
    """What some controls of any fields drive, as fields of as many controls.

    Args:
        fields: all of them.
        controls: which ones.
    """

    fields: Fields
    controls: tuple[int, ...]

    @property
    def num_controls(self) -> int:
        """How many controls are left."""
        return len(self.controls)

    def _of_all(self, g: Tensor) -> Tensor:
        """Activity ``(..., c)`` as that of all controls, ``(..., C)``."""
        every = g.new_zeros(*g.shape[:-1], self.fields.num_controls)
        return every.index_copy(-1, indices(self.controls, g.device), g)

    def velocity(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Sum of the fields weighted by activity, ``(..., D)``."""
        return self.fields.velocity(z, self._of_all(g), t)

    def per_control(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Every field on its own at unit activity, ``(..., c, D)``."""
        return self.fields.per_control(z, t).index_select(-2, indices(self.controls, z.device))

    def jacobian(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Jacobian of :meth:`velocity`, ``(..., D, D)``."""
        return self.fields.jacobian(z, self._of_all(g), t)

    def divergence(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Divergence of :meth:`velocity`, ``(...)``."""
        return self.fields.divergence(z, self._of_all(g), t)


def some_fields(fields: Fields, controls: Sequence[int]) -> Fields:
    """What some controls drive, as fields of as many controls: in the way of the fields themselves where they have one.

    Example:
        >>> from ffrl.fields.potential import Potentials
        >>> some_fields(Potentials(num_fields=3, dim=4, width=8).units(), [1]).weight.shape
        torch.Size([8, 4])
    """
    if list(controls) == list(range(fields.num_controls)):
        return fields
    return fields.select(controls) if isinstance(fields, Selectable) else SomeFields(fields, tuple(controls))


class FieldModule(nn.Module, ABC):
    """Fields that learn: K of them, driven by C controls.

    Attributes:
        num_fields: K.
        num_controls: C: K, or more where parts of a field have controls of their own.
        timed: whether they depend on time.
    """

    num_fields: int
    num_controls: int
    timed: bool

    @abstractmethod
    def units(self) -> Fields:
        """The fields as their parameters are now; what depends on these alone is computed once."""

    @abstractmethod
    def rescale(self, factors: Tensor) -> None:
        """Multiply what every control moves by its factor, ``(C,)``, without gradient."""

    def per_control(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """What every control does at unit speed, ``(..., D)`` -> ``(..., C, D)``."""
        return self.units().per_control(z, t)

    def of_controls(self, controls: Sequence[int], z: Tensor, t: Tensor | None = None) -> Tensor:
        """What some controls do at unit speed, ``(..., D)`` -> ``(..., c, D)``."""
        return some_fields(self.units(), controls).per_control(z, t)

    def parts(self, z: Tensor, t: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both parts of every field at unit speed, ``(..., D)`` -> two ``(..., K, D)``; here all is in the first."""
        whole = self.per_control(z, t)
        return whole, torch.zeros_like(whole)

    def split(self) -> tuple[Fields, Fields | None]:
        """Both parts as fields of K controls each; None for the second one where there is none."""
        return self.units(), None

    def potential_part(self) -> Potentials | None:
        """The potentials whose gradients are the first part; None for fields that have none."""
        return None


class RowFields(FieldModule):
    """Fields whose parameters all count the fields on their first axis, so that any of them can be taken or copied.

    It is what a search for fields needs, which tries others in their places, merges two, or leaves one out: a type of
    fields offers it by being a subclass whose parameters are so.
    """
