"""Divergence-free fields by construction: skew-symmetric matrices applied to gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.protocol import RowFields
from ffrl.fields.ridge import TIME_FEATURES, RidgeUnits


class RotationalFields(RowFields):
    r"""K fields r^k = sum_m S_m grad H_m with S_m = P_m Q_m' - Q_m P_m' and H_m = c_m |z|^2 / 2 + a . phi(W z + b).

    The divergence vanishes identically for any weights, because

    .. math:: \nabla\cdot r = \sum_m \mathrm{tr}(S_m \nabla^2 H_m) = 0

    is the trace of a skew-symmetric times a symmetric matrix (STA, divergence-free flow fields). The quadratic part of
    H_m gives the linear rotation c_m S_m z.

    Args:
        num_fields: K.
        dim: latent dimension D.
        width: hidden units per field, divided evenly among the terms.
        terms: M, skew-symmetric matrices per field.
        rank: columns of P_m and Q_m.
        activation: name of phi in :data:`ffrl.fields.activations.ACTIVATIONS`.
        time_dependent: whether tau(t) enters the projections.

    Raises:
        ValueError: if ``width`` is no multiple of ``terms``.

    Example:
        >>> r = RotationalFields(num_fields=2, dim=6, width=8)
        >>> units = r.units()
        >>> jacobian = units.jacobian(torch.randn(6), torch.ones(2))
        >>> bool(jacobian.diagonal().sum().abs() < 1e-6)
        True
    """

    def __init__(
        self,
        num_fields: int,
        dim: int,
        width: int = 64,
        terms: int = 2,
        rank: int = 8,
        activation: str = "logcosh",
        time_dependent: bool = False,
    ) -> None:
        super().__init__()
        if width % terms:
            raise ValueError(f"width: found {width}, expected a multiple of the {terms} terms")
        self.num_fields = self.num_controls = num_fields
        self.timed = time_dependent
        self.dim = dim
        self.phi = ACTIVATIONS[activation]
        units = width // terms
        self.weight = nn.Parameter(torch.randn(num_fields, terms, units, dim) / dim**0.5)
        self.bias = nn.Parameter(torch.rand(num_fields, terms, units) * 2 - 1)
        self.scale = nn.Parameter(torch.randn(num_fields, terms, units) * (0.1 * (dim / width) ** 0.5))
        self.linear = nn.Parameter(0.05 * torch.randn(num_fields, terms))
        self.left = nn.Parameter(torch.randn(num_fields, terms, dim, rank) / (dim * rank) ** 0.25)
        self.right = nn.Parameter(torch.randn(num_fields, terms, dim, rank) / (dim * rank) ** 0.25)
        shape = (num_fields, terms, units, TIME_FEATURES)
        self.time_weight = nn.Parameter(0.1 * torch.randn(shape)) if time_dependent else None

    def skew(self) -> Tensor:
        """The matrices S_m, ``(K, M, D, D)``."""
        product = self.left @ self.right.mT
        return product - product.mT

    @torch.no_grad()
    def rescale(self, factors: Tensor) -> None:
        """Multiply every field by its factor, ``(K,)``."""
        self.scale.mul_(factors[:, None, None])
        self.linear.mul_(factors[:, None])

    def units(self) -> RidgeUnits:
        """The K fields as ridge units; control k drives field k, and every trace is exactly zero."""
        left, right = self.left, self.right
        outputs = self.scale.unsqueeze(-1) * ((self.weight @ right) @ left.mT - (self.weight @ left) @ right.mT)
        linear = self.linear[..., None, None]
        weights = self.weight.reshape(-1, self.dim), self._rows(right), self._rows(left)
        moves = outputs.reshape(-1, self.dim), self._rows(linear * left), self._rows(-linear * right)
        moving = None if self.time_weight is None else self.time_weight.reshape(-1, TIME_FEATURES)
        smooth = self._block(weights[0], moves[0], moving, self.bias.flatten())
        still = None if moving is None else moving.new_zeros(len(weights[1]), TIME_FEATURES)
        return smooth.cat(*(self._block(*pair, still) for pair in zip(weights[1:], moves[1:], strict=True)))

    def _block(
        self, weight: Tensor, output: Tensor, time_weight: Tensor | None, bias: Tensor | None = None
    ) -> RidgeUnits:
        """Units ``(N, D)`` without any trace: smooth ones, which have a bias, or linear ones."""
        trace = torch.zeros_like(weight[:, 0])
        return RidgeUnits.of(
            self.num_fields, weight, output, trace, self.phi, time_weight, bias, smooth=bias is not None
        )

    def _rows(self, columns: Tensor) -> Tensor:
        """``(K, M, D, R)`` -> ``(K M R, D)``: the columns of every matrix, as rows."""
        return columns.mT.reshape(-1, self.dim)
