"""PoFlow: potentials that obey a wave equation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ffrl.config import ModelConfig, RunConfig
from ffrl.config.checks import non_negative
from ffrl.core.errors import require
from ffrl.fields.potential import Potentials
from ffrl.fields.protocol import FieldModule
from ffrl.models.autoencoder import Networks
from ffrl.models.flow_vae import FlowFactorizedVAE
from ffrl.models.mode import Mode
from ffrl.models.penalties import Penalty, potentials_of
from ffrl.models.supervised import flow_with_given_activity


@dataclass(frozen=True)
class PoFlowConfig(RunConfig):
    """PoFlow: gradient flows of potentials that obey the wave equation (Song et al., 2023)."""

    sequences = "labelled"
    needs_transformations = True
    mode: Literal["poflow"] = "poflow"
    model: ModelConfig = field(default_factory=lambda: ModelConfig(time_dependent=True))
    wave_weight: float = 1e-2
    """Weight of the squared residual of the wave equation."""
    wave_initial_weight: float = 1e-2
    """Weight of the squared velocity of the potentials' values, du/dt, at t = 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        non_negative("wave-weight", self.wave_weight)
        non_negative("wave-initial-weight", self.wave_initial_weight)
        timed = self.model.time_dependent
        require(timed, "model.time-dependent", timed, "true: the wave equation is about potentials that change in time")
        require(
            self.model.fields == "potential", "model.fields", self.model.fields, "potential: the equation is theirs"
        )


def wave_terms(potentials: Potentials, speed: Tensor, z: Tensor, t: Tensor) -> dict[str, Tensor]:
    r"""Squared residual of the wave equation and squared initial velocity, summed over fields and steps.

    .. math::
        \sum_{k,t} (\partial_t^2 u^k - c_k^2 \Delta u^k)^2 (z_{t-1}, t), \qquad \sum_k (\partial_t u^k)^2 (z_0, 0)

    The first is the wave equation of "Latent Traversals in Generative Models as Potential Flows" (Song et al. 2023);
    that potentials start at rest is this project's form of an initial condition. Both are in closed form.

    Args:
        potentials: K time-dependent potentials.
        speed: c, ``(K,)``.
        z: z_0 .. z_{T-1}, ``(B, T, D)``.
        t: times in (0, 1], ``(T,)``.

    Returns:
        ``residual`` and ``initial``, each ``(B,)``.

    Example:
        >>> u = Potentials(2, dim=4, time_dependent=True)
        >>> sorted(wave_terms(u, torch.ones(2), torch.zeros(5, 3, 4), torch.tensor([0.3, 0.6, 1.0])))
        ['initial', 'residual']
    """
    t = t.expand(z.shape[:-1])
    residual = potentials.second_time_derivative(z, t) - speed.square() * potentials.laplacian(z, t)
    start = potentials.time_derivative(z[:, 0], torch.zeros_like(t[:, 0]))
    return {"residual": residual.square().sum((1, 2)), "initial": start.square().sum(1)}


class WavePenalty(Penalty):
    """The residual of the wave equation at learnable speeds, and potentials that do not start at rest.

    Args:
        num_fields: K.
        residual, initial: weights of the terms of :func:`wave_terms`.
    """

    def __init__(self, num_fields: int, residual: float, initial: float) -> None:
        super().__init__()
        self.weights = {"residual": residual, "initial": initial}
        self.speed = nn.Parameter(torch.ones(num_fields))

    def forward(self, fields: FieldModule, latents: Tensor, times: Tensor) -> dict[str, Tensor]:
        """``wave_residual`` and ``wave_initial``."""
        terms = wave_terms(potentials_of(fields), self.speed, latents[:, :-1], times)
        return {f"wave_{name}": self.weights[name] * value for name, value in terms.items()}


def poflow(config: PoFlowConfig, networks: Networks) -> FlowFactorizedVAE:
    r"""Latents that flow down time-dependent potentials under a wave equation with learnable speeds (Song et al. 2023).

    z_t = z_{t-1} + grad u^k(z_{t-1}, t / T), as in the supervised flow-factorised model, but with the residual of
    :math:`\partial_t^2 u = c^2 \Delta u` as a penalty and no diffusing prior.

    Example:
        >>> model = MODE.build(PoFlowConfig(), (3, 28, 28))
        >>> sorted(model.field_penalties(torch.zeros(2, 9, 48), torch.ones(2, 8, 3)))
        ['wave_initial', 'wave_residual']
    """
    wave = WavePenalty(config.model.num_fields, config.wave_weight, config.wave_initial_weight)
    return flow_with_given_activity(config, networks, wave)


MODE = Mode(PoFlowConfig, poflow)
"""Gradient flows of potentials that obey the wave equation."""
