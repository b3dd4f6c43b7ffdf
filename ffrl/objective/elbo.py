r"""The evidence lower bound of all three modes, as pure functions of a model's outputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ffrl.config import ObjectiveConfig
from ffrl.distributions.priors import gaussian_kl
from ffrl.models.outputs import SequenceOutputs


def flow_kl(outputs: SequenceOutputs) -> Tensor:
    r"""Third term of the paper bound, :math:`\sum_t (\log q_t - \log p_t)(z_t)` at the sampled trajectory: ``(B,)``.

    log q_t is log q(z_0 | x_0) plus the accumulated change of density; zero for the strict bound, whose generative and
    posterior flow are one and the same deterministic map (FFRL, "Evidence Lower Bound").
    """
    if outputs.log_density_change is None or outputs.log_prior is None:
        return torch.zeros_like(outputs.mean[:, 0])
    mean, log_variance, z0 = outputs.mean, outputs.log_variance, outputs.latents[:, 0]
    scaled = (z0 - mean).square() * torch.exp(-log_variance)
    log_q0 = -0.5 * (scaled + log_variance + math.log(2 * math.pi)).sum(-1)
    log_q = log_q0.unsqueeze(1) + outputs.log_density_change.cumsum(1)
    return (log_q - outputs.log_prior).sum(1)


def elbo_terms(outputs: SequenceOutputs, frames: Tensor, config: ObjectiveConfig) -> dict[str, Tensor]:
    r"""Named terms of the negative bound, nats per frame, averaged over the batch.

    .. math::
        \frac{1}{T+1} \Big( \sum_{t=0}^T \log p(x_t|z_t) - KL[q(z_0|x_0) \| N(0, I)]
        - \sum_{t=1}^T (\log q_t - \log p_t)(z_t) - KL(activity) \Big)

    With relaxed activity this is a training surrogate and not a bound; see :mod:`ffrl.evaluation` for reported figures.

    Args:
        outputs: from the model.
        frames: the sequences, ``(B, T+1, C, H, W)`` or ``(B, T+1, F)``.
        config: bound, likelihood and weights.

    Returns:
        Scalars: ``loss`` (minimised), ``reconstruction`` (log-likelihood), ``l1`` (absolute error summed over a frame),
        ``kl_latent``, ``kl_flow`` (paper bound), ``kl_<name>`` per activity term, the model's penalties under their
        names (``hj_residual``, ``divergence``, ...), and ``cross_entropy`` while frames stand alone.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model, frames = MODE.build(SupervisedConfig(), (3, 28, 28)), torch.rand(2, 9, 3, 28, 28)
        >>> outputs = model(frames, model.draw_noise(2, 8, None), model.phase(0.5), torch.ones(2, 8, 3))
        >>> sorted(elbo_terms(outputs, frames, model.trained.objective))
        ['kl_latent', 'l1', 'loss', 'reconstruction']
    """
    num_frames = frames.shape[1]
    frame_kind = outputs.frame_kind
    error = frame_kind.error(outputs.logits, frames)
    log_prob = frame_kind.log_prob(outputs.logits, frames, config, error)
    terms = {"reconstruction": log_prob.sum(1)}
    latent = gaussian_kl(outputs.mean, outputs.log_variance).reshape(len(frames), -1).sum(1)
    negative = {"kl_latent": outputs.latent_weight * latent}
    if outputs.cross_entropy_weight is not None:
        cross_entropy = frame_kind.cross_entropy(outputs.logits, frames)
        if cross_entropy is not None:
            negative["cross_entropy"] = outputs.cross_entropy_weight * cross_entropy.sum(1)
    if outputs.log_density_change is not None:
        negative["kl_flow"] = flow_kl(outputs)
    negative |= {f"kl_{name}": value for name, value in outputs.activity_kl.items()}
    negative |= outputs.penalties
    terms |= negative
    terms["loss"] = sum(negative.values()) - terms["reconstruction"]
    terms = {name: value.mean() / num_frames for name, value in terms.items()}
    terms["l1"] = frame_kind.total(error.detach().abs()).mean()
    return terms
