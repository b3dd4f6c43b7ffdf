"""TVAE: capsules whose activity rolls from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from ffrl.config import ModelConfig, RunConfig
from ffrl.config.checks import at_least
from ffrl.core.errors import require
from ffrl.distributions.priors import gaussian_log_prob
from ffrl.models.activity import ActivityKind, Phase
from ffrl.models.autoencoder import Networks, VariationalAutoencoder
from ffrl.models.mode import Mode
from ffrl.models.outputs import SequenceNoise, SequenceOutputs

CAPSULES = 2
"""Capsules by default for each transformation."""

FLOOR = 0.1
"""Added to mean squares below a root: without it a single frame, whose window is short, has codes of any size."""


@dataclass(frozen=True)
class CapsuleModelConfig(ModelConfig):
    """Encoder, decoder and capsules, which the transformations share out among themselves in turn."""

    latent_dim: int = 72
    """D, a multiple of the capsules' size."""
    capsule_size: int = 12
    """Units of a capsule; the roll is cyclic, so that sequences should have fewer steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.capsule-size", self.capsule_size, 2)
        size, least = self.capsule_size, self.num_fields * self.capsule_size
        expected = f"a multiple of {size} from {least} on: at least one capsule for each of {self.num_fields} fields"
        fits = self.latent_dim % size == 0 and self.latent_dim >= least
        require(fits, "model.latent-dim", self.latent_dim, expected)


@dataclass(frozen=True)
class TVAEConfig(RunConfig):
    """TVAE: the activity of capsules rolls from frame to frame (Keller and Welling, 2021)."""

    sequences = "labelled"
    needs_transformations = True
    mode: Literal["tvae"] = "tvae"
    model: CapsuleModelConfig = field(default_factory=CapsuleModelConfig)
    location: float = 0.0
    """Initial value of the learnable location mu in t = (z - mu) / sqrt(mean u^2)."""
    predicted: float = 0.5
    """Share of the training sequences that are decoded from the rolled codes of their first frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 <= self.predicted <= 1.0, "predicted", self.predicted, "a number in [0, 1]")

    def for_transformations(self, count: int) -> Self:
        """With :data:`CAPSULES` capsules for each of so many transformations."""
        dim = CAPSULES * count * self.model.capsule_size
        return replace(self, model=replace(self.model, num_fields=count, latent_dim=dim))


def roll(capsules: Tensor, shift: Tensor) -> Tensor:
    """Roll the last axis cyclically by any real shift, linearly between whole ones.

    Args:
        capsules: ``(..., n)``.
        shift: broadcastable to ``(...)``; positive to the right.

    Returns:
        ``(..., n)``; for whole shifts what :func:`torch.roll` gives.

    Example:
        >>> roll(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]), torch.tensor([1.0, 2.5]))
        tensor([[0.0000, 1.0000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.5000, 0.5000]])
    """
    size = capsules.shape[-1]
    shift = shift.expand(capsules.shape[:-1]).unsqueeze(-1)
    whole = shift.floor()
    places = torch.arange(size, device=capsules.device) - whole.long()
    near, far = capsules.gather(-1, places % size), capsules.gather(-1, (places - 1) % size)
    return torch.lerp(near, far, shift - whole)


