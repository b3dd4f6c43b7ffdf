"""VAEs of single frames, which have no dynamics: what those of them that are baselines share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor

from ffrl.config import ModelConfig, RunConfig
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.data.base import SequenceData
from ffrl.distributions.priors import gaussian_log_prob
from ffrl.models.activity import ActivityKind, Phase
from ffrl.models.autoencoder import Networks, VariationalAutoencoder
from ffrl.models.displacement import Displacements
from ffrl.models.outputs import SequenceNoise, SequenceOutputs

CALIBRATION, BATCH = 1024, 64
"""Training images from which displacements are estimated, and how many are encoded at a time."""


@dataclass(frozen=True)
class FrameModelConfig(ModelConfig):
    """Encoder and decoder of single frames, and how their latents are moved once they are trained."""

    displacement: Literal["affine", "constant"] = "affine"
    """Latent displacement per transformation, estimated from training pairs: A z + b, or b alone."""


class FrameVAE(VariationalAutoencoder):
    r"""A VAE of single frames, log p(x_t) >= E_q[log p(x_t|z_t)] - KL[q(z_t|x_t) || N(0, I)] (Kingma, Welling 2014).

    It has no dynamics. To predict, the displacement of the latents by one step of each transformation is estimated
    after training, from pairs of training frames, see :class:`~ffrl.models.displacement.Displacements`.

    Args:
        config: of a mode with a :class:`FrameModelConfig`.
        networks: encoder and decoder.
        latent_weight: weight of the KL of every frame's latent.

    Example:
        >>> from ffrl.models.baselines.vae import MODE
        >>> model = MODE.build(MODE.config(), (3, 28, 28))
        >>> model.flow(torch.zeros(2, 48), torch.ones(2, 8, 3)).shape
        torch.Size([2, 9, 48])
    """

    activity_kind = ActivityKind.GIVEN

    def __init__(self, config: RunConfig, networks: Networks, latent_weight: float = 1.0) -> None:
        size = cast(FrameModelConfig, config.model)
        super().__init__(networks, size.num_fields, config.data.num_steps, config.still)
        self.latent_weight = latent_weight
        self.displacements = Displacements(size.num_fields, size.latent_dim, size.displacement == "affine")
        self.prediction = (
            f"{size.displacement} latent displacement per transformation, least squares on training pairs; activity "
            "given"
        )

    @property
    def num_controls(self) -> int:
        """K, one for each transformation."""
        return self.num_fields

    def conditional(self) -> bool:
        """False: nothing moves in the model whose likelihood it is."""
        return False

    def phase(self, progress: float) -> Phase:
        """That of every model, with the weight of the KL."""
        phase = super().phase(progress)
        return replace(phase, latent_weight=self.latent_weight * phase.latent_weight)

    def draw_noise(
        self, batch_size: int, num_steps: int, generator: torch.Generator | None, device: torch.device | str = "cpu"
    ) -> SequenceNoise:
        """Normal noise of all frames."""
        return SequenceNoise.draw((batch_size, num_steps), self.latent_dim, (self.num_controls, 0), generator, device)

    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over the frames ``(B, T+1, C, H, W)``, each by itself."""
        outputs = self.alone(*self.posterior(frames), noise, phase)
        return outputs if phase.still else replace(outputs, cross_entropy_weight=None)

    def infer(self, frames: Tensor) -> Tensor:
        """Raises ValueError: activity is given where anything moves."""
        raise ValueError("a model of single frames infers no activity: its activity is given")

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        """Latents moved by the estimated displacements, ``z0 (B, D)``, ``g (B, T, K)`` -> ``(B, T+1, D)``."""
        latents = [z0]
        for step in g.unbind(1):
            latents.append(latents[-1] + self.displacements(latents[-1], step))
        return torch.stack(latents, dim=1)

    def calibrate(self, data: SequenceData, images: int) -> None:
        """Estimate the displacements from the first images of the training split, :data:`CALIBRATION` at most."""
        device = next(self.parameters()).device
        indices = torch.arange(min(images, CALIBRATION), device=data.device)
        if not data.prescribed:
            self._calibrate_as_they_are(data, indices, device)
            return
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
            self.displacements.estimate(torch.stack(before), torch.stack(after))

    def _calibrate_as_they_are(self, data: SequenceData, indices: Tensor, device: torch.device) -> None:
        """Estimate the displacements from sequences of which no single transformation can be asked for."""
        means, activity = [], []
        with evaluation_mode(self):
            for part in indices.split(BATCH):
                batch = data.mixed("train", part, torch.Generator(data.device))
                means.append(self.encode(batch.frames.to(device)))
                activity.append(batch.activity.to(device))
            self.displacements.estimate_of_sequences(torch.cat(means), torch.cat(activity))

    def codes(self, latents: Tensor, activity: Tensor) -> Tensor:
        """What frames are decoded from, given the latents of all of them, ``(..., T+1, D)``: the latents."""
        return latents

    def log_latent_prior(self, latents: Tensor) -> Tensor:
        """log p(z_1, .., z_T | z_0), ``(..., T+1, D)`` -> ``(...)`` nats: frames are independent."""
        return gaussian_log_prob(latents[..., 1:, :]).sum(-1)
