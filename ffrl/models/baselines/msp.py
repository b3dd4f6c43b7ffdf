"""MSP: latents are matrices that a sequence's own matrix moves, estimated by least squares inside the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffrl.config import RunConfig
from ffrl.models.activity import Activity, ActivityDraws, ActivitySample, Phase
from ffrl.models.flow_vae import FlowFactorizedVAE, SequenceNoise, SequenceOutputs
from ffrl.nn.networks import at_least_float32

NEGLIGIBLE = 1e-30
"""Added to the ridge, so that latents that are all zero have a matrix: that of standing still."""


def transition_matrix(latents: Tensor, ridge: float) -> Tensor:
    r"""The matrix that moves a sequence of matrices best.

    .. math:: \arg\min_M \sum_t \|M H_{t-1} - H_t\|^2 + \lambda \|M - I\|^2

    M = (sum H_t H_{t-1}' + lambda I) (sum H_{t-1} H_{t-1}' + lambda I)^{-1}, differentiable (Miyato, Koyama and
    Fukumizu 2022, their internal optimisation; the ridge, which pulls M towards standing still, is ours).

    Args:
        latents: H_0 .. H_n, ``(..., n+1, a, m)``.
        ridge: lambda, relative to the mean diagonal of sum H_{t-1} H_{t-1}'.

    Returns:
        ``(..., a, a)``.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
        >>> first = torch.randn(2, 5, dtype=torch.float64)
        >>> torch.allclose(transition_matrix(torch.stack([first, turn @ first]), ridge=1e-12), turn)
        True
    """
    before, after = latents[..., :-1, :, :], latents[..., 1:, :, :]
    gram, cross = (before @ before.mT).sum(-3), (after @ before.mT).sum(-3)
    weight = ridge * gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] + NEGLIGIBLE
    weight = weight * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    gram, cross = gram + weight, cross + weight
    return torch.linalg.solve(gram, cross.mT).mT


class MatrixActivity(Activity):
    """The matrix of a sequence in place of speeds: its a x a entries, the same at every step.

    Args:
        rows: a.
        ridge: of :func:`transition_matrix`.
        condition: frames, the first ones, from which the matrix is estimated.

    Example:
        >>> MatrixActivity(rows=4, ridge=1e-3, condition=2).infer(torch.randn(2, 9, 20)).shape
        torch.Size([2, 8, 16])
    """

    aligned = False

    def __init__(self, rows: int, ridge: float, condition: int) -> None:
        super().__init__(rows**2, noise_channels=0)
        self.rows, self.ridge, self.condition = rows, ridge, condition

    def phase(self, progress: float, start: float = 0.0) -> Phase:
        """The same throughout training."""
        return Phase()

    def infer(self, means: Tensor) -> Tensor:
        """The least-squares matrix of the first frames, ``(B, T+1, D)`` -> ``(B, T, a^2)``."""
        matrix = transition_matrix(means[:, : self.condition].unflatten(-1, (self.rows, -1)), self.ridge)
        return matrix.flatten(-2).unsqueeze(1).expand(-1, means.shape[1] - 1, -1)

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        """The same as :meth:`infer`: nothing is random."""
        return ActivitySample(self.infer(means), {})

    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        """Raises ValueError: there is no distribution to draw from."""
        raise ValueError("MSP is no probabilistic model: nothing can be drawn from it")


class MSP(FlowFactorizedVAE):
    r"""Meta-sequential prediction: H_t = M H_{t-1} with M from the sequence itself (Miyato, Koyama, Fukumizu 2022).

    A deterministic autoencoder. M comes from the first ``config.model.condition`` frames, and every frame is predicted
    from the first one, in training as in evaluation: with M from all frames predictions are worse.

    Args:
        config: a :class:`~ffrl.models.baselines.config.MSPConfig`.
        image_shape: (C, H, W).

    Example:
        >>> from ffrl.models.baselines.config import MSPConfig
        >>> model = MSP(MSPConfig(), (3, 28, 28))
        >>> frames = torch.rand(2, 9, 3, 28, 28)
        >>> model.flow(model.encode(frames[:, 0]), model.infer(frames)).shape
        torch.Size([2, 9, 512])
    """

    has_likelihood = False
    has_variance = False
    has_fields = False
    prediction = "powers of the least-squares matrix of the first frames, which it sees"

    def build_fields(self, config: RunConfig) -> nn.Module:
        """There are none."""
        return nn.Identity()

    def build_activity(self, config: RunConfig) -> MatrixActivity:
        """Least-squares matrices."""
        return MatrixActivity(config.model.rows, config.model.ridge, config.model.condition)

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of the frames, ``(..., C, H, W)`` -> ``(..., D)``, and zeros: there is no variance."""
        latents = at_least_float32(self.encoder(frames.reshape(-1, *frames.shape[-3:])))
        latents = latents.reshape(*frames.shape[:-3], self.latent_dim)
        return latents, torch.zeros_like(latents)

    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over sequences ``(B, T+1, C, H, W)``; while frames stand alone an autoencoder's."""
        means, _ = self.posterior(frames)
        if phase.still:
            g, latents = means.new_zeros(*noise.activity.shape[:3]), means
        else:
            with torch.autocast(frames.device.type, enabled=False):
                g = self.activity_model.infer(means)
                latents = self.flow(means[:, 0], g)
        nothing = torch.zeros_like(latents[:, 0])
        return SequenceOutputs(
            logits=self.decode_logits(latents),
            latents=latents,
            mean=nothing,
            log_variance=nothing,
            activity=g,
            activity_kl={},
            cross_entropy_weight=phase.cross_entropy_weight if phase.still else None,
        )

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        """Latents moved by matrices, ``z0 (B, D)``, ``g (B, T, a^2)`` -> z_0 .. z_T ``(B, T+1, D)``."""
        rows = self.config.model.rows
        latents = [z0.unflatten(-1, (rows, -1))]
        for matrix in g.unflatten(-1, (rows, rows)).unbind(1):
            latents.append(matrix @ latents[-1])
        return torch.stack(latents, dim=1).flatten(-2)

    def compose(self, g: Tensor, other: Tensor) -> Tensor:
        """One matrix after the other, ``(B, T, a^2)`` twice -> ``(B, T, a^2)``."""
        rows = self.config.model.rows
        return (other.unflatten(-1, (rows, rows)) @ g.unflatten(-1, (rows, rows))).flatten(-2)
