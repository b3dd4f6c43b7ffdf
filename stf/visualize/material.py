"""What the figures show of a model: frames moved by single fields, and inferred against true activity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.evaluation.alignment import strongest_part
from stf.visualize.roles import FieldRole

MOST_FRAMES = 18
"""Frames in a row of a traversal; longer ones are thinned out."""


@dataclass(frozen=True)
class Traversal:
    """Images moved by one field alone.

    Args:
        role: the field.
        inputs: the real images x_0, ``(N, C, H, W)``.
        steps: the S transitions made until each frame, negative ones backwards.
        frames: decoded, ``(N, S, C, H, W)``.
        trained: T, the transitions of a training sequence.
        truth: frames of the true transformation, ``(N, T+1, C, H, W)``, where it is known.
    """

    role: FieldRole
    inputs: Tensor
    steps: tuple[int, ...]
    frames: Tensor
    trained: int
    truth: Tensor | None = None

    def errors(self) -> dict[int, list[float]]:
        r"""L1 error of each image at each step drawn whose true frame is known.

        .. math:: \| decode(z_t) - x_t \|_1

        Summed over channels and pixels, as in the equivariance error (FFRL, "Quantitative Evaluation").
        """
        if self.truth is None:
            return {}
        known = [(place, step) for place, step in enumerate(self.steps) if 0 <= step < self.truth.shape[1]]
        return {
            step: (self.frames[:, place] - self.truth[:, step]).abs().sum((-3, -2, -1)).tolist()
            for place, step in known
        }


@dataclass(frozen=True)
class Observed:
    """Sequences, and their inferred and true activity.

    Args:
        frames: of the first sequences, ``(N, T+1, C, H, W)``, on the device of the data.
        inferred: one speed per field, ``(M, T, K)``, M >= N.
        truth: ``(M, T, J)``.
    """

    frames: Tensor
    inferred: NDArray[np.float64]
    truth: NDArray[np.float64]


def alone(roles: Sequence[FieldRole], num_fields: int, num_controls: int) -> Tensor:
    """Activity ``(F, C)`` in which each of F fields runs alone at unit speed, in the direction of its transformation.

    Under separate control both parts of a field run together.

    Example:
        >>> alone([FieldRole(1)], num_fields=2, num_controls=4)
        tensor([[0., 1., 0., 1.]])
    """
    onehot = torch.eye(num_fields)[[role.field for role in roles]]
    directions = torch.tensor([role.direction for role in roles])
    return (onehot * directions[:, None]).repeat(1, num_controls // num_fields)


@torch.no_grad()
def traverse(model: Any, images: Tensor, activity: Tensor, backward: int, forward: int) -> Tensor:
    """Decoded frames of images moved under constant activity, backwards (activity negated) and forwards.

    Args:
        model: with ``encode``, ``flow`` and ``decode``.
        images: ``(N, C, H, W)``.
        activity: F cases, ``(F, C)``.
        backward: transitions backwards from the image.
        forward: transitions forwards.

    Returns:
        ``(F, N, backward + 1 + forward, C, H, W)``, the decoded image itself at place ``backward``.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.model import FlowFactorizedVAE
        >>> model = FlowFactorizedVAE(SupervisedConfig(), (3, 28, 28))
        >>> traverse(model, torch.rand(2, 3, 28, 28), torch.eye(3), backward=1, forward=2).shape
        torch.Size([3, 2, 4, 3, 28, 28])
    """
    cases, count = len(activity), len(images)
    start = model.encode(images).repeat(cases, 1)
    speeds = activity.to(start).repeat_interleave(count, 0).unsqueeze(1)
    latents = torch.cat(
        [
            model.flow(start, -speeds.expand(-1, backward, -1))[:, 1:].flip(1),
            model.flow(start, speeds.expand(-1, forward, -1)),
        ],
        dim=1,
    )
    return model.decode(latents).unflatten(0, (cases, count))


@torch.no_grad()
def move_images(
    model: Any, data: SequenceData, split: Split, indices: Tensor, roles: Sequence[FieldRole]
) -> list[Traversal]:
    """Traversals of all fields that are not silent, from -T/2 to 3T/2, with the true frames where they are known."""
    drawn = [role for role in roles if not role.silent]
    trained = data.num_steps
    backward, forward = max(1, trained // 2), math.ceil(1.5 * trained)
    stride = math.ceil((backward + forward) / (MOST_FRAMES - 1))
    steps = tuple(step for step in range(-backward, forward + 1) if step % stride == 0)
    inputs = data.single(split, indices, torch.zeros_like(indices)).frames[:, 0]
    if not drawn:
        return []
    frames = traverse(model, inputs, alone(drawn, model.num_fields, model.num_controls), backward, forward)
    frames = frames[:, :, [step + backward for step in steps]].cpu()
    truths = [
        None if role.row is None else data.single(split, indices, torch.full_like(indices, role.row)).frames.cpu()
        for role in drawn
    ]
    return [
        Traversal(role, inputs.cpu(), steps, moved, trained, truth)
        for role, moved, truth in zip(drawn, frames, truths, strict=True)
    ]


@torch.no_grad()
def observe(model: Any, batches: Iterable[SequenceBatch]) -> Observed:
    """Infer the activity of batches of sequences, and keep the frames of the first batch.

    The activity of a supervised model is given, not inferred.
    """
    given = model.config.mode == "supervised"
    frames, inferred, truth = [], [], []
    for batch in batches:
        frames = frames or [batch.frames]
        inferred.append(batch.activity if given else model.infer(batch.frames))
        truth.append(batch.activity)
    speeds = strongest_part(torch.cat(inferred).cpu().numpy(), model.num_fields)
    return Observed(frames[0], speeds, torch.cat(truth).cpu().numpy().astype(np.float64))


def eventful(truth: ArrayLike) -> NDArray[np.int64]:
    """Order of sequences by how much there is to see: transformations that act, then how far the least of them goes.

    It depends on the true activity ``(M, T, J)`` alone, so a figure's example is not chosen by how well it came out.

    Example:
        >>> eventful([[[1, 0], [1, 0]], [[1, 0], [0, 1]], [[2, 0], [0, 2]]]).tolist()
        [2, 1, 0]
    """
    way = np.abs(truth).sum(axis=1)
    least = np.where(way > 0, way, np.inf).min(axis=-1)
    return np.lexsort((-least, -(way > 0).sum(-1)))


def count_distribution(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Distribution of the number of independent events that happen, from the probability of each ``(K,)``: ``(K+1,)``.

    Example:
        >>> count_distribution([0.5, 0.5]).tolist()
        [0.25, 0.5, 0.25]
    """
    distribution = np.ones(1)
    for probability in np.asarray(probabilities, dtype=np.float64):
        distribution = np.convolve(distribution, [1 - probability, probability])
    return distribution


def prior_on(model: Any) -> NDArray[np.float64]:
    """Stationary probability that each field is on under the spike prior, on / (on + off): ``(K,)``.

    Under separate control a field is on if one of its parts is.
    """
    on, off = (rate.detach().cpu().double().numpy() for rate in model.activity_model.chain.rates())
    off_share = (off / (on + off)).reshape(-1, model.num_fields)
    return 1 - off_share.prod(axis=0)
