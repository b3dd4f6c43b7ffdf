"""FactorVAE: a discriminator estimates the total correlation of the code, and the encoder lowers it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ffrl.config import RunConfig
from ffrl.config.checks import at_least, non_negative
from ffrl.core.errors import require
from ffrl.models.activity import Phase
from ffrl.models.autoencoder import Networks
from ffrl.models.frame_vae import FrameModelConfig, FrameVAE
from ffrl.models.mode import Mode
from ffrl.models.outputs import SequenceNoise, SequenceOutputs


@dataclass(frozen=True)
class FactorVAEConfig(RunConfig):
    """FactorVAE: a VAE with a penalty on the total correlation of its code (Kim and Mnih, 2018)."""

    needs_transformations = True
    mode: Literal["factor-vae"] = "factor-vae"
    model: FrameModelConfig = field(default_factory=FrameModelConfig)
    total_correlation: float = 6.4
    """Weight gamma of the total correlation."""
    discriminator_width: int = 256
    """Hidden units of the discriminator that estimates it."""
    discriminator_depth: int = 3
    """Its hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        non_negative("total-correlation", self.total_correlation)
        at_least("discriminator-width", self.discriminator_width, 1)
        at_least("discriminator-depth", self.discriminator_depth, 1)
        require(self.batch_size >= 2, "batch-size", self.batch_size, "at least 2: codes are shuffled over the batch")


@dataclass(frozen=True)
class ShuffledNoise(SequenceNoise):
    """Noise of a VAE, and uniform numbers ``(N, D)`` whose order shuffles the code, each dimension by itself."""

    shuffle: Tensor


def shuffled(codes: Tensor, uniform: Tensor) -> Tensor:
    """Codes with every dimension permuted over the batch on its own, ``(N, D)``: draws from the product of marginals.

    Args:
        codes: ``(N, D)``.
        uniform: ``(M, D)`` with M >= N; the ranks of its first N rows are the permutations.

    Example:
        >>> shuffled(torch.tensor([[1.0, 10.0], [2.0, 20.0]]), torch.tensor([[0.1, 0.9], [0.2, 0.3]]))
        tensor([[ 1., 20.],
                [ 2., 10.]])
    """
    return codes.gather(0, uniform[: len(codes)].argsort(0))


class FactorVAE(FrameVAE):
    r"""A VAE with the penalty gamma KL[q(z) || prod_d q(z_d)] (Kim and Mnih 2018).

    A discriminator tells codes from shuffled codes; its logit estimates the density ratio of the two. Both learn in one
    backward pass: the encoder sees the discriminator's logit with the discriminator held fixed, the discriminator sees
    the codes detached. Shuffled codes come from the same batch.

    Example:
        >>> model = MODE.build(FactorVAEConfig(), (3, 28, 28))
        >>> outputs = model(torch.rand(2, 9, 3, 28, 28), model.draw_noise(2, 8, None), model.phase(0.9))
        >>> sorted(outputs.penalties)
        ['discriminator', 'total_correlation']
    """

    def __init__(self, config: FactorVAEConfig, networks: Networks) -> None:
        super().__init__(config, networks)
        self.total_correlation = config.total_correlation
        width = config.discriminator_width
        layers: list[nn.Module] = [nn.Linear(self.latent_dim, width), nn.LeakyReLU(0.2)]
        for _ in range(config.discriminator_depth - 1):
            layers += [nn.Linear(width, width), nn.LeakyReLU(0.2)]
        self.discriminator = nn.Sequential(*layers, nn.Linear(width, 1))

    def draw_noise(
        self, batch_size: int, num_steps: int, generator: torch.Generator | None, device: torch.device | str = "cpu"
    ) -> ShuffledNoise:
        """All noise of one pass, see :meth:`ffrl.models.interface.SequenceModel.draw_noise`."""
        noise = super().draw_noise(batch_size, num_steps, generator, device)
        count = batch_size * (num_steps + 1)
        shuffle = torch.rand(count, self.latent_dim, generator=generator, device=device)
        return ShuffledNoise(noise.latent, noise.others, noise.activity, shuffle)

    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over the frames ``(B, T+1, C, H, W)``, each by itself; both penalties are means over its frames.

        Raises:
            TypeError: the noise is not that of :meth:`draw_noise`.
        """
        if not isinstance(noise, ShuffledNoise):
            raise TypeError(f"noise: found {type(noise).__name__}, expected ShuffledNoise")
        outputs = super().forward(frames, noise, phase)
        codes = outputs.latents.flatten(0, 1)
        fixed = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        estimate = functional_call(self.discriminator, fixed, (codes,)).view(len(frames), -1).sum(1)
        told = self.discriminator(codes.detach()), self.discriminator(shuffled(codes.detach(), noise.shuffle))
        error = 0.5 * (F.softplus(-told[0]) + F.softplus(told[1])).view(len(frames), -1).sum(1)
        weight = self.total_correlation * phase.latent_weight
        return replace(outputs, penalties={"total_correlation": weight * estimate, "discriminator": error})


MODE = Mode(FactorVAEConfig, FactorVAE)
"""The VAE with a penalty on the total correlation of its code."""
