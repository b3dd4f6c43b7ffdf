"""Encoder and decoder of a model, and what all models that have them share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from ffrl.config import ModelConfig, StillConfig
from ffrl.models.activity import Phase, still_phase
from ffrl.models.frame_kind import PIXELS, FrameKind
from ffrl.models.interface import SequenceModel
from ffrl.models.outputs import SequenceNoise, SequenceOutputs
from ffrl.nn.networks import at_least_float32, build_decoder, build_encoder, require_output

INITIAL_LOG_VARIANCE = -8.0
"""Of q(z_0 | x_0) at the first step: at 0 the noise drowns the means, and the decoder long learns to ignore them. The
encoder's last bias has it at first; to what an encoder of one's own says it is added."""


@dataclass(frozen=True)
class Networks:
    """An encoder, a decoder, and what is to be known of them.

    Args:
        encoder: images ``(N, C, H, W)``, or what is seen of vectors, to ``(N, n D)``.
        decoder: codes ``(N, D)`` to pixel logits ``(N, C, H, W)``, or to what is said of vectors.
        image_shape: (C, H, W), or (F,) of vectors.
        latent_dim: D.
        frame_kind: what a frame is.
        own: classes of those that are not of this package, by name.
        first_log_variance: added to what the encoder says of log-variances.
    """

    encoder: nn.Module
    decoder: nn.Module
    image_shape: tuple[int, ...]
    latent_dim: int
    frame_kind: FrameKind = PIXELS
    own: dict[str, str] = field(default_factory=dict)
    first_log_variance: float = 0.0


def build_networks(
    size: ModelConfig,
    image_shape: tuple[int, ...],
    outputs: int = 2,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    frame_kind: FrameKind = PIXELS,
) -> Networks:
    """The networks of a configuration, or those that are given.

    Args:
        size: their architecture and sizes.
        image_shape: (C, H, W), or (F,) of vectors.
        outputs: n, numbers that the encoder gives for every latent dimension.
        encoder, decoder: modules of one's own.
        frame_kind: what a frame is.

    Raises:
        UserError: a module of one's own has outputs of another shape.

    Example:
        >>> networks = build_networks(ModelConfig(latent_dim=6), (3, 28, 28))
        >>> networks.encoder(torch.rand(2, 3, 28, 28)).shape, networks.own
        (torch.Size([2, 12]), {})
    """
    shape, dim = tuple(image_shape), size.latent_dim
    seen, said = frame_kind.entered(shape), frame_kind.outputs(shape)
    own = {
        name: f"{type(module).__module__}.{type(module).__qualname__}"
        for name, module in (("encoder", encoder), ("decoder", decoder))
        if module is not None
    }
    if encoder is None:
        encoder = built = build_encoder(size.architecture, seen, outputs * dim, size.width, size.depth)
        if outputs > 1:
            with torch.no_grad():
                cast(nn.Linear, built[-1]).bias[outputs * dim // 2 :] = INITIAL_LOG_VARIANCE
    else:
        require_output("encoder", encoder, seen, (outputs * dim,))
    if decoder is None:
        decoder = build_decoder(size.architecture, said, dim, size.width, size.depth)
    else:
        require_output("decoder", decoder, (dim,), said)
    first = INITIAL_LOG_VARIANCE if "encoder" in own else 0.0
    return Networks(encoder, decoder, shape, dim, frame_kind, own, first)


class Autoencoder(SequenceModel):
    """What encodes and decodes single frames; subclasses say how latents are moved.

    Args:
        networks: encoder and decoder.
        num_fields: K.
        num_steps: T.
        still: the first phase of training, in which frames stand alone.
        penalties: on what moves the latents, for those that have any; their parameters come first.
    """

    def __init__(
        self,
        networks: Networks,
        num_fields: int,
        num_steps: int,
        still: StillConfig,
        penalties: Iterable[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.penalties = nn.ModuleList(penalties)
        self.image_shape, self.latent_dim = networks.image_shape, networks.latent_dim
        self.num_fields, self.num_steps, self.still = num_fields, num_steps, still
        self.own_modules, self.first_log_variance = networks.own, networks.first_log_variance
        self.encoder, self.decoder = networks.encoder, networks.decoder
        self.frame_kind = networks.frame_kind

    def encoded(self, frames: Tensor) -> Tensor:
        """What the encoder says of frames, ``(..., C, H, W)`` -> ``(..., n D)``."""
        before, shape = frames.shape[: -self.frame_kind.rank], frames.shape[-self.frame_kind.rank :]
        found = at_least_float32(self.encoder(self.frame_kind.enter(frames.reshape(-1, *shape))))
        return found.reshape(*before, found.shape[-1])

    def decode_logits(self, z: Tensor) -> Tensor:
        """Pixel logits, ``(..., D)`` -> ``(..., C, H, W)``."""
        logits = at_least_float32(self.decoder(z.reshape(-1, z.shape[-1])))
        return logits.reshape(*z.shape[:-1], *logits.shape[1:])

    def phase(self, progress: float) -> Phase:
        """Frames stand alone at first; after that nothing changes any more."""
        return still_phase(progress, self.still) if progress < self.still.fraction else Phase()


class VariationalAutoencoder(Autoencoder):
    """An autoencoder with the posterior q(z | x) = N(mean, exp(log-variance)) of every frame by itself."""

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), ``(..., C, H, W)`` -> two of ``(..., D)``."""
        mean, log_variance = self.encoded(frames).chunk(2, dim=-1)
        return mean, (log_variance + self.first_log_variance) if self.first_log_variance else log_variance

    def encode(self, frames: Tensor) -> Tensor:
        """Posterior means, frames in [0, 1] ``(..., C, H, W)`` -> ``(..., D)``."""
        return self.posterior(frames)[0]

    def alone(self, means: Tensor, log_variances: Tensor, noise: SequenceNoise, phase: Phase) -> SequenceOutputs:
        """Outputs with every frame as a sequence of its own: nothing moves and no activity is inferred.

        Args:
            means, log_variances: of all frames, ``(B, T+1, D)``.
            noise: of the pass.
            phase: where training stands.
        """
        latents = means + torch.exp(0.5 * log_variances) * noise.of_frames()
        return SequenceOutputs(
            logits=self.decode_logits(latents),
            latents=latents,
            mean=means,
            log_variance=log_variances,
            activity=means.new_zeros(*noise.others.shape[:2], self.num_controls),
            activity_kl={},
            latent_weight=phase.latent_weight,
            cross_entropy_weight=phase.cross_entropy_weight,
            frame_kind=self.frame_kind,
        )
