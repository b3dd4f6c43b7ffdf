"""Activity of the transformations over time, and the states it leads to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrl.config import DataConfig

SLAB_SCALE = 0.1


def single_activity(which: Tensor, num_steps: int, num_transformations: int) -> Tensor:
    """Return g_t = onehot(which) for t = 1..T: one transformation per sequence, at unit speed throughout.

    Args:
        which: ``(B,)``, in [0, J).
        num_steps: T.
        num_transformations: J.

    Returns:
        ``(B, T, J)`` float32.

    Raises:
        IndexError: if ``which`` is out of range (on CUDA: a device-side assertion).

    Example:
        >>> single_activity(torch.tensor([2]), num_steps=2, num_transformations=3).tolist()
        [[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]]
    """
    onehot = torch.eye(num_transformations, device=which.device).index_select(0, which)
    return onehot[:, None].repeat(1, num_steps, 1)


def markov_spikes(shape: tuple[int, int, int], on_rate: float, off_rate: float, generator: torch.Generator) -> Tensor:
    """Return independent two-state Markov chains, one for every sample and transformation, in their stationary state.

    p(y_1 = 1) = on / (on + off), p(y_t = 1 | y_{t-1}) = (1 - y_{t-1}) on + y_{t-1} (1 - off)
    (the spike prior of STA, arXiv:2410.05564).

    Args:
        shape: ``(B, T, J)``.
        on_rate: probability per step that an inactive chain switches on.
        off_rate: probability per step that an active chain switches off.
        generator: source of randomness; its device is the device of the result.

    Returns:
        ``(B, T, J)`` of bools.

    Example:
        >>> markov_spikes((1000, 50, 3), 0.1, 0.3, torch.Generator().manual_seed(0)).float().mean().round(decimals=2)
        tensor(0.2500)
    """
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    switch_on, stay_on = uniform < on_rate, uniform < 1 - off_rate
    current = uniform[:, 0] < on_rate / (on_rate + off_rate)
    chain = [current]
    for step in range(1, shape[1]):
        current = torch.where(current, stay_on[:, step], switch_on[:, step])
        chain.append(current)
    return torch.stack(chain, dim=1)


def switching_spikes(
    shape: tuple[int, int, int], stay: float, overlap: float, generator: torch.Generator, active: int = 1
) -> Tensor:
    """Return sparse spikes: one transformation acts at a time and sometimes changes, now and then another one joins.

    The acting transformation is kept with probability ``stay`` and otherwise drawn anew from all; with probability
    ``overlap`` per step one more, drawn from all, acts during that step. ``active`` transformations act at a time in
    this way, independently of each other, so that fewer do where some of them are the same.

    Args:
        shape: ``(B, T, J)``.
        stay: probability per step of keeping the acting transformation.
        overlap: probability per step of drawing one more.
        generator: source of randomness; its device is the device of the result.
        active: how many act at a time.

    Returns:
        ``(B, T, J)`` of bools, from one to ``active`` + 1 of them true at every step.

    Example:
        >>> switching_spikes((100, 8, 3), 0.85, 0.0, torch.Generator().manual_seed(0)).sum(-1).unique()
        tensor([1])
    """
    size, steps, count = shape
    device = generator.device
    lanes = (active + 1, size, steps)
    drawn, joining = torch.randint(count, lanes, generator=generator, device=device).split((active, 1))
    kept, joins = torch.rand(lanes, generator=generator, device=device).split((active, 1))
    acting = [drawn[..., 0]]
    for step in range(1, steps):
        acting.append(torch.where(kept[..., step] < stay, acting[-1], drawn[..., step]))
    spikes = F.one_hot(torch.stack(acting, dim=-1), count).bool().any(0)
    return spikes | (F.one_hot(joining[0], count).bool() & (joins[0] < overlap).unsqueeze(-1))


def uniform_speeds(shape: tuple[int, ...], spread: float, generator: torch.Generator) -> Tensor:
    """Return independent speeds, uniform on [1 - spread, 1 + spread], on the device of ``generator``.

    Example:
        >>> uniform_speeds((2, 8, 3), 0.5, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 8, 3])
    """
    return torch.rand(shape, generator=generator, device=generator.device).mul_(2 * spread).add_(1 - spread)


def laplace_speeds(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return independent speeds from Laplace(1, 0.1), the slab of STA, on the device of ``generator``.

    s = 1 + 0.1 (e - e'), with e and e' independent exponentials of mean 1: finite for every draw.

    Example:
        >>> laplace_speeds((2, 8, 3), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 8, 3])
    """
    rise, fall = torch.empty((2, *shape), device=generator.device).exponential_(generator=generator).unbind(0)
    return 1 + SLAB_SCALE * (rise - fall)


def mixed_activity(config: DataConfig, shape: tuple[int, int, int], graded: bool, generator: torch.Generator) -> Tensor:
    """Return the activity of mixed sequences, ``(B, T, J)``: spikes and speeds of the protocol of ``config``.

    Args:
        config: its protocol and the numbers of its activity process.
        shape: ``(B, T, J)``.
        graded: whether speeds vary; otherwise every active speed is 1.
        generator: source of randomness; its device is the device of the result.

    Example:
        >>> mixed_activity(DataConfig(), (2, 8, 3), False, torch.Generator().manual_seed(0)).unique()
        tensor([0., 1.])
    """
    if config.protocol == "ffrl":
        spikes = switching_spikes(shape, config.stay, config.overlap, generator, config.active)
    else:
        spikes = markov_spikes(shape, config.on_rate, config.off_rate, generator)
    if not graded:
        return spikes.float()
    if config.protocol == "ffrl":
        return torch.where(spikes, uniform_speeds(shape, config.speed_spread, generator), 0.0)
    return torch.where(spikes, laplace_speeds(shape, generator), 0.0)


def starts(activity: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return random initial states s_0 for ``activity`` that keep s_T within the T unit steps of a single sequence.

    With ``probability`` a transformation starts uniformly on [0, max(0, T - sum_t g_t)], otherwise at zero.

    Args:
        activity: ``(B, T, J)``.
        probability: that a transformation starts away from zero.
        generator: source of randomness; its device is the device of the result.

    Returns:
        ``(B, J)``.

    Example:
        >>> starts(torch.ones(2, 8, 3), 1.0, torch.Generator().manual_seed(0)).max()
        tensor(0.)
    """
    size, steps, count = activity.shape
    moved, share = torch.rand((2, size, count), generator=generator, device=generator.device).unbind(0)
    room = (steps - activity.sum(1)).clamp(min=0)
    return torch.where(moved < probability, share * room, 0.0)


def states(activity: Tensor, start: Tensor | None = None) -> Tensor:
    """Return the states s_t = s_{t-1} + g_t that ``activity`` leads through, from ``start`` or from zero.

    Args:
        activity: ``(B, T, J)``.
        start: s_0, ``(B, J)``.

    Returns:
        ``(B, T+1, J)``.

    Example:
        >>> states(torch.ones(1, 3, 1)).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    moved = F.pad(activity.cumsum(1), (0, 0, 1, 0))
    return moved if start is None else moved + start.unsqueeze(1)
