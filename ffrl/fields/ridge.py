"""Vector fields made of ridge functions: every field of the project, in one pair of matrix products.

A ridge unit moves z along one direction, by an amount that depends on one projection of z:

    v(z, t; g) = sum_j g_{k(j)} s_j(h_j) o_j,     h_j = w_j . z + b_j + c_j . tau(t),

with s_j = phi'(h_j) for smooth units and s_j = h_j for linear ones. A curl-free field has o_j = a_j w_j, a
divergence-free one has o_j = a_j S w_j with S skew-symmetric. Jacobian and divergence follow in closed form:

    dv/dz = sum_j g_{k(j)} s_j'(h_j) o_j w_j',     div v = sum_j g_{k(j)} s_j'(h_j) (o_j . w_j).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ffrl.fields.activations import Activation
from ffrl.fields.protocol import Fields, SomeFields, indices

TIME_FEATURES = 3


def time_features(t: Tensor) -> Tensor:
    """tau(t) = (t, sin(pi t), cos(pi t)) for t in [0, 1]: ``(...)`` -> ``(..., 3)``."""
    return torch.stack([t, torch.sin(math.pi * t), torch.cos(math.pi * t)], dim=-1)


def time_features_slope(t: Tensor) -> Tensor:
    """tau'(t) = (1, pi cos(pi t), -pi sin(pi t)): ``(...)`` -> ``(..., 3)``."""
    return torch.stack([torch.ones_like(t), math.pi * torch.cos(math.pi * t), -math.pi * torch.sin(math.pi * t)], -1)


def time_features_curvature(t: Tensor) -> Tensor:
    """tau''(t) = (0, -pi^2 sin(pi t), -pi^2 cos(pi t)): ``(...)`` -> ``(..., 3)``."""
    return torch.stack([torch.zeros_like(t), torch.sin(math.pi * t), torch.cos(math.pi * t)], -1) * -(math.pi**2)


def owners(num_controls: int, blocks: list[int], like: Tensor) -> Tensor:
    """One-hot matrix of which control drives which unit: blocks in turn, each with ``n`` units for every control.

    Example:
        >>> owners(2, [2, 1], torch.zeros(()))
        tensor([[1., 1., 0., 0., 1., 0.],
                [0., 0., 1., 1., 0., 1.]])
    """
    identity = torch.eye(num_controls, dtype=like.dtype, device=like.device)
    return torch.cat([identity.repeat_interleave(units, dim=1) for units in blocks], dim=1)


@lru_cache(maxsize=256)
def _rows(num_controls: int, blocks: tuple[int, ...], controls: tuple[int, ...], device: torch.device) -> Tensor:
    """Which units some controls drive, where every control has ``n`` units in each block: block by block, made once."""
    rows, first = [], 0
    for units in blocks:
        rows += [first + control * units + unit for control in controls for unit in range(units)]
        first += num_controls * units
    return indices(tuple(rows), device)


