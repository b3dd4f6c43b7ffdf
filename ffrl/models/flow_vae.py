"""The flow-factorised variational autoencoder: encode, infer activity, flow, decode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn

from ffrl.config import RunConfig, StillConfig
from ffrl.distributions.priors import diffused_sigma, gaussian_log_prob
from ffrl.fields.protocol import FieldModule, Fields
from ffrl.flow.density import log_density_change
from ffrl.flow.integrate import INTEGRATORS, integrate
from ffrl.flow.rollout import roll_out
from ffrl.models.activity import Activity, ActivityDraws, ActivityKind, ActivitySample, Phase, Pool, still_phase
from ffrl.models.autoencoder import Networks, VariationalAutoencoder
from ffrl.models.outputs import SequenceNoise, SequenceOutputs
from ffrl.models.penalties import Penalty
from ffrl.nn.networks import at_least_float32


@dataclass(frozen=True)
class FlowSettings:
    """How latents are moved, and what the bound needs of that.

    Args:
        num_steps: T, the transitions of a training sequence.
        integrator: name in :data:`ffrl.flow.integrate.INTEGRATORS`.
        substeps: integrator steps per transition.
        still: the first phase of training.
        density: how the change of density is computed in the paper bound; None for the strict bound.
        diffusion: initial coefficients of the prior flow of the paper bound.
    """

    num_steps: int
    integrator: str = "euler"
    substeps: int = 1
    still: StillConfig = field(default_factory=StillConfig)
    density: str | None = None
    diffusion: float = 0.1

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        """Those of a run.

        Example:
            >>> FlowSettings.of(RunConfig()).integrator
            'euler'
        """
        size, objective = config.model, config.objective
        density = objective.density if objective.bound == "paper" else None
        return cls(config.data.num_steps, size.integrator, size.substeps, config.still, density, size.diffusion)


class FlowFactorizedVAE(VariationalAutoencoder):
    r"""Sequences as one latent moved by the fields of a shared flow (FFRL).

    .. math::
        z_0 \sim q(z_0|x_0), \quad z_t = z_{t-1} + \sum_k g_t^k v^k(z_{t-1}, t/T), \quad x_t \sim p(x_t|z_t)

    It is composed of modules: networks, fields, and what says how active they are.

    Args:
        networks: encoder and decoder.
        fields: the vector fields v^k.
        activity: where g comes from.
        settings: how latents are moved.
        penalties: on the fields.
        activity_encoder: what activity is inferred from, images ``(N, C, H, W)`` to ``(N, D)``; the posterior means for
            None.

    Example:
        >>> from ffrl.config import ModelConfig
        >>> from ffrl.fields.potential import Potentials
        >>> from ffrl.models.activity import GivenActivity
        >>> from ffrl.models.autoencoder import build_networks
        >>> networks = build_networks(ModelConfig(latent_dim=6), (3, 28, 28))
        >>> model = FlowFactorizedVAE(networks, Potentials(3, dim=6), GivenActivity(3), FlowSettings(num_steps=8))
        >>> z = model.encode(torch.rand(2, 3, 28, 28))
        >>> model.decode(model.flow(z, torch.ones(2, 8, 3))).shape
        torch.Size([2, 9, 3, 28, 28])
    """

    prediction = "the decoded flow of the encoded first frame"

    def __init__(
        self,
        networks: Networks,
        fields: FieldModule,
        activity: Activity,
        settings: FlowSettings,
        penalties: Sequence[Penalty] = (),
        activity_encoder: nn.Module | None = None,
    ) -> None:
        super().__init__(networks, fields.num_fields, settings.num_steps, settings.still, penalties)
        self.settings, self.density = settings, settings.density
        self.integrator, self.substeps = INTEGRATORS[settings.integrator], settings.substeps
        self.timed = fields.timed
        self.field_model = fields
        self.activity_model = activity
        self.activity_encoder = activity_encoder
        if self.density is not None:
            self.log_diffusion = nn.Parameter(torch.full((self.num_controls,), settings.diffusion).log())

    @property
    def activity_kind(self) -> ActivityKind:
        """That of its activity."""
        return self.activity_model.kind

    @property
    def num_controls(self) -> int:
        """C, the length of the activity vector."""
        return self.activity_model.num_controls

    def conditional(self) -> bool:
        """Whether the activity is given, and a condition of the likelihood."""
        return self.activity_kind.given

    def field_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the fields."""
        return self.field_model.parameters()

    def phase(self, progress: float) -> Phase:
        """Frames stand alone at first; after that the activity says where training stands."""
        if progress < self.still.fraction:
            return still_phase(progress, self.still)
        return self.activity_model.phase(progress, self.still.fraction)

    def draw_noise(
        self, batch_size: int, num_steps: int, generator: torch.Generator | None, device: torch.device | str = "cpu"
    ) -> SequenceNoise:
        """All noise that one forward pass over ``batch_size`` sequences of ``num_steps`` transitions consumes."""
        uniform = self.num_controls, self.activity_model.noise_channels
        return SequenceNoise.draw((batch_size, num_steps), self.latent_dim, uniform, generator, device)

    def activity_features(self, frames: Tensor, means: Tensor | None = None) -> Tensor:
        """What activity is inferred from, ``(B, T+1, D)``: outputs of an encoder of its own, or the posterior means.

        Missing values are taken from the frames around them: where a code without them is says nothing of motion.
        """
        whole = self.frame_kind.between(frames)
        if self.activity_encoder is not None:
            seen = self.frame_kind.enter(whole.flatten(0, 1))
            return at_least_float32(self.activity_encoder(seen)).unflatten(0, frames.shape[:2])
        return means if means is not None and whole is frames else self.encode(whole)

    def sample_activity(
        self, means: Tensor, log_variances: Tensor, features: Tensor, uniform: Tensor, phase: Phase
    ) -> ActivitySample:
        """Activity for training, from mean and log-variance of q(z | x), ``(B, T+1, D)`` each, or features of them."""
        return self.activity_model(features, uniform, phase)

    def see_parts(self, pool: Pool) -> None:
        """Let estimates that follow the batches be those of whole batches, of which the model sees a part each."""
        self.activity_model.pool = pool

    def draw_activity(
        self, frames: Tensor, means: Tensor, samples: int, generator: torch.Generator | None
    ) -> ActivityDraws:
        """Hard draws of the activity of frames ``(B, T+1, C, H, W)`` with latent means ``(B, T+1, D)``."""
        return self.activity_model.draws(self.activity_features(frames, means), samples, generator)

    def infer(self, frames: Tensor) -> Tensor:
        """Speeds of all fields from frames ``(B, T+1, C, H, W)``: ``(B, T, C)``, exactly zero where a field is off.

        Raises:
            ValueError: for a supervised model, whose activity is given.
        """
        return self.activity_model.infer(self.activity_features(frames))

    def fields(self, z: Tensor, t: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both parts of every field, ``z (B, D)``, t in [0, 1] -> two ``(B, K, D)``: curl-free and divergence-free.

        A part that there is not is zero; one whose divergence is penalised is as free of it as training made it, and of
        a field type without such parts all is in the first.
        """
        return self.field_model.parts(z, self._time(t, z))

    def _time(self, t: float | Tensor | None, like: Tensor) -> Tensor | None:
        return None if t is None else torch.as_tensor(t, dtype=like.dtype, device=like.device)

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        """Latents moved by the activity, ``z0 (B, D)``, ``g (B, T, C)`` -> z_0 .. z_T ``(B, T+1, D)``."""
        return self._rollout(self.field_model.units(), z0, g)[0]

    def _rollout(self, units: Fields, z0: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Latents ``(B, T+1, D)`` and the points visited by the integrator, ``(B, T, n, stages, D)``."""
        return roll_out(units, z0, g, self._times(g), self.integrator, self.substeps)

    def _moving(self, activity: Tensor) -> tuple[Fields, Tensor]:
        """The fields that can move anything in training, of c controls, and their activity ``(B, T, c)``: here all."""
        return self.field_model.units(), activity

    def _times(self, g: Tensor) -> Tensor:
        """t / T for t = 1 .. T, T being the trained length."""
        return torch.arange(1, g.shape[1] + 1, dtype=g.dtype, device=g.device) / self.num_steps

    def log_density_change(
        self, z: Tensor, g: Tensor, t: float | Tensor | None = None, method: str = "exact"
    ) -> Tensor:
        """log q(z_t) - log q(z_{t-1}) of one transition from ``z = z_{t-1} (B, D)`` under ``g (B, C)``: ``(B,)`` nats.

        ``t`` is t / T in [0, 1], needed by time-dependent fields; for ``method`` see
        :func:`ffrl.flow.density.log_density_change`.
        """
        units = self.field_model.units()
        time = self._time(t, z)
        _, points = integrate(lambda z: units.velocity(z, g, time), z, self.integrator, self.substeps)
        return log_density_change(units, points, g, time, self.integrator, method)

    def field_penalties(self, latents: Tensor, activity: Tensor) -> dict[str, Tensor]:
        """Named penalties on the fields, ``(B,)`` each and weighted, at ``latents (B, T+1, D)`` of training."""
        found: dict[str, Tensor] = {}
        for penalty in self.penalties:
            found |= penalty(self.field_model, latents, self._times(activity))
        return found

    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over sequences, with inferred activity unless ``activity (B, T, C)`` is given.

        Args:
            frames: ``(B, T+1, C, H, W)`` in [0, 1].
            noise: from :meth:`draw_noise`.
            phase: from :meth:`phase`.
            activity: observed activity (supervised mode).
        """
        inferred = activity is None and not self.activity_kind.given
        seen = self.frame_kind.between(frames) if inferred and not phase.still else frames
        means, log_variances = self.posterior(seen if phase.still or inferred else seen[:, :1])
        if phase.still:
            return self.alone(means, log_variances, noise, phase)
        own = activity is None and self.activity_encoder is not None
        features = self.activity_features(seen) if own else means
        mean, log_variance = means[:, 0], log_variances[:, 0]
        with torch.autocast(frames.device.type, enabled=False):
            if activity is None:
                sample = self.sample_activity(means, log_variances, features, noise.activity, phase)
            else:
                sample = ActivitySample(activity, {})
            activity = sample.g
            z0 = mean + torch.exp(0.5 * log_variance) * noise.latent
            units, speeds = self._moving(activity)
            latents, points = self._rollout(units, z0, speeds)
            log_q, log_p = None, None
            if self.density is not None:
                times = self._times(activity)
                log_q = log_density_change(units, points, speeds, times, self.integrator, self.density)
                sigma = diffused_sigma(activity, self.log_diffusion.exp())
                log_p = gaussian_log_prob(latents[:, 1:], sigma)
            penalties = sample.penalties | self.field_penalties(latents, activity)
        return SequenceOutputs(
            frame_kind=self.frame_kind,
            logits=self.decode_logits(latents),
            latents=latents,
            mean=mean,
            log_variance=log_variance,
            activity=activity,
            activity_kl=sample.kl,
            log_density_change=log_q,
            log_prior=log_p,
            penalties=penalties,
            latent_weight=phase.latent_weight,
        )