class TVAE(VariationalAutoencoder):
    r"""A topographic VAE with shifting capsules (Keller and Welling 2021), one group per transformation.

    Every frame has two Gaussian latents, z_t and u_t, side by side in the posterior, and is decoded from

    .. math::
        t_l = (z_l - \mu) \Big/ \sqrt{\epsilon + \tfrac{1}{l+1} \sum_{l'=0}^{l} Roll_{s_l - s_{l'}}(W u_{l'}^2)},
        \qquad s_l = \sum_{i \le l} g_i

    within every capsule, W being the mean over three neighbours, so that activity is bound to roll with the
    transformation. To predict, t_0 of the first frame is rolled.

    These are choices of this project: the window reaches into the past alone, and its sum is divided by its length, so
    that the first frame, which has no past, has codes of the same size; capsules of one transformation stay while
    another one acts; epsilon is :data:`FLOOR`; and a share of the training sequences, ``config.predicted``, is decoded
    from the rolled codes of the first frame, without which the decoder never sees such codes and predicts badly.

    Args:
        config: of its sizes.
        networks: encoder and decoder; the encoder gives both latents.

    Example:
        >>> model = MODE.build(TVAEConfig(), (3, 28, 28))
        >>> model.flow(model.encode(torch.rand(2, 3, 28, 28)), torch.ones(2, 8, 3)).shape
        torch.Size([2, 9, 72])
    """

    owner: Tensor
    activity_kind = ActivityKind.GIVEN
    prediction = "the first frame's capsules, rolled; activity given"

    def __init__(self, config: TVAEConfig, networks: Networks) -> None:
        size = config.model
        super().__init__(networks, size.num_fields, config.data.num_steps, config.still)
        self.capsule_size, self.predicted = size.capsule_size, config.predicted
        owner = torch.arange(self.latent_dim // size.capsule_size) % size.num_fields
        self.register_buffer("owner", owner, persistent=False)
        if "encoder" not in self.own_modules:
            with torch.no_grad():
                last = cast(nn.Linear, cast(nn.Sequential, self.encoder)[-1])
                last.bias[self.latent_dim : 2 * self.latent_dim] = 1.0
        self.location = nn.Parameter(torch.tensor(float(config.location)))

    @property
    def num_controls(self) -> int:
        """K, one for each transformation."""
        return self.num_fields

    def conditional(self) -> bool:
        """True: codes roll as the activity says."""
        return True

    def draw_noise(
        self, batch_size: int, num_steps: int, generator: torch.Generator | None, device: torch.device | str = "cpu"
    ) -> SequenceNoise:
        """Normal noise of both latents of all frames."""
        return SequenceNoise.draw(
            (batch_size, num_steps), 2 * self.latent_dim, (self.num_controls, 0), generator, device
        )

    def infer(self, frames: Tensor) -> Tensor:
        """Raises ValueError: activity is given."""
        raise ValueError("capsules roll as they are told: a TVAE infers no activity")

    def log_latent_prior(self, latents: Tensor) -> Tensor:
        """log p(z_1, u_1, .., z_T, u_T), ``(..., T+1, 2 D)`` -> ``(...)`` nats: latents are independent."""
        return gaussian_log_prob(latents[..., 1:, :]).sum(-1)

    def codes(self, latents: Tensor, activity: Tensor) -> Tensor:
        """t_0 .. t_T from z and u of all frames, ``(..., T+1, 2 D)``, ``(..., T, K)`` -> ``(..., T+1, D)``.

        The sum over l' is one cumulative sum of squares that are rolled back to s_0, rolled to s_l again.
        """
        z, u = latents.unflatten(-1, (2, -1, self.capsule_size)).unbind(-3)
        shift = self._shift(activity)
        squares = sum(u.square().roll(step, -1) for step in (-1, 0, 1)) / 3
        past = roll(roll(squares, -shift).cumsum(-3), shift)
        window = past / torch.arange(1.0, shift.shape[-2] + 1, device=z.device).view(-1, 1, 1)
        return ((z - self.location) / (window + FLOOR).sqrt()).flatten(-2)

    def _shift(self, activity: Tensor) -> Tensor:
        """s_0 = 0, s_1 .. s_T of every capsule, ``(..., T, K)`` -> ``(..., T+1, capsules)``."""
        return nn.functional.pad(activity.cumsum(-2), (0, 0, 1, 0)).index_select(-1, self.owner)

    def _alone(self, latents: Tensor) -> Tensor:
        """Codes of frames without a past, ``(..., 2 D)`` -> ``(..., D)``."""
        nothing = latents.new_zeros(*latents.shape[:-1], 0, self.num_fields)
        return self.codes(latents.unsqueeze(-2), nothing).squeeze(-2)

    def encode(self, frames: Tensor) -> Tensor:
        """Codes t of frames by themselves, at the posterior means, ``(..., C, H, W)`` -> ``(..., D)``."""
        return self._alone(self.posterior(frames)[0])

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        """Codes rolled by the activity, ``z0 (B, D)``, ``g (B, T, K)`` -> ``(B, T+1, D)``."""
        shift = self._shift(g)
        capsules = z0.unflatten(-1, (-1, self.capsule_size)).unsqueeze(1)
        return roll(capsules.expand(*shift.shape, self.capsule_size), shift).flatten(2)

    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over sequences ``(B, T+1, C, H, W)`` with their activity ``(B, T, K)``; none: nothing rolls.

        A sequence that is decoded from its first frame has the latents of that frame alone: mean and log-variance of
        the others are zero, those of the prior.
        """
        means, log_variances = self.posterior(frames)
        latents = means + torch.exp(0.5 * log_variances) * noise.of_frames()
        if phase.still:
            codes = self._alone(latents)
        else:
            if activity is None:
                activity = latents.new_zeros(len(frames), frames.shape[1] - 1, self.num_fields)
            predicted = round(self.predicted * len(frames))
            rolled = self.flow(self._alone(latents[:predicted, 0]), activity[:predicted])
            codes = torch.cat([rolled, self.codes(latents[predicted:], activity[predicted:])])
            used = torch.ones_like(means[..., :1])
            used[:predicted, 1:] = 0.0
            means, log_variances = used * means, used * log_variances
        return SequenceOutputs(
            frame_kind=self.frame_kind,
            logits=self.decode_logits(codes),
            latents=codes,
            mean=means,
            log_variance=log_variances,
            activity=latents.new_zeros(len(frames), frames.shape[1] - 1, self.num_fields),
            activity_kl={},
            latent_weight=phase.latent_weight,
            cross_entropy_weight=phase.cross_entropy_weight if phase.still else None,
        )


MODE = Mode(TVAEConfig, TVAE, outputs=4)
"""The topographic VAE, whose encoder gives mean and log-variance of two latents for each dimension of the code."""
