"""VAE and beta-VAE: every frame by itself."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ffrl.config import RunConfig
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.data.base import SequenceData
from ffrl.distributions.priors import gaussian_log_prob
from ffrl.models.activity import GivenActivity, Phase
from ffrl.models.baselines.config import BetaVAEConfig
from ffrl.models.baselines.displacement import Displacements
from ffrl.models.flow_vae import FlowFactorizedVAE, SequenceNoise, SequenceOutputs

CALIBRATION, BATCH = 1024, 64
"""Training images from which displacements are estimated, and how many are encoded at a time."""


class FrameVAE(FlowFactorizedVAE):
    r"""A VAE of single frames, log p(x_t) >= E_q[log p(x_t|z_t)] - KL[q(z_t|x_t) || N(0, I)] (Kingma, Welling 2014).

    It has no dynamics. To predict, the displacement of the latents by one step of each transformation is estimated
    after training, from pairs of training frames, see :class:`~ffrl.models.baselines.displacement.Displacements`.

    Args:
        config: of a mode with a :class:`~ffrl.models.baselines.config.FrameModelConfig`.
        image_shape: (C, H, W).
        modules: ``encoder`` and ``decoder`` of one's own.

    Example:
        >>> from ffrl.models.baselines.config import VAEConfig
        >>> model = FrameVAE(VAEConfig(), (3, 28, 28))
        >>> model.flow(torch.zeros(2, 32), torch.ones(2, 8, 3)).shape
        torch.Size([2, 9, 32])
    """

    has_fields = False
    likelihood_is_given = False
    latent_per_frame = True
    calibrated_at_end = True
    latent_weight = 1.0
    """Weight of the KL of every frame's latent."""

    @property
    def prediction(self) -> str:
        """How the model predicts later frames."""
        kind = self.config.model.displacement
        return f"{kind} latent displacement per transformation, least squares on training pairs; activity given"

    def build_fields(self, config: RunConfig) -> Displacements:
        """Displacements instead of fields."""
        size = config.model
        return Displacements(size.num_fields, size.latent_dim, size.displacement == "affine")

    def build_activity(self, config: RunConfig) -> GivenActivity:
        """Activity is given where anything moves."""
        return GivenActivity(config.model.num_fields)

    def phase(self, progress: float) -> Phase:
        """The first phase is that of every model; after it nothing changes any more."""
        phase = super().phase(progress)
        return replace(phase, latent_weight=self.latent_weight * phase.latent_weight)

    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over the frames ``(B, T+1, C, H, W)``, each by itself."""
        outputs = self._still(*self.posterior(frames), noise, phase)
        return outputs if phase.still else replace(outputs, cross_entropy_weight=None)

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        """Latents moved by the estimated displacements, ``z0 (B, D)``, ``g (B, T, K)`` -> ``(B, T+1, D)``."""
        latents = [z0]
        for step in g.unbind(1):
            latents.append(latents[-1] + self.field_model(latents[-1], step))
        return torch.stack(latents, dim=1)

    def calibrate(self, data: SequenceData, images: int) -> None:
        """Estimate the displacements from the first images of the training split, :data:`CALIBRATION` at most."""
        device = next(self.parameters()).device
        indices = torch.arange(min(images, CALIBRATION), device=data.device)
        before, after = [], []
        with evaluation_mode(self):
            for which in range(self.num_fields):
                means = []
                for part in indices.split(BATCH):
                    frames = data.single("train", part, torch.full_like(part, which)).frames
                    means.append(self.encode(frames.to(device)))
                latents = torch.cat(means)
                before.append(latents[:, :-1].flatten(0, 1))
                after.append(latents[:, 1:].flatten(0, 1))
            self.field_model.estimate(torch.stack(before), torch.stack(after))

    def codes(self, latents: Tensor, activity: Tensor) -> Tensor:
        """What frames are decoded from, given the latents of all of them, ``(..., T+1, D)``: the latents."""
        return latents

    def log_latent_prior(self, latents: Tensor) -> Tensor:
        """log p(z_1, .., z_T | z_0), ``(..., T+1, D)`` -> ``(...)`` nats: frames are independent."""
        return gaussian_log_prob(latents[..., 1:, :]).sum(-1)


class BetaVAE(FrameVAE):
    """A VAE whose KL is weighted by beta (Higgins et al. 2017).

    Example:
        >>> BetaVAE(BetaVAEConfig(beta=2.0), (3, 28, 28)).phase(0.9).latent_weight
        2.0
    """

    def __init__(self, config: BetaVAEConfig, image_shape: tuple[int, int, int], **modules: nn.Module | None) -> None:
        super().__init__(config, image_shape, **modules)
        self.latent_weight = config.beta
