"""Planes of latent space: what spans them, what lies on them, and how much does not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ffrl.core.errors import UserError, require

FLAG = "--plane"
NEGLIGIBLE = 1e-9
"""Singular values below this share of the largest count as zero."""
TINY = 1e-24
"""Smallest determinant of a covariance."""


@dataclass(frozen=True)
class Plane:
    r"""A plane z = o + A' c of latent space with coordinates c = A (z - o).

    Args:
        origin: o, ``(D,)``.
        axes: A, orthonormal rows, ``(2, D)``.
        names: of the two axes.
        spanned: what spans it, in words.

    Example:
        >>> plane = Plane(torch.zeros(3), torch.eye(3)[:2], ("first", "second"))
        >>> plane.coordinates(plane.lift(torch.tensor([1.0, 2.0])))
        tensor([1., 2.])
    """

    origin: Tensor
    axes: Tensor
    names: tuple[str, str]
    spanned: str = ""

    def coordinates(self, z: Tensor) -> Tensor:
        """Coordinates of the points nearest to ``z`` on the plane, ``(..., D)`` -> ``(..., 2)``."""
        return (z - self.origin) @ self.axes.T

    def components(self, v: Tensor) -> Tensor:
        """Components of vectors along the axes, ``(..., D)`` -> ``(..., 2)``."""
        return v @ self.axes.T

    def lift(self, coordinates: Tensor) -> Tensor:
        """Points of the plane, ``(..., 2)`` -> ``(..., D)``."""
        return self.origin + coordinates @ self.axes

    def outside(self, v: Tensor) -> float:
        r"""Out-of-plane share of vectors ``(..., D)``, in [0, 1]; 0 for vectors that all vanish.

        .. math:: 1 - \sum \|A v\|^2 / \sum \|v\|^2

        Example:
            >>> round(Plane(torch.zeros(3), torch.eye(3)[:2], ("", "")).outside(torch.tensor([3.0, 0.0, 4.0])), 2)
            0.64
        """
        total = float(v.square().sum())
        return max(0.0, 1 - float(self.components(v).square().sum()) / total) if total > 0 else 0.0


def parse_plane(text: str, dim: int) -> str | tuple[int, int]:
    """Return ``trajectories``, ``pca``, or the two latent axes that ``I,J`` names, counted from 0.

    Raises:
        UserError: for anything else, for axes that are not there, and for a latent space of one dimension.

    Example:
        >>> parse_plane("pca", dim=8), parse_plane("3,0", dim=8)
        ('pca', (3, 0))
    """
    require(dim >= 2, "model.latent-dim", dim, "at least 2 dimensions, to draw a plane of latent space")
    if text in ("trajectories", "pca"):
        return text
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise UserError(f"{FLAG}: found {text!r}, expected trajectories, pca, or two latent axes such as 0,1")
    first, second = map(int, parts)
    distinct = first != second and max(first, second) < dim
    require(distinct, FLAG, text, f"two different latent axes from 0 to {dim - 1}")
    return first, second


def within(trajectories: Tensor) -> Tensor:
    """Trajectories about their own means, ``(..., T+1, D)`` -> the same."""
    return trajectories - trajectories.mean(-2, keepdim=True)


def typical(trajectories: Tensor) -> int:
    """Which of N trajectories spans the plane in which most of the motion of all of them lies.

    Args:
        trajectories: ``(N, T+1, D)``.

    Example:
        >>> steps = torch.eye(3)[[0, 0, 2]][:, None] * torch.tensor([0.0, 1.0, 2.0])[:, None]
        >>> typical(steps)
        0
    """
    motion = within(trajectories)
    axes = torch.linalg.svd(motion, full_matrices=False).Vh[:, :2]
    caught = torch.einsum("ijd,md->imj", axes, motion.flatten(0, 1)).square().sum((-2, -1))
    return int((caught >= caught.max() * (1 - NEGLIGIBLE)).nonzero()[0])


def trajectory_plane(trajectory: Tensor, encoded: Tensor) -> Plane:
    """Plane of two principal directions of a trajectory ``(T+1, D)`` about its mean, oriented so that it runs right.

    A straight trajectory leaves the second direction to the encoded frames ``(M, D)``.

    Example:
        >>> line = torch.tensor([[0.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
        >>> trajectory_plane(line, torch.tensor([[5.0, 0.0, 1.0], [-5.0, 0.0, 0.0]])).axes.abs().round().tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    motion = within(trajectory)
    _, sizes, directions = torch.linalg.svd(motion, full_matrices=False)
    first = directions[0] * (1.0 if (trajectory[-1] - trajectory[0]) @ directions[0] >= 0 else -1.0)
    second = directions[1]
    if sizes[1] <= NEGLIGIBLE * sizes[0]:
        rest = encoded - encoded.mean(0)
        second = _main_directions(rest - (rest @ first)[:, None] * first)[0]
        second = torch.nn.functional.normalize(second - (second @ first) * first, dim=0)
    axes, names = torch.stack([first, _upright(second)]), ("path axis 1", "path axis 2")
    return Plane(trajectory.mean(0), axes, names, "the two main directions of the path")


def pca_plane(encoded: Tensor) -> Plane:
    """Plane of the first two principal components of encoded frames ``(M, D)``, through their mean.

    Example:
        >>> pca_plane(torch.tensor([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])).names
        ('PC 1 (90 % of variance)', 'PC 2 (10 % of variance)')
    """
    centred = encoded - encoded.mean(0)
    axes = torch.stack([_upright(direction) for direction in _main_directions(centred)[:2]])
    shares = (centred @ axes.T).square().sum(0) / centred.square().sum()
    first, second = (f"PC {place + 1} ({100 * float(share):.0f} % of variance)" for place, share in enumerate(shares))
    return Plane(encoded.mean(0), axes, (first, second), "the first two principal components of the encoded frames")


def axis_plane(encoded: Tensor, first: int, second: int) -> Plane:
    """Plane of two latent axes through the mean of encoded frames ``(M, D)``.

    Example:
        >>> axis_plane(torch.ones(4, 3), 2, 0).names
        ('latent axis 2', 'latent axis 0')
    """
    axes = torch.eye(encoded.shape[-1], dtype=encoded.dtype, device=encoded.device)[[first, second]]
    return Plane(encoded.mean(0), axes, (f"latent axis {first}", f"latent axis {second}"), "two latent axes")


def _main_directions(centred: Tensor) -> Tensor:
    """Principal directions, the strongest first, ``(M, D)`` -> ``(D, D)``."""
    return torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(-1).T


def _upright(direction: Tensor) -> Tensor:
    """A direction whose largest component is positive."""
    return direction * (1.0 if direction[direction.abs().argmax()] > 0 else -1.0)


def window(points: Tensor, margin: float) -> tuple[float, float, float, float]:
    """Square ``(left, right, bottom, top)`` around points ``(N, 2)``, ``margin`` of its size wider on each side.

    Example:
        >>> window(torch.tensor([[0.0, 0.0], [2.0, 1.0]]), margin=0.5)
        (-1.0, 3.0, -1.5, 2.5)
    """
    low, high = points.amin(0), points.amax(0)
    half = max((0.5 + margin) * float((high - low).max()), NEGLIGIBLE)
    x, y = ((low + high) / 2).tolist()
    return x - half, x + half, y - half, y + half


def grid(limits: tuple[float, float, float, float], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates x ``(n,)``, y ``(n,)`` and points ``(n, n, 2)``, rows along y, of a regular grid, in float64.

    Example:
        >>> grid((0.0, 1.0, 5.0, 6.0), 2)[2].tolist()
        [[[0.0, 5.0], [1.0, 5.0]], [[0.0, 6.0], [1.0, 6.0]]]
    """
    left, right, bottom, top = limits
    x = torch.linspace(left, right, count, dtype=torch.float64)
    y = torch.linspace(bottom, top, count, dtype=torch.float64)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return x, y, torch.stack([columns, rows], dim=-1)


def bandwidth(points: Tensor) -> float:
    r"""Standard deviation of a Gaussian kernel for N points ``(N, 2)`` by Scott's rule.

    .. math:: h = N^{-1/6} \sqrt{(\sigma_1^2 + \sigma_2^2) / 2}

    Source: Scott, Multivariate Density Estimation (1992), Eq. 6.42, for two dimensions.

    Example:
        >>> round(bandwidth(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 3)
        0.561
    """
    spread = float((points - points.mean(0)).square().mean()) ** 0.5
    return max(len(points) ** (-1 / 6) * spread, NEGLIGIBLE)


def mixture_density(points: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    r"""Density of an even mixture of N Gaussians on a plane; its integral is 1.

    .. math:: p(c) = \frac{1}{N} \sum_i \mathcal{N}(c; m_i, \Sigma_i)

    Args:
        points: where, ``(..., 2)``.
        means: ``(N, 2)``.
        covariances: ``(N, 2, 2)``, or one ``(2, 2)`` for all.

    Returns:
        ``(...)`` per unit of area.

    Example:
        >>> round(float(mixture_density(torch.zeros(2), torch.zeros(5, 2), torch.eye(2))), 4)
        0.1592
    """
    covariances = covariances.expand(len(means), 2, 2)
    (a, b), (_, c) = covariances[:, 0].unbind(-1), covariances[:, 1].unbind(-1)
    determinant = (a * c - b * b).clamp_min(TINY)
    total = torch.zeros_like(points[..., 0]).flatten()
    flat = points.reshape(-1, 2)
    for rows in range(0, len(flat), 1024):
        x, y = (flat[rows : rows + 1024, None] - means).unbind(-1)
        distance = (c * x * x - 2 * b * x * y + a * y * y) / determinant
        total[rows : rows + 1024] = (torch.exp(-distance / 2) / determinant.sqrt()).mean(-1) / (2 * torch.pi)
    return total.view(points.shape[:-1])
