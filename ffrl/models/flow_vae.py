"""The flow-factorised variational autoencoder: encode, infer activity, flow, decode."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ffrl.config import RunConfig, SupervisedConfig
from ffrl.data.base import SequenceData
from ffrl.distributions.priors import diffused_sigma, gaussian_log_prob
from ffrl.fields.hamilton_jacobi import Source, hamilton_jacobi_terms
from ffrl.fields.potential import Potentials
from ffrl.fields.ridge import RidgeUnits
from ffrl.flow.density import log_density_change
from ffrl.flow.integrate import INTEGRATORS, integrate
from ffrl.flow.rollout import roll_out
from ffrl.models.activity import Activity, ActivityDraws, ActivitySample, GivenActivity, Phase, still_phase
from ffrl.nn.networks import at_least_float32, build_decoder, build_encoder, require_output

INITIAL_LOG_VARIANCE = -8.0
"""Of q(z_0 | x_0) at the first step: at 0 the noise drowns the means, and the decoder long learns to ignore them. The
encoder's last bias has it at first; to what an encoder of one's own says it is added."""


@dataclass(frozen=True)
class SequenceNoise:
    """All randomness of one pass: normal noise of z_0 ``(B, D)`` and, while frames stand alone, of the others
    ``(B, T, D)``; uniform noise of the activity ``(B, T, C, channels)``.
    """

    latent: Tensor
    others: Tensor
    activity: Tensor


@dataclass(frozen=True)
class SequenceOutputs:
    """Everything an objective needs of one forward pass over B sequences of T + 1 frames.

    Args:
        logits: decoder outputs, ``(B, T+1, C, H, W)``; images are their sigmoid.
        latents: z_0 .. z_T, ``(B, T+1, D)``.
        mean, log_variance: of q(z_0 | x_0), ``(B, D)``; of all frames, ``(B, T+1, D)``, while they stand alone.
        activity: g_1 .. g_T, ``(B, T, C)``.
        activity_kl: named terms of the activity, ``(B,)`` each, already weighted.
        log_density_change: log q_t - log q_{t-1}, ``(B, T)``, when the bound needs it.
        log_prior: log p_t(z_t) of the diffused prior, ``(B, T)``, when the bound needs it.
        penalties: further named terms that the loss gains, ``(B,)`` each, already weighted.
        latent_weight: weight of the KL of q(z_0 | x_0) in training.
        cross_entropy_weight: weight of the pixels' cross-entropy beside their likelihood; None where there is none.
    """

    logits: Tensor
    latents: Tensor
    mean: Tensor
    log_variance: Tensor
    activity: Tensor
    activity_kl: dict[str, Tensor]
    log_density_change: Tensor | None = None
    log_prior: Tensor | None = None
    penalties: dict[str, Tensor] = field(default_factory=dict)
    latent_weight: float | Tensor = 1.0
    cross_entropy_weight: float | Tensor | None = None


class FlowFactorizedVAE(nn.Module):
    r"""Sequences as one latent moved by the fields of a shared flow (FFRL, supervised).

    .. math::
        z_0 \sim q(z_0|x_0), \quad z_t = z_{t-1} + \sum_k g_t^k v^k(z_{t-1}, t/T), \quad x_t \sim p(x_t|z_t)

    Here v^k = grad u^k; subclasses bring other fields and other activity by overriding :meth:`build_fields` and
    :meth:`build_activity`. A forward pass is a deterministic function of its arguments: all noise is passed in.

    Args:
        config: a :class:`~ffrl.config.SupervisedConfig`; subclasses have configurations of their own.
        image_shape: (C, H, W).
        encoder: a module of one's own, images ``(N, C, H, W)`` to ``(N, 2 D)``, means before log-variances; that of the
            configuration for None.
        decoder: one of latents ``(N, D)`` to pixel logits ``(N, C, H, W)``; that of the configuration for None.

    Raises:
        UserError: a module of one's own has outputs of another shape.

    Example:
        >>> model = FlowFactorizedVAE(SupervisedConfig(), (3, 28, 28))
        >>> z = model.encode(torch.rand(2, 3, 28, 28))
        >>> model.decode(model.flow(z, torch.ones(2, 8, 3))).shape
        torch.Size([2, 9, 3, 28, 28])
    """

    has_likelihood = True
    """Whether the model is a probabilistic one, with likelihood bounds."""
    likelihood_is_given = True
    """Whether given activity, where there is any, is a condition of the likelihood; not where frames are alone."""
    has_fields = True
    """Whether its activity drives vector fields, :meth:`fields`, that can be drawn."""
    latents_per_code = 1
    """Gaussian latents of a frame for every dimension of the code that it is decoded from."""
    has_variance = True
    """Whether the encoder gives a log-variance beside every mean."""
    latent_per_frame = False
    """Whether every frame has latents of its own, with a ``log_latent_prior`` and ``codes`` to decode from."""
    calibrated_at_end = False
    """Whether its flow is estimated after the last training step, by :meth:`calibrate`."""
    has_activity_posterior = False
    """Whether ``activity(frames)`` gives a posterior over activity: ``probability`` of each field being on, its mean
    ``speed`` and the ``deviation`` of that where it is, ``(B, T, C)`` each."""
    prediction = "the decoded flow of the encoded first frame"
    """How the model predicts later frames."""

    def __init__(
        self,
        config: RunConfig,
        image_shape: tuple[int, int, int],
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        size = config.model
        self.config = config
        self.image_shape = tuple(image_shape)
        self.latent_dim = size.latent_dim
        self.num_fields = size.num_fields
        self.num_steps = config.data.num_steps
        self.integrator = INTEGRATORS[size.integrator]
        self.substeps = size.substeps
        self.posterior_dim = self.latents_per_code * size.latent_dim
        outputs = self.posterior_dim * (2 if self.has_variance else 1)
        self.own_modules = {
            name: f"{type(module).__module__}.{type(module).__qualname__}"
            for name, module in (("encoder", encoder), ("decoder", decoder))
            if module is not None
        }
        if encoder is None:
            encoder = build_encoder(size.architecture, image_shape, outputs, size.width, size.depth)
            with torch.no_grad():
                encoder[-1].bias[self.posterior_dim :] = INITIAL_LOG_VARIANCE
        else:
            require_output("encoder", encoder, self.image_shape, (outputs,))
        if decoder is None:
            decoder = build_decoder(size.architecture, image_shape, size.latent_dim, size.width, size.depth)
        else:
            require_output("decoder", decoder, (size.latent_dim,), self.image_shape)
        self.encoder, self.decoder = encoder, decoder
        self.first_log_variance = INITIAL_LOG_VARIANCE if "encoder" in self.own_modules else 0.0
        self.field_model = self.build_fields(config)
        self.activity_model = self.build_activity(config)
        objective = config.objective
        self.hj_weights = {"residual": objective.hj_weight, "initial": objective.hj_initial_weight}
        self.density = objective.density if objective.bound == "paper" else None
        if self.density is not None:
            initial = torch.full((self.num_controls,), size.diffusion)
            self.log_diffusion = nn.Parameter(initial.log())
        self.regularised = any(self.hj_weights.values())
        needs_source = self.regularised and objective.hj_source
        self.source = Source(size.num_fields, size.latent_dim) if needs_source else None

    def calibrate(self, data: SequenceData, images: int) -> None:
        """Estimate on training data, after the last step, what training leaves open: here nothing.

        Args:
            data: sequences on the device where they are made.
            images: how many images of the training split may be used, the first ones.
        """

    def summary(self) -> dict[str, str]:
        """What is worth saying of the model at the end of its training, by name: here nothing."""
        return {}

    def after_step(self) -> None:
        """What follows every step of the optimizer, without gradient: here nothing."""

    def compose(self, g: Tensor, other: Tensor) -> Tensor:
        """Activity under which two act at once, ``(B, T, C)`` twice -> ``(B, T, C)``: their sum."""
        return g + other

    def field_penalties(self, latents: Tensor, activity: Tensor) -> dict[str, Tensor]:
        """Named penalties on the fields, ``(B,)`` each and weighted, at ``latents (B, T+1, D)`` of training."""
        if not self.regularised:
            return {}
        times = self._times(activity)
        terms = hamilton_jacobi_terms(self.potentials, self.source, latents[:, :-1], times)
        return {f"hj_{name}": self.hj_weights[name] * value for name, value in terms.items()}

    def build_fields(self, config: RunConfig) -> nn.Module:
        """The fields: a module with ``units()``; here K potentials."""
        size = config.model
        return Potentials(size.num_fields, size.latent_dim, size.potential_width, size.activation, size.time_dependent)

    def build_activity(self, config: RunConfig) -> Activity:
        """The activity model: given."""
        if isinstance(config, SupervisedConfig):
            return GivenActivity(config.model.num_fields)
        raise TypeError(f"FlowFactorizedVAE takes a supervised configuration, not {type(config).__name__}")

    @property
    def potentials(self) -> Potentials:
        """The curl-free part of the fields."""
        return self.field_model

    @property
    def num_controls(self) -> int:
        """C, the length of the activity vector."""
        return self.activity_model.num_controls

    def phase(self, progress: float) -> Phase:
        """Phase of training at ``progress`` in [0, 1]."""
        still = self.config.still
        if progress < still.fraction:
            return still_phase(progress, still)
        return self.activity_model.phase(progress, still.fraction)

    def draw_noise(
        self, batch_size: int, num_steps: int, generator: torch.Generator | None, device: torch.device | str = "cpu"
    ) -> SequenceNoise:
        """All noise that one forward pass over ``batch_size`` sequences of ``num_steps`` transitions consumes."""
        size = self.posterior_dim if self.has_variance else 0
        latent = torch.randn(batch_size, size, generator=generator, device=device)
        others = torch.randn(batch_size, num_steps, size, generator=generator, device=device)
        shape = (batch_size, num_steps, self.num_controls, self.activity_model.noise_channels)
        uniform = torch.rand(shape, generator=generator, device=device)
        tiny = torch.finfo(uniform.dtype).eps
        return SequenceNoise(latent, others, uniform.clamp(tiny, 1 - tiny))

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), ``(..., C, H, W)`` -> two of ``(..., D)``."""
        parameters = at_least_float32(self.encoder(frames.reshape(-1, *frames.shape[-3:])))
        mean, log_variance = parameters.reshape(*frames.shape[:-3], 2 * self.posterior_dim).chunk(2, dim=-1)
        return mean, (log_variance + self.first_log_variance) if self.first_log_variance else log_variance

    def encode(self, frames: Tensor) -> Tensor:
        """Posterior means, frames in [0, 1] ``(..., C, H, W)`` -> ``(..., D)``."""
        return self.posterior(frames)[0]

    def activity_features(self, frames: Tensor, means: Tensor | None = None) -> Tensor:
        """What activity is inferred from, ``(B, T+1, D)``: the posterior means, computed unless they are given."""
        return self.encode(frames) if means is None else means

    def sample_activity(
        self, means: Tensor, log_variances: Tensor, features: Tensor, uniform: Tensor, phase: Phase
    ) -> ActivitySample:
        """Activity for training, from mean and log-variance of q(z | x), ``(B, T+1, D)`` each, or features of them."""
        return self.activity_model(features, uniform, phase)

    def draw_activity(
        self, frames: Tensor, means: Tensor, samples: int, generator: torch.Generator | None
    ) -> ActivityDraws:
        """Hard draws of the activity of frames ``(B, T+1, C, H, W)`` with latent means ``(B, T+1, D)``."""
        return self.activity_model.draws(self.activity_features(frames, means), samples, generator)

    def decode_logits(self, z: Tensor) -> Tensor:
        """Pixel logits, ``(..., D)`` -> ``(..., C, H, W)``."""
        logits = at_least_float32(self.decoder(z.reshape(-1, z.shape[-1])))
        return logits.reshape(*z.shape[:-1], *self.image_shape)

    def decode(self, z: Tensor) -> Tensor:
        """Images in [0, 1], ``(..., D)`` -> ``(..., C, H, W)``."""
        return self.decode_logits(z).sigmoid()

    def infer(self, frames: Tensor) -> Tensor:
        """Speeds of all fields from frames ``(B, T+1, C, H, W)``: ``(B, T, C)``, exactly zero where a field is off.

        Raises:
            ValueError: for a supervised model, whose activity is given.
        """
        return self.activity_model.infer(self.activity_features(frames))

    def fields(self, z: Tensor, t: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Curl-free and divergence-free part of every field, ``z (B, D)``, t in [0, 1] -> two ``(B, K, D)``."""
        gradient = self.potentials.gradient(z, self._time(t, z))
        return gradient, torch.zeros_like(gradient)

    def _time(self, t: float | Tensor | None, like: Tensor) -> Tensor | None:
        return None if t is None else torch.as_tensor(t, dtype=like.dtype, device=like.device)

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        """Latents moved by the activity, ``z0 (B, D)``, ``g (B, T, C)`` -> z_0 .. z_T ``(B, T+1, D)``."""
        return self._rollout(self.field_model.units(), z0, g)[0]

    def _rollout(self, units: RidgeUnits, z0: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Latents ``(B, T+1, D)`` and the points visited by the integrator, ``(B, T, n, stages, D)``."""
        return roll_out(units, z0, g, self._times(g), self.integrator, self.substeps)

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

    def _still(self, means: Tensor, log_variances: Tensor, noise: SequenceNoise, phase: Phase) -> SequenceOutputs:
        """Outputs with every frame as a sequence of its own: nothing moves and no activity is inferred."""
        normal = torch.cat([noise.latent.unsqueeze(1), noise.others], dim=1)
        latents = means + torch.exp(0.5 * log_variances) * normal
        return SequenceOutputs(
            logits=self.decode_logits(latents),
            latents=latents,
            mean=means,
            log_variance=log_variances,
            activity=means.new_zeros(*noise.others.shape[:2], self.num_controls),
            activity_kl={},
            latent_weight=phase.latent_weight,
            cross_entropy_weight=phase.cross_entropy_weight,
        )

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
        every = phase.still or (activity is None and self.activity_model.needs_all_frames)
        encoded = frames if every else frames[:, :1]
        means, log_variances = self.posterior(encoded)
        if phase.still:
            return self._still(means, log_variances, noise, phase)
        features = means if activity is not None else self.activity_features(frames, means)
        mean, log_variance = means[:, 0], log_variances[:, 0]
        with torch.autocast(frames.device.type, enabled=False):
            if activity is None:
                sample = self.sample_activity(means, log_variances, features, noise.activity, phase)
            else:
                sample = ActivitySample(activity, {})
            activity = sample.g
            z0 = mean + torch.exp(0.5 * log_variance) * noise.latent
            units = self.field_model.units()
            latents, points = self._rollout(units, z0, activity)
            log_q, log_p = None, None
            if self.density is not None:
                times = self._times(activity)
                log_q = log_density_change(units, points, activity, times, self.integrator, self.density)
                sigma = diffused_sigma(activity, self.log_diffusion.exp())
                log_p = gaussian_log_prob(latents[:, 1:], sigma)
            penalties = sample.penalties | self.field_penalties(latents, activity)
        return SequenceOutputs(
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
