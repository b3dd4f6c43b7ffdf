"""The third term of the paper bound, at hard draws."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.core.device import wide
from ffrl.distributions.priors import diffused_sigma, gaussian_log_prob
from ffrl.models.flow_vae import FlowFactorizedVAE

TRANSITIONS = 256
"""Transitions whose Jacobians are held in memory at once."""

NOTES = {
    "exact": "paper bound with exact log-determinants: looser than the strict bound, and a bound only as long as every "
    "transition is invertible",
    "trace": "paper objective with the trace in place of the log-determinant: no bound",
    "poster": "paper objective with the poster's density formula: no bound",
}


def flow_kl(model: FlowFactorizedVAE, latents: Tensor, g: Tensor, log_q: Tensor) -> Tensor:
    r"""Moved posterior against diffused prior along each trajectory, :math:`\sum_t (\log q_t - \log p_t)(z_t)`.

    log q_t is log q(z_0 | x_0) plus the accumulated change of density (FFRL, "Evidence Lower Bound").

    Args:
        model: trained with the paper bound.
        latents: z_0 .. z_T, ``(N, T+1, D)``.
        g: activity, ``(N, T, C)``.
        log_q: log q(z_0 | x_0), ``(N,)``.

    Returns:
        ``(N,)`` nats, float64 (float32 on MPS).

    Raises:
        ValueError: the model was not trained with the paper bound.

    Example:
        >>> from ffrl.config import ObjectiveConfig, SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(objective=ObjectiveConfig(bound="paper")), (3, 28, 28))
        >>> g = torch.ones(2, 8, 3)
        >>> flow_kl(model, model.flow(torch.zeros(2, 48), g), g, torch.zeros(2)).shape
        torch.Size([2])
    """
    if model.density is None:
        raise ValueError("found a model of the strict bound, expected one trained with the paper bound")
    parts = []
    for z, speeds in zip(latents.split(TRANSITIONS), g.split(TRANSITIONS), strict=True):
        changes = [
            model.log_density_change(z[:, step], speeds[:, step], (step + 1) / model.num_steps, model.density)
            for step in range(speeds.shape[1])
        ]
        parts.append(torch.stack(changes, dim=1))
    moved = wide(log_q).unsqueeze(1) + wide(torch.cat(parts)).cumsum(1)
    prior = gaussian_log_prob(latents[:, 1:], diffused_sigma(g, model.log_diffusion.exp()))
    return (moved - wide(prior)).sum(1)