@dataclass(frozen=True)
class RidgeUnits:
    """N ridge units in latent space, each belonging to one control; the first ``smooth`` are nonlinear.

    Args:
        weight: directions w_j, ``(N, D)``.
        output: directions o_j, ``(N, D)``.
        bias: b_j, ``(N,)``.
        trace: o_j . w_j, ``(N,)``; exactly zero for divergence-free units.
        owner: which control drives which unit, one-hot columns, ``(C, N)``.
        activation: phi of the smooth units.
        smooth: how many of the units, from the first on, are nonlinear.
        time_weight: c_j, ``(N, 3)``, or None for time-free fields.
        blocks: how many units every control has in each block, where all have equally many (see :func:`owners`).

    Example:
        >>> from ffrl.fields.potential import Potentials
        >>> units = Potentials(num_fields=2, dim=4, width=8).units()
        >>> units.velocity(torch.zeros(5, 4), torch.ones(5, 2)).shape
        torch.Size([5, 4])
    """

    weight: Tensor
    output: Tensor
    bias: Tensor
    trace: Tensor
    owner: Tensor
    activation: Activation
    smooth: int
    time_weight: Tensor | None = None
    blocks: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        fields: int,
        weight: Tensor,
        output: Tensor,
        trace: Tensor,
        activation: Activation,
        time_weight: Tensor | None = None,
        bias: Tensor | None = None,
        smooth: bool = False,
    ) -> RidgeUnits:
        """One block of units of K fields with equally many units each, field by field.

        Args:
            fields: K.
            weight, output, trace, activation, time_weight: as of the class, of all of them.
            bias: zero for None.
            smooth: whether they are nonlinear.
        """
        return cls(
            weight=weight,
            output=output,
            bias=torch.zeros_like(trace) if bias is None else bias,
            trace=trace,
            owner=owners(fields, [len(weight) // fields], weight),
            activation=activation,
            smooth=len(weight) if smooth else 0,
            time_weight=time_weight,
            blocks=(len(weight) // fields,),
        )

    def cat(self, *others: RidgeUnits, separate: bool = False) -> RidgeUnits:
        """These units and others in one sum; smooth units have to come first.

        Args:
            others: of as many controls, which drive them together with these.
            separate: every part has controls of its own instead, one after the other.

        Example:
            >>> from ffrl.fields.potential import Potentials
            >>> units = Potentials(num_fields=2, dim=4, width=8).units()
            >>> units.cat(units).num_controls, units.cat(units, separate=True).num_controls
            (2, 4)
        """
        parts = (self, *others)

        def joined(name: str) -> Tensor:
            return torch.cat([getattr(part, name) for part in parts])

        owner = [part.owner for part in parts]
        blocks = [part.blocks for part in parts if part.blocks is not None]
        return replace(
            self,
            weight=joined("weight"),
            output=joined("output"),
            bias=joined("bias"),
            trace=joined("trace"),
            owner=torch.block_diag(*owner) if separate else torch.cat(owner, dim=1),
            smooth=sum(part.smooth for part in parts),
            time_weight=None if self.time_weight is None else joined("time_weight"),
            blocks=sum(blocks, ()) if len(blocks) == len(parts) and not separate else None,
        )

    def select(self, controls: Sequence[int]) -> Fields:
        """Only the units that some controls drive, where all have equally many; the activity has one entry for each.

        Example:
            >>> from ffrl.fields.potential import Potentials
            >>> Potentials(num_fields=3, dim=4, width=8).units().select([2, 0]).weight.shape
            torch.Size([16, 4])
        """
        if self.blocks is None:
            return SomeFields(self, tuple(controls))
        mine = _rows(self.num_controls, self.blocks, tuple(controls), self.owner.device)
        owner, smooth = owners(len(controls), list(self.blocks), self.owner), self.smooth // self.num_controls
        kept = {name: getattr(self, name).index_select(0, mine) for name in ("weight", "output", "bias", "trace")}
        time_weight = None if self.time_weight is None else self.time_weight.index_select(0, mine)
        return replace(self, **kept, owner=owner, smooth=smooth * len(controls), time_weight=time_weight)

    @property
    def num_controls(self) -> int:
        """C, the length of the activity vector."""
        return self.owner.shape[0]

    def _projection(self, z: Tensor, t: Tensor | None) -> Tensor:
        h = torch.nn.functional.linear(z, self.weight, self.bias)
        if self.time_weight is not None:
            if t is None:
                raise ValueError("these fields depend on time: t is needed")
            h = h + time_features(t) @ self.time_weight.T
        return h

    def _slope(self, z: Tensor, t: Tensor | None) -> Tensor:
        smooth, linear = self._kinds(self._projection(z, t))
        return torch.cat([self.activation.first(smooth), linear], dim=-1)

    def _curvature(self, z: Tensor, t: Tensor | None) -> Tensor:
        smooth, linear = self._kinds(self._projection(z, t))
        return torch.cat([self.activation.second(smooth), torch.ones_like(linear)], dim=-1)

    def _kinds(self, h: Tensor) -> tuple[Tensor, ...]:
        """What belongs to smooth and to linear units, ``(..., N)`` -> two."""
        return h.split([self.smooth, len(self.weight) - self.smooth], dim=-1)

    def velocity(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Sum of the fields weighted by activity: ``z (..., D)``, ``g (..., C)``, t broadcastable -> ``(..., D)``."""
        return (self._slope(z, t) * (g @ self.owner)) @ self.output

    def per_control(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Every field on its own at unit activity, ``(..., D)`` -> ``(..., C, D)``.

        One product per control over its own units, where all have equally many; else over all units, masked.
        """
        if self.blocks is None:
            return (self._slope(z, t).unsqueeze(-2) * self.owner) @ self.output
        controls, points = self.num_controls, z.reshape(-1, z.shape[-1])
        batch = points.expand(controls, *points.shape)
        moved, first = z.new_zeros(()), 0
        for size in self.blocks:
            rows = slice(first, first + controls * size)
            weight, output, bias = (
                part[rows].unflatten(0, (controls, size)) for part in (self.weight, self.output, self.bias)
            )
            h = torch.baddbmm(bias.unsqueeze(1), batch, weight.mT)
            if self.time_weight is not None:
                features = time_features(self._time(t, z)).reshape(-1, TIME_FEATURES)
                h = h + features @ self.time_weight[rows].unflatten(0, (controls, size)).mT
            if first < self.smooth:
                h = self.activation.first(h)
            moved = moved + torch.bmm(h, output)
            first = rows.stop
        return moved.transpose(0, 1).reshape(*z.shape[:-1], controls, z.shape[-1])

    @staticmethod
    def _time(t: Tensor | None, z: Tensor) -> Tensor:
        """Times ``(...)`` for every point of ``z (..., D)``."""
        if t is None:
            raise ValueError("these fields depend on time: t is needed")
        return t.expand(z.shape[:-1])

    def jacobian(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Jacobian of :meth:`velocity`, ``(..., D, D)``, row = component of v, column = component of z."""
        coefficient = self._curvature(z, t) * (g @ self.owner)
        return self.output.T @ (coefficient.unsqueeze(-1) * self.weight)

    def euler_log_det(self, z: Tensor, g: Tensor, step: float, t: Tensor | None = None) -> Tensor:
        r"""log |det(I_D + step dv/dz)| as a determinant over the N units, for N < D: ``(..., D)`` -> ``(...)``.

        .. math:: \det(I_D + h\, O^T C W) = \det(I_N + h\, C W O^T)

        with C the diagonal of the units' curvatures (Sylvester's determinant identity).
        """
        coefficient = step * self._curvature(z, t) * (g @ self.owner)
        inner = coefficient.unsqueeze(-1) * (self.weight @ self.output.T)
        identity = torch.eye(len(self.weight), dtype=inner.dtype, device=inner.device)
        return torch.linalg.slogdet(identity + inner).logabsdet

    def divergence(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Divergence of :meth:`velocity`, ``(...)``; divergence-free units contribute exactly nothing."""
        return (self._curvature(z, t) * (g @ self.owner)) @ self.trace
