"""Fields of any module or function, with derivatives by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ffrl.core.errors import UserError
from ffrl.fields.protocol import FieldModule


class AutogradFields(FieldModule):
    r"""K fields that a module computes, or any function: v^k = s_k f^k(z, t), with scales s_k that are 1 at first.

    Velocity, Jacobian and divergence follow from the values:

    .. math::
        v = \sum_k g^k s_k f^k(z, t), \quad \partial v / \partial z \text{ by reverse mode}, \quad
        \nabla\cdot v = \mathrm{tr}(\partial v / \partial z)

    so a divergence costs D backward passes, where ridge functions have a closed form.

    Args:
        function: of one latent ``(D,)`` to all fields ``(K, D)``; where ``timed``, of latent and time ``()``. If it
            also takes ``(..., D)`` to ``(..., K, D)``, and times ``(...)``, values are computed all at once.
        num_fields: K.
        dim: D.
        timed: whether they depend on time.
        name: what they are called in messages.

    Raises:
        UserError: the function fails, or its values are no tensor of the shape ``(K, D)``.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> fields = AutogradFields(lambda z: torch.stack([z, z @ turn.T], dim=-2), num_fields=2, dim=2)
        >>> z, g = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 3.0]])
        >>> fields.velocity(z, g), fields.divergence(z, g)
        (tensor([[1., 3.]]), tensor([2.]))
    """

    scale: Tensor

    def __init__(
        self,
        function: Callable[..., Tensor],
        num_fields: int,
        dim: int,
        timed: bool = False,
        name: str = "fields",
    ) -> None:
        super().__init__()
        if not callable(function):
            raise UserError(f"{name}: found {type(function).__name__}, expected a module or a function")
        self.function = function
        self.num_fields = self.num_controls = num_fields
        self.dim, self.timed = dim, timed
        self.register_buffer("scale", torch.ones(num_fields))
        parameter = next(self.parameters(), self.scale)
        self.batched = self._shape(parameter.new_zeros(2, 3, dim)) == (2, 3, num_fields, dim)
        found = self._shape(parameter.new_zeros(dim))
        if found != (num_fields, dim):
            told = "that it fails" if found is None else f"values of shape {found}"
            raise UserError(f"{name}: found {told} for a latent ({dim},), expected ({num_fields}, {dim})")

    def _shape(self, z: Tensor) -> tuple[int, ...] | None:
        """Shape of the values at ``z``, None where there are none."""
        try:
            with torch.no_grad():
                return tuple(self._raw(z, z.new_zeros(z.shape[:-1])).shape)
        except (RuntimeError, ValueError, IndexError, TypeError, AttributeError):
            return None

    def _raw(self, z: Tensor, t: Tensor | None) -> Tensor:
        return self.function(z, t) if self.timed else self.function(z)

    def _times(self, z: Tensor, t: Tensor | None) -> Tensor | None:
        """Times ``(...)`` for every point of ``z (..., D)``."""
        if not self.timed:
            return None
        if t is None:
            raise ValueError("these fields depend on time: t is needed")
        return t.expand(z.shape[:-1])

    def units(self) -> AutogradFields:
        """These fields: there is nothing to prepare."""
        return self

    @torch.no_grad()
    def rescale(self, factors: Tensor) -> None:
        """Multiply every field by its factor, ``(K,)``."""
        self.scale.mul_(factors)

    def per_control(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Every field on its own at unit activity, ``(..., D)`` -> ``(..., K, D)``."""
        times = self._times(z, t)
        if self.batched:
            values = self._raw(z, times)
        else:
            flat = z.reshape(-1, self.dim)
            values = vmap(self._raw, in_dims=(0, None if times is None else 0))(
                flat, None if times is None else times.reshape(-1)
            ).unflatten(0, z.shape[:-1] or (1,))
            values = values if z.ndim > 1 else values.squeeze(0)
        return values * self.scale.unsqueeze(-1)

    def velocity(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Sum of the fields weighted by activity: ``z (..., D)``, ``g (..., C)`` -> ``(..., D)``."""
        return torch.einsum("...k,...kd->...d", g, self.per_control(z, t))

    def jacobian(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Jacobian of :meth:`velocity`, ``(..., D, D)``, row = component of v, column = component of z."""
        shape = torch.broadcast_shapes(z.shape[:-1], g.shape[:-1])
        points = z.expand(*shape, self.dim)
        times, speeds = self._times(points, t), (g * self.scale).expand(*shape, self.num_fields)

        def moved(point: Tensor, speed: Tensor, time: Tensor | None) -> Tensor:
            return speed @ self._raw(point, time)

        if not shape:
            return jacrev(moved)(points, speeds, times)
        every = (points.reshape(-1, self.dim), speeds.reshape(-1, self.num_fields))
        last = None if times is None else times.reshape(-1)
        found = vmap(jacrev(moved), in_dims=(0, 0, None if last is None else 0))(*every, last)
        return found.unflatten(0, shape)

    def divergence(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Divergence of :meth:`velocity`, ``(...)``: the trace of its Jacobian."""
        return self.jacobian(z, g, t).diagonal(dim1=-2, dim2=-1).sum(-1)
