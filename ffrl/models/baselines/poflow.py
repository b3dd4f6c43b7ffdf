"""PoFlow: potentials that obey a wave equation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffrl.config import RunConfig
from ffrl.fields.potential import Potentials
from ffrl.models.activity import GivenActivity
from ffrl.models.baselines.config import PoFlowConfig
from ffrl.models.flow_vae import FlowFactorizedVAE


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


class PoFlow(FlowFactorizedVAE):
    r"""Latents that flow down time-dependent potentials under a wave equation with learnable speeds (Song et al. 2023).

    z_t = z_{t-1} + grad u^k(z_{t-1}, t / T), as in the supervised flow-factorised model, but with the residual of
    :math:`\partial_t^2 u = c^2 \Delta u` as a penalty and no diffusing prior.

    Args:
        config: a :class:`~ffrl.models.baselines.config.PoFlowConfig`.
        image_shape: (C, H, W).
        modules: ``encoder`` and ``decoder`` of one's own.

    Example:
        >>> model = PoFlow(PoFlowConfig(), (3, 28, 28))
        >>> sorted(model.field_penalties(torch.zeros(2, 9, 32), torch.ones(2, 8, 3)))
        ['wave_initial', 'wave_residual']
    """

    def __init__(self, config: PoFlowConfig, image_shape: tuple[int, int, int], **modules: nn.Module | None) -> None:
        super().__init__(config, image_shape, **modules)
        self.wave_weights = {"residual": config.wave_weight, "initial": config.wave_initial_weight}
        self.wave_speed = nn.Parameter(torch.ones(config.model.num_fields))

    def build_activity(self, config: RunConfig) -> GivenActivity:
        """Activity is given."""
        return GivenActivity(config.model.num_fields)

    def field_penalties(self, latents: Tensor, activity: Tensor) -> dict[str, Tensor]:
        """The wave equation's terms, weighted, beside those of the base class."""
        terms = wave_terms(self.potentials, self.wave_speed, latents[:, :-1], self._times(activity))
        wave = {f"wave_{name}": self.wave_weights[name] * value for name, value in terms.items()}
        return super().field_penalties(latents, activity) | wave
