"""Vector fields made of ridge functions: every field of the project, in one pair of matrix products.

A ridge unit moves z along one direction, by an amount that depends on one projection of z:

    v(z, t; g) = sum_j g_{k(j)} s_j(h_j) o_j,     h_j = w_j . z + b_j + c_j . tau(t),

with s_j = a_j phi'(h_j) for smooth units and s_j = h_j for linear ones. A curl-free field has o_j = w_j, a
divergence-free one has o_j = S w_j with S skew-symmetric. Jacobian and divergence follow in closed form:

    dv/dz = sum_j g_{k(j)} s_j'(h_j) o_j w_j',     div v = sum_j g_{k(j)} s_j'(h_j) (o_j . w_j).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ffrl.activations import Activation

TIME_FEATURES = 3


def time_features(t: Tensor) -> Tensor:
    """tau(t) = (t, sin(pi t), cos(pi t)) for t in [0, 1]: ``(...)`` -> ``(..., 3)``."""
    return torch.stack([t, torch.sin(math.pi * t), torch.cos(math.pi * t)], dim=-1)


def time_features_slope(t: Tensor) -> Tensor:
    """tau'(t) = (1, pi cos(pi t), -pi sin(pi t)): ``(...)`` -> ``(..., 3)``."""
    return torch.stack([torch.ones_like(t), math.pi * torch.cos(math.pi * t), -math.pi * torch.sin(math.pi * t)], -1)


@dataclass(frozen=True)
class RidgeUnits:
    """N ridge units in latent space, each belonging to one control; the first ``smooth`` are nonlinear.

    Args:
        weight: directions w_j, ``(N, D)``.
        output: directions o_j, ``(N, D)``.
        bias: b_j, ``(N,)``.
        scale: a_j of the smooth units, ``(smooth,)``.
        trace: o_j . w_j, ``(N,)``; exactly zero for divergence-free units.
        control: index k(j) of the control that drives unit j, ``(N,)`` integers.
        activation: phi of the smooth units.
        smooth: how many of the units, from the first on, are nonlinear.
        num_controls: length of the activity vector g.
        time_weight: c_j, ``(N, 3)``, or None for time-free fields.

    Example:
        >>> from ffrl.potential import Potentials
        >>> units = Potentials(num_fields=2, dim=4, width=8).units()
        >>> units.velocity(torch.zeros(5, 4), torch.ones(5, 2)).shape
        torch.Size([5, 4])
    """

    weight: Tensor
    output: Tensor
    bias: Tensor
    scale: Tensor
    trace: Tensor
    control: Tensor
    activation: Activation
    smooth: int
    num_controls: int
    time_weight: Tensor | None = None

    def _projection(self, z: Tensor, t: Tensor | None) -> Tensor:
        h = torch.nn.functional.linear(z, self.weight, self.bias)
        if self.time_weight is not None:
            if t is None:
                raise ValueError("these fields depend on time: t is needed")
            h = h + time_features(t) @ self.time_weight.T
        return h

    def _slope(self, z: Tensor, t: Tensor | None) -> Tensor:
        h = self._projection(z, t)
        return torch.cat([self.scale * self.activation.first(h[..., : self.smooth]), h[..., self.smooth :]], dim=-1)

    def _curvature(self, z: Tensor, t: Tensor | None) -> Tensor:
        h = self._projection(z, t)
        smooth = self.scale * self.activation.second(h[..., : self.smooth])
        return torch.cat([smooth, torch.ones_like(h[..., self.smooth :])], dim=-1)

    def velocity(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Sum of the fields weighted by activity: ``z (..., D)``, ``g (..., C)``, t broadcastable -> ``(..., D)``."""
        return (self._slope(z, t) * g[..., self.control]) @ self.output

    def per_control(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Every field on its own at unit activity, ``(..., D)`` -> ``(..., C, D)``."""
        owner = torch.nn.functional.one_hot(self.control, self.num_controls).T.to(z.dtype)
        return (self._slope(z, t).unsqueeze(-2) * owner) @ self.output

    def jacobian(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Jacobian of :meth:`velocity`, ``(..., D, D)``, row = component of v, column = component of z."""
        coefficient = self._curvature(z, t) * g[..., self.control]
        return self.output.T @ (coefficient.unsqueeze(-1) * self.weight)

    def divergence(self, z: Tensor, g: Tensor, t: Tensor | None = None) -> Tensor:
        """Divergence of :meth:`velocity`, ``(...)``; divergence-free units contribute exactly nothing."""
        return (self._curvature(z, t) * g[..., self.control]) @ self.trace
