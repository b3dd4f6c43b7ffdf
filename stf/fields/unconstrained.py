"""Vector fields without a constraint, whose divergence is left to a penalty."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffrl.fields.activations import ACTIVATIONS
from ffrl.fields.protocol import RowFields
from ffrl.fields.ridge import TIME_FEATURES, RidgeUnits


def comparable_width(dim: int, width: int, terms: int, rank: int) -> int:
    """Hidden units that give an unconstrained field as many parameters as a divergence-free one of this size.

    Args:
        dim: latent dimension D.
        width, terms, rank: size of a field of :class:`stf.fields.rotational.RotationalFields`.

    Example:
        >>> comparable_width(dim=32, width=64, terms=2, rank=8)
        49
    """
    return max(1, round((width * (dim + 2) + terms * (1 + 2 * dim * rank)) / (2 * dim + 1)))


class UnconstrainedFields(RowFields):
    r"""K fields r^k(z, t) = sum_j v_j phi'(w_j . z + b_j + c_j . tau(t)), networks of one hidden layer.

    Their divergence is as good as a penalty makes it (STA, divergence-free flow fields); it has a closed form,

    .. math:: \nabla\cdot r = \sum_j (v_j \cdot w_j) \, \phi''(h_j).

    Args:
        num_fields: K.
        dim: latent dimension D.
        width: hidden units per field.
        activation: name of phi in :data:`ffrl.fields.activations.ACTIVATIONS`, whose slope the hidden units have.
        time_dependent: whether tau(t) enters the projections.

    Example:
        >>> r = UnconstrainedFields(num_fields=3, dim=4, width=16)
        >>> r.units().velocity(torch.zeros(5, 4), torch.ones(5, 3)).shape, r.divergence(torch.zeros(5, 4)).shape
        (torch.Size([5, 4]), torch.Size([5, 3]))
    """

    def __init__(
        self, num_fields: int, dim: int, width: int = 49, activation: str = "logcosh", time_dependent: bool = False
    ) -> None:
        super().__init__()
        self.num_fields = self.num_controls = num_fields
        self.timed = time_dependent
        self.phi = ACTIVATIONS[activation]
        self.weight = nn.Parameter(torch.randn(num_fields, width, dim) / dim**0.5)
        self.bias = nn.Parameter(torch.rand(num_fields, width) * 2 - 1)
        self.output = nn.Parameter(torch.randn(num_fields, width, dim) * (0.1 / width**0.5))
        self.time_weight = nn.Parameter(0.1 * torch.randn(num_fields, width, TIME_FEATURES)) if time_dependent else None

    @torch.no_grad()
    def rescale(self, factors: Tensor) -> None:
        """Multiply every field by its factor, ``(K,)``."""
        self.output.mul_(factors[:, None, None])

    def units(self) -> RidgeUnits:
        """The K fields as ridge units with o_j = v_j; control k drives field k."""
        weight, output = self.weight.flatten(0, 1), self.output.flatten(0, 1)
        trace = (output * weight).sum(-1)
        time_weight = None if self.time_weight is None else self.time_weight.flatten(0, 1)
        return RidgeUnits.of(self.num_fields, weight, output, trace, self.phi, time_weight, self.bias.flatten(), True)

    def divergence(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """Divergence of every field at unit speed, ``z (..., D)``, t broadcastable to ``(...)`` -> ``(..., K)``."""
        alone = torch.eye(self.num_fields, dtype=z.dtype, device=z.device)
        return self.units().divergence(z.unsqueeze(-2), alone, None if t is None else t.unsqueeze(-1))

    def penalty(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        r"""Squared divergence, summed over fields and averaged over steps: ``z (B, T, D)``, ``t (T,)`` -> ``(B,)``.

        .. math:: \frac{1}{T} \sum_{t=1}^T \sum_k (\nabla\cdot r^k)^2 (z_{t-1}, t)

        Example:
            >>> UnconstrainedFields(num_fields=3, dim=4, width=16).penalty(torch.zeros(5, 8, 4)).shape
            torch.Size([5])
        """
        return self.divergence(z, t).square().sum(-1).mean(-1)
