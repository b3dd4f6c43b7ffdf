r"""Reported likelihood bounds, from hard draws of everything latent.

With S joint draws of z_0 and the activity a (spikes, slabs, signs), or with the field k enumerated, the weights are

.. math:: \log w = \sum_{t=0}^T \log p(x_t|z_t) + \log p(z_0) - \log q(z_0|x_0) + \log p(a) - \log q(a|\bar x),

the flow being one deterministic map shared by model and posterior (the ``strict`` bound). Relaxed activity, which
training uses, never enters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ffrl.core.device import wide
from ffrl.distributions.priors import gaussian_log_prob
from ffrl.evaluation.likelihood.bounds import elbo, iwae
from ffrl.evaluation.likelihood.pixels import PixelLikelihood
from ffrl.evaluation.protocol.sequences import PIXELS
from ffrl.models.activity import ActivityDraws
from ffrl.models.flow_vae import FlowFactorizedVAE
from ffrl.models.interface import FrameLatents, SequenceLatents, SequenceModel
from ffrl.objective.paper_bound import flow_kl

LogProb = Callable[[Tensor, Tensor], Tensor]
"""Maps logits and frames, ``(..., C, H, W)`` each, to log p(x | z) ``(...)`` in nats per frame."""


@dataclass(frozen=True)
class SequenceDraws:
    """Draws from q(z_0, activity | frames) for B sequences.

    Args:
        z0: ``(S, B, D)``, shared by all enumerated cases.
        log_q: log q(z_0 | x_0), ``(S, B)``, float64 (float32 on MPS).
        log_p: log p(z_0), ``(S, B)``, float64 (float32 on MPS).
        activity: M enumerated cases times S samples.
        latents: z_0 .. z_T where every frame has latents of its own, ``(S, B, T+1, D)``; else None. The ratios of
            z_1 .. z_T then are in ``activity.log_ratio``.
    """

    z0: Tensor
    log_q: Tensor
    log_p: Tensor
    activity: ActivityDraws
    latents: Tensor | None = None


@dataclass(frozen=True)
class LogWeights:
    """The terms of log w in float64 (float32 on MPS), summed over time; M cases, S samples, B sequences.

    Args:
        pixels: per likelihood, sum over t of log p(x_t | z_t), ``(M, S, B)``.
        latent: log p - log q of z_0 and the activity, ``(M, S, B)``.
        log_case: log q of the cases, ``(M, B)``.
        flow_kl: what the paper bound subtracts besides, ``(M, S, B)``; None unless asked for.
    """

    pixels: dict[str, Tensor]
    latent: Tensor
    log_case: Tensor
    flow_kl: Tensor | None = None


def draw(
    model: SequenceModel, frames: Tensor, samples: int, generator: torch.Generator, activity: Tensor | None = None
) -> SequenceDraws:
    """Draw z_0 and the activity S times for each sequence, or z_0 alone where the activity is given.

    Args:
        model: with ``posterior`` and ``activity_model``.
        frames: ``(B, T+1, C, H, W)``.
        samples: S.
        generator: source of all randomness, on the device of the model.
        activity: given activity ``(B, T, C)`` (supervised).

    Example:
        >>> from stf.config import WeakConfig
        >>> from stf.config.modes import WEAK
        >>> model = WEAK.build(WeakConfig(), (3, 28, 28))
        >>> draws = draw(model, torch.rand(2, 9, 3, 28, 28), 5, torch.Generator().manual_seed(0))
        >>> draws.z0.shape, draws.activity.g.shape
        (torch.Size([5, 2, 48]), torch.Size([6, 5, 2, 8, 6]))
    """
    if isinstance(model, FrameLatents):
        given = model.infer(frames) if activity is None else activity
        return _draw_frames(model, frames, samples, generator, given)
    if not isinstance(model, SequenceLatents):
        raise TypeError(f"model: found {type(model).__name__}, expected one with a posterior and draws of its activity")
    means, log_variances = model.posterior(frames if activity is None else frames[:, :1])
    mean, log_variance = means[:, 0], log_variances[:, 0]
    noise = torch.randn((samples, *mean.shape), generator=generator, device=mean.device, dtype=mean.dtype)
    z0 = mean + torch.exp(0.5 * log_variance) * noise
    log_q = -0.5 * (wide(noise).square() + wide(log_variance) + math.log(2 * math.pi)).sum(-1)
    if activity is None:
        drawn = model.draw_activity(frames, means, samples, generator)
    else:
        nothing = torch.zeros(1, len(frames), device=mean.device, dtype=mean.dtype)
        repeated = activity.expand(1, samples, *activity.shape)
        drawn = ActivityDraws(repeated, nothing.unsqueeze(1).expand(1, samples, -1), nothing)
    return SequenceDraws(z0, log_q, gaussian_log_prob(wide(z0)), drawn)


def _draw_frames(
    model: FrameLatents, frames: Tensor, samples: int, generator: torch.Generator, activity: Tensor
) -> SequenceDraws:
    """Draw the latents of every frame S times; what they are decoded from may depend on the activity."""
    means, log_variances = model.posterior(frames)
    noise = torch.randn((samples, *means.shape), generator=generator, device=means.device, dtype=means.dtype)
    latents = means + torch.exp(0.5 * log_variances) * noise
    log_q = -0.5 * (wide(noise).square() + wide(log_variances) + math.log(2 * math.pi)).sum(-1)
    log_p = gaussian_log_prob(wide(latents[:, :, 0]))
    rest = model.log_latent_prior(wide(latents)) - log_q[:, :, 1:].sum(-1)
    given = activity.expand(samples, *activity.shape)
    drawn = ActivityDraws(given.unsqueeze(0), rest.unsqueeze(0), rest.new_zeros(1, len(frames)))
    codes = model.codes(latents, given)
    return SequenceDraws(codes[:, :, 0], log_q[:, :, 0], log_p, drawn, codes)


def log_weights(
    model: SequenceModel, frames: Tensor, draws: SequenceDraws, log_probs: Mapping[str, LogProb], paper: bool = False
) -> LogWeights:
    """Move and decode all draws, a bounded number at a time, and score them under every likelihood.

    Args:
        model: with ``flow`` and ``decode_logits``; for ``paper`` also what :func:`ffrl.objective.paper_bound.flow_kl`
            needs.
        frames: ``(B, T+1, C, H, W)``.
        draws: from :func:`draw`.
        log_probs: named likelihoods.
        paper: also compute what the paper bound subtracts.
    """
    g = draws.activity.g
    cases, samples, batch = g.shape[:3]
    count = max(1, PIXELS // frames.numel())
    pixels: dict[str, list[Tensor]] = {name: [] for name in log_probs}
    flow_kls = []
    for pair in torch.arange(cases * samples, device=frames.device).split(count):
        case, sample = pair // samples, pair % samples
        speeds = g[case, sample].flatten(0, 1)
        if draws.latents is None:
            latents = model.flow(draws.z0[sample].flatten(0, 1), speeds)
        else:
            latents = draws.latents[sample].flatten(0, 1)
        logits = model.decode_logits(latents).unflatten(0, (len(pair), batch))
        target = frames.expand(len(pair), *frames.shape)
        for name, log_prob in log_probs.items():
            pixels[name].append(wide(log_prob(logits, target)).sum(-1))
        if paper:
            log_q = draws.log_q[sample].flatten()
            flow_kls.append(
                flow_kl(cast(FlowFactorizedVAE, model), latents, speeds, log_q).unflatten(0, (len(pair), batch))
            )

    def gather(parts: list[Tensor]) -> Tensor:
        return torch.cat(parts).unflatten(0, (cases, samples))

    return LogWeights(
        pixels={name: gather(parts) for name, parts in pixels.items()},
        latent=draws.log_p - draws.log_q + wide(draws.activity.log_ratio),
        log_case=wide(draws.activity.log_case),
        flow_kl=gather(flow_kls) if paper else None,
    )


def bounds(weights: LogWeights, num_frames: int) -> dict[str, dict[str, Tensor]]:
    """Every bound under every likelihood, ``(B,)`` nats per frame, that is per sequence / (T + 1).

    Returns:
        ``{likelihood: {"elbo": ..., "iwae": ..., "paper": ...}}``, ``paper`` only if the weights have its term.
    """
    result = {}
    for name, pixels in weights.pixels.items():
        log_weight = pixels + weights.latent
        found = {"elbo": elbo(log_weight, weights.log_case), "iwae": iwae(log_weight, weights.log_case)}
        if weights.flow_kl is not None:
            found["paper"] = elbo(log_weight - weights.flow_kl, weights.log_case)
        result[name] = {bound: value / num_frames for bound, value in found.items()}
    return result


def legacy_score(model: SequenceModel, frames: Tensor, draws: SequenceDraws) -> Tensor:
    """log p(x_0 | z_0) + log q(z_0 | x_0) - log p(z_0) at the first draw, unit-variance Gaussian: ``(B,)``.

    The published figures have the sign of log q / p reversed in this way. It is **no likelihood**: it can exceed what
    any model can reach.
    """
    logits = model.decode_logits(draws.z0[0])
    log_p = wide(PixelLikelihood("gaussian")(logits, frames[:, 0]))
    return log_p + draws.log_q[0] - draws.log_p[0]
