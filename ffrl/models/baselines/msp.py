"""MSP: latents are matrices that a sequence's own matrix moves, estimated by least squares inside the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ffrl.config import ModelConfig, RunConfig
from ffrl.config.checks import at_least, positive
from ffrl.core.errors import require
from ffrl.models.activity import ActivityKind, Phase
from ffrl.models.autoencoder import Autoencoder, Networks
from ffrl.models.mode import Mode
from ffrl.models.outputs import SequenceNoise, SequenceOutputs

NEGLIGIBLE = 1e-30
"""Added to the ridge, so that latents that are all zero have a matrix: that of standing still."""


@dataclass(frozen=True)
class MatrixModelConfig(ModelConfig):
    """Encoder and decoder of latents that are matrices; there are no fields."""

    latent_dim: int = 512
    """D = rows x columns of a latent."""
    rows: int = 16
    """Rows a of a latent, moved by one a x a matrix per transition; at most as many as columns."""
    condition: int = 2
    """Frames of a sequence, the first ones, from which that matrix is estimated."""
    ridge: float = 1e-3
    """Ridge of the least squares, relative to the mean square of the latents."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.rows", self.rows, 1)
        at_least("model.condition", self.condition, 2)
        positive("model.ridge", self.ridge)
        expected = f"a multiple of {self.rows} rows, at least {self.rows**2}"
        fits = self.latent_dim % self.rows == 0 and self.latent_dim >= self.rows**2
        require(fits, "model.latent-dim", self.latent_dim, expected)


@dataclass(frozen=True)
class MSPConfig(RunConfig):
    """MSP: latents move by a matrix that is estimated from each sequence by least squares (Miyato et al., 2022)."""

    sequences = "single"
    mode: Literal["msp"] = "msp"
    model: MatrixModelConfig = field(default_factory=MatrixModelConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        frames = self.data.num_steps + 1
        expected = f"at most {frames}, the frames of a sequence"
        require(self.model.condition <= frames, "model.condition", self.model.condition, expected)


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


class MSP(Autoencoder):
    r"""Meta-sequential prediction: H_t = M H_{t-1} with M from the sequence itself (Miyato, Koyama, Fukumizu 2022).

    A deterministic autoencoder. M comes from the first ``config.model.condition`` frames, and every frame is predicted
    from the first one, in training as in evaluation: with M from all frames predictions are worse. Its activity is that
    matrix: a x a entries, the same at every step.

    Args:
        config: of its sizes.
        networks: encoder and decoder.

    Example:
        >>> model = MODE.build(MSPConfig(), (3, 28, 28))
        >>> frames = torch.rand(2, 9, 3, 28, 28)
        >>> model.flow(model.encode(frames[:, 0]), model.infer(frames)).shape
        torch.Size([2, 9, 512])
    """

    activity_kind = ActivityKind.OPAQUE
    prediction = "powers of the least-squares matrix of the first frames, which it sees"

    def __init__(self, config: MSPConfig, networks: Networks) -> None:
        size = config.model
        super().__init__(networks, size.num_fields, config.data.num_steps, config.still)
        self.rows, self.ridge, self.condition = size.rows, size.ridge, size.condition

    @property
    def num_controls(self) -> int:
        """a^2, the entries of a matrix."""
        return self.rows**2

    def encode(self, frames: Tensor) -> Tensor:
        """Latents of frames, ``(..., C, H, W)`` -> ``(..., D)``."""
        return self.encoded(frames)

    def draw_noise(
        self, batch_size: int, num_steps: int, generator: torch.Generator | None, device: torch.device | str = "cpu"
    ) -> SequenceNoise:
        """None: nothing is random."""
        return SequenceNoise.draw((batch_size, num_steps), 0, (self.num_controls, 0), generator, device)

    def matrices(self, means: Tensor) -> Tensor:
        """The least-squares matrix of the first frames at every step, ``(B, T+1, D)`` -> ``(B, T, a^2)``."""
        matrix = transition_matrix(means[:, : self.condition].unflatten(-1, (self.rows, -1)), self.ridge)
        return matrix.flatten(-2).unsqueeze(1).expand(-1, means.shape[1] - 1, -1)

    def infer(self, frames: Tensor) -> Tensor:
        """The matrix of frames ``(B, T+1, C, H, W)``, at every step: ``(B, T, a^2)``."""
        return self.matrices(self.encode(frames))

    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over sequences ``(B, T+1, C, H, W)``; while frames stand alone an autoencoder's."""
        means = self.encode(frames)
        if phase.still:
            g, latents = means.new_zeros(*noise.activity.shape[:3]), means
        else:
            with torch.autocast(frames.device.type, enabled=False):
                g = self.matrices(means)
                latents = self.flow(means[:, 0], g)
        nothing = torch.zeros_like(latents[:, 0])
        return SequenceOutputs(
            frame_kind=self.frame_kind,
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
        latents = [z0.unflatten(-1, (self.rows, -1))]
        for matrix in g.unflatten(-1, (self.rows, self.rows)).unbind(1):
            latents.append(matrix @ latents[-1])
        return torch.stack(latents, dim=1).flatten(-2)

    def compose(self, g: Tensor, other: Tensor) -> Tensor:
        """One matrix after the other, ``(B, T, a^2)`` twice -> ``(B, T, a^2)``."""
        square = self.rows, self.rows
        return (other.unflatten(-1, square) @ g.unflatten(-1, square)).flatten(-2)


MODE = Mode(MSPConfig, MSP, outputs=1)
"""Latents moved by a matrix that is estimated from each sequence; its encoder gives no variance."""
