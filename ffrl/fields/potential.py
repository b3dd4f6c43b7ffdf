"""Curl-free fields: gradients of one-hidden-layer potentials, with all derivatives in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffrl.config import ModelConfig
from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.protocol import RowFields
from ffrl.fields.ridge import (
    TIME_FEATURES,
    RidgeUnits,
    time_features,
    time_features_curvature,
    time_features_slope,
)


class Potentials(RowFields):
    r"""K scalar potentials u^k(z, t) = a_k . phi(W_k z + b_k + C_k tau(t)), evaluated all at once.

    Gradient, Hessian, Laplacian and time derivative (FFRL, Sec. 3; one hidden layer makes them closed form):

    .. math::
        \nabla u = W^T (a \circ \phi'(h)), \quad
        \nabla^2 u = W^T \mathrm{diag}(a \circ \phi''(h)) W, \quad
        \Delta u = \sum_j a_j \phi''(h_j) \|w_j\|^2, \quad
        \partial_t u = (a \circ \phi'(h))^T C \tau'(t).

    There is no output bias: it would never receive a gradient.

    Args:
        num_fields: K.
        dim: latent dimension D.
        width: hidden units per field; 0 for potentials that are zero, and have nothing to learn.
        activation: name of phi in :data:`ffrl.fields.activations.ACTIVATIONS`.
        time_dependent: whether tau(t) enters; then ``t`` in [0, 1] is required everywhere.

    Example:
        >>> u = Potentials(num_fields=3, dim=4, width=16)
        >>> u.gradient(torch.zeros(5, 4)).shape, u.laplacian(torch.zeros(5, 4)).shape
        (torch.Size([5, 3, 4]), torch.Size([5, 3]))
    """

    def __init__(
        self, num_fields: int, dim: int, width: int = 64, activation: str = "logcosh", time_dependent: bool = False
    ) -> None:
        super().__init__()
        self.num_fields = self.num_controls = num_fields
        self.dim = dim
        self.timed = time_dependent
        self.phi = ACTIVATIONS[activation]
        self.weight = nn.Parameter(torch.randn(num_fields, width, dim) / dim**0.5)
        self.bias = nn.Parameter(torch.rand(num_fields, width) * 2 - 1)
        self.scale = nn.Parameter(torch.randn(num_fields, width) * (0.1 * (dim / max(width, 1)) ** 0.5))
        self.time_weight = nn.Parameter(0.1 * torch.randn(num_fields, width, TIME_FEATURES)) if time_dependent else None
        self.requires_grad_(width > 0)

    def _hidden(self, z: Tensor, t: Tensor | None) -> Tensor:
        h = torch.einsum("...d,khd->...kh", z, self.weight) + self.bias
        if self.time_weight is not None:
            if t is None:
                raise ValueError("these potentials depend on time: t is needed")
            h = h + torch.einsum("...f,khf->...kh", time_features(t), self.time_weight)
        return h

    def forward(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Values u^k(z, t), ``(..., D)`` -> ``(..., K)``."""
        return (self.scale * self.phi.value(self._hidden(z, t))).sum(-1)

    def gradient(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Gradients with respect to z, ``(..., D)`` -> ``(..., K, D)``."""
        return torch.einsum("...kh,khd->...kd", self.scale * self.phi.first(self._hidden(z, t)), self.weight)

    def parts(self, z: Tensor, t: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The gradients, ``(..., D)`` -> ``(..., K, D)``, and as many zeros."""
        gradient = self.gradient(z, t)
        return gradient, torch.zeros_like(gradient)

    def potential_part(self) -> Potentials:
        """These potentials."""
        return self

    @torch.no_grad()
    def rescale(self, factors: Tensor) -> None:
        """Multiply every field by its factor, ``(K,)``."""
        self.scale.mul_(factors[:, None])

    def hessian(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Hessians, ``(..., D)`` -> ``(..., K, D, D)``."""
        curvature = self.scale * self.phi.second(self._hidden(z, t))
        return self.weight.mT @ (curvature.unsqueeze(-1) * self.weight)

    def laplacian(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Laplacians, ``(..., D)`` -> ``(..., K)``."""
        return (self.scale * self.phi.second(self._hidden(z, t)) * self.weight.square().sum(-1)).sum(-1)

    def time_derivative(self, z: Tensor, t: Tensor) -> Tensor:
        """Partial derivatives with respect to t in [0, 1], ``(..., D)`` -> ``(..., K)``; 0 for time-free potentials."""
        if self.time_weight is None:
            return z.new_zeros(*z.shape[:-1], self.num_fields)
        drift = torch.einsum("...f,khf->...kh", time_features_slope(t), self.time_weight)
        return (self.scale * self.phi.first(self._hidden(z, t)) * drift).sum(-1)

    def second_time_derivative(self, z: Tensor, t: Tensor) -> Tensor:
        r"""Second partial derivatives with respect to t in [0, 1], ``(..., D)`` -> ``(..., K)``.

        .. math::
            \partial_t^2 u = a \cdot \big(\phi''(h) \circ (C \tau'(t))^2 + \phi'(h) \circ C \tau''(t)\big)
        """
        if self.time_weight is None:
            return z.new_zeros(*z.shape[:-1], self.num_fields)
        h = self._hidden(z, t)
        slope = torch.einsum("...f,khf->...kh", time_features_slope(t), self.time_weight)
        bend = torch.einsum("...f,khf->...kh", time_features_curvature(t), self.time_weight)
        return (self.scale * (self.phi.second(h) * slope.square() + self.phi.first(h) * bend)).sum(-1)

    def units(self) -> RidgeUnits:
        """The K gradients as ridge units with o_j = a_j w_j; control k drives field k."""
        weight, scale = self.weight.flatten(0, 1), self.scale.flatten()
        time_weight = None if self.time_weight is None else self.time_weight.flatten(0, 1)
        moves, trace = scale.unsqueeze(-1) * weight, scale * weight.square().sum(-1)
        return RidgeUnits.of(self.num_fields, weight, moves, trace, self.phi, time_weight, self.bias.flatten(), True)


def potentials(size: ModelConfig) -> Potentials:
    """Potentials of the sizes of a configuration.

    Example:
        >>> potentials(ModelConfig(num_fields=5)).num_controls
        5
    """
    return Potentials(size.num_fields, size.latent_dim, size.potential_width, size.activation, size.time_dependent)
