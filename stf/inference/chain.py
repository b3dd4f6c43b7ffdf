r"""Paths of joint states: a factorial hidden Markov model, whose posterior is computed exactly.

Every control is a two-state chain with a rate of switching on and one of switching off, started from its stationary
law. Over the joint states the transition is the product of those of the controls,

.. math:: p(S'|S) = \prod_k p(y'_k | y_k), \quad p(y'=1|0) = on_k, \; p(y'=0|1) = off_k,

times 1/2 for every sign of a state with signs. Where states with many controls on are left out, the posterior is that
under the condition that none of them is visited, and the log evidence is that of the paths that are left: the
transition is not normalised again.

Source: Ghahramani and Jordan 1997, Factorial hidden Markov models; Rabiner 1989 for the recursions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stf.inference.states import StateSpace


@dataclass(frozen=True)
class PathPrior:
    """Law of the paths of M states.

    Args:
        initial: log p(S_1), ``(M,)`` or ``(B, M)``.
        transition: log p(S_t | S_{t-1}), row = S_{t-1}: ``(M, M)`` or ``(B, M, M)``.
    """

    initial: Tensor
    transition: Tensor


def factorial_prior(space: StateSpace, on: Tensor, off: Tensor) -> PathPrior:
    """Independent chains with switch-on and switch-off rates ``(C,)`` or ``(B, C)`` each.

    Example:
        >>> from stf.inference.states import subsets
        >>> prior = factorial_prior(subsets(2, most=2), torch.full((2,), 0.1), torch.full((2,), 0.3))
        >>> bool(torch.allclose(prior.transition.exp().sum(-1), torch.ones(4)))
        True
    """
    was, signs = space.on, -math.log(2) * space.signed * space.on.sum(-1)
    rest = 1 - was
    stationary = torch.log(on / (on + off)), torch.log(off / (on + off))
    initial = stationary[0] @ was.T + stationary[1] @ rest.T + signs
    on, off = on.unsqueeze(-2), off.unsqueeze(-2)  # log p(y'|y) = sums over controls, as products of matrices
    transition = (was * torch.log1p(-off)) @ was.T + (was * torch.log(off)) @ rest.T
    transition = transition + (rest * torch.log(on)) @ was.T + (rest * torch.log1p(-on)) @ rest.T
    return PathPrior(initial, transition + signs)


@dataclass(frozen=True)
class PathPosterior:
    r"""Posterior over the paths of B sequences of T transitions.

    Args:
        prior: the law of the paths.
        log_likelihood: :math:`\log p(\Delta_t|S)`, ``(B, T, M)``.
        filtered: :math:`p(S_t | \Delta_1 .. \Delta_t)`, ``(B, T, M)``.
        later: :math:`p(\Delta_{t+1} .. \Delta_T | S_t)` up to a factor, ``(B, T, M)``.
        marginal: :math:`p(S_t | \Delta_1 .. \Delta_T)`, ``(B, T, M)``.
        log_evidence: :math:`\log p(\Delta_1 .. \Delta_T)` in nats, ``(B,)``.
    """

    prior: PathPrior
    log_likelihood: Tensor
    filtered: Tensor
    later: Tensor
    marginal: Tensor
    log_evidence: Tensor

    def pairwise(self) -> Tensor:
        r"""Pairwise marginals :math:`p(S_t, S_{t+1} | \Delta_1 .. \Delta_T)`, ``(B, T-1, M, M)``."""
        _, likelihood = _scaled(self.log_likelihood)
        after = likelihood[:, 1:] * self.later[:, 1:]
        transition = self.prior.transition.exp()
        transition = transition.unsqueeze(1) if transition.ndim == 3 else transition
        joint = self.filtered[:, :-1].unsqueeze(-1) * transition * after.unsqueeze(-2)
        return joint / joint.sum((-2, -1), keepdim=True)

    def expected_transitions(self) -> Tensor:
        """Expected number of transitions from one state to another in each sequence, ``(B, M, M)``."""
        _, likelihood = _scaled(self.log_likelihood)
        after = likelihood[:, 1:] * self.later[:, 1:]
        transition = self.prior.transition.exp()
        before = self.filtered[:, :-1]
        scale = ((before @ transition) * after).sum(-1, keepdim=True)
        return transition * ((before / scale).mT @ after)

    def kl(self) -> Tensor:
        r"""KL between posterior and prior over paths, from the marginals alone: ``(B,)`` nats.

        .. math:: KL[q \| p] = \sum_t \sum_S q(S_t = S) \log p(\Delta_t|S) - \log p(\Delta_1 .. \Delta_T)
        """
        top = self.log_likelihood.amax(-1)
        shifted = (self.marginal * (self.log_likelihood - top.unsqueeze(-1))).sum((-2, -1))
        return shifted - (self.log_evidence - top.sum(-1))

    def mode(self) -> Tensor:
        """The most probable path, as states ``(B, T)`` (max-product; Viterbi 1967)."""
        score = self.prior.initial + self.log_likelihood[:, 0]
        best = []
        for step in range(1, self.log_likelihood.shape[1]):
            score, came_from = (score.unsqueeze(-1) + self.prior.transition).max(-2)
            score = score + self.log_likelihood[:, step]
            best.append(came_from)
        path = [score.argmax(-1)]
        for came_from in reversed(best):
            path.append(came_from.gather(-1, path[-1].unsqueeze(-1)).squeeze(-1))
        return torch.stack(path[::-1], dim=1)

    def draw(self, uniform: Tensor) -> Tensor:
        """Paths drawn by backward sampling: uniform noise ``(S, B, T)`` -> states ``(S, B, T)``.

        Source: Scott 2002, Bayesian methods for hidden Markov models, Sec. 2.
        """
        steps = self.filtered.shape[1]
        into = self.prior.transition.exp().mT
        state = _invert_distribution(self.filtered[:, -1], uniform[..., -1])
        path = [state]
        rows = torch.arange(len(self.filtered), device=state.device)
        for step in range(steps - 2, -1, -1):
            weight = into[state] if into.ndim == 2 else into[rows, state]
            state = _invert_distribution(self.filtered[:, step] * weight, uniform[..., step])
            path.append(state)
        return torch.stack(path[::-1], dim=-1)


def _scaled(log_likelihood: Tensor) -> tuple[Tensor, Tensor]:
    """The largest log-likelihood over the states ``(..., 1)``, and likelihoods relative to it."""
    top = log_likelihood.amax(-1, keepdim=True)
    return top, (log_likelihood - top).exp()


def _invert_distribution(weights: Tensor, uniform: Tensor) -> Tensor:
    """Index drawn with unnormalised ``weights (..., M)``, from uniform noise ``(S, ...)``."""
    cumulated = weights.cumsum(-1)
    below = cumulated <= (uniform * cumulated[..., -1]).unsqueeze(-1)
    return below.sum(-1).clamp(max=weights.shape[-1] - 1)


def infer_paths(log_likelihood: Tensor, prior: PathPrior) -> PathPosterior:
    """Posterior over paths from log-likelihoods ``(B, T, M)``, by the scaled forward and backward recursions.

    Example:
        >>> prior = PathPrior(torch.tensor([0.5, 0.5]).log(), torch.tensor([[0.9, 0.1], [0.1, 0.9]]).log())
        >>> infer_paths(torch.tensor([[[0.0, 2.0], [0.0, 2.0]]]), prior).marginal[0, 0].argmax().item()
        1
    """
    top, likelihood = _scaled(log_likelihood)
    transition = prior.transition.exp()
    tiny = torch.finfo(log_likelihood.dtype).tiny

    def move(weights: Tensor, matrix: Tensor) -> Tensor:
        return weights @ matrix if matrix.ndim == 2 else (weights.unsqueeze(-2) @ matrix).squeeze(-2)

    steps = log_likelihood.shape[1]
    current = prior.initial.exp().expand_as(log_likelihood[:, 0])
    filtered, log_evidence = [], top.sum((-2, -1))
    for step in range(steps):
        current = (move(current, transition) if step else current) * likelihood[:, step]
        total = current.sum(-1, keepdim=True).clamp_min(tiny)
        current = current / total
        log_evidence = log_evidence + total.squeeze(-1).log()
        filtered.append(current)
    later = [torch.ones_like(current)]
    for step in range(steps - 1, 0, -1):
        before = move(later[-1] * likelihood[:, step], transition.mT)
        later.append(before / before.sum(-1, keepdim=True).clamp_min(tiny))
    forward, backward = torch.stack(filtered, dim=1), torch.stack(later[::-1], dim=1)
    marginal = forward * backward
    marginal = marginal / marginal.sum(-1, keepdim=True).clamp_min(tiny)
    return PathPosterior(prior, log_likelihood, forward, backward, marginal, log_evidence)


def infer_constant(log_likelihood: Tensor) -> PathPosterior:
    """Posterior over paths that never leave their state, each as probable as any other a priori: ``(B, T, M)``.

    The weakly supervised case: :math:`q(k | \\bar x) \\propto \\prod_t p(\\Delta_t | k)`.

    Example:
        >>> infer_constant(torch.tensor([[[0.0, 2.0], [1.0, 0.0]]])).marginal[0].argmax(-1).tolist()
        [1, 1]
    """
    states = log_likelihood.shape[-1]
    uniform = torch.full_like(log_likelihood[0, 0], -math.log(states))
    stay = torch.full_like(log_likelihood[0, :1, :1].expand(states, states), -math.inf).clone().fill_diagonal_(0.0)
    total = log_likelihood.cumsum(1)
    filtered = total.softmax(-1)
    whole = total[:, -1:]
    later = (whole - total - (whole - total).amax(-1, keepdim=True)).exp()
    marginal = whole.softmax(-1).expand_as(filtered)
    log_evidence = torch.logsumexp(whole[:, 0], -1) - math.log(states)
    return PathPosterior(PathPrior(uniform, stay), log_likelihood, filtered, later, marginal, log_evidence)


def switches(expected: Tensor, space: StateSpace) -> Tensor:
    """Expected transitions of every control between off and on, from those of joint states.

    Args:
        expected: of joint states, ``(..., M, M)``; see :meth:`PathPosterior.expected_transitions`.
        space: the states.

    Returns:
        Counts ``(..., C, 2, 2)``: row = was on, column = is on.
    """
    both = torch.stack([1 - space.on, space.on])  # 2, M, C
    return torch.einsum("amc,...mn,bnc->...cab", both, expected, both)


def rates(counts: Tensor, pseudo: Tensor) -> tuple[Tensor, Tensor]:
    """Switch-on and switch-off rates ``(C,)`` that make expected counts ``(C, 2, 2)`` most probable.

    ``pseudo`` are counts of the same shape that are added: what a control that never acts keeps.

    Example:
        >>> on, off = rates(torch.tensor([[[90.0, 10.0], [3.0, 7.0]]]), torch.zeros(1, 2, 2))
        >>> round(on.item(), 4), round(off.item(), 4)
        (0.1, 0.3)
    """
    counts = counts + pseudo
    return counts[:, 0, 1] / counts[:, 0].sum(-1), counts[:, 1, 0] / counts[:, 1].sum(-1)
