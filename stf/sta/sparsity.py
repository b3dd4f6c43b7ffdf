"""Spike-and-slab: Markov-chain spikes, Laplace slabs, their exact KLs and relaxed samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NEGLIGIBLE = -30.0
"""Log-weight of a relaxed spike that counts as off; e^-30 is below float32's resolution of 1."""


def binary_concrete(logits: Tensor, uniform: Tensor, temperature: float | Tensor) -> Tensor:
    """Relaxed Bernoulli sample, sigmoid((logits + logistic noise) / temperature), from uniform noise of the same shape.

    The noise is logistic, the difference of two Gumbels. Logits below :data:`NEGLIGIBLE` are raised to it, which keeps
    the flow's products clear of denormal numbers.

    Source: Maddison, Mnih and Teh 2017, App. B.
    """
    noise = torch.log(uniform) - torch.log1p(-uniform)
    return torch.sigmoid(((logits + noise) / temperature).clamp(min=NEGLIGIBLE))


def uniform_draws(samples: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform noise strictly between 0 and 1 for S draws, ``(S, *like.shape)``.

    Example:
        >>> uniform_draws(3, torch.zeros(2, 8, 6), torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2, 8, 6])
    """
    tiny = torch.finfo(like.dtype).eps
    shape = (samples, *like.shape)
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype).clamp(tiny, 1 - tiny)


def laplace_sample(location: Tensor, scale: Tensor, uniform: Tensor) -> Tensor:
    """Laplace sample by inversion, from uniform noise of the same shape."""
    centred = uniform - 0.5
    return location - scale * torch.sign(centred) * torch.log1p(-2 * centred.abs())


def laplace_kl(location: Tensor, scale: Tensor, prior_scale: float, prior_location: float = 1.0) -> Tensor:
    r"""KL[Laplace(m, b) || Laplace(m_0, b_0)] in nats, elementwise.

    .. math:: \log(b_0/b) + |m - m_0|/b_0 + (b/b_0) e^{-|m - m_0|/b} - 1

    Example:
        >>> laplace_kl(torch.tensor(1.0), torch.tensor(0.1), prior_scale=0.1).abs().item() < 1e-6
        True
    """
    distance = (location - prior_location).abs()
    ratio = scale / prior_scale
    return distance / prior_scale + ratio * torch.exp(-distance / scale) - torch.log(ratio) - 1


def laplace_log_prob(x: Tensor, location: Tensor | float, scale: Tensor | float) -> Tensor:
    """log Laplace(x; location, scale), elementwise."""
    scale = torch.as_tensor(scale, dtype=x.dtype, device=x.device)
    return -(x - location).abs() / scale - torch.log(2 * scale)


def bernoulli_kl(logits: Tensor, log_on: Tensor, log_off: Tensor) -> Tensor:
    """KL[Bernoulli(sigmoid(logits)) || Bernoulli(p)] from log p and log(1 - p), elementwise, stable for any logit."""
    q = logits.sigmoid()
    return q * (F.logsigmoid(logits) - log_on) + (1 - q) * (F.logsigmoid(-logits) - log_off)


class SpikeChain(nn.Module):
    r"""Two-state Markov chain per control, with separate switch-on and switch-off rates.

    Started from its stationary law pi = on / (on + off); on much smaller than off makes it sparse.

    Args:
        num_controls: C.
        on_rate: p(y_t = 1 | y_{t-1} = 0).
        off_rate: p(y_t = 0 | y_{t-1} = 1).
        learned: make both rates parameters, one pair per control.

    Example:
        >>> chain = SpikeChain(num_controls=2, on_rate=0.1, off_rate=0.3)
        >>> chain.kl(torch.zeros(5, 8, 2)).shape
        torch.Size([5])
    """

    def __init__(self, num_controls: int, on_rate: float, off_rate: float, learned: bool = False) -> None:
        super().__init__()
        rates = torch.tensor([on_rate, off_rate], dtype=torch.float64)
        logits = torch.logit(rates).to(torch.get_default_dtype()).repeat(num_controls, 1)
        if learned:
            self.rate_logits = nn.Parameter(logits)
        else:
            self.register_buffer("rate_logits", logits)

    def rates(self) -> tuple[Tensor, Tensor]:
        """Switch-on and switch-off rates, ``(C,)`` each."""
        on, off = self.rate_logits.sigmoid().unbind(-1)
        return on, off

    def _initial(self) -> tuple[Tensor, Tensor]:
        """log pi and log(1 - pi), ``(C,)`` each."""
        on, off = self.rates()
        return torch.log(on / (on + off)), torch.log(off / (on + off))

    def kl(self, logits: Tensor) -> Tensor:
        r"""KL between independent Bernoulli posteriors and the chain, exactly and without sampling.

        .. math:: KL[q_1 \| \pi] + \sum_{t \ge 2} q_{t-1} KL[q_t \| p(\cdot|1)] + (1 - q_{t-1}) KL[q_t \| p(\cdot|0)]

        Args:
            logits: of q(y_t = 1), ``(..., T, C)``.

        Returns:
            ``(...)`` nats, summed over steps and controls (STA, spike-and-slab prior).
        """
        on, off = self.rate_logits.unbind(-1)
        first = bernoulli_kl(logits[..., 0, :], *self._initial())
        previous, current = logits[..., :-1, :].sigmoid(), logits[..., 1:, :]
        after_on = bernoulli_kl(current, F.logsigmoid(-off), F.logsigmoid(off))
        after_off = bernoulli_kl(current, F.logsigmoid(on), F.logsigmoid(-on))
        later = previous * after_on + (1 - previous) * after_off
        return first.sum(-1) + later.sum((-2, -1))

    def log_prob(self, spikes: Tensor) -> Tensor:
        """log p(y_1 .. y_T) of hard spikes in {0, 1}, ``(..., T, C)`` -> ``(...)``."""
        log_pi, log_not_pi = self._initial()
        on, off = self.rate_logits.unbind(-1)
        first = spikes[..., 0, :] * log_pi + (1 - spikes[..., 0, :]) * log_not_pi
        was, now = spikes[..., :-1, :], spikes[..., 1:, :]
        stayed_on = now * F.logsigmoid(-off) + (1 - now) * F.logsigmoid(off)
        came_on = now * F.logsigmoid(on) + (1 - now) * F.logsigmoid(-on)
        return first.sum(-1) + (was * stayed_on + (1 - was) * came_on).sum((-2, -1))


def sign_kl(logits: Tensor) -> Tensor:
    """KL[Bernoulli(sigmoid(logits)) || Bernoulli(1/2)] = log 2 - H(q), elementwise, in nats."""
    half = torch.full_like(logits, -math.log(2))
    return bernoulli_kl(logits, half, half)
