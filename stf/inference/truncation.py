r"""Expectation truncation: with many controls, only those that explain most of a sequence are enumerated.

Every control is scored by what it explains on its own, :math:`\sum_t \max(0, \log p(\Delta_t | \{k\}) - \log
p(\Delta_t | \{\}))`, and the best few of each sequence are kept.

Source: Luecke and Eggert 2010, Expectation truncation and the benefits of preselection in training generative models.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stf.inference.evidence import Evidence, Noise, Transitions, evidence
from stf.inference.states import StateSpace, subsets


def singles(data: Transitions, signed: bool, noise: Noise) -> Tensor:
    """Log evidence of nothing and of every control alone, the better sign of it: ``(C + 1, *batch)`` nats."""
    controls = len(data.cross)
    space = subsets(controls, 1, signed, data.cross.device, data.cross.dtype)
    log = evidence(data, space, noise).log
    if not signed:
        return log
    return torch.cat([log[:1], log[1:].unflatten(0, (controls, 2)).logsumexp(1)])


def choose(alone: Tensor, count: int, alive: Tensor | None = None) -> Tensor:
    """The controls of each sequence that explain most, from :func:`singles` ``(C + 1, B, T)``: ``(count, B)``.

    Controls that must not be on, 0 in ``alive (C, B)``, are the last to be chosen.

    Example:
        >>> choose(torch.tensor([[[0.0]], [[-1.0]], [[3.0]], [[5.0]]]), 2).flatten().tolist()
        [2, 1]
    """
    gain = (alone[1:] - alone[:1]).clamp_min(0).sum(-1)
    if alive is not None:
        gain = gain.masked_fill(alive == 0, -1.0)
    return gain.topk(count, dim=0).indices


def select(data: Transitions, chosen: Tensor) -> Transitions:
    """Inner products of the chosen controls ``(c, B)`` only, of transitions of batch ``(B, T)``."""
    controls, (batch, steps) = len(data.cross), data.energy.shape
    index = chosen.unsqueeze(-1).expand(-1, batch, steps)
    cross = data.cross.gather(0, index)
    pairs = (chosen.unsqueeze(1) * controls + chosen.unsqueeze(0)).flatten(0, 1).unsqueeze(-1)
    gram = data.gram.flatten(0, 1).gather(0, pairs.expand(-1, batch, steps))
    return Transitions(gram.unflatten(0, (len(chosen), len(chosen))), cross, data.energy, data.dim)


def put_back(values: Tensor, chosen: Tensor, num_controls: int, fill: float = 0.0) -> Tensor:
    """Values of the chosen controls ``(c, B, T)`` among all ``(C, B, T)``, ``fill`` elsewhere."""
    whole = values.new_full((num_controls, *values.shape[1:]), fill)
    return whole.scatter(0, chosen.unsqueeze(-1).expand_as(values), values)


def put_back_pairs(values: Tensor, chosen: Tensor, num_controls: int) -> Tensor:
    """Values of pairs of chosen controls ``(c, c, B, T)`` among all pairs ``(C, C, B, T)``, zero elsewhere."""
    pairs = (chosen.unsqueeze(1) * num_controls + chosen.unsqueeze(0)).flatten(0, 1)
    flat = put_back(values.flatten(0, 1), pairs, num_controls**2)
    return flat.unflatten(0, (num_controls, num_controls))


def left_out(found: Evidence, space: StateSpace, alone: Tensor, chosen: Tensor, on_alone: Tensor) -> Tensor:
    r"""Log evidence that the left-out controls would have added one at a time, ``(B,)`` nats: a lower bound.

    .. math:: \sum_t \log \frac{\sum_{S \subseteq kept} \pi_S \, p(\Delta_t|S) + \sum_{k \notin kept} \pi_k \,
        p(\Delta_t|\{k\})}{\sum_{S \subseteq kept} \pi_S \, p(\Delta_t|S)}

    with stationary odds :math:`\pi`, the transitions taken as independent.

    Args:
        found: evidence of the subsets of the chosen controls.
        space: those subsets.
        alone: from :func:`singles`.
        chosen: the controls that were kept, ``(c, B)``.
        on_alone: log-odds that a control is on, ``(C,)``.
    """
    odds = on_alone[chosen].mT @ space.on.T  # B, M
    kept = torch.logsumexp(found.log + odds.T.unsqueeze(-1), 0)
    others = alone[1:] + on_alone[:, None, None]
    others = others.scatter(0, chosen.unsqueeze(-1).expand(-1, *alone.shape[1:]), -torch.inf)
    return torch.nn.functional.softplus(torch.logsumexp(others, 0) - kept).sum(-1)
