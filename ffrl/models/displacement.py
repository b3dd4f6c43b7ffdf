"""Latent displacements that are estimated from pairs of latents, for models without dynamics of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffrl.core.device import exact

RIDGE = 1e-4
"""Relative to the mean square of the latents."""


class Displacements(nn.Module):
    r"""Displacements A_k z + b_k of one unit step of every transformation; zero until they are estimated.

    .. math:: z_t = z_{t-1} + \sum_k g_t^k (A_k z_{t-1} + b_k)

    Args:
        num_transformations: K.
        dim: latent dimension D.
        affine: estimate A and b, or b alone with A = 0.

    Example:
        >>> displacements = Displacements(2, dim=3)
        >>> before = torch.randn(2, 50, 3)
        >>> displacements.estimate(before, before + torch.tensor([1.0, 0.0, 2.0]))
        >>> displacements(torch.zeros(1, 3), torch.tensor([[1.0, 0.0]])).round(decimals=2)
        tensor([[1., 0., 2.]])
    """

    matrix: Tensor
    offset: Tensor

    def __init__(self, num_transformations: int, dim: int, affine: bool = True) -> None:
        super().__init__()
        self.affine = affine
        self.register_buffer("matrix", torch.zeros(num_transformations, dim, dim))
        self.register_buffer("offset", torch.zeros(num_transformations, dim))

    def forward(self, z: Tensor, g: Tensor) -> Tensor:
        """Displacements of ``z (..., D)`` under ``g (..., K)``: ``(..., D)``."""
        each = torch.einsum("...d,ked->...ke", z, self.matrix) + self.offset
        return torch.einsum("...k,...ke->...e", g, each)

    def estimate_of_sequences(self, latents: Tensor, activity: Tensor) -> None:
        r"""Set A and b to the least-squares estimate from sequences in which several transformations may act.

        .. math:: \min_{A, b} \sum_i \| z'_i - z_i - \sum_k g_i^k (A_k z_i + b_k) \|^2
            + \lambda \sum_k (\|A_k\|^2 + \|b_k\|^2)

        computed in float64, with lambda as in :meth:`estimate`; zero for what never acts.

        Args:
            latents: z_0 .. z_T, ``(N, T+1, D)``.
            activity: g_1 .. g_T, ``(N, T, K)``.

        Example:
            >>> displacements, activity = Displacements(2, dim=3), torch.rand(40, 5, 2)
            >>> moved = activity @ torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
            >>> displacements.estimate_of_sequences(torch.nn.functional.pad(moved.cumsum(1), (0, 0, 1, 0)), activity)
            >>> displacements(torch.zeros(1, 3), torch.tensor([[1.0, 0.0]])).round(decimals=1)
            tensor([[1., 0., 2.]])
        """
        z, g = exact(latents[:, :-1]).flatten(0, 1), exact(activity).flatten(0, 1)
        step = exact(latents[:, 1:]).flatten(0, 1) - z
        count, (kinds, dim) = len(z), self.offset.shape
        columns = torch.cat([(g[..., None] * z[:, None]).flatten(1), g], 1) if self.affine else g
        ridge = RIDGE * count * z.square().mean().clamp_min(1e-12)
        normal = columns.T @ columns + ridge * torch.eye(columns.shape[1], dtype=z.dtype, device=z.device)
        found = torch.linalg.solve(normal, columns.T @ step)
        matrix = found[: kinds * dim].view(kinds, dim, dim).mT if self.affine else z.new_zeros(kinds, dim, dim)
        self.matrix.copy_(matrix)
        self.offset.copy_(found[-kinds:])

    def estimate(self, before: Tensor, after: Tensor) -> None:
        r"""Set A and b to the least-squares estimate from pairs of latents one unit step apart.

        .. math:: \min_{A, b} \sum_i \| z'_i - z_i - A z_i - b \|^2 + \lambda \|A\|^2

        computed in float64, with z centred and lambda = :data:`RIDGE` N times its mean square.

        Args:
            before: z, N pairs for each transformation, ``(K, N, D)``.
            after: z', of the same shape.
        """
        z, step = exact(before), exact(after) - exact(before)
        centre, mean = z.mean(1, keepdim=True), step.mean(1, keepdim=True)
        matrix = z.new_zeros(self.matrix.shape)
        if self.affine:
            z, rest = z - centre, step - mean
            gram = z.mT @ z
            ridge = RIDGE * z.square().mean((1, 2)) * z.shape[1]
            gram.diagonal(dim1=-2, dim2=-1).add_(ridge.unsqueeze(-1))
            matrix = torch.linalg.solve(gram, z.mT @ rest).mT
        self.matrix.copy_(matrix)
        self.offset.copy_((mean - centre @ matrix.mT).squeeze(1))
