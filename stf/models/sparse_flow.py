"""Sparse transformation flow: the activity is inferred exactly, from the fields and the latent means of all frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from ffrl.config import StillConfig
from ffrl.fields.build import build_fields
from ffrl.fields.protocol import FieldModule, Fields, some_fields
from ffrl.models.activity import ActivityDraws, ActivitySample, Phase
from ffrl.models.autoencoder import Networks
from ffrl.models.flow_vae import FlowFactorizedVAE, FlowSettings
from ffrl.models.penalties import Penalty, regularisers
from stf.config import JointConfig, SearchingConfig, SparsityConfig
from stf.discovery.population import Setting, growth, require_rows
from stf.inference.activity import ExactActivity, normal_from
from stf.inference.evidence import transitions
from stf.inference.posterior import ActivityPosterior
from stf.inference.prior import ActivityPrior
from stf.inference.quadrature import mean_velocities
from stf.models.divergence import divergence_penalty


@dataclass(frozen=True)
class JointSettings:
    """What the model does while everything is trained together.

    Args:
        config: activity, agreement and annealing.
        first: share of the steps after which it begins.
        share: of the steps, that it takes.
        paused: share of the steps after which a second search interrupts it, and share of the steps that this takes.
    """

    config: JointConfig = field(default_factory=JointConfig)
    first: float = StillConfig.fraction
    share: float = 1.0 - StillConfig.fraction
    paused: tuple[float, float] = (1.0, 0.0)

    @classmethod
    def of(cls, config: SearchingConfig) -> JointSettings:
        """Those of a run."""
        first = config.still.fraction + config.discovery.fraction
        before, again = config.rediscovery.shares(config.discovery)
        share = 1 - first - again - config.refine.fraction
        return cls(config.joint, first, share, (first + before, again))

    def passed(self, progress: float) -> float:
        """Which share of it is over, after a share ``progress`` of all steps.

        Example:
            >>> JointSettings(first=0.5, share=0.25, paused=(0.625, 0.25)).passed(0.9375)
            0.75
        """
        begin, length = self.paused
        return (progress - self.first - min(max(progress - begin, 0.0), length)) / self.share


class SparseTransformationFlow(FlowFactorizedVAE):
    r"""Sparse sums of flows: a flow-factorised VAE with the exact posterior over activity in latent space.

    The posterior q(activity | frames) follows from the fields in closed form (:mod:`stf.inference`). It is chosen
    without gradient; the bound holds for any q, and what is reported draws from it. Where one field acts throughout, at
    unit speed, that is the weakly supervised model.

    Args:
        networks, fields, settings, penalties: as of :class:`~ffrl.models.flow_vae.FlowFactorizedVAE`.
        activity: the exact posterior, and its prior.
        joint: what it does while everything is trained together.

    Example:
        >>> from stf.config.modes import UNSUPERVISED, UnsupervisedConfig
        >>> model = UNSUPERVISED.build(UnsupervisedConfig(), (3, 28, 28))
        >>> model.infer(torch.rand(2, 9, 3, 28, 28)).shape
        torch.Size([2, 8, 6])
    """

    activity_model: ExactActivity

    def __init__(
        self,
        networks: Networks,
        fields: FieldModule,
        activity: ExactActivity,
        settings: FlowSettings,
        penalties: Sequence[Penalty] = (),
        joint: JointSettings | None = None,
    ) -> None:
        super().__init__(networks, fields, activity, settings, penalties)
        self.joint = JointSettings() if joint is None else joint

    @classmethod
    def of(
        cls, config: SearchingConfig, networks: Networks, prior: ActivityPrior, sparsity: SparsityConfig
    ) -> SparseTransformationFlow:
        """The model of a configuration, with a prior whose rates are those of ``sparsity``.

        Raises:
            UserError: fields are to be searched for that cannot be taken one by one.
        """
        fields, dim = build_fields(config.model), config.model.latent_dim
        require_rows(config, fields)
        rates = sparsity.on_rate, sparsity.off_rate
        activity = ExactActivity(fields.num_controls, dim, prior, *rates, sparsity.learn_rates)
        penalties = [*regularisers(config, fields), *divergence_penalty(config.model, fields)]
        return cls(networks, fields, activity, FlowSettings.of(config), penalties, JointSettings.of(config))

    def phase(self, progress: float) -> Phase:
        """Phase at ``progress``; in joint training the KL of z_0 falls from its weight on still frames to 1.

        A still frame bears the whole KL of its latent, in a sequence one latent bears it for all T + 1 frames. The
        codes would change at once where the one follows the other; so the weight goes geometrically from T + 1 to 1,
        and the fields follow.
        """
        joint, still = self.joint, self.still
        first = still.latent_weight * (self.num_steps + 1)
        if progress < joint.first or first <= 1 or still.fraction == 0:
            return super().phase(progress)
        passed = joint.passed(progress) / max(joint.config.anneal, 1e-9)
        return Phase(latent_weight=first ** (1 - min(passed, 1.0)))

    def _velocities(self, means: Tensor) -> Tensor:
        """Fields of the controls alive, averaged over the transitions of ``means (B, T+1, D)``: ``(B, T, c, D)``."""
        times = self._times(means[:, 1:, 0]) if self.timed else None
        alive = self.activity_model.places
        return mean_velocities(partial(self.field_model.of_controls, alive), means, times)

    def _moving(self, activity: Tensor) -> tuple[Fields, Tensor]:
        """The fields alive alone, and their activity: others are never on."""
        places = self.activity_model.places
        if len(places) == self.num_controls:
            return super()._moving(activity)
        return some_fields(self.field_model.units(), places), activity.index_select(-1, self.activity_model.index)

    def _posterior(self, means: Tensor) -> ActivityPosterior:
        return self.activity_model.posterior(means, self._velocities(means))

    def activity(self, frames: Tensor) -> ActivityPosterior:
        """The exact posterior over activity, with ``probability``, ``speed`` and ``deviation``, ``(B, T, C)`` each.

        Args:
            frames: ``(B, T+1, C, H, W)`` in [0, 1].
        """
        return self._posterior(self.activity_features(frames))

    def infer(self, frames: Tensor) -> Tensor:
        """Speeds of all fields from frames ``(B, T+1, C, H, W)``: ``(B, T, C)``, exactly zero where a field is off."""
        return self._posterior(self.activity_features(frames)).mean_on()

    def sample_activity(
        self, means: Tensor, log_variances: Tensor, features: Tensor, uniform: Tensor, phase: Phase
    ) -> ActivitySample:
        """Activity at the mean of what is on, or a draw; its KLs, as numbers; and what ties flow and codes together."""
        joint = self.joint.config
        velocities = self._velocities(means)
        with torch.no_grad():
            found = self.activity_model.posterior(means, velocities)
            if joint.activity == "draw":
                normal = normal_from(uniform[..., : found.space.most, 1]).to(means.dtype)
                g = found.draws(uniform[None, ..., 0, 0], normal[None])[0][0]
            else:
                g = found.mean_on()
            if self.training:
                self.activity_model.follow(found, means, log_variances.exp())
        penalties = {}
        if joint.agreement:
            penalties["agreement"] = joint.agreement * self._agreement(means, velocities, found)
        return ActivitySample(g, found.kl(), penalties)

    def _agreement(self, means: Tensor, velocities: Tensor, found: ActivityPosterior) -> Tensor:
        r"""Half the expected squared difference of encoded displacements and the flow, ``(B,)``.

        .. math:: \tfrac12 \sum_t E \| \lambda \circ (\mu_t - \mu_{t-1} - \sum_k g_t^k \bar v_t^k) \|^2

        The expectation is over the posterior, which gets no gradient: for the fields this is an M-step.
        """
        unit = self.activity_model.unit
        with torch.no_grad():
            statistics = found.statistics().among(self.activity_model.index)
        return 0.5 * statistics.misfit(transitions(velocities * unit, means.diff(dim=1) * unit)).sum(-1)

    def after_step(self) -> None:
        """Fields grow by a share of the mean excess of their speeds over 1: the unit of speed is held."""
        if self.activity_model.prior.speed_spread:
            self.field_model.rescale(growth(self.activity_model.excess))

    def draw_activity(
        self, frames: Tensor, means: Tensor, samples: int, generator: torch.Generator | None
    ) -> ActivityDraws:
        """Draws from the exact posterior, by backward sampling; every field in turn where one acts throughout."""
        found = self._posterior(self.activity_features(frames, means))
        batch, steps = found.paths.marginal.shape[:2]
        device = means.device
        if self.activity_model.constant:
            return enumerated(found, samples)
        uniform = torch.rand((samples, batch, steps), generator=generator, device=device, dtype=means.dtype)
        shape = (samples, batch, steps, found.space.most)
        normal = torch.randn(shape, generator=generator, device=device, dtype=means.dtype)
        g, log_ratio = found.draws(uniform, normal)
        return ActivityDraws(g.unsqueeze(0), log_ratio.unsqueeze(0), torch.zeros_like(log_ratio[:1]))

    def adopt(self, places: list[int], variance: Tensor, misfit: Tensor) -> None:
        """Take over what the discovery has found: which fields are alive, the encoder's noise, and their misfit."""
        fields = self.num_fields
        self.activity_model.adopt([k for k in range(self.num_controls) if k % fields in places], variance, misfit)

    def discovery_setting(self, unit: float) -> Setting:
        """What the search for its fields has to know of it; ``unit``: weight of what holds the unit of speed."""
        activity = self.activity_model
        unit = unit if activity.prior.speed_spread else 0.0
        rates, settings = activity.initial_rates, self.settings
        return Setting(activity.prior, *rates, self.num_steps, self.timed, unit, settings.integrator, settings.substeps)

    @property
    def fields_alive(self) -> list[int]:
        """Which fields can act at all."""
        return sorted({place % self.num_fields for place in self.activity_model.places})

    def summary(self) -> dict[str, str]:
        """How many fields are alive."""
        alive = self.fields_alive
        return {"fields": f"{len(alive)} of {self.num_fields} alive ({', '.join(map(str, alive))})"}


def enumerated(found: ActivityPosterior, samples: int) -> ActivityDraws:
    """Every field that is alive in turn, weighted by q(k | frames): nothing random is left."""
    log_q = found.paths.marginal[:, 0].clamp_min(torch.finfo(found.paths.marginal.dtype).tiny).log()  # B, c
    batch, cases = log_q.shape
    steps = found.paths.marginal.shape[1]
    states = torch.arange(cases, device=log_q.device)[:, None, None].expand(-1, batch, steps)
    g = found.speeds_of(states)
    log_ratio = -math.log(cases) - log_q.T
    return ActivityDraws(
        g=g.unsqueeze(1).expand(-1, samples, -1, -1, -1),
        log_ratio=log_ratio.unsqueeze(1).expand(-1, samples, -1),
        log_case=log_q.T,
    )
